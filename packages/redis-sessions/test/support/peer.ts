import fastifyCookie from '@fastify/cookie'
import fastifySession from '@fastify/session'
import { RedisStore } from 'connect-redis'
import Fastify, { type FastifyInstance } from 'fastify'
import { createClient } from 'redis'
import { ADMIN, hasPrintedAcl } from '../../../../scripts/servers/redis.js'
import { uniqueName, type Scope } from '../../../../test/helpers/index.ts'
import { SECRET } from './app.ts'

/** The stack that most applications use: @fastify/session with connect-redis on node-redis. */
export async function makePeer (t: Scope, url: string): Promise<FastifyInstance> {
  const client = createClient({ url, ...(hasPrintedAcl() && ADMIN) })
  client.on('error', () => {})
  await client.connect()
  const app = Fastify()
  t.teardown(async () => {
    await app.close()
    client.destroy()
  })
  await app.register(fastifyCookie)
  const store = new RedisStore({ client, prefix: `${uniqueName()}:` })
  await app.register(fastifySession, { secret: SECRET, store: store as never, cookie: { secure: false, maxAge: 60_000 }, saveUninitialized: false })
  return app
}
