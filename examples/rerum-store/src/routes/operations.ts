import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import type { Store } from '../store/store.ts'
import { failures, JsonObject } from './schemas.ts'

const Check = <const S extends string[]>(...states: S) => Type.Object({ status: Type.Enum(states) })
const Health = Type.Object({
  status: Type.Enum(['ok', 'degraded', 'error']),
  checks: Type.Object({ instance: Check('up', 'draining'), redis: Check('up', 'down', 'connecting', 'disabled'), mongodb: Check('up', 'down') })
})

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

  app.get('/v1/context.json', { schema: { response: { 200: JsonObject } } }, async (_request, reply) =>
    reply.type('application/ld+json; charset=utf-8').send(CONTEXT))

  app.get('/v1/api/cache/stats', { schema: { response: { 200: JsonObject, ...failures } } }, async () => ({ ...app.configCache.stats(), worker: app.identity.instanceId }))

  app.post('/v1/api/cache/clear', { onRequest: app.asAdmin, schema: { response: { 200: Type.Object({ cleared: Type.Boolean() }), ...failures } } }, async () => {
    await app.configCache.clear()
    return { cleared: true }
  })
}

export default operations
