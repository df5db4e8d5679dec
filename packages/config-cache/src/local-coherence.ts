import type { Coherence } from './coherence.ts'
import type { L1 } from './l1.ts'
import { LocalWritePath } from './local-write-path.ts'
import type { CacheMode } from './stats.ts'
import type { View } from './view.ts'

/** One process without Redis: alone it caches for ever under its own lease, among others not at all. */
export class LocalCoherence implements Coherence {
  readonly #view: View
  readonly #l1: L1
  readonly #writes: LocalWritePath

  constructor (view: View, l1: L1, mayCache: boolean, blockTtlMs: number) {
    this.#view = view
    this.#l1 = l1
    this.#writes = new LocalWritePath(view, blockTtlMs)
    if (mayCache) view.grant(Infinity)
  }

  get mode (): CacheMode {
    return this.#view.isLeased ? 'local' : 'bypass'
  }

  write<T> (tags: readonly string[], work: () => Promise<T>): Promise<T> {
    return this.#writes.write(tags, work)
  }

  held () {
    return { entries: this.#l1.size, bytes: this.#l1.bytes, blocks: this.#view.blocks }
  }

  async clear (): Promise<void> {
    this.#l1.clear()
  }

  async close (): Promise<void> {
    this.#view.endLease()
    this.#l1.clear()
  }
}
