import { fileURLToPath } from 'node:url'
import type {} from '@fastify/mongodb'
import formbody from '@fastify/formbody'
import helmet from '@fastify/helmet'
import statics from '@fastify/static'
import { TypeBoxValidatorCompiler } from '@fastify/type-provider-typebox'
import redisLink from '@jpulse/redis-link'
import Fastify, { LogController, type FastifyInstance, type FastifyServerOptions } from 'fastify'
import type { SiteConfig } from './config.ts'
import { drain, mongo, worker } from 'server-kit'
import { memoryGuestBook } from './guestbook/memory-guestbook.ts'
import { type EntryDocument, mongoGuestBook } from './guestbook/mongo-guestbook.ts'
import guestBookApi from './guestbook/routes.ts'
import health from './health.ts'
import pages from './pages/routes.ts'
import errors, { answerClientError, sendError } from './plugins/errors.ts'

const PUBLIC = fileURLToPath(new URL('../public/', import.meta.url))

/** What browsers may load: this site's own files, and nothing inline. */
const CONTENT_SECURITY_POLICY = {
  useDefaults: false,
  directives: {
    defaultSrc: ["'none'"],
    scriptSrc: ["'self'"],
    styleSrc: ["'self'"],
    imgSrc: ["'self'"],
    connectSrc: ["'self'"],
    formAction: ["'self'"],
    baseUri: ["'none'"],
    frameAncestors: ["'none'"]
  }
}

/** The site, composed. It does not listen yet. */
export async function buildApp (config: SiteConfig): Promise<FastifyInstance> {
  const { environment, identity, logLevel, mongoUri, redisUrl, siteId, trustProxy } = config
  const options: FastifyServerOptions = {
    logger: { level: logLevel },
    logController: new LogController({ disableRequestLogging: logLevel !== 'debug' && logLevel !== 'trace' }),
    trustProxy: typeof trustProxy === 'object' ? [...trustProxy] : trustProxy,
    // A worker that drains still answers: its clients leave with `connection: close`.
    return503OnClosing: false,
    clientErrorHandler: (error, socket) => answerClientError(error, socket, identity.instanceId),
    frameworkErrors: (error, request, reply) => sendError(error, request, reply.header('x-worker', identity.instanceId))
  }
  const app = Fastify(options)
  app.setValidatorCompiler(TypeBoxValidatorCompiler)

  await app.register(worker, { identity })
  await app.register(drain)
  await app.register(errors)
  await app.register(helmet, { contentSecurityPolicy: CONTENT_SECURITY_POLICY, xFrameOptions: { action: 'deny' } })
  await app.register(formbody)
  await app.register(statics, { root: PUBLIC, prefix: '/assets/' })

  // Closed in the reverse order: Redis first, then MongoDB.
  if (mongoUri !== undefined) await app.register(mongo, { url: mongoUri, database: siteId })
  await app.register(redisLink, { siteId, env: environment, ...(redisUrl !== undefined && { url: redisUrl }) })

  const guestBook = app.mongoLink === undefined
    ? memoryGuestBook()
    : mongoGuestBook(app.mongo.db!.collection<EntryDocument>('guestbook'), app.mongoLink)
  await app.register(health)
  await app.register(pages, { guestBook })
  await app.register(guestBookApi, { prefix: '/api/1', guestBook })
  return app
}
