import type {} from '@fastify/mongodb'
import { TypeBoxValidatorCompiler } from '@fastify/type-provider-typebox'
import configCache, { memorySource, type FastifyConfigCacheOptions } from '@jpulse/config-cache'
import redisLink from '@jpulse/redis-link'
import Fastify, { LogController, type FastifyInstance, type FastifyPluginAsync } from 'fastify'
import { drain, mongo, worker } from 'server-kit'
import type { StoreConfig } from './config.ts'
import agents from './http/agents.ts'
import cors from './http/cors.ts'
import errors, { sendError } from './http/errors.ts'
import methods from './http/methods.ts'
import operations from './routes/operations.ts'
import reads from './routes/reads.ts'
import writes from './routes/writes.ts'
import { Store } from './store/store.ts'

const BODY_LIMIT = 5 * 1024 * 1024
/** Any single object fits, as does a page of usual ones. */
const MAX_VALUE_BYTES = 8 * 1024 * 1024

/**
 * The store, composed. It does not listen yet.
 *
 * @param cache what decorates with `configCache`
 */
export async function buildApp (config: StoreConfig, cache: FastifyPluginAsync<FastifyConfigCacheOptions> = configCache): Promise<FastifyInstance> {
  const { environment, identity, logLevel, redis, siteId } = config
  const app: FastifyInstance = Fastify({
    logger: { level: logLevel },
    logController: new LogController({ disableRequestLogging: logLevel !== 'debug' && logLevel !== 'trace' }),
    bodyLimit: BODY_LIMIT,
    rewriteUrl: (request) => {
      // For clients and proxies that know no PATCH.
      if (request.method === 'POST' && /^PATCH$/i.test(String(request.headers['x-http-method-override']))) request.method = 'PATCH'
      return request.url!
    },
    // A worker that drains still answers: its clients leave with `connection: close`.
    return503OnClosing: false,
    frameworkErrors: (error, request, reply) => sendError(error, request, reply.header('x-worker', identity.instanceId))
  })
  app.setValidatorCompiler(TypeBoxValidatorCompiler)
  app.removeContentTypeParser('text/plain')
  const parseJson = app.getDefaultJsonParser('error', 'error')
  app.removeContentTypeParser('application/json')
  // Clients say their content type with each request, also where nothing follows it. A route that needs a body misses it.
  app.addContentTypeParser(['application/json', 'application/ld+json'], { parseAs: 'string' }, (request, body, done) =>
    body === '' ? done(null, undefined) : parseJson(request, body as string, done))

  await app.register(worker, { identity })
  await app.register(drain)
  await app.register(errors)
  await app.register(cors)
  await app.register(methods)
  await app.register(mongo, { url: config.mongoUri, database: siteId })
  await app.register(redisLink, { siteId, env: environment, ...redis })
  await app.register(cache, { source: memorySource(), ttlMs: config.cacheTtlMs, blockTtlMs: config.blockTtlMs, maxValueBytes: MAX_VALUE_BYTES, routePrefix: '/v1/api' })
  await app.register(agents, { secret: config.jwtSecret, readonly: config.readonly })

  const store = new Store(app, config.publicUrl)
  app.addHook('onReady', async () => store.startSweep())
  app.addHook('preClose', async () => store.close())
  await app.register(operations, { store })
  await app.register(reads, { prefix: '/v1', store })
  await app.register(writes, { prefix: '/v1/api', store })
  app.refuseOtherMethods()
  return app
}
