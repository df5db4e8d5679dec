import { failures } from '@jpulse/plugin-kit'
import type { FastifyInstance } from 'fastify'
import { Type, type Static } from 'typebox'
import type { ClusterMetrics } from '../cluster-metrics.ts'
import type { Guard } from './metrics.ts'

const Query = Type.Object({ scope: Type.Optional(Type.Enum(['instance', 'cluster'])) })

/** What Prometheus scrapes. */
export async function prometheusRoutes (fastify: FastifyInstance, metrics: ClusterMetrics, path: string, may: Guard): Promise<void> {
  fastify.get<{ Querystring: Static<typeof Query> }>(path, {
    onRequest: may,
    schema: { querystring: Query, response: { 200: Type.String({ description: 'Prometheus text format 0.0.4' }), ...failures } }
  }, async ({ query }, reply) => {
    const text = await metrics.prometheus(query.scope ?? 'instance')
    return reply.type('text/plain; version=0.0.4; charset=utf-8').header('cache-control', 'no-store').send(text)
  })
}
