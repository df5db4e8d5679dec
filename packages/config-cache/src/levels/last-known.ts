import { serialize } from 'node:v8'
import { within } from '@jpulse/plugin-kit'
import { LRUCache } from 'lru-cache'
import { isAnswer } from '../checks.ts'
import { FST_ERR_CONFIG_CACHE_LOADER_TIMEOUT } from '../errors.ts'
import { stale } from '../events.ts'
import type { Counters } from '../stats.ts'
import type { L1 } from './l1.ts'

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

/** The last value of each key that a read of this process got, for `staleOnError`. */
export class LastKnown {
  readonly #values: LRUCache<string, { value: unknown }>
  readonly #counters: Counters
  readonly #maxBytes: number
  readonly #l1: L1
  /** Counts how often it was cleared. */
  #clears = 0

  /** @param l1 whose values are known as well, be they too old to be hits */
  constructor (maxEntries: number, maxBytes: number, counters: Counters, l1: L1) {
    this.#values = new LRUCache({ max: maxEntries, maxSize: maxBytes })
    this.#maxBytes = maxBytes
    this.#counters = counters
    this.#l1 = l1
  }

  /** Before a load begins: what notes its value, unless the cache is cleared meanwhile. Told of the bytes of its JSON it need not measure. */
  noting (key: string): <T>(value: T, bytes?: number) => T {
    const clears = this.#clears
    return (value, bytes) => {
      if (clears === this.#clears) this.#note(key, value, bytes)
      return value
    }
  }

  /**
   * What a read resolves with. Where it fails, or takes too long, what it resolved with the last time; a refusal (4xx) is an answer too, unless it says: not now.
   * A read that took too long goes on, and what it brings is known for the next one.
   */
  async or<T> (key: string, read: Promise<T>, fallback: Fallback): Promise<T> {
    const { lastKnown, defaultValue, softTimeoutMs, onStale } = fallback
    const note = this.noting(key)
    // Of what has no JSON form no load has taken note.
    const noted = lastKnown ? read.then((value) => note(value)) : read
    const answer = () => (lastKnown ? this.#valueOf(key) : undefined) ?? defaultValue
    try {
      if (softTimeoutMs === undefined || answer() === undefined) return await noted
      return await within(softTimeoutMs, noted, () => new FST_ERR_CONFIG_CACHE_LOADER_TIMEOUT(key, softTimeoutMs))
    } catch (err) {
      const found = answer()
      if (found === undefined || isAnswer(err)) throw err
      this.#counters.stale++
      stale.publish({ key, err })
      onStale?.()
      return await found.value as T
    }
  }

  /** Forgets all values, those of reads in flight too. */
  clear (): void {
    this.#clears++
    this.#values.clear()
  }

  /** The value, or a promise of it. */
  #valueOf (key: string): { readonly value: unknown } | undefined {
    const known = this.#values.get(key)
    if (known !== undefined) return known
    const entry = this.#l1.peek(key)
    return entry === undefined ? undefined : { value: entry.promise }
  }

  #note (key: string, value: unknown, bytes?: number): void {
    // Values are frozen and shared: what was measured once is the same object until it is loaded anew.
    if (this.#values.get(key)?.value === value) return
    const size = (bytes ?? bytesOf(value)) + 2 * key.length + OVERHEAD_BYTES
    if (size <= this.#maxBytes) this.#values.set(key, { value }, { size })
    else this.#values.delete(key)
  }
}

const OVERHEAD_BYTES = 256

/** What cannot be measured is only known to its readers. */
function bytesOf (value: unknown): number {
  try {
    return serialize(value).byteLength
  } catch {
    return Infinity
  }
}
