import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { isAlone } from './alone.ts'
import { ConfigCache } from './config-cache.ts'
import { L1 } from './l1.ts'
import { LocalCoherence } from './local-coherence.ts'
import { memorySource } from './memory-source.ts'
import { mongoSource, type MongoDatabase } from './mongo-source.ts'
import { resolveOptions, type FastifyConfigCacheOptions, type ResolvedOptions } from './options.ts'
import { Reads } from './reads.ts'
import { addRouteCache } from './route-cache.ts'
import type { CoherentWrites } from './route-options.ts'
import { addRouteWrites } from './route-writes.ts'
import { addRoutes } from './routes.ts'
import { RedisCoherence } from './redis-coherence.ts'
import type { ConfigSource } from './source.ts'
import { counters } from './stats.ts'
import { View } from './view.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The cache of this instance. */
    configCache: ConfigCache
  }
}

const plugin = async (fastify: FastifyInstance, given: FastifyConfigCacheOptions): Promise<void> => {
  const options = resolveOptions(given)
  const log = fastify.log.child({ plugin: '@jpulse/config-cache' })
  const source = options.source ?? defaultSource(fastify)
  const l1 = new L1(options.maxEntries, options.maxBytes)
  const view = new View(l1)
  const coherence = await makeCoherence(fastify, view, l1, source, options, log)
  const counted = counters()
  const reads = new Reads(view, l1, coherence instanceof RedisCoherence ? coherence.l2 : null, counted, options.maxValueBytes)
  const cache = new ConfigCache({ options, source, reads, coherence, counters: counted })
  fastify.decorate('configCache', cache)
  fastify.addHook('onClose', () => cache.close())
  const writes: CoherentWrites = { isCaching: () => cache.mode !== 'bypass', write: (touched, work) => cache.write(touched, work) }
  addRouteCache(fastify, reads, writes, options)
  addRouteWrites(fastify, writes)
  await addRoutes(fastify, cache, options)
}

async function makeCoherence (fastify: FastifyInstance, view: View, l1: L1, source: ConfigSource, options: ResolvedOptions, log: FastifyInstance['log']) {
  if (fastify.redisLink.state !== 'disabled') {
    const coherence = new RedisCoherence(fastify.redisLink, view, l1, source, options, log)
    await coherence.start()
    return coherence
  }
  const alone = isAlone()
  if (options.enabled && !alone) log.warn('nothing is cached: this process has siblings, and only Redis could keep them coherent')
  return new LocalCoherence(view, l1, options.enabled && alone, options.blockTtlMs)
}

function defaultSource (fastify: FastifyInstance): ConfigSource {
  const mongo: unknown = fastify.hasDecorator('mongo') ? (fastify as unknown as { mongo: unknown }).mongo : undefined
  const db = (mongo as { db?: MongoDatabase } | undefined)?.db
  return db === undefined ? memorySource() : mongoSource(db)
}

/**
 * Decorates the application with `fastify.configCache`: a cache in this process, in Redis and over a source, of which no
 * instance ever reads what was before a write that resolved. Needs @jpulse/redis-link, with or without a Redis.
 */
export const configCache = fp(plugin, {
  name: '@jpulse/config-cache',
  fastify: '5.x',
  dependencies: ['@jpulse/redis-link']
})

export default configCache

export * from './errors.ts'
export { memorySource } from './memory-source.ts'
export { mongoSource, type MongoDatabase, type MongoSourceOptions } from './mongo-source.ts'
export type { ConfigCache, Feature, GetOptions, LoadOptions, Touched, Write } from './config-cache.ts'
export type { Authorize, FastifyConfigCacheOptions } from './options.ts'
export type { RouteCacheOptions, RouteInvalidates } from './route-options.ts'
export type { ConfigDocument, ConfigSource } from './source.ts'
export type { CacheMode, CacheStats } from './stats.ts'
