import { now } from '../time.ts'

const LOOK_MS = 20
const WINDOW_MS = 1000
/** How long after a write of another instance somebody may be waiting for this one. */
const WAITED_FOR_MS = 10_000

/**
 * Whether this process keeps the writers of others waiting: its event loop stands still for long, again and again. One that was
 * stopped once is no such process; it is waited for by its lease.
 */
export class Stalls {
  readonly #maxMs: number
  #timer: NodeJS.Timeout | undefined
  #lookedAt = now()
  #windowAt = now()
  #stalledMs = 0
  #foreignAt = -Infinity
  #isBusy = false

  /** @param maxMs stalls that are longer count; 0: none does */
  constructor (maxMs: number) {
    this.#maxMs = maxMs
  }

  start (): void {
    if (this.#maxMs > 0) this.#timer = setInterval(() => this.#look(), LOOK_MS).unref()
  }

  stop (): void {
    clearInterval(this.#timer)
  }

  /** Another instance writes. */
  heardOther (): void {
    this.#foreignAt = now()
  }

  get isHeavy (): boolean {
    return this.#isBusy && now() - this.#foreignAt < WAITED_FOR_MS
  }

  #look (): void {
    const time = now()
    const gap = time - this.#lookedAt
    this.#lookedAt = time
    if (gap > this.#maxMs) this.#stalledMs += gap
    const window = time - this.#windowAt
    if (window < WINDOW_MS) return
    // More than half of the time, and of several stalls, which no single one can fill.
    this.#isBusy = this.#stalledMs > window * (this.#isBusy ? 0.2 : 0.5) && gap < window / 2
    this.#windowAt = time
    this.#stalledMs = 0
  }
}
