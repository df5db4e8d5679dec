import { isOneOfSeveral } from '@jpulse/plugin-kit'
import type { FastifyBaseLogger, FastifyInstance } from 'fastify'
import { BackedStore } from './backup/backed-store.ts'
import { BackupJob } from './backup/backup-job.ts'
import { FST_ERR_REDIS_SESSIONS_INVALID_OPTION } from './errors.ts'
import type { ResolvedOptions } from './options.ts'
import { FallbackStore } from './stores/fallback-store.ts'
import { MemoryStore } from './stores/memory-store.ts'
import { Copies } from './stores/redis/copies.ts'
import { Keys } from './stores/redis/keys.ts'
import { LocalRedisStore, type CoherentCache } from './stores/redis/local-redis-store.ts'
import { RedisStore } from './stores/redis/redis-store.ts'
import type { SessionStore } from './stores/store.ts'

/** Longer than a restoration takes between reading the backup and writing to Redis, and than most retries of the moves after an outage. */
const TOMBSTONE_MS = 60_000

/** Why a cache is none for as long as it lives, as its statistics say. */
const SWITCHED_OFF = 'the option enabled is false'

/** The store that the options and the link ask for. */
export function makeStore (fastify: FastifyInstance, options: ResolvedOptions, log: FastifyBaseLogger): SessionStore {
  const { redisLink } = fastify
  const { name, backup, onUnavailable, localReads } = options
  if (redisLink.state === 'disabled') {
    if (backup !== undefined) log.warn('the option backup needs Redis, which is not configured: sessions are in this process only')
    if (isOneOfSeveral()) log.warn('Redis is not configured, and this process is one of several: each has sessions of its own, so a visitor is logged out at the next worker. Set REDIS_URL, or the option url of @jpulse/redis-link')
    return new MemoryStore(options)
  }
  const keys = new Keys((...parts) => redisLink.key(...parts), name)
  const own = [redisLink, keys, options, backup === undefined && onUnavailable === 'error' ? 0 : TOMBSTONE_MS] as const
  const redis = localReads === false ? new RedisStore(...own) : new LocalRedisStore(cacheOf(fastify, localReads, log), new Copies(name, localReads === true), ...own)
  let store: SessionStore = redis
  if (backup !== undefined) {
    const job = new BackupJob(redisLink, keys, redis, backup, log)
    store = new BackedStore(redis, backup, job, options, log, () => job.close())
  }
  return onUnavailable === 'memory' ? new FallbackStore(store, redisLink, options, log, TOMBSTONE_MS) : store
}

/** @throws FST_ERR_REDIS_SESSIONS_INVALID_OPTION */
function cacheOf (fastify: FastifyInstance, localReads: true | 'prepare', log: FastifyBaseLogger): CoherentCache {
  if (!fastify.hasDecorator('configCache')) throw new FST_ERR_REDIS_SESSIONS_INVALID_OPTION('localReads', 'needs @jpulse/config-cache, registered before')
  const { configCache } = fastify as unknown as { configCache: CoherentCache & { stats (): { reason: string | null } } }
  if (localReads === true && configCache.stats().reason === SWITCHED_OFF) {
    log.warn(`localReads has no effect, because @jpulse/config-cache keeps nothing: ${SWITCHED_OFF}, there or by CACHE_ENABLED. Sessions are read from Redis`)
  }
  return configCache
}
