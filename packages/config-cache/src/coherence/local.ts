import type { CacheMode } from '../stats.ts'
import type { Coherence } from './coherence.ts'
import { WritesHere } from './here.ts'
import type { View } from './view.ts'

/** One process without Redis: alone it caches for ever under its own lease and its blocks are told to nobody; among others it caches nothing. */
export class LocalCoherence implements Coherence {
  readonly #view: View
  readonly #obstacle: string | null
  readonly #writes: WritesHere

  /** @param obstacle why this process may not cache; null where it may */
  constructor (view: View, obstacle: string | null, blockTtlMs: number) {
    this.#view = view
    this.#obstacle = obstacle
    this.#writes = new WritesHere(view, blockTtlMs)
    if (obstacle === null) view.grant(Infinity)
  }

  readonly slowest = null

  get reason (): string | null {
    return this.#view.isLeased ? null : this.#obstacle ?? 'the cache is closed'
  }

  get mode (): CacheMode {
    return this.#view.isLeased ? 'local' : 'bypass'
  }

  write<T> (tags: readonly string[], work: () => Promise<T>): Promise<T> {
    return this.#writes.write(tags, work)
  }

  writeHere<T> (tags: readonly string[], work: () => Promise<T>): Promise<T> {
    return this.#writes.write(tags, work)
  }

  async clear (): Promise<void> {
    this.#view.clear()
  }

  async close (): Promise<void> {
    this.#view.endLease()
    this.#view.clear()
  }
}
