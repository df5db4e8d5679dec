import { now } from './time.ts'

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
