import { Type, type Static } from 'typebox'
import { callback, opaque, type Authorize } from '@jpulse/plugin-kit'
import { checkerOf, invalid, Ms } from './checks.ts'
import type { ConfigSource } from './sources/index.ts'

/** Options of the plugin. All instances of a site must be given the same `whenUnreachable`. */
export interface FastifyConfigCacheOptions {
  /** Where the documents live. @default `mongoSource(fastify.mongo.db)` where @fastify/mongodb is registered, else `memorySource()` */
  source?: ConfigSource
  /** Collections of the source that may be asked for. `features` holds the flags. @default ['config', 'features'] */
  collections?: string[]
  /** Whether this instance caches. Where not, its reads go to the source and its writes still keep the others coherent. @default true, false where CACHE_ENABLED is 'false' or '0' */
  enabled?: boolean | undefined
  /** Longest life of a value in this process, in milliseconds, at least 1. Coherence does not depend on it. @default 300000 */
  ttlMs?: number | undefined
  /** Longest life of a value in Redis, in milliseconds, at least 1. @default 600000 */
  redisTtlMs?: number | undefined
  /** Longest life of a feature flag on both levels, in milliseconds, at least 1. @default 60000 */
  featureTtlMs?: number | undefined
  /** Largest random share, 0 to 1, that is taken off the TTL of a value, so that values loaded together do not expire together. @default 0.1 */
  ttlJitter?: number | undefined
  /** Most values in this process. @default 10000 */
  maxEntries?: number | undefined
  /**
   * Most bytes of values in this process, with their keys and tags, by the length of their JSON. Last known values for `staleOnError` take as
   * many again at most. @default 67108864 (64 MiB)
   */
  maxBytes?: number | undefined
  /** Longest JSON of one value that is kept, in bytes. @default 1048576 (1 MiB) */
  maxValueBytes?: number | undefined
  /** How long an instance may serve its values without hearing from Redis, in milliseconds, 200 to 60000. A write waits at most this long for a silent instance. @default 1000 */
  leaseMs?: number | undefined
  /** How long a write whose process died keeps its keys uncached, and how long nothing is cached after Redis lost its state, in milliseconds, 500 to 600000. Longer than the longest database operation. @default 10000 */
  blockTtlMs?: number | undefined
  /** Longest wait for the value in Redis before the source is asked, in milliseconds, at least 1. @default 250 */
  redisTimeoutMs?: number | undefined
  /** Longest run of a loader, in milliseconds; then the reads that wait for it reject and its signal is aborted. @default 30000 */
  loaderTimeoutMs?: number | undefined
  /**
   * An instance whose event loop stands still for longer than this, in milliseconds, for more than half of the time, caches
   * nothing and leaves the list of members, so that no writer waits for it, until it runs again. 0: it never leaves. @default 100
   */
  maxStallMs?: number | undefined
  /** Longest wait until the cluster is safe for a write, in milliseconds; then the write is refused. More than `leaseMs`; a silent instance with a longer lease is waited for all the same. @default leaseMs + 2000 */
  writeTimeoutMs?: number | undefined
  /** Longest wait for Redis after the database was written, in milliseconds; then the write rejects as unconfirmed. @default 5000 */
  confirmTimeoutMs?: number | undefined
  /** What a write does while Redis is away: `reject`, or `source-fence`, which turns all caches off through a document in the source, and writes on. @default 'reject' */
  whenUnreachable?: 'reject' | 'source-fence'
  /** Collection of the source for the documents of `source-fence`. @default 'cache_fences' */
  fenceCollection?: string | undefined
  /** Start of the paths of the HTTP routes. @default '/api/1' */
  routePrefix?: string | undefined
  /** Who may use the HTTP routes. Without it only `<routePrefix>/cache/health` exists. */
  authorize?: Authorize
  /** Whether requests that write documents or flags must say by `If-Match` or `If-None-Match` what they have seen, and are answered 428 without. @default false */
  requireIfMatch?: boolean | undefined
}

