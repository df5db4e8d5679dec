/**
 * Exponential backoff with full jitter: a pause is any time up to a bound that doubles, so that the clients of a server that
 * went away do not come back all at once (Marc Brooker, Exponential Backoff And Jitter, AWS Architecture Blog, 2015).
 */
export class Backoff {
  readonly #minMs: number
  readonly #maxMs: number
  #attempts = 0

  constructor (minMs: number, maxMs: number) {
    this.#minMs = minMs
    this.#maxMs = maxMs
  }

  /** Pauses since the last success. */
  get attempts (): number {
    return this.#attempts
  }

  /** The next pause, in milliseconds. */
  next (): number {
    return Math.random() * Math.min(this.#maxMs, this.#minMs * 2 ** this.#attempts++)
  }

  reset (): void {
    this.#attempts = 0
  }
}
