import { checkAvailability, checkFeature, checkFeatureWrite, checkLoad, checkWrite, type Availability, type FeatureOptions, type GetOptions, type Loader, type LoadOptions, type SetOptions, type Write } from './calls.ts'
import { checkFunction } from './checks.ts'
import type { Coherence, DocumentClaim } from './coherence/index.ts'
import { Documents } from './documents.ts'
import { FST_ERR_CONFIG_CACHE_CLOSED, FST_ERR_CONFIG_CACHE_PRIVATE_SOURCE, FST_ERR_CONFIG_CACHE_RESERVED, FST_ERR_CONFIG_CACHE_UNCONFIRMED, FST_ERR_CONFIG_CACHE_UNDECIDED, FST_ERR_CONFIG_CACHE_UNREACHABLE, FST_ERR_CONFIG_CACHE_VERSION_CONFLICT } from './errors.ts'
import { stale } from './events.ts'
import { checkFlag, isOn, type Feature } from './features/index.ts'
import type { LastKnown, Reads, Wanted } from './levels/index.ts'
import { checkOwnKey, checkValues, documentKey, featureKey, FEATURES, isReserved, listOf, tagsOf, touchedBy, type Names } from './names.ts'
import type { Notices } from './notices.ts'
import type { ResolvedOptions } from './options.ts'
import type { ConfigSource } from './sources/index.ts'
import type { CacheMode, CacheStats, Counters, Held } from './stats.ts'
import { shortened } from './time.ts'
import { writtenValues, type WrittenValue } from './values.ts'

/** Hears which keys and tags were changed; null where anything may have been. */
export type ChangeListener = (tags: readonly string[] | null) => void

const IN_FEATURES: GetOptions = Object.freeze({ collection: FEATURES })

/** The cache of one instance. */
export class ConfigCache {
  readonly #options: ResolvedOptions
  readonly #documents: Documents
  readonly #reads: Reads
  readonly #lastKnown: LastKnown
  readonly #coherence: Coherence
  readonly #counters: Counters
  readonly #notices: Notices
  readonly #held: () => Held
  readonly #listeners: Set<[ChangeListener]>
  #closing: Promise<void> | undefined

  constructor (parts: { options: ResolvedOptions, source: ConfigSource, claim: DocumentClaim | null, reads: Reads, lastKnown: LastKnown, coherence: Coherence, counters: Counters, notices: Notices, held: () => Held, listeners: Set<[ChangeListener]> }) {
    this.#options = parts.options
    this.#listeners = parts.listeners
    this.#reads = parts.reads
    this.#lastKnown = parts.lastKnown
    this.#coherence = parts.coherence
    this.#counters = parts.counters
    this.#notices = parts.notices
    this.#held = parts.held
    const { claim } = parts
    this.#documents = new Documents(parts.options, parts.source, parts.reads, parts.lastKnown, {
      write: (tags, work, valuesOf) => this.#write(tags, work, valuesOf, claim),
      willChange: () => claim?.keep(),
      forLoad: async () => { await claim?.forLoad().catch((err: Error) => this.#foreign(err)) }
    })
  }

  /** How reads are answered at this moment. */
  get mode (): CacheMode {
    return this.#coherence.mode
  }

  /**
   * A document's value, null where there is none. What it returns cannot be changed.
   *
   * @throws FST_ERR_CONFIG_CACHE_INVALID_KEY, FST_ERR_CONFIG_CACHE_UNKNOWN_COLLECTION, FST_ERR_CONFIG_CACHE_INVALID_OPTION,
   * FST_ERR_CONFIG_CACHE_LOADER_TIMEOUT; what the source throws
   */
  get<T = unknown> (key: string, options?: GetOptions): Promise<T | null> {
    return this.#documents.get(key, options) as Promise<T | null>
  }

