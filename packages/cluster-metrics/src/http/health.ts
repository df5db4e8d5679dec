import { FST_ERR_REDIS_LINK_TIMEOUT, FST_ERR_REDIS_LINK_UNAVAILABLE, type KvMode, type KvStats, type RedisLink } from '@jpulse/redis-link'
import { isAuthorized } from '@jpulse/plugin-kit'
import type { FastifyContextConfig, FastifyInstance } from 'fastify'
import type { HealthChecks } from '../application/index.ts'
import type { ClusterMetrics } from '../cluster-metrics.ts'
import type { ResolvedOptions } from '../options.ts'
import { Health, Live, RedisState } from './schemas.ts'

/**
 * For routes that load balancers, orchestrators and scrapers call: @fastify/rate-limit leaves them alone, since a probe that
 * is answered 429 ends a healthy process, and they are not in the log of requests.
 */
export const INFRASTRUCTURE = { config: { rateLimit: false } as FastifyContextConfig, logLevel: 'warn' } as const

const REDIS_STATUS = { ok: 200, degraded: 503, error: 500 } as const

/** Readiness, liveness, and Redis alone. Anybody may ask. */
export async function healthRoutes (fastify: FastifyInstance, metrics: ClusterMetrics, health: HealthChecks, { authorize, routePrefix, checkTimeoutMs }: ResolvedOptions): Promise<void> {
  const schema = { response: { 200: Health, 503: Health } }
  for (const url of new Set(['/health', `${routePrefix}/health`])) {
    fastify.get(url, { ...INFRASTRUCTURE, schema }, async (request, reply) => {
      const [seen, authorized] = await Promise.all([health.read(), isAuthorized(authorize, request, checkTimeoutMs)])
      reply.code(seen.status === 'error' ? 503 : 200).header('cache-control', 'no-store')
      return authorized ? { ...seen, instances: await instancesOf(metrics) } : seen
    })
  }

  // Depends on nothing: a restart would cure none of what it might depend on.
  fastify.get('/health/live', { ...INFRASTRUCTURE, schema: { response: { 200: Live } } }, async (_request, reply) => {
    reply.header('cache-control', 'no-store')
    return { status: 'ok' }
  })

  fastify.get('/health/redis', { ...INFRASTRUCTURE, schema: { response: { 200: RedisState, 503: RedisState, 500: RedisState } } }, async (_request, reply) => {
    const health = await redisHealth(fastify.redisLink)
    reply.code(REDIS_STATUS[health.status]).header('cache-control', 'no-store')
    return health
  })
}

async function instancesOf (metrics: ClusterMetrics) {
  const { servers } = await metrics.aggregate()
  return servers.flatMap(({ serverId, instances }) => instances.map(({ instanceId, bootId, pid, status, uptime, ageMs }) => ({ instanceId, serverId, bootId, pid, status, uptime, ageMs })))
}

/** Answer of `/health/redis`. */
interface RedisHealth {
  status: 'ok' | 'degraded' | 'error'
  /** Where key-value calls go. */
  mode: KvMode
  stats: KvStats | null
}

/** Whether Redis serves (`ok`), is replaced by memory (`degraded`), or answers with an error (`error`). */
async function redisHealth (link: RedisLink): Promise<RedisHealth> {
  try {
    if (link.isUp) await link.ping()
    const stats = await link.kv.getStats()
    return { status: link.isUp ? 'ok' : 'degraded', mode: stats.mode, stats }
  } catch (err) {
    const away = err instanceof FST_ERR_REDIS_LINK_UNAVAILABLE || err instanceof FST_ERR_REDIS_LINK_TIMEOUT
    return { status: away ? 'degraded' : 'error', mode: away ? 'memory' : link.kv.getMode(), stats: null }
  }
}
