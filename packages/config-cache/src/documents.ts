import { textOf } from '@jpulse/plugin-kit'
import { checkGet, checkSet, type GetOptions, type SetOptions } from './calls.ts'
import { FST_ERR_CONFIG_CACHE_INVALID_KEY, FST_ERR_CONFIG_CACHE_INVALID_VALUE, FST_ERR_CONFIG_CACHE_PRECONDITION_REQUIRED, FST_ERR_CONFIG_CACHE_PRIVATE_SOURCE, FST_ERR_CONFIG_CACHE_UNKNOWN_COLLECTION, FST_ERR_CONFIG_CACHE_UNSUPPORTED, FST_ERR_CONFIG_CACHE_VERSION_CONFLICT } from './errors.ts'
import type { Fallback, LastKnown, Reads, Wanted } from './levels/index.ts'
import { checkFlag } from './features/index.ts'
import { checkName, documentKey, featureKey, FEATURES, isFlagKey, listOf, type Names } from './names.ts'
import type { ResolvedOptions } from './options.ts'
import type { ConfigSource, LoaderContext } from './sources/index.ts'
import { toStoredText, type WrittenValue } from './values.ts'
import { isOf, type Versions } from './versions.ts'

const CONFIG = 'config'
/** Of `maxBytes`, for names of documents that were composed. */
const SHARE_OF_NAMES = 1 / 16

/** What documents need of the cache. */
export interface Access {
  /** A coherent write of one entry, which knows what that is afterwards. */
  write<T> (tags: readonly string[], work: () => Promise<T>, valuesOf: () => readonly WrittenValue[]): Promise<T>
  /** Within a write, where the source is about to change, or may have. */
  willChange (): void
  /** Before a load: rejects where the documents are in another process. */
  forLoad (): Promise<void>
}

/** The documents of the source, read and written through the cache. */
export class Documents {
  readonly #options: ResolvedOptions
  readonly #source: ConfigSource
  readonly #reads: Reads
  readonly #lastKnown: LastKnown
  readonly #access: Access
  readonly #collections: ReadonlySet<string>
  /** Composed once: joining strings on each hit costs as much as the hit. */
  readonly #keys = new Map<string, Map<string, string>>()
  #nameBytes = 0

  constructor (options: ResolvedOptions, source: ConfigSource, reads: Reads, lastKnown: LastKnown, access: Access) {
    this.#options = options
    this.#source = source
    this.#reads = reads
    this.#lastKnown = lastKnown
    this.#access = access
    this.#collections = new Set(options.collections)
  }

  get (key: string, options: GetOptions | undefined, fallback?: Pick<Fallback, 'defaultValue' | 'onStale'>): Promise<unknown> {
    const collection = options?.collection ?? CONFIG
    const known = this.#keys.get(collection)?.get(key)
    const hit = known === undefined ? undefined : this.#reads.hit(known)
    return hit !== undefined && options?.staleOnError !== true ? hit : this.#read(collection, key, options, hit, fallback)
  }

