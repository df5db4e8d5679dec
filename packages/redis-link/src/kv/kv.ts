import { isReply } from '../connection/refusals.ts'
import { checkKey, toJson, ttlToMs } from '../check.ts'
import { FST_ERR_REDIS_LINK_INVALID_NUMBER, FST_ERR_REDIS_LINK_TIMEOUT, FST_ERR_REDIS_LINK_UNAVAILABLE } from '../errors.ts'
import type { MemoryKvStore } from './memory-store.ts'
import type { KvStore } from './store.ts'

/** Where a key-value call made now would go. `initializing`: Redis is configured and the first connection is being made. */
export type KvMode = 'redis' | 'memory' | 'initializing'

export interface KvStats {
  mode: KvMode
  hits: number
  misses: number
  /** Share of `get` calls that found a value, 0 to 1; 0 before the first call. */
  hitRate: number
  /** Commands that Redis failed to serve, and values that were not JSON. */
  errors: number
  /** Memory of the Redis server as it prints it, in mode `redis`. */
  used_memory_human?: string
  /** Keys and values in bytes, in the other modes. */
  bytes?: number
  entries?: number
}

/** What the key-value API needs of its link. */
export interface KvLink {
  readonly mode: KvMode
  readonly isClosed: boolean
  /** Whether other links keep theirs in the same memory. */
  readonly isShared: boolean
  usedMemory (): Promise<string | undefined>
  onUp (listener: () => void): void
}

/** Where a value is that was set: in Redis, or in this process. Where the answer of Redis was lost or late, it may be in Redis as well. */
export type KvPlace = 'redis' | 'memory'

/**
 * A small key-value API that survives an outage of Redis: values live in Redis while it is up, else in a bounded LRU
 * of this process, which is dropped when Redis returns. For counters, hints and short-lived values whose loss or
 * divergence during an outage does no harm; what must never be stale belongs to `@jpulse/config-cache`. After the link is
 * closed every call rejects with FST_ERR_REDIS_LINK_UNAVAILABLE.
 */
export class Kv {
  readonly #link: KvLink
  readonly #redis: KvStore
  readonly #memory: MemoryKvStore
  readonly #prefix: string
  #hits = 0
  #misses = 0
  #errors = 0

  constructor (link: KvLink, redis: KvStore, memory: MemoryKvStore, prefix: string) {
    this.#link = link
    this.#redis = redis
    this.#memory = memory
    this.#prefix = prefix
    link.onUp(() => memory.clear())
  }

  /**
   * The value of a key, null where there is none. A stored text that is not JSON counts as an error and reads as null.
   *
   * @throws FST_ERR_REDIS_LINK_INVALID_KEY
   */
  async get<T = unknown> (key: string): Promise<T | null> {
    const json = await this.#either(key, (store, whole) => store.get(whole))
    const value = this.#parse(json)
    if (value === null) this.#misses++
    else this.#hits++
    return value as T | null
  }

  /**
   * Stores any JSON value, and says where. `memory`: in this process, because Redis is away, is not configured or refuses it (OOM,
   * READONLY and the like, which the log says too); with a Redis that answers, `get` tells what Redis has. After a timeout or a connection
   * that broke, Redis may have stored it as well.
   *
   * @param ttlSeconds time to live, fractions allowed; `undefined` keeps the value until it is deleted
   * @throws FST_ERR_REDIS_LINK_INVALID_KEY, _INVALID_VALUE, _INVALID_NUMBER
   */
  async set (key: string, value: unknown, ttlSeconds?: number): Promise<KvPlace> {
    const json = toJson(value)
    const ttlMs = ttlToMs(ttlSeconds)
    return this.#either(key, async (store, whole) => {
      await store.set(whole, json, ttlMs)
      return store === this.#redis ? 'redis' : 'memory'
    })
  }

  /**
   * Deletes a key; true where there was one.
   *
   * @throws FST_ERR_REDIS_LINK_INVALID_KEY; _UNAVAILABLE where Redis answers and refuses to, so that the value is still there
   */
  async del (key: string): Promise<boolean> {
    return this.#either(key, (store, whole) => store.del(whole), true)
  }

  /** @throws FST_ERR_REDIS_LINK_INVALID_KEY */
  async exists (key: string): Promise<boolean> {
    return this.#either(key, (store, whole) => store.exists(whole))
  }

  /**
   * Adds to a counter, atomically across the cluster, and returns the sum. A missing counter is 0.
   *
   * @param by whole number, may be negative. @default 1
   * @param ttlSeconds given to a counter that has no expiry; one that has keeps it. `undefined` gives none
   * @throws FST_ERR_REDIS_LINK_NOT_A_COUNTER, _INVALID_KEY, _INVALID_NUMBER
   */
  async increment (key: string, by = 1, ttlSeconds?: number): Promise<number> {
    if (!Number.isSafeInteger(by)) throw new FST_ERR_REDIS_LINK_INVALID_NUMBER('by', 'a whole number')
    const ttlMs = ttlToMs(ttlSeconds)
    return this.#either(key, (store, whole) => store.increment(whole, by, ttlMs))
  }

  getMode (): KvMode {
    return this.#link.mode
  }

  async getStats (): Promise<KvStats> {
    const calls = this.#hits + this.#misses
    const memory = await this.#link.usedMemory()
    return {
      mode: this.#link.mode,
      hits: this.#hits,
      misses: this.#misses,
      hitRate: calls === 0 ? 0 : this.#hits / calls,
      errors: this.#errors,
      ...(memory === undefined ? { bytes: this.#memory.bytes, entries: this.#memory.entries } : { used_memory_human: memory })
    }
  }

  /** Drops what is kept in the process. Redis keeps its values; its connection belongs to the link. */
  async close (): Promise<void> {
    if (!this.#link.isShared) this.#memory.clear()
  }

  /** @param isFinal whether a Redis that answers and refuses is an error, and not one that is away */
  async #either<T> (key: string, use: (store: KvStore, key: string) => Promise<T>, isFinal = false): Promise<T> {
    checkKey('key', key)
    if (this.#link.isClosed) throw new FST_ERR_REDIS_LINK_UNAVAILABLE('the link is closed')
    const whole = this.#prefix + key
    if (this.#link.mode === 'redis') {
      try {
        const result = await use(this.#redis, whole)
        // What an earlier failure left in the process is out of date now.
        if (this.#memory.entries > 0) await this.#memory.del(whole)
        return result
      } catch (err) {
        if (!(err instanceof FST_ERR_REDIS_LINK_UNAVAILABLE || err instanceof FST_ERR_REDIS_LINK_TIMEOUT)) throw err
        this.#errors++
        if (isFinal && isReply(err.cause)) throw err
      }
    }
    return use(this.#memory, whole)
  }

  #parse (json: string | null): unknown {
    if (json === null) return null
    try {
      return JSON.parse(json)
    } catch {
      this.#errors++
      return null
    }
  }
}
