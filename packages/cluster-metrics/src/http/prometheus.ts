import type { FastifyInstance } from 'fastify'
import { Type, type Static } from 'typebox'
import type { ClusterMetrics } from '../cluster-metrics.ts'
import type { Authorize } from '../options.ts'
import { guard } from './guard.ts'
import { Failure } from './schemas.ts'

const Query = Type.Object({ scope: Type.Optional(Type.Enum(['instance', 'cluster'])) })

/** What Prometheus scrapes. */
export async function prometheusRoutes (fastify: FastifyInstance, metrics: ClusterMetrics, path: string, authorize: Authorize): Promise<void> {
  fastify.get<{ Querystring: Static<typeof Query> }>(path, {
    onRequest: guard(authorize),
    schema: { querystring: Query, response: { 200: Type.String({ description: 'Prometheus text format 0.0.4' }), '4xx': Failure, '5xx': Failure } }
  }, async ({ query }, reply) => {
    const text = await metrics.prometheus(query.scope ?? 'instance')
    return reply.type('text/plain; version=0.0.4; charset=utf-8').header('cache-control', 'no-store').send(text)
  })
}
