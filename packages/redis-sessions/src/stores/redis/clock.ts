import type { RedisLink } from '@jpulse/redis-link'

const EVERY_MS = 60_000

/**
 * What Redis' clock says, without a question each time: how far it is from this process' steady clock is measured when the link
 * comes up and every minute. The instance's own clock, which may be wrong or be set, decides nothing.
 */
export class RedisClock {
  readonly #link: RedisLink
  readonly #timer: NodeJS.Timeout
  readonly #measure = (): Promise<void> => this.#ask()
  #ahead: number | undefined
  /** Resolves when it was measured, or could not be; null from then on. */
  ready: Promise<void> | null

  constructor (link: RedisLink) {
    this.#link = link
    this.#timer = setInterval(this.#measure, EVERY_MS).unref()
    link.on('up', this.#measure)
    this.ready = this.#ask().finally(() => { this.ready = null })
  }

  /** Milliseconds since 1970. The clock of this process where Redis was never asked. */
  now (): number {
    return this.#ahead === undefined ? Date.now() : this.#ahead + performance.now()
  }

  stop (): void {
    clearInterval(this.#timer)
    this.#link.off('up', this.#measure)
  }

  async #ask (): Promise<void> {
    const before = performance.now()
    try {
      const [seconds, micros] = await this.#link.run((client) => client.time())
      this.#ahead = Number(seconds) * 1000 + Number(micros) / 1000 - (before + performance.now()) / 2
    } catch {
      // What was measured before is better than nothing.
    }
  }
}
