import { now } from '../time.ts'

const SAMPLE_MS = 20
const WINDOW_MS = 1000
/** How long after a write of another instance this one counts as one that writers wait for. */
const WAITED_FOR_MS = 10_000

/**
 * Measures whether the event loop of this process stalls so often that writers of other instances keep waiting for its acknowledgements. A
 * single long stall does not count: it costs writers one lease.
 */
export class Stalls {
  readonly #maxMs: number
  #timer: NodeJS.Timeout | undefined
  #sampledAt = now()
  #windowAt = now()
  #stalledMs = 0
  #foreignAt = -Infinity
  #stallsOften = false

  /** @param maxMs stalls that are longer count; 0: none does */
  constructor (maxMs: number) {
    this.#maxMs = maxMs
  }

  start (): void {
    if (this.#maxMs > 0) this.#timer = setInterval(() => this.#sample(), SAMPLE_MS).unref()
  }

  stop (): void {
    clearInterval(this.#timer)
  }

  /** A write of another instance was heard. */
  noteForeignWrite (): void {
    this.#foreignAt = now()
  }

  get mustGiveWay (): boolean {
    return this.#stallsOften && now() - this.#foreignAt < WAITED_FOR_MS
  }

  #sample (): void {
    const time = now()
    const gap = time - this.#sampledAt
    this.#sampledAt = time
    if (gap > this.#maxMs) this.#stalledMs += gap
    const window = time - this.#windowAt
    if (window < WINDOW_MS) return
    // More than half of the time, and of several stalls, which no single one can fill.
    this.#stallsOften = this.#stalledMs > window * (this.#stallsOften ? 0.2 : 0.5) && gap < window / 2
    this.#windowAt = time
    this.#stalledMs = 0
  }
}
