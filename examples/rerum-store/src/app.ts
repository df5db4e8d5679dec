import type {} from '@fastify/mongodb'
import { TypeBoxValidatorCompiler } from '@fastify/type-provider-typebox'
import swagger from '@fastify/swagger'
import configCache, { memorySource, type FastifyConfigCacheOptions } from '@jpulse/config-cache'
import cursorPagination from '@jpulse/cursor-pagination'
import redisLink from '@jpulse/redis-link'
import { createHmac } from 'node:crypto'
import Fastify, { LogController, type FastifyInstance, type FastifyPluginAsync, type RawRequestDefaultExpression as RawRequest } from 'fastify'
import { answerClientError, drain, largeBodies, mongo, openLog, worker } from 'server-kit'
import type { StoreConfig } from './config.ts'
import agents from './http/agents.ts'
import cors from './http/cors.ts'
import errors, { sendError } from './http/errors.ts'
import mediaTypes from './http/media-types.ts'
import methods from './http/methods.ts'
import { textOf } from './http/utf8.ts'
import bulk from './routes/bulk.ts'
import operations from './routes/operations.ts'
import reads from './routes/reads.ts'
import { MAX_LIMIT, MAX_SKIP } from './routes/schemas.ts'
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
  const { environment, identity, logFile, logLevel, redis, siteId } = config
  const app: FastifyInstance = Fastify({
    logger: { level: logLevel, ...(logFile !== undefined && { stream: openLog(logFile) }) },
    logController: new LogController({ disableRequestLogging: logLevel !== 'debug' && logLevel !== 'trace' }),
    bodyLimit: BODY_LIMIT,
    rewriteUrl: asWritten,
    // An object's address is written with them, too.
    routerOptions: { ignoreTrailingSlash: true, ignoreDuplicateSlashes: true },
    // A worker that drains still answers: its clients leave with `connection: close`.
    return503OnClosing: false,
    clientErrorHandler: (error, socket) => answerClientError(error, socket, { worker: identity.instanceId, code: 'FST_ERR_RERUM_BAD_REQUEST' }),
    frameworkErrors: (error, request, reply) => sendError(error, request, reply.header('x-worker', identity.instanceId))
  })
  // A query asked for by HEAD has its filter in a body.
  app.addHttpMethod('HEAD', { hasBody: true, overrideExisting: true })
  app.setValidatorCompiler(TypeBoxValidatorCompiler)
  app.removeContentTypeParser('text/plain')
  const parseJson = app.getDefaultJsonParser('error', 'error')
  app.removeContentTypeParser('application/json')
  // Clients say their content type with each request, also where nothing follows it. A route that needs a body misses it.
  app.addContentTypeParser<Buffer>(['application/json', 'application/ld+json'], { parseAs: 'buffer' }, (request, body, done) => {
    const text = textOf(body)
    if (text instanceof Error) done(text, undefined)
    else if (text === '') done(null, undefined)
    else parseJson(request, text, done)
  })

  await app.register(worker, { identity })
  await app.register(drain)
  await app.register(largeBodies)
  await app.register(errors)
  await app.register(cors)
  await app.register(mediaTypes)
  await app.register(methods)
  await app.register(swagger, { openapi: { openapi: '3.1.0', info: { title: 'rerum-store', version: '1', description: 'Versioned JSON objects. Errors are { success: false, error, code, statusCode }.' }, servers: [{ url: config.publicUrl }] } })
  await app.register(mongo, { url: config.mongoUri, database: siteId })
  await app.register(redisLink, { siteId, env: environment, ...redis })
  await app.register(cache, { source: memorySource(), ttlMs: config.cacheTtlMs, blockTtlMs: config.blockTtlMs, maxValueBytes: MAX_VALUE_BYTES, routePrefix: '/v1/api' })
  await app.register(cursorPagination, { secret: createHmac('sha256', config.jwtSecret).update('cursors').digest('hex'), maxLimit: MAX_LIMIT, maxOffset: MAX_SKIP })
  await app.register(agents, { secret: config.jwtSecret, readonly: config.readonly })

  const store = new Store(app, config.publicUrl)
  app.addHook('onReady', async () => store.startSweep())
  app.addHook('preClose', async () => store.close())
  await app.register(operations, { store })
  await app.register(reads, { prefix: '/v1', store })
  await app.register(writes, { prefix: '/v1/api', store })
  await app.register(bulk, { prefix: '/v1/api', store })
  app.refuseOtherMethods()
  return app
}

/** Names that clients of earlier servers use, for endpoints that have other names now. */
const FORMER: ReadonlyMap<string, string> = new Map([['getByProperties', 'query'], ['batch_create', 'bulkCreate'], ['bulk_update', 'bulkUpdate']])

/** The request as its client means it: `X-HTTP-Method-Override` is for those that know no PATCH, `create.action` was what `create` is. */
function asWritten (request: RawRequest): string {
  if (request.method === 'POST' && /^PATCH$/i.test(String(request.headers['x-http-method-override']))) request.method = 'PATCH'
  return request.url!.replace(/^\/v1\/api\/(\w+?)(\.action)?(?=[/?]|$)/, (_all, name: string) => `/v1/api/${FORMER.get(name) ?? name}`)
}
