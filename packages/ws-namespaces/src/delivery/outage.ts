import type { RedisLink, Subscriber } from '@jpulse/redis-link'

/** Longest that a message waits for the own subscriber to come back. */
const RESUBSCRIBE_MS = 2000

/** Whether Redis is there, for those who wait for it. */
export class Outage {
  readonly #link: RedisLink
  readonly #subscriber: Subscriber | null
  readonly #waiting = new Set<() => void>()
  #since: number | null
  #heard: Promise<void> | null = null

  constructor (link: RedisLink) {
    this.#link = link
    this.#subscriber = link.subscriber()
    this.#since = link.isUp ? null : performance.now()
    link.on('up', this.#onUp)
    link.on('down', this.#onDown)
    this.#subscriber?.on('up', this.#wake)
  }

  /** When Redis went away, on the monotonic clock; null while it is there. */
  get since (): number | null {
    return this.#since
  }

  /** Resolves at the next change, or after `ms`. */
  change (ms: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        clearTimeout(timer)
        this.#waiting.delete(wake)
        resolve()
      }
      const timer = setTimeout(wake, ms)
      this.#waiting.add(wake)
    })
  }

  /** Null where the own subscriber hears; else resolves when it does again, or after a bound. */
  untilHeard (): Promise<void> | null {
    if (this.#subscriber === null || this.#subscriber.isUp || !this.#link.isUp) return null
    this.#heard ??= this.#untilUp().finally(() => { this.#heard = null })
    return this.#heard
  }

  close (): void {
    this.#link.off('up', this.#onUp)
    this.#link.off('down', this.#onDown)
    this.#subscriber?.off('up', this.#wake)
    this.#wake()
  }

  async #untilUp (): Promise<void> {
    const end = performance.now() + RESUBSCRIBE_MS
    for (let left = RESUBSCRIBE_MS; left > 0 && this.#link.isUp && !this.#subscriber!.isUp; left = end - performance.now()) await this.change(left)
  }

  readonly #onUp = (): void => {
    this.#since = null
    this.#wake()
  }

  readonly #onDown = (): void => {
    this.#since = performance.now()
    this.#wake()
  }

  readonly #wake = (): void => {
    for (const wake of [...this.#waiting]) wake()
  }
}