/** What the rest of the plugin works with. */
export type ResolvedOptions = Readonly<Required<Omit<FastifyConfigCacheOptions, 'source' | 'authorize'>>> & {
  readonly source?: ConfigSource
  readonly authorize?: Authorize
  /** Life of a tag's generation in Redis. */
  readonly generationTtlMs: number
}

const Count = Type.Optional(Type.Integer({ minimum: 1 }))
const Name = Type.String({ pattern: '^[A-Za-z0-9_.-]{1,64}$', wanted: 'a name of 1 to 64 letters, digits, dots, dashes and underscores' })

const SOURCE_METHODS = ['load', 'save', 'remove', 'list'] as const

const Schema = Type.Object({
  source: Type.Optional(opaque<ConfigSource>(`an object with the methods ${SOURCE_METHODS.join(', ')}`,
    (value) => SOURCE_METHODS.every((method) => typeof (value as ConfigSource | null)?.[method] === 'function'))),
  collections: Type.Optional(Type.Array(Name, { minItems: 1 })),
  enabled: Type.Optional(Type.Boolean()),
  ttlMs: Ms(1),
  redisTtlMs: Ms(1),
  featureTtlMs: Ms(1),
  ttlJitter: Type.Optional(Type.Number({ minimum: 0, maximum: 1 })),
  maxEntries: Count,
  maxBytes: Count,
  maxValueBytes: Count,
  leaseMs: Ms(200, 60_000),
  blockTtlMs: Ms(500, 600_000),
  redisTimeoutMs: Ms(1, 60_000),
  loaderTimeoutMs: Ms(1, 3_600_000),
  maxStallMs: Ms(0, 60_000),
  writeTimeoutMs: Ms(1, 600_000),
  confirmTimeoutMs: Ms(1, 600_000),
  whenUnreachable: Type.Optional(Type.Enum(['reject', 'source-fence'])),
  fenceCollection: Type.Optional(Name),
  routePrefix: Type.Optional(Type.String({ pattern: '^(/[A-Za-z0-9_.~-]+)*$', wanted: 'a path such as /api/1, without a slash at its end' })),
  authorize: Type.Optional(callback<Authorize>()),
  requireIfMatch: Type.Optional(Type.Boolean())
}, { additionalProperties: false })

const check = checkerOf(Schema)

/**
 * Checks the options once and returns a frozen copy with every default.
 *
 * @throws FST_ERR_CONFIG_CACHE_INVALID_OPTION naming the option
 */
export function resolveOptions (options: FastifyConfigCacheOptions = {}): ResolvedOptions {
  const given: Static<typeof Schema> = check(options)
  const { source, authorize, ...plain } = given
  const { leaseMs = 1000, redisTtlMs = 600_000 } = plain
  const writeTimeoutMs = plain.writeTimeoutMs ?? leaseMs + 2000
  if (writeTimeoutMs <= leaseMs) throw invalid('writeTimeoutMs', 'must be more than leaseMs')
  return Object.freeze({
    ttlMs: 300_000,
    featureTtlMs: 60_000,
    ttlJitter: 0.1,
    maxEntries: 10_000,
    maxBytes: 64 * 1024 * 1024,
    maxValueBytes: 1024 * 1024,
    blockTtlMs: 10_000,
    redisTimeoutMs: 250,
    loaderTimeoutMs: 30_000,
    maxStallMs: 100,
    confirmTimeoutMs: 5000,
    whenUnreachable: 'reject',
    fenceCollection: 'cache_fences',
    routePrefix: '/api/1',
    requireIfMatch: false,
    enabled: !['false', '0'].includes(process.env.CACHE_ENABLED ?? ''),
    ...plain,
    collections: Object.freeze([...plain.collections ?? ['config', 'features']]) as string[],
    leaseMs,
    redisTtlMs,
    writeTimeoutMs,
    ...(source === undefined ? {} : { source }),
    ...(authorize === undefined ? {} : { authorize }),
    generationTtlMs: 2 * redisTtlMs
  })
}
