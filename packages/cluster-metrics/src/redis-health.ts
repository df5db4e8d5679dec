import { FST_ERR_REDIS_LINK_TIMEOUT, FST_ERR_REDIS_LINK_UNAVAILABLE, type KvMode, type KvStats, type RedisLink } from '@jpulse/redis-link'

/** Answer of `/health/redis`. */
export interface RedisHealth {
  status: 'ok' | 'degraded' | 'error'
  /** Where key-value calls go. */
  mode: KvMode
  stats: KvStats | null
}

/** Whether Redis serves (`ok`), is replaced by memory (`degraded`), or answers with an error (`error`). */
export async function redisHealth (link: RedisLink): Promise<RedisHealth> {
  try {
    if (link.isUp) await link.ping()
    const stats = await link.kv.getStats()
    return { status: link.isUp ? 'ok' : 'degraded', mode: stats.mode, stats }
  } catch (err) {
    const away = err instanceof FST_ERR_REDIS_LINK_UNAVAILABLE || err instanceof FST_ERR_REDIS_LINK_TIMEOUT
    return { status: away ? 'degraded' : 'error', mode: away ? 'memory' : link.kv.getMode(), stats: null }
  }
}
