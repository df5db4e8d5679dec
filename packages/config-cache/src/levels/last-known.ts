import { isRefusal, within } from '@jpulse/plugin-kit'
import { LRUCache } from 'lru-cache'
import { FST_ERR_CONFIG_CACHE_LOADER_TIMEOUT } from '../errors.ts'
import { stale } from '../events.ts'
import type { Counters } from '../stats.ts'

/** What a read is answered with where its load fails or is slow. */
export interface Fallback {
  /** Whether the last known value will do. */
  readonly lastKnown: boolean
  /** What will do where none is known. */
  readonly defaultValue?: { readonly value: unknown } | undefined
  /** How long to wait for the read where there is something else to answer with. */
  readonly softTimeoutMs?: number | undefined
  /** Hears that this read got one of the two. */
  readonly onStale?: (() => void) | undefined
}

/** The last value of each key that was read with `staleOnError`. */
export class LastKnown {
  readonly #values: LRUCache<string, { value: unknown }>
  readonly #counters: Counters
  readonly #maxBytes: number
  /** Counts how often it was cleared. */
  #clears = 0

  constructor (maxEntries: number, maxBytes: number, counters: Counters) {
    this.#values = new LRUCache({ max: maxEntries, maxSize: maxBytes })
    this.#maxBytes = maxBytes
    this.#counters = counters
  }

  /**
   * What a read resolves with. Where it fails, or takes too long, what it resolved with the last time; a refusal (4xx) is an answer too.
   * A read that took too long goes on, and what it brings is known for the next one.
   */
  async or<T> (key: string, read: Promise<T>, fallback: Fallback): Promise<T> {
    const { lastKnown, defaultValue, softTimeoutMs, onStale } = fallback
    const clears = this.#clears
    const noted = lastKnown ? read.then((value) => clears === this.#clears ? this.#note(key, value) : value) : read
    const answer = () => (lastKnown ? this.#values.get(key) : undefined) ?? defaultValue
    try {
      if (softTimeoutMs === undefined || answer() === undefined) return await noted
      return await within(softTimeoutMs, noted, () => new FST_ERR_CONFIG_CACHE_LOADER_TIMEOUT(key, softTimeoutMs))
    } catch (err) {
      const found = answer()
      if (found === undefined || isRefusal(err)) throw err
      this.#counters.stale++
      stale.publish({ key, err })
      onStale?.()
      return found.value as T
    }
  }

  /** Forgets all values, those of reads in flight too. */
  clear (): void {
    this.#clears++
    this.#values.clear()
  }

  #note<T> (key: string, value: T): T {
    // Values are frozen and shared: what was measured once is the same object until it is loaded anew.
    if (this.#values.get(key)?.value === value) return value
    const size = bytesOf(value) + 2 * key.length
    if (size <= this.#maxBytes) this.#values.set(key, { value }, { size })
    else this.#values.delete(key)
    return value
  }
}

/** A value that has no JSON form is only known to its readers. */
function bytesOf (value: unknown): number {
  try {
    return 256 + Buffer.byteLength(JSON.stringify(value) ?? '')
  } catch {
    return Infinity
  }
}
