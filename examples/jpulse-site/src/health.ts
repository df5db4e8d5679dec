import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'

const Check = <const S extends string[]>(...states: S) => Type.Object({ status: Type.Enum(states) })

const Health = Type.Object({
  status: Type.Enum(['ok', 'degraded', 'error']),
  checks: Type.Object({
    instance: Check('up', 'draining'),
    redis: Check('up', 'down', 'connecting', 'disabled'),
    mongodb: Check('up', 'down', 'disabled')
  })
})

/**
 * Liveness and readiness. MongoDB decides about readiness, since pages fail without it; without Redis every page still
 * answers, so that is a degradation only. Liveness depends on nothing: a restart would cure none of it.
 */
const health: FastifyPluginAsyncTypebox = async (app) => {
  app.get('/health', { schema: { response: { 200: Health, 503: Health } } }, async (_request, reply) => {
    const instance = app.drain.active ? 'draining' : 'up'
    const redis = app.redisLink.state
    const mongodb = app.mongoLink === undefined ? 'disabled' : await app.mongoLink.ping() ? 'up' : 'down'
    const ready = instance === 'up' && mongodb !== 'down'
    const whole = redis === 'up' || redis === 'disabled'
    return reply.code(ready ? 200 : 503).send({
      status: ready ? (whole ? 'ok' : 'degraded') : 'error',
      checks: { instance: { status: instance }, redis: { status: redis }, mongodb: { status: mongodb } }
    })
  })

  app.get('/health/live', { schema: { response: { 200: Type.Object({ status: Type.Literal('ok') }) } } }, async () => {
    return { status: 'ok' as const }
  })
}

export default health
