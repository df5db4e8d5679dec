import { now, surely } from '../time.ts'
import type { ActiveBlock } from './messages.ts'

/** When this process first knew an epoch: old leases and old blocks are waited out from then on its monotonic clock. */
export class Epochs {
  readonly #seen = new Map<string, number>()

  /** Time since which the epoch surely existed. */
  since (nonce: string): number {
    const known = this.#seen.get(nonce)
    if (known !== undefined) return known
    if (this.#seen.size >= 16) this.#seen.delete(this.#seen.keys().next().value!)
    const time = now()
    this.#seen.set(nonce, time)
    return time
  }
}

/**
 * Finds blocks whose writer fell silent: the beat of a block that did not change for its whole life, on the monotonic clock
 * of whoever watches. No clock of Redis is asked, so stepping it neither frees a block early nor keeps one for ever.
 */
export class Watch {
  readonly #lifeMs: number
  readonly #seen = new Map<string, { beat: string, since: number }>()

  constructor (blockTtlMs: number) {
    this.#lifeMs = surely(blockTtlMs)
  }

  /** Takes note of the active blocks and returns those that are over. */
  look (blocks: readonly ActiveBlock[]): ActiveBlock[] {
    const time = now()
    const active = new Set(blocks.map(({ opId }) => opId))
    for (const opId of this.#seen.keys()) if (!active.has(opId)) this.#seen.delete(opId)
    return blocks.filter(({ opId, beat }) => {
      const seen = this.#seen.get(opId)
      if (seen?.beat === beat) return time - seen.since > this.#lifeMs
      this.#seen.set(opId, { beat, since: time })
      return false
    })
  }
}