  async set (key: string, value: unknown, options: SetOptions | undefined): Promise<void> {
    const { collection = CONFIG, ifVersion } = checked(options)
    const composed = this.#checked(collection, key)
    const text = toStoredText(value, this.#options.maxValueBytes)
    // Such as undefined or NaN: whoever means null says so.
    if (text === 'null' && value !== null) throw new FST_ERR_CONFIG_CACHE_INVALID_VALUE(`${textOf(value)} has no JSON form but null`)
    if (collection === FEATURES) checkDocumentOfFlags(composed, JSON.parse(text))
    const work = this.#workOf(collection, key, ifVersion, JSON.parse(text)) ?? (() => this.#save(collection, key, JSON.parse(text)))
    await this.#writeText<unknown>(collection, composed, text, work)
  }

  async delete (key: string, options: SetOptions | undefined): Promise<boolean> {
    const { collection = CONFIG, ifVersion } = checked(options)
    const composed = this.#checked(collection, key)
    const work = this.#workOf(collection, key, ifVersion, undefined) ?? (() => this.#remove(collection, key))
    return this.#writeText(collection, composed, 'null', work)
  }

  async warmup (globs: Names): Promise<number> {
    if (globs === undefined || globs === null) throw new FST_ERR_CONFIG_CACHE_INVALID_KEY('A glob', 'must be a text or an array of texts')
    let loaded = 0
    for (const glob of listOf('A glob', globs)) {
      // While another process has the documents there is nothing to load: one that takes its place at a reload has to start all the same.
      loaded += await this.#warm(...this.#placeOf(glob)).catch((err: unknown) => {
        if (err instanceof FST_ERR_CONFIG_CACHE_PRIVATE_SOURCE) return 0
        throw err
      })
    }
    return loaded
  }

  async #warm (collection: string, glob: string): Promise<number> {
    await this.#access.forLoad()
    const documents = await this.#source.list(collection, glob)
    for (let first = 0; first < documents.length; first += 20) {
      await Promise.all(documents.slice(first, first + 20).map(({ key }) => this.get(key, { collection })))
    }
    return documents.length
  }

  async #read (collection: string, key: string, options: GetOptions | undefined, hit: Promise<unknown> | undefined, fallback: Pick<Fallback, 'defaultValue' | 'onStale'> | undefined): Promise<unknown> {
    const { staleOnError: lastKnown = false, loaderSoftTimeoutMs: softTimeoutMs, loaderTimeoutMs } = checkGet(options)
    const composed = this.#checked(collection, key)
    this.#remember(collection, key, composed)
    const read = hit ?? this.#reads.hit(composed) ?? this.#reads.miss(this.#wanted(collection, composed, loaderTimeoutMs), (context) => this.#load(collection, key, context))
    return lastKnown || fallback?.defaultValue !== undefined ? this.#lastKnown.or(composed, read, { ...fallback, lastKnown, softTimeoutMs }) : read
  }

  async #load (collection: string, key: string, context: LoaderContext): Promise<unknown> {
    await this.#access.forLoad()
    return this.#source.load(collection, key, context)
  }

  #save (collection: string, key: string, value: unknown): Promise<void> {
    this.#access.willChange()
    return this.#source.save(collection, key, value)
  }

  async #remove (collection: string, key: string): Promise<boolean> {
    let mayHaveBeen = true
    try {
      mayHaveBeen = await this.#source.remove(collection, key)
      return mayHaveBeen
    } finally {
      if (mayHaveBeen) this.#access.willChange()
    }
  }

  #writeText<T> (collection: string, composed: string, text: string, work: () => Promise<T>): Promise<T> {
    const { l2TtlMs: ttlMs } = this.#wanted(collection, composed)
    return this.#access.write([composed], work, () => [{ key: composed, tags: [composed], text, ttlMs }])
  }

  /**
   * A write that happens only where the document is of a version; whether it was there.
   *
   * @param next undefined: it is removed
   */
  #workOf (collection: string, key: string, ifVersion: Versions | undefined, next: unknown): (() => Promise<boolean>) | undefined {
    if (ifVersion === undefined) return undefined
    if (this.#source.update === undefined) throw new FST_ERR_CONFIG_CACHE_UNSUPPORTED()
    const conflict = (problem: string) => new FST_ERR_CONFIG_CACHE_VERSION_CONFLICT(`${collection}/${key}`, problem)
    return async () => {
      let wasThere = false
      const isWritten = await this.#source.update!(collection, key, (current) => {
        wasThere = current !== null
        if (!isOf(ifVersion, current)) throw conflict(problemOf(ifVersion, current))
        if (wasThere || next !== undefined) this.#access.willChange()
        return next
      })
      if (!isWritten) throw conflict('somebody else wrote it at the same moment, read it again')
      return wasThere
    }
  }

  #wanted (collection: string, composed: string, timeoutMs = this.#options.loaderTimeoutMs): Wanted {
    const { featureTtlMs, ttlMs, redisTtlMs } = this.#options
    const own = collection === FEATURES ? featureTtlMs : undefined
    return { key: composed, tags: [composed], ttlMs: own ?? ttlMs, l2TtlMs: own ?? redisTtlMs, l2: true, timeoutMs }
  }

  #checked (collection: string, key: string): string {
    if (!this.#collections.has(collection)) throw new FST_ERR_CONFIG_CACHE_UNKNOWN_COLLECTION(String(collection))
    checkName('The key', key)
    const composed = documentKey(collection, key)
    checkName('The key with its collection', composed)
    return composed
  }

  #remember (collection: string, key: string, composed: string): void {
    if (this.#keys.get(collection)?.has(key) === true) return
    this.#nameBytes += 2 * (key.length + composed.length) + 100
    if (this.#nameBytes > this.#options.maxBytes * SHARE_OF_NAMES) {
      this.#keys.clear()
      this.#nameBytes = 0
    }
    const keys = this.#keys.get(collection) ?? new Map<string, string>()
    this.#keys.set(collection, keys)
    keys.set(key, composed)
  }

  #placeOf (glob: string): [collection: string, glob: string] {
    const colon = glob.indexOf(':')
    const collection = glob.slice(0, colon)
    if (colon < 0 || !this.#collections.has(collection)) return [CONFIG, glob]
    return [collection, collection === FEATURES ? featureKey(glob.slice(colon + 1)) : glob.slice(colon + 1)]
  }
}

function problemOf (ifVersion: Versions, current: unknown): string {
  if (Array.isArray(ifVersion) && ifVersion.length === 0) return 'it names no version that could be one: an entity tag that begins with W/, as compressing proxies make them, never is'
  if (current === null) return 'there is none'
  return ifVersion === null ? 'there is one' : 'it is of another version by now, read it again'
}

/** A version that is asked for and missing, a field that no form has sent, say, must not read as none that is asked for. */
function checked (options: SetOptions | undefined): SetOptions {
  const given: SetOptions = checkSet(options)
  if (options !== undefined && 'ifVersion' in options && options.ifVersion === undefined) throw new FST_ERR_CONFIG_CACHE_PRECONDITION_REQUIRED('ifVersion is undefined: leave it out to write whatever is there')
  return given
}

/** No other document is written where flags are looked for: under another key nobody would ever read it as one. Null is no flag. */
function checkDocumentOfFlags (composed: string, value: unknown): void {
  if (!isFlagKey(composed)) throw new FST_ERR_CONFIG_CACHE_INVALID_KEY(`A key of the collection ${FEATURES}`, 'must begin with "feature:"')
  if (value !== null) checkFlag(value)
}
