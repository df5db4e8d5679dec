import { uniqueId } from '../id.ts'
import type { CacheMode } from '../stats.ts'
import { idle, now } from '../time.ts'
import { isDecided, type Coherence } from './coherence.ts'
import type { View } from './view.ts'
import { WriteBudget } from './write-budget.ts'

/** One process without Redis: alone it caches for ever under its own lease and its blocks are told to nobody; among others it caches nothing. */
export class LocalCoherence implements Coherence {
  readonly #view: View
  readonly #obstacle: string | null
  readonly #blockTtlMs: number
  readonly #budget = new WriteBudget()

  /** @param obstacle why this process may not cache; null where it may */
  constructor (view: View, obstacle: string | null, blockTtlMs: number) {
    this.#view = view
    this.#obstacle = obstacle
    this.#blockTtlMs = blockTtlMs
    if (obstacle === null) view.grant(Infinity)
  }

  readonly slowest = null

  get reason (): string | null {
    return this.#view.isLeased ? null : this.#obstacle ?? 'the cache is closed'
  }

  get mode (): CacheMode {
    return this.#view.isLeased ? 'local' : 'bypass'
  }

  async write<T> (tags: readonly string[], work: () => Promise<T>): Promise<T> {
    const admission = this.#budget.admit(tags)
    const opId = uniqueId()
    const release = () => {
      this.#view.release(opId)
      admission.end()
    }
    const began = now()
    let notBefore = 0
    this.#view.block({ opId, writer: '', tags })
    try {
      return await work()
    } catch (err) {
      if (!isDecided(err)) {
        notBefore = began + this.#blockTtlMs
        admission.outlast()
      }
      throw err
    } finally {
      if (now() >= notBefore) release()
      else idle(notBefore - now()).then(release)
    }
  }

  async clear (): Promise<void> {
    this.#view.clear()
  }

  async close (): Promise<void> {
    this.#view.endLease()
    this.#view.clear()
  }
}
