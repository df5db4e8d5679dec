import { channel } from 'node:diagnostics_channel'
import { LRUCache } from 'lru-cache'
import type { Counters } from '../stats.ts'

const stale = channel('jpulse:config-cache:stale')
const MOST = 1000

/** The last values of keys whose readers prefer an old answer to none. */
export class LastKnown {
  readonly #values = new LRUCache<string, { value: unknown }>({ max: MOST })
  readonly #counters: Counters

  constructor (counters: Counters) {
    this.#counters = counters
  }

  /** What the promise resolves with, and where it rejects, what it resolved with the last time. */
  async or<T> (key: string, promise: Promise<T>): Promise<T> {
    try {
      const value = await promise
      this.#values.set(key, { value })
      return value
    } catch (err) {
      const known = this.#values.get(key)
      if (known === undefined) throw err
      this.#counters.stale++
      stale.publish({ key, err })
      return known.value as T
    }
  }
}