  /**
   * Writes a document. Once resolved, every read that starts later on any instance returns this value or a newer one.
   *
   * @throws FST_ERR_CONFIG_CACHE_INVALID_KEY, FST_ERR_CONFIG_CACHE_UNKNOWN_COLLECTION, FST_ERR_CONFIG_CACHE_INVALID_OPTION,
   * FST_ERR_CONFIG_CACHE_INVALID_VALUE, FST_ERR_CONFIG_CACHE_INVALID_FEATURE (of a flag in the collection `features`), FST_ERR_CONFIG_CACHE_TOO_LARGE,
   * FST_ERR_CONFIG_CACHE_UNSUPPORTED, FST_ERR_CONFIG_CACHE_PRECONDITION_REQUIRED, FST_ERR_CONFIG_CACHE_PRIVATE_SOURCE before anything is written;
   * FST_ERR_CONFIG_CACHE_VERSION_CONFLICT where the document is not of `ifVersion`; those of `write`
   */
  async set (key: string, value: unknown, options?: SetOptions): Promise<void> {
    await this.#documents.set(key, value, options)
  }

  /** Removes a document; whether there was one. Otherwise as `set`. */
  async delete (key: string, options?: SetOptions): Promise<boolean> {
    return this.#documents.delete(key, options)
  }

