import { checkFeature, checkGet, checkLoad, checkWrite, type Feature, type FeatureOptions, type GetOptions, type Loader, type LoadOptions, type Write } from './calls.ts'
import type { Coherence } from './coherence/index.ts'
import { FST_ERR_CONFIG_CACHE_CLOSED, FST_ERR_CONFIG_CACHE_UNCONFIRMED, FST_ERR_CONFIG_CACHE_UNDECIDED, FST_ERR_CONFIG_CACHE_UNKNOWN_COLLECTION, FST_ERR_CONFIG_CACHE_UNREACHABLE } from './errors.ts'
import { checkName, checkOwnKey, checkValues, documentKey, isReserved, listOf, tagsOf, touchedBy } from './names.ts'
import type { ResolvedOptions } from './options.ts'
import type { LastKnown, Reads, Wanted } from './levels/index.ts'
import type { ConfigSource } from './sources/index.ts'
import { isRefusal } from '@jpulse/plugin-kit'
import type { CacheMode, CacheStats, Counters, Held } from './stats.ts'
import { handOn, toText, type Handed } from './values.ts'

const FEATURES = 'features'
const featureKey = (name: string): string => `feature:${name}`

/** The cache of one instance. */
export class ConfigCache {
  readonly #options: ResolvedOptions
  readonly #source: ConfigSource
  readonly #reads: Reads
  readonly #lastKnown: LastKnown
  readonly #coherence: Coherence
  readonly #counters: Counters
  readonly #held: () => Held
  readonly #collections: ReadonlySet<string>
  /** Composed once: joining strings on each hit costs as much as the hit. */
  readonly #keys = new Map<string, Map<string, string>>()
  #closing: Promise<void> | undefined

