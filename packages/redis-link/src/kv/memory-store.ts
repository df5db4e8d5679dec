import { LRUCache } from 'lru-cache'
import { FST_ERR_REDIS_LINK_NOT_A_COUNTER } from '../errors.ts'
import type { KvStore } from './store.ts'

/** Keeps the texts in the process, bounded: the least recently used go first. */
export class MemoryKvStore implements KvStore {
  readonly #cache: LRUCache<string, string>

  constructor ({ maxEntries, maxBytes }: { maxEntries: number, maxBytes: number }) {
    this.#cache = new LRUCache({
      max: maxEntries,
      maxSize: maxBytes,
      sizeCalculation: (json, key) => Buffer.byteLength(json) + Buffer.byteLength(key)
    })
  }

  get entries (): number {
    return this.#cache.size
  }

  /** Bytes of all keys and values. */
  get bytes (): number {
    return this.#cache.calculatedSize
  }

  clear (): void {
    this.#cache.clear()
  }

  async get (key: string): Promise<string | null> {
    return this.#cache.get(key) ?? null
  }

  async set (key: string, json: string, ttlMs: number): Promise<void> {
    this.#cache.set(key, json, { ttl: ttlMs })
  }

  async del (key: string): Promise<boolean> {
    return this.#cache.delete(key)
  }

  async exists (key: string): Promise<boolean> {
    return this.#cache.has(key)
  }

  async increment (key: string, by: number, ttlMs: number): Promise<number> {
    const sum = Number(this.#cache.get(key) ?? '0') + by
    if (!Number.isSafeInteger(sum)) throw new FST_ERR_REDIS_LINK_NOT_A_COUNTER(key)
    const left = this.#cache.getRemainingTTL(key)
    this.#cache.set(key, String(sum), { ttl: Number.isFinite(left) && left > 0 ? left : ttlMs })
    return sum
  }
}