  /**
   * The cached value of a key, or what `loader` returns. `undefined` counts as null. What has no JSON form, or more of it than
   * `maxValueBytes`, is returned and not kept. Of one key at most one loader runs in this process at a time; it reads a source that
   * is linearizable, and not its own key. A hit bears all `tags` that are asked for.
   *
   * @throws FST_ERR_CONFIG_CACHE_INVALID_KEY, FST_ERR_CONFIG_CACHE_RESERVED, FST_ERR_CONFIG_CACHE_INVALID_OPTION,
   * FST_ERR_CONFIG_CACHE_LOADER_TIMEOUT, FST_ERR_CONFIG_CACHE_REENTRANT; what the loader throws, which is not cached
   */
  getOrLoad<T = unknown> (key: string, options: LoadOptions<T>, loader: Loader<T>): Promise<T> {
    const hit = this.#reads.hit(key, options?.tags)
    return (hit === undefined || options?.staleOnError === true || isReserved(key) ? this.#load(key, options as LoadOptions, loader, hit) : hit) as Promise<T>
  }

  /**
   * What `getOrLoad` would return at this moment without waiting: the value, where this process holds it and has a lease, else
   * undefined, and then `getOrLoad` is asked. It is as current as what that returns, for who uses it now: it is the same look.
   *
   * @param tags as those of `getOrLoad`
   * @throws FST_ERR_CONFIG_CACHE_RESERVED
   */
  peek<T = unknown> (key: string, tags?: Names): T | undefined {
    if (isReserved(key)) throw new FST_ERR_CONFIG_CACHE_RESERVED(key)
    return this.#reads.entry(key, tags)?.value as T | undefined
  }

  /**
   * Runs database work that changes what the keys and tags stand for, and returns its value. Nobody caches or serves them
   * meanwhile; once resolved, every read that starts later on any instance sees the work. Where the work rejects with
   * anything but an error whose `statusCode` is 4xx (not 408, 499, nor a lock of redis-link that was lost), its operation may yet reach the database: nobody caches them for
   * `blockTtlMs` more, counted from its beginning.
   *
   * @throws FST_ERR_CONFIG_CACHE_INVALID_OPTION, FST_ERR_CONFIG_CACHE_INVALID_WRITE, FST_ERR_CONFIG_CACHE_INVALID_KEY,
   * FST_ERR_CONFIG_CACHE_UNREACHABLE, FST_ERR_CONFIG_CACHE_UNDECIDED before the work; what the work or `values` throws; FST_ERR_CONFIG_CACHE_UNCONFIRMED after it
   */
  async write<T> (write: Write<T>, work: () => Promise<T>): Promise<T> {
    const tags = touchedBy(checkWrite(write) as Write<T>)
    checkFunction('work', work)
    const { values, ttlMs = this.#options.redisTtlMs } = write
    if (values === undefined) return this.#write(tags, work)
    const keys = listOf('A key of a write', write.keys)
    if (typeof values !== 'function') checkValues(keys, values)
    return this.#write(tags, work, (result) =>
      writtenValues(typeof values === 'function' ? values(result) : values, keys, ttlMs, this.#options.maxValueBytes))
  }

  /**
   * Drops what depends on keys and tags that were changed by somebody else, before this was called: a write whose work is done.
   * Once resolved, every read that starts later on any instance is from after this call.
   *
   * @throws as `write`; FST_ERR_CONFIG_CACHE_UNREACHABLE where nothing was dropped
   */
  async invalidate (tags: Names): Promise<void> {
    await this.#write(touchedBy({ tags }), async () => {})
  }

  /**
   * As `write`, for work that itself makes sure, in the step in which it changes something, that no other instance has a copy: only
   * this process is told. @internal
   */
  writeHere<T> ({ tags }: { tags: Names }, work: () => Promise<T>): Promise<T> {
    return this.#coherence.writeHere(touchedBy({ tags }), work)
  }

  async #write<T> (tags: readonly string[], work: () => Promise<T>, valuesOf?: (value: T) => readonly WrittenValue[], claim: DocumentClaim | null = null): Promise<T> {
    if (this.#closing !== undefined) throw new FST_ERR_CONFIG_CACHE_CLOSED()
    try {
      const write = () => this.#coherence.write(tags, work, valuesOf === undefined ? undefined : (value) => this.#jittered(valuesOf(value)))
      const value = await (claim === null ? write() : claim.during(write))
      this.#counters.writes++
      return value
    } catch (err) {
      if (err instanceof FST_ERR_CONFIG_CACHE_UNREACHABLE || err instanceof FST_ERR_CONFIG_CACHE_UNDECIDED) this.#notices.refused(tags, err.message)
      else if (err instanceof FST_ERR_CONFIG_CACHE_PRIVATE_SOURCE) this.#notices.refusedForeign(tags, err.message)
      else if (err instanceof FST_ERR_CONFIG_CACHE_UNCONFIRMED) this.#notices.unconfirmed(tags, err.message)
      else if (err instanceof FST_ERR_CONFIG_CACHE_VERSION_CONFLICT) this.#counters.conflicts++
      throw err
    }
  }

  #foreign (err: Error): never {
    this.#notices.foreign(err.message)
    throw err
  }

  #jittered (written: readonly WrittenValue[]): WrittenValue[] {
    return written.map((one) => ({ ...one, ttlMs: shortened(one.ttlMs, this.#options.ttlJitter) }))
  }

  /**
   * Whether a flag exists and is on for the context. One with variants that are no booleans is on where it is enabled.
   *
   * @throws as `get`, also where there is no `name`, and FST_ERR_CONFIG_CACHE_BROKEN_FEATURE of a definition that was written unchecked, behind the cache or by an older release; neither where there is a `default`
   */
  async isFeatureEnabled (name: string, options?: FeatureOptions): Promise<boolean> {
    if (options === undefined) return isOn(name, (await this.get(featureKey(name), IN_FEATURES)) as Feature | null)
    const { default: enabled, context, ...how } = checkFeature(options)
    const fallback = enabled === undefined ? undefined : { defaultValue: { value: { enabled } } }
    const feature = await this.#documents.get(featureKey(name), { ...how, collection: FEATURES }, fallback) as Feature | null
    try {
      return isOn(name, feature, context)
    } catch (err) {
      if (enabled === undefined) throw err
      this.#counters.stale++
      stale.publish({ key: documentKey(FEATURES, featureKey(name)), err })
      return enabled
    }
  }

  /** A flag, null where there is none. @throws as `get` */
  async getFeature (name: string, options?: Availability): Promise<Readonly<Feature> | null> {
    return this.get(featureKey(name), options === undefined ? IN_FEATURES : { ...checkAvailability(options), collection: FEATURES })
  }

  /** As `getFeature`, for who has to say which answers are old. @internal @param onStale hears that this read was answered with what was before */
  async readFeature (name: string, options: Availability, onStale: () => void): Promise<Readonly<Feature> | null> {
    return await this.#documents.get(featureKey(name), { ...options, collection: FEATURES }, { onStale }) as Readonly<Feature> | null
  }

  /** Sets a flag for the whole cluster. @throws as `set`; FST_ERR_CONFIG_CACHE_INVALID_FEATURE where its rules, variants or shares are impossible */
  async setFeature (name: string, feature: Feature, options?: Pick<SetOptions, 'ifVersion'>): Promise<void> {
    checkFlag(feature)
    await this.set(featureKey(name), feature, { ...options === undefined ? {} : checkFeatureWrite(options) && options, collection: FEATURES })
  }

  /**
   * Loads the documents whose keys match, at most 1000 for each glob; how many it loaded. A glob that begins with the name
   * of a collection and a colon (`features:*`) means that collection, any other means `config`. A text is one glob. It loads none while
   * another process has the documents of a private source.
   *
   * @throws FST_ERR_CONFIG_CACHE_INVALID_KEY; what the source throws
   */
  warmup (globs: Names): Promise<number> {
    return this.#documents.warmup(globs)
  }

  /**
   * Calls `listener` when this instance learns that a write anywhere in the cluster has ended, with its keys and tags (`config:<collection>:<key>` for a document), or with null
   * where messages may have been missed and anything may have changed. A notification, for who wants to act on a change; reads are current without it.
   * Returns what ends it.
   */
  onChange (listener: ChangeListener): () => void {
    checkFunction('listener', listener)
    const entry: [ChangeListener] = [listener]
    this.#listeners.add(entry)
    return () => { this.#listeners.delete(entry) }
  }

  /** What this instance counted since its start, and what it holds now. */
  stats (): CacheStats {
    const { l1Hits, l2Hits, joined, loads } = this.#counters
    const reads = l1Hits + l2Hits + joined + loads
    return { ...this.#counters, ...this.#held(), mode: this.mode, reason: this.#coherence.reason, slowest: this.#coherence.slowest, hitRate: reads === 0 ? 0 : (reads - loads) / reads }
  }

  /**
   * Forgets everything that was loaded: this process, Redis, every other instance, and the last known values of `staleOnError`. An
   * instance that is cut off forgets when it is back, but for last known values where Redis lost its state meanwhile; one with `enabled: false` hears of no clear but its own. Coherence never needs it.
   *
   * @throws FST_ERR_CONFIG_CACHE_NOT_CLEARED where Redis is away: then only this process has forgotten
   */
  async clear (): Promise<void> {
    await this.#coherence.clear()
  }

  /**
   * Leaves the cluster, within 2 s whatever Redis does. Writes under way have half a second to end; what lasts longer may reject as unconfirmed.
   * Reads go to the source from then on; further writes are refused.
   */
  close (): Promise<void> {
    this.#closing ??= this.#coherence.close()
    return this.#closing
  }

  async #load<T> (key: string, options: LoadOptions, loader: Loader<T>, hit: Promise<unknown> | undefined): Promise<unknown> {
    checkOwnKey(key)
    const given = checkLoad(options) as LoadOptions
    checkFunction('loader', loader)
    const read = hit ?? this.#reads.miss(this.#wanted(key, given), loader)
    return given.staleOnError === true ? this.#lastKnown.or(key, read, { lastKnown: true, softTimeoutMs: given.loaderSoftTimeoutMs }) : read
  }

  #wanted (key: string, { tags, ttlMs, l2 = true, remembered, loaderTimeoutMs }: LoadOptions): Wanted {
    const own = typeof ttlMs === 'number' ? ttlMs : undefined
    return {
      key,
      tags: tagsOf(key, tags),
      ttlMs: own ?? this.#options.ttlMs,
      l2TtlMs: own ?? this.#options.redisTtlMs,
      ttlOf: typeof ttlMs === 'function' ? ttlMs : undefined,
      isOwn: ttlMs !== undefined,
      l2,
      timeoutMs: loaderTimeoutMs ?? this.#options.loaderTimeoutMs,
      isForgotten: remembered === false
    }
  }
}
