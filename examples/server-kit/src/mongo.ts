import fastifyMongodb from '@fastify/mongodb'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { MongoClient } from 'mongodb'
import { type Env, secretUrl } from './env.ts'
import { ConfigError } from './errors.ts'
import { MongoLink } from './mongo-link.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Only where MONGODB_URI is set. */
    mongoLink?: MongoLink
  }
}

interface MongoOptions {
  url: string
  /** The database where the connection string names none. */
  database: string
}

/**
 * Registers @fastify/mongodb with a client that connects in the background: with a client of its own it would fail the
 * boot while MongoDB is away.
 */
export default fp(async (app: FastifyInstance, { url, database }: MongoOptions) => {
  const client = makeClient(url, database)
  const link = new MongoLink(client, app.log.child({ plugin: 'site-mongo' }))
  await app.register(fastifyMongodb, { client, database: databaseIn(url) ?? database })
  app.decorate('mongoLink', link)
  app.addHook('onClose', () => link.close())
  link.open()
}, { name: 'site-mongo', fastify: '5.x' })

/** `MONGODB_URI`. @throws {ConfigError} where the driver would not take it */
export function mongoUri (env: Env): string | undefined {
  const uri = secretUrl(env, 'MONGODB_URI', ['mongodb', 'mongodb+srv'], 'mongodb://127.0.0.1:27017')
  // It opens nothing until it connects.
  if (uri !== undefined) makeClient(uri, 'check')
  return uri
}

function makeClient (url: string, database: string): MongoClient {
  try {
    return new MongoClient(url, {
      appName: database,
      serverSelectionTimeoutMS: 1500,
      connectTimeoutMS: 2000,
      heartbeatFrequencyMS: 2000,
      // A connection string may ask for another decoding, with which dates, numbers and codes of errors are not what our code compares.
      raw: false,
      promoteValues: true,
      promoteLongs: true,
      promoteBuffers: false,
      useBigInt64: false,
      // Of one operation, so that a frozen server holds no request for longer. A connection string may say otherwise.
      ...(!/[?&]socketTimeoutMS=/i.test(url) && { socketTimeoutMS: 3000 })
    })
  } catch {
    // The driver's own error may quote the connection string, with its password.
    throw new ConfigError('MONGODB_URI is not a connection string that the MongoDB driver understands')
  }
}

/** The database that a connection string names. The driver's own answer is 'test' where there is none. */
function databaseIn (url: string): string | undefined {
  const name = /^[^:]+:\/\/[^/?]+\/([^?]+)/.exec(url)?.[1]
  return name === undefined ? undefined : decodeURIComponent(name)
}
