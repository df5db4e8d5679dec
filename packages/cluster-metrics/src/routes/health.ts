import type { FastifyInstance } from 'fastify'
import type { ClusterMetrics } from '../cluster-metrics.ts'
import type { ResolvedOptions } from '../options.ts'
import { redisHealth } from '../redis-health.ts'
import { Health, Live, RedisHealth } from '../schemas.ts'
import { isAuthorized } from './guard.ts'

const REDIS_STATUS = { ok: 200, degraded: 503, error: 500 } as const

/** Readiness, liveness, and Redis alone. Anybody may ask. */
export async function healthRoutes (fastify: FastifyInstance, metrics: ClusterMetrics, { authorize, routePrefix }: ResolvedOptions): Promise<void> {
  const schema = { response: { 200: Health, 503: Health } }
  for (const url of new Set(['/health', `${routePrefix}/health`])) {
    fastify.get(url, { schema }, async (request, reply) => {
      const [health, authorized] = await Promise.all([metrics.internals.health.read(), isAuthorized(authorize, request, fastify.log)])
      reply.code(health.status === 'error' ? 503 : 200).header('cache-control', 'no-store')
      return authorized ? { ...health, instances: await instancesOf(metrics) } : health
    })
  }

  // Depends on nothing: a restart would cure none of what it might depend on.
  fastify.get('/health/live', { schema: { response: { 200: Live } } }, async (_request, reply) => {
    reply.header('cache-control', 'no-store')
    return { status: 'ok' }
  })

  fastify.get('/health/redis', { schema: { response: { 200: RedisHealth, 503: RedisHealth, 500: RedisHealth } } }, async (_request, reply) => {
    const health = await redisHealth(fastify.redisLink)
    reply.code(REDIS_STATUS[health.status]).header('cache-control', 'no-store')
    return health
  })
}

async function instancesOf (metrics: ClusterMetrics) {
  const { servers } = await metrics.aggregate()
  return servers.flatMap(({ serverId, instances }) => instances.map(({ instanceId, bootId, pid, status, uptime, ageMs }) => ({ instanceId, serverId, bootId, pid, status, uptime, ageMs })))
}