  constructor (parts: { options: ResolvedOptions, source: ConfigSource, reads: Reads, lastKnown: LastKnown, coherence: Coherence, counters: Counters, held: () => Held }) {
    this.#options = parts.options
    this.#source = parts.source
    this.#reads = parts.reads
    this.#lastKnown = parts.lastKnown
    this.#coherence = parts.coherence
    this.#counters = parts.counters
    this.#held = parts.held
    this.#collections = new Set(parts.options.collections)
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
  get<T = unknown> (key: string, options?: GetOptions): Promise<T> {
    const collection = options?.collection ?? 'config'
    const known = this.#keys.get(collection)?.get(key)
    return ((known === undefined ? undefined : this.#reads.hit(known)) ?? this.#getDocument(collection, key, options)) as Promise<T>
  }

  /**
   * Writes a document. Once resolved, every read that starts later on any instance returns this value or a newer one.
   *
   * @throws FST_ERR_CONFIG_CACHE_INVALID_KEY, FST_ERR_CONFIG_CACHE_UNKNOWN_COLLECTION, FST_ERR_CONFIG_CACHE_INVALID_VALUE,
   * FST_ERR_CONFIG_CACHE_TOO_LARGE before anything is written; those of `write`
   */
  async set (key: string, value: unknown, options?: GetOptions): Promise<void> {
    const collection = this.#checked(options?.collection ?? 'config', key)
    const text = toText(value, this.#options.maxValueBytes)
    await this.#writeDocument(collection, key, text, () => this.#source.save(collection, key, JSON.parse(text)))
  }

  /** Removes a document; whether there was one. Otherwise as `set`. */
  async delete (key: string, options?: GetOptions): Promise<boolean> {
    const collection = this.#checked(options?.collection ?? 'config', key)
    return this.#writeDocument(collection, key, 'null', () => this.#source.remove(collection, key))
  }

  /**
   * The cached value of a key, or what `loader` returns. `undefined` counts as null. What has no JSON form, or more of it than
   * `maxValueBytes`, is returned and not kept. Of one key at most one loader runs in this process at a time; it reads a source that
   * is linearizable, and not its own key. A hit bears all `tags` that are asked for.
   *
   * @throws FST_ERR_CONFIG_CACHE_INVALID_KEY, FST_ERR_CONFIG_CACHE_RESERVED, FST_ERR_CONFIG_CACHE_INVALID_OPTION,
   * FST_ERR_CONFIG_CACHE_LOADER_TIMEOUT, FST_ERR_CONFIG_CACHE_REENTRANT; what the loader throws, which is not cached
   */
  getOrLoad<T = unknown> (key: string, options: LoadOptions, loader: Loader<T>): Promise<T> {
    const hit = this.#reads.hit(key, options.tags)
    return (hit === undefined || isReserved(key) ? this.#load(key, options, loader) : hit) as Promise<T>
  }

  /**
   * Runs database work that changes what the keys and tags stand for, and returns its value. Nobody caches or serves them
   * meanwhile; once resolved, every read that starts later on any instance sees the work. Where the work rejects with
   * anything but an error whose `statusCode` is 4xx, its operation may yet reach the database: nobody caches them for
   * `blockTtlMs` more, counted from its beginning.
   *
   * @throws FST_ERR_CONFIG_CACHE_INVALID_OPTION, FST_ERR_CONFIG_CACHE_INVALID_WRITE, FST_ERR_CONFIG_CACHE_INVALID_KEY,
   * FST_ERR_CONFIG_CACHE_UNREACHABLE, FST_ERR_CONFIG_CACHE_UNDECIDED before the work; what the work or `values` throws; FST_ERR_CONFIG_CACHE_UNCONFIRMED after it
   */
  async write<T> (write: Write<T>, work: () => Promise<T>): Promise<T> {
    const tags = touchedBy(checkWrite(write) as Write<T>)
    const { values, ttlMs = this.#options.redisTtlMs } = write
    if (values === undefined) return this.#write(tags, work)
    const keys = listOf('A key of a write', write.keys)
    if (typeof values !== 'function') checkValues(keys, values)
    return this.#write(tags, work, (result) =>
      handOn(typeof values === 'function' ? values(result) : values, keys, ttlMs, this.#options.maxValueBytes))
  }

  async #writeDocument<T> (collection: string, key: string, text: string, work: () => Promise<T>): Promise<T> {
    const composed = documentKey(collection, key)
    const { l2TtlMs: ttlMs } = this.#wantedDocument(collection, composed)
    return this.#write([composed], work, () => [{ key: composed, tags: [composed], text, ttlMs }])
  }

  async #write<T> (tags: readonly string[], work: () => Promise<T>, handOn?: (value: T) => readonly Handed[]): Promise<T> {
    if (this.#closing !== undefined) throw new FST_ERR_CONFIG_CACHE_CLOSED()
    try {
      const value = await this.#coherence.write(tags, work, handOn)
      this.#counters.writes++
      return value
    } catch (err) {
      if (err instanceof FST_ERR_CONFIG_CACHE_UNREACHABLE || err instanceof FST_ERR_CONFIG_CACHE_UNDECIDED) this.#counters.refused++
      if (err instanceof FST_ERR_CONFIG_CACHE_UNCONFIRMED) this.#counters.unconfirmed++
      throw err
    }
  }

  /** Whether a flag exists and is enabled. @throws as `get`, unless the options have an answer for a source that fails */
  async isFeatureEnabled (name: string, options?: FeatureOptions): Promise<boolean> {
    const { default: otherwise, staleOnError } = checkFeature(options)
    try {
      return (await this.getFeature(name, { staleOnError }))?.enabled === true
    } catch (err) {
      if (otherwise === undefined || isRefusal(err)) throw err
      this.#counters.stale++
      return otherwise
    }
  }

  /** A flag, null where there is none. @throws as `get` */
  getFeature (name: string, options?: Pick<FeatureOptions, 'staleOnError'>): Promise<Readonly<Feature> | null> {
    return this.get(featureKey(name), { collection: FEATURES, staleOnError: options?.staleOnError })
  }

  /** Sets a flag for the whole cluster. @throws as `set` */
  async setFeature (name: string, feature: Feature): Promise<void> {
    await this.set(featureKey(name), feature, { collection: FEATURES })
  }

  /**
   * Loads the documents whose keys match, at most 1000 for each glob; how many it loaded. A glob that begins with the name
   * of a collection and a colon (`features:*`) means that collection, any other means `config`.
   *
   * @throws FST_ERR_CONFIG_CACHE_INVALID_KEY; what the source throws
   */
  async warmup (globs: readonly string[]): Promise<number> {
    let loaded = 0
    for (const glob of globs) {
      checkName('A glob', glob)
      const [collection, rest] = this.#placeOf(glob)
      const documents = await this.#source.list(collection, rest)
      for (let first = 0; first < documents.length; first += 20) {
        await Promise.all(documents.slice(first, first + 20).map(({ key }) => this.get(key, { collection })))
      }
      loaded += documents.length
    }
    return loaded
  }

  /** What this instance counted since its start, and what it holds now. */
  stats (): CacheStats {
    const { l1Hits, l2Hits, joined, loads } = this.#counters
    const reads = l1Hits + l2Hits + joined + loads
    return { ...this.#counters, ...this.#held(), mode: this.mode, reason: this.#coherence.reason, slowest: this.#coherence.slowest, hitRate: reads === 0 ? 0 : (reads - loads) / reads }
  }

  /** Empties this process and, where it answers, Redis and with it every instance. Coherence never needs it. */
  async clear (): Promise<void> {
    await this.#coherence.clear()
  }

  /** Leaves the cluster, within 2 s whatever Redis does. Reads go to the source from then on; writes are refused. */
  close (): Promise<void> {
    this.#closing ??= this.#coherence.close()
    return this.#closing
  }

  async #getDocument (collection: string, key: string, options: GetOptions | undefined): Promise<unknown> {
    const { staleOnError } = checkGet(options)
    this.#checked(collection, key)
    const composed = documentKey(collection, key)
    this.#remember(collection, key, composed)
    const read = this.#reads.hit(composed) ?? this.#reads.miss(this.#wantedDocument(collection, composed), () => this.#source.load(collection, key))
    return staleOnError === true ? this.#lastKnown.or(composed, read) : read
  }

  #wantedDocument (collection: string, composed: string): Wanted {
    return this.#wanted(composed, [composed], { ttlMs: collection === FEATURES ? this.#options.featureTtlMs : undefined })
  }

  async #load<T> (key: string, options: LoadOptions, loader: Loader<T>): Promise<unknown> {
    checkOwnKey(key)
    const given = checkLoad(options)
    const read = this.#reads.miss(this.#wanted(key, tagsOf(key, options.tags), given as LoadOptions), loader)
    return given.staleOnError === true ? this.#lastKnown.or(key, read) : read
  }

  #wanted (key: string, tags: readonly string[], { ttlMs, l2 = true, loaderTimeoutMs }: LoadOptions): Wanted {
    const { ttlMs: hereMs, redisTtlMs, loaderTimeoutMs: longestMs } = this.#options
    return { key, tags, ttlMs: ttlMs ?? hereMs, l2TtlMs: ttlMs ?? redisTtlMs, l2, timeoutMs: loaderTimeoutMs ?? longestMs }
  }

  #checked (collection: string, key: string): string {
    if (!this.#collections.has(collection)) throw new FST_ERR_CONFIG_CACHE_UNKNOWN_COLLECTION(String(collection))
    checkName('The key', key)
    checkName('The key with its collection', documentKey(collection, key))
    return collection
  }

  #remember (collection: string, key: string, composed: string): void {
    const keys = this.#keys.get(collection) ?? new Map<string, string>()
    if (keys.size >= 2 * this.#options.maxEntries) keys.clear()
    keys.set(key, composed)
    this.#keys.set(collection, keys)
  }

  #placeOf (glob: string): [collection: string, glob: string] {
    const colon = glob.indexOf(':')
    const collection = glob.slice(0, colon)
    if (colon < 0 || !this.#collections.has(collection)) return ['config', glob]
    return [collection, collection === FEATURES ? featureKey(glob.slice(colon + 1)) : glob.slice(colon + 1)]
  }
}
