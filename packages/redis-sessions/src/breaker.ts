import type { RedisLink } from '@jpulse/redis-link'

const PAUSE_MS = 100

/**
 * Keeps requests from waiting one after the other for a Redis that does not answer: after the first timeout all others are
 * refused at once until a probe is answered. redis-link finds the same out by its own probes, up to two timeouts later.
 */
export class Breaker {
  readonly #link: RedisLink
  readonly #close = () => { this.#open = false }
  #open = false
  #timer: NodeJS.Timeout | undefined
  #stopped = false

  constructor (link: RedisLink) {
    this.#link = link
    link.on('up', this.#close)
  }

  /** Whether commands are refused. */
  get isOpen (): boolean {
    return this.#open
  }

  /** A command timed out. */
  trip (): void {
    if (this.#open || this.#stopped) return
    this.#open = true
    this.#probe()
  }

  stop (): void {
    this.#stopped = true
    clearTimeout(this.#timer)
    this.#link.off('up', this.#close)
  }

  #probe (): void {
    this.#link.ping().then(this.#close, () => {
      if (!this.#open || this.#stopped) return
      this.#timer = setTimeout(() => this.#probe(), PAUSE_MS).unref()
    })
  }
}
