import { LRUCache } from 'lru-cache'

/** One cached value. */
export interface Entry {
  readonly value: unknown
  /** Kept as a resolved promise: a hit returns it without making one (benchmarks/config-cache/l1.bench.js). */
  readonly promise: Promise<unknown>
  /** On the monotonic clock. */
  expiresAt: number
  /** Beside the key itself. */
  readonly tags: readonly string[]
}

/** What an entry costs beside its texts: the entry, its promise and its places in the maps. */
const OVERHEAD_BYTES = 256
/** What a tag costs an entry beside its text: places in the entry's list and in the tag's set of keys, and a share of that set. */
const TAG_OVERHEAD_BYTES = 128

/** The values of this process: an LRU bounded by entries and bytes, from which a tag's entries are dropped at once. */
export class L1 {
  readonly #entries: LRUCache<string, Entry>
  readonly #keysOf = new Map<string, Set<string>>()
  readonly #maxBytes: number

  constructor (maxEntries: number, maxBytes: number) {
    this.#maxBytes = maxBytes
    this.#entries = new LRUCache({ max: maxEntries, maxSize: maxBytes, dispose: (entry, key) => this.#forget(entry, key) })
  }

  get size (): number {
    return this.#entries.size
  }

  get bytes (): number {
    return this.#entries.calculatedSize
  }

  get (key: string, now: number): Entry | undefined {
    const entry = this.#entries.get(key)
    return entry !== undefined && now < entry.expiresAt ? entry : undefined
  }

  /** Be it expired, and without telling the order of use. */
  peek (key: string): Entry | undefined {
    return this.#entries.peek(key)
  }

  set (key: string, value: unknown, textBytes: number, tags: readonly string[], expiresAt: number): Entry | undefined {
    let size = textBytes + 2 * key.length + OVERHEAD_BYTES
    for (const tag of tags) size += 2 * tag.length + TAG_OVERHEAD_BYTES
    if (size > this.#maxBytes) return undefined
    const entry = { value, promise: Promise.resolve(value), expiresAt, tags }
    this.#entries.set(key, entry, { size })
    for (const tag of tags) {
      const keys = this.#keysOf.get(tag)
      if (keys === undefined) this.#keysOf.set(tag, new Set([key]))
      else keys.add(key)
    }
    return entry
  }

  /** Drops the entries that bear a tag, and the entry whose key it is. */
  drop (tag: string): void {
    this.#entries.delete(tag)
    for (const key of [...this.#keysOf.get(tag) ?? []]) this.#entries.delete(key)
  }

  clear (): void {
    this.#entries.clear()
    this.#keysOf.clear()
  }

  #forget (entry: Entry, key: string): void {
    for (const tag of entry.tags) {
      const keys = this.#keysOf.get(tag)
      if (keys?.delete(key) === true && keys.size === 0) this.#keysOf.delete(tag)
    }
  }
}

/** Whether an entry bears all of the tags, of which its key is one. */
export function bears (borne: readonly string[], key: string, tags: string | readonly string[]): boolean {
  if (typeof tags === 'string') return tags === key || borne.includes(tags)
  for (const tag of tags) if (tag !== key && !borne.includes(tag)) return false
  return true
}
