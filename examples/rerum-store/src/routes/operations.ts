import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type {} from '@fastify/swagger'
import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'
import type { Store } from '../store/store.ts'
import { failures, JsonObject } from './schemas.ts'

const Check = <const S extends string[]>(...states: S) => Type.Object({ status: Type.Enum(states) })
const Health = Type.Object({
  status: Type.Enum(['ok', 'degraded', 'error']),
  checks: Type.Object({ instance: Check('up', 'draining'), redis: Check('up', 'down', 'connecting', 'disabled'), mongodb: Check('up', 'down') })
})

const Endpoints = Type.Object({ message: Type.String(), endpoints: Type.Record(Type.String(), Type.String()) })

const WELCOME = `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>rerum-store</title>
<h1>A store of versioned JSON objects</h1>
<p>Programs find its endpoints at <a href="/v1/api">/v1/api</a> and their description at <a href="/v1/openapi.json">/v1/openapi.json</a>.</p></html>
`

/** The summaries of the endpoints, by their names. */
function endpointsOf (document: ReturnType<FastifyInstance['swagger']>): Record<string, string> {
  const { paths = {} } = document as { paths?: Record<string, Record<string, { summary?: string }>> }
  return Object.fromEntries(Object.entries(paths).filter(([path]) => path.startsWith('/v1/api/')).map(([path, methods]) =>
    [path.slice('/v1/api'.length), Object.entries(methods).map(([method, { summary }]) => `${method.toUpperCase()}: ${summary ?? ''}`).join('; ')]))
}

/** The terms by which the store describes its objects. */
const CONTEXT = { '@context': { __rerum: { '@id': 'http://store.rerum.io/v1/context.json#__rerum', '@type': '@json' } } }

const operations: FastifyPluginAsyncTypebox<{ store: Store }> = async (app, { store }) => {
  app.get('/health/live', { schema: { response: { 200: Type.Object({ status: Type.Literal('ok') }) } } }, async () => ({ status: 'ok' as const }))

  /** Without MongoDB nothing works; without Redis reads do, uncached, and writes do not. */
  app.get('/health', { schema: { response: { 200: Health, 503: Health } } }, async (_request, reply) => {
    const instance = app.drain.active ? 'draining' : 'up'
    const redis = app.redisLink.state
    const mongodb = await app.mongoLink!.ping() ? 'up' : 'down'
    const ready = instance === 'up' && mongodb === 'up'
    return reply.code(ready ? 200 : 503).send({
      status: !ready ? 'error' : redis === 'up' || redis === 'disabled' ? 'ok' : 'degraded',
      checks: { instance: { status: instance }, redis: { status: redis }, mongodb: { status: mongodb } }
    })
  })

  for (const [url, hide] of [['/', false], ['/v1', true]] as const) {
    app.get(url, { schema: { summary: 'Where to begin', hide } }, async (_request, reply) => reply.type('text/html; charset=utf-8').send(WELCOME))
  }

  app.get('/client/verify', { onRequest: app.asAgent, schema: { summary: 'Whether a token is valid, and whose it is', response: { 200: { content: { 'text/plain': { schema: Type.String() } } }, ...failures } } }, async (request, reply) =>
    reply.type('text/plain; charset=utf-8').send(`The token is valid. Its agent is ${request.agent}`))

  app.get('/v1/openapi.json', { schema: { summary: 'This description', response: { 200: JsonObject } } }, async () => app.swagger())

  app.get('/v1/api', { schema: { summary: 'The endpoints', response: { 200: Endpoints } } }, async () => ({ message: 'Endpoints below /v1/api; /v1/openapi.json describes them', endpoints: endpointsOf(app.swagger()) }))

  app.get('/v1/context.json', { schema: { response: { 200: { content: { 'application/ld+json': { schema: JsonObject } } } } } }, async (_request, reply) =>
    reply.type('application/ld+json; charset=utf-8').send(CONTEXT))

  app.get('/v1/api/cache/stats', { schema: { summary: 'The cache of the worker that answers', response: { 200: JsonObject, ...failures } } }, async () => ({ ...app.configCache.stats(), worker: app.identity.instanceId }))

  app.post('/v1/api/cache/clear', { onRequest: app.asAdmin, schema: { summary: 'Drops what is cached in all workers', response: { 200: Type.Object({ cleared: Type.Boolean() }), ...failures } } }, async () => {
    await app.configCache.clear()
    return { cleared: true }
  })
}

export default operations
