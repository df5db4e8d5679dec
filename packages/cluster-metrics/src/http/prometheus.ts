import { failures } from '@jpulse/plugin-kit'
import type { FastifyInstance } from 'fastify'
import { Type, type Static } from 'typebox'
import type { ClusterMetrics } from '../cluster-metrics.ts'
import { CONTENT_TYPES, type Format } from '../prometheus/index.ts'
import { INFRASTRUCTURE } from './health.ts'
import type { Guard } from './metrics.ts'

const Query = Type.Object({ scope: Type.Optional(Type.Enum(['instance', 'cluster'])) })

const Exposition = {
  description: 'Prometheus text format 0.0.4, or OpenMetrics 1.0 where it is accepted',
  content: { 'text/plain': { schema: Type.String() }, 'application/openmetrics-text': { schema: Type.String() } }
}

/** What Prometheus scrapes. */
export async function prometheusRoutes (fastify: FastifyInstance, metrics: ClusterMetrics, path: string, may: Guard): Promise<void> {
  fastify.get<{ Querystring: Static<typeof Query> }>(path, {
    ...INFRASTRUCTURE,
    onRequest: may,
    schema: { querystring: Query, response: { 200: Exposition, ...failures } }
  }, async ({ query, headers: { accept } }, reply) => {
    const format = formatOf(accept)
    const text = await metrics.prometheus(query.scope, format)
    return reply.type(CONTENT_TYPES[format]).header('vary', withAccept(reply.getHeader('vary'))).header('cache-control', 'no-store').send(text)
  })
}

/** What the answer varies by beside what the application's own hooks said, such as `Origin`. */
function withAccept (said: number | string | string[] | undefined): string {
  const names = [said ?? []].flat().join(', ')
  if (/(?:^|,)\s*(?:\*|accept)\s*(?:,|$)/i.test(names)) return names
  return names === '' ? 'accept' : `${names}, accept`
}

/** OpenMetrics where the scraper prefers it: Prometheus sends q=0.75 for it and q=0.5 for the text. */
function formatOf (accept = ''): Format {
  const quality = (type: string) => Math.max(-1, ...accept.split(',').map((one) => one.trim().toLowerCase()).filter((one) => one.startsWith(type)).map((one) => Number(/;\s*q=([\d.]+)/.exec(one)?.[1] ?? 1)))
  const open = quality('application/openmetrics-text')
  return open > 0 && open >= quality('text/plain') ? 'openmetrics' : 'prometheus'
}
