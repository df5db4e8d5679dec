import type { RedisLink } from '@jpulse/redis-link'

const EVERY_MS = 60_000
/** An answer that took longer than twice this says too little: Redis is asked again soon. */
const CLOSE_MS = 25
const AGAIN_MS = 1000
/** How far two clocks may drift apart in a millisecond: 500 ppm, as NTP assumes (RFC 5905). */
const DRIFT = 500e-6

/**
 * What Redis' clock says, without a question each time: how far it is from this process' steady clock is measured when the link
 * comes up and every minute. The instance's own clock, which may be wrong or be set, decides nothing.
 *
 * The moment at which Redis answered lies somewhere between question and answer, so a measurement is off by half of that time
 * at most, and one that took long does not replace one that took less: else a single slow answer would end sessions too early.
 */
export class RedisClock {
  readonly #link: RedisLink
  readonly #timer: NodeJS.Timeout
  #again: NodeJS.Timeout | undefined
  readonly #measure = (): Promise<void> => this.#ask()
  /** It may be another server, with another clock. */
  readonly #begin = (): Promise<void> => {
    this.#errorMs = Infinity
    return this.#ask()
  }

  #offsetMs: number | undefined
  /** What the measurement may be off by, at the time of the measurement. */
  #errorMs = Infinity
  #measuredAt = 0
  /** Resolves when it was measured, or could not be; null from then on. */
  ready: Promise<void> | null

  constructor (link: RedisLink) {
    this.#link = link
    this.#timer = setInterval(this.#measure, EVERY_MS).unref()
    link.on('up', this.#begin)
    this.ready = this.#ask().finally(() => { this.ready = null })
  }

  /** Milliseconds since 1970. The clock of this process where Redis was never asked. */
  now (): number {
    return this.#offsetMs === undefined ? Date.now() : this.#offsetMs + performance.now()
  }

  stop (): void {
    clearInterval(this.#timer)
    clearTimeout(this.#again)
    this.#link.off('up', this.#begin)
  }

  async #ask (): Promise<void> {
    const before = performance.now()
    try {
      const [seconds, micros] = await this.#link.run((client) => client.time())
      const after = performance.now()
      const errorMs = (after - before) / 2
      if (errorMs <= this.#errorMs + (after - this.#measuredAt) * DRIFT) {
        this.#offsetMs = Number(seconds) * 1000 + Number(micros) / 1000 - (before + after) / 2
        this.#errorMs = errorMs
        this.#measuredAt = after
      }
      if (this.#errorMs > CLOSE_MS) {
        clearTimeout(this.#again)
        this.#again = setTimeout(this.#measure, AGAIN_MS).unref()
      }
    } catch {
      // What was measured before is better than nothing.
    }
  }
}
