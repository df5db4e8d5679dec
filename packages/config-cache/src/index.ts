import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { callSafely, mayHaveSiblings } from '@jpulse/plugin-kit'
import { LocalCoherence, RedisCoherence, View, type Coherence, type DocumentClaim } from './coherence/index.ts'
import { invalid } from './checks.ts'
import { ConfigCache, type ChangeListener } from './config-cache.ts'
import { addRoutes } from './http/index.ts'
import { L1, LastKnown, Reads, RedisL2 } from './levels/index.ts'
import { resolveOptions, type FastifyConfigCacheOptions } from './options.ts'
import { addRouteConfig } from './routes/index.ts'
import { Notices } from './notices.ts'
import { memorySource, mongoSource, type ConfigSource, type MongoDatabase } from './sources/index.ts'
import { counters } from './stats.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The cache of this instance. */
    configCache: ConfigCache
  }
}

const HAS_SIBLINGS = 'without Redis only a lone process may cache, and this one is a worker of node:cluster or has NODE_APP_INSTANCE set, as under PM2'
const IS_PRIVATE = ', and documents are in the memory of each process: what one writes the others never see'

const plugin = async (fastify: FastifyInstance, given: FastifyConfigCacheOptions): Promise<void> => {
  const options = resolveOptions(given)
  const log = fastify.log.child({ plugin: '@jpulse/config-cache' })
  const source = options.source ?? defaultSource(fastify)
  const l1 = new L1(options.maxEntries, options.maxBytes)
  const view = new View(l1)
  const counted = counters()
  const notices = new Notices(log, counted)
  let coherence: Coherence
  let l2: RedisL2 | null = null
  let claim: DocumentClaim | null = null
  let nowOfAll = () => Math.floor(performance.timeOrigin + performance.now())
  const isShared = source.isPrivate !== true
  if (fastify.redisLink.state !== 'disabled') {
    if (!isShared && options.whenUnreachable === 'source-fence') throw invalid('whenUnreachable', 'cannot be source-fence where the source is private to the process: no other instance would see the fence')
    const { clock } = fastify.redisLink
    nowOfAll = () => clock.now()
    const clustered = new RedisCoherence(fastify.redisLink, view, source, options, counted, notices, log)
    await clustered.start()
    coherence = clustered
    claim = clustered.claim
    l2 = new RedisL2(clustered.shared, notices, options.redisTimeoutMs, options.generationTtlMs)
  } else {
    const obstacle = options.enabled ? (mayHaveSiblings() ? HAS_SIBLINGS : null) : 'the option enabled is false'
    if (obstacle === HAS_SIBLINGS) log.warn(`nothing is cached: ${obstacle}${isShared ? '' : IS_PRIVATE}`)
    coherence = new LocalCoherence(view, obstacle, options.blockTtlMs)
  }
  const lastKnown = new LastKnown(options.maxEntries, options.maxBytes, counted, l1)
  const reads = new Reads(view, l1, l2, lastKnown, counted, notices, options)
  const listeners = new Set<[ChangeListener]>()
  // Who was given twice hears once, until both are taken away.
  view.onChange = (tags) => { for (const listener of new Set([...listeners].map(([one]) => one))) callSafely((err) => log.error({ err }, 'a listener of onChange failed'), listener, tags) }
  view.onClear = () => lastKnown.clear()
  const held = () => ({ entries: l1.size, bytes: l1.bytes, blocks: view.blocks })
  const cache = new ConfigCache({ options, source, claim, reads, lastKnown, coherence, counters: counted, notices, held, listeners })
  fastify.decorate('configCache', cache)
  fastify.addHook('onClose', () => cache.close())
  addRouteConfig(fastify, reads, { isCaching: () => cache.mode !== 'bypass', now: nowOfAll, unkept: (...what) => notices.unkept(...what), write: (touched, work) => cache.write(touched, work) }, options)
  await addRoutes(fastify, cache, options)
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

export type { Availability, FeatureOptions, GetOptions, Loader, LoadOptions, SetOptions, Touched, Write } from './calls.ts'
export type { ChangeListener, ConfigCache } from './config-cache.ts'
export * from './errors.ts'
export { bucketOf, FeatureSchema, type Feature, type FeatureCondition, type FeatureContext, type FeatureRule, type FeatureShare } from './features/index.ts'
export type { CacheEvents } from './events.ts'
export type { Authorize } from '@jpulse/plugin-kit'
export type { FastifyConfigCacheOptions } from './options.ts'
export type { RouteCacheOptions, RouteInvalidates } from './routes/index.ts'
export { memorySource, mongoSource, watchChanges, type Change, type Changes, type ConfigDocument, type ConfigSource, type LoaderContext, type MongoDatabase, type MongoSourceOptions, type Watched, type Watcher, type WatchOptions, type WatchState } from './sources/index.ts'
export type { CacheMode, CacheStats, Slowest } from './stats.ts'
export { versionOf, type Versions } from './versions.ts'
