import type { RedisClient } from '../options.ts'

const EVERY_MS = 60_000
/** An answer that took longer than twice this says too little: Redis is asked again soon. */
const CLOSE_MS = 25
const AGAIN_MS = 1000
/** How far two clocks may drift apart in a millisecond: 500 ppm, as NTP assumes (RFC 5905). */
const DRIFT = 500e-6

/** What a clock needs of a link. */
export interface ClockLink {
  readonly client: RedisClient | null
  run<T> (command: (client: RedisClient) => Promise<T>): Promise<T>
  on (event: 'up', listener: () => void): unknown
}

/**
 * What Redis' clock says, without a question each time: how far it is from this process' steady clock is measured when the link
 * comes up and every minute. The process' own clock, which may be wrong or be set, decides nothing.
 *
 * The moment at which Redis answered lies somewhere between question and answer, so a measurement is off by half of that time
 * at most, and one that took long does not replace one that took less.
 */
export class RedisClock {
  readonly #link: ClockLink
  readonly #timer: NodeJS.Timeout | undefined
  #again: NodeJS.Timeout | undefined
  #isStopped = false
  #offsetMs: number | undefined
  /** What the measurement may be off by, at the time of the measurement. */
  #errorMs = Infinity
  /** The same, also while another server is asked for the first time. */
  #offByMs = 0
  #measuredAt = 0
  #asking: Promise<void> | null = null
  /** Grows with every `up`: what was asked before it is of another server, with another clock. */
  #life = 0

  constructor (link: ClockLink) {
    this.#link = link
    if (link.client === null) return
    this.#timer = setInterval(() => this.#measure(), EVERY_MS).unref()
    link.on('up', () => {
      this.#life++
      this.#errorMs = Infinity
      this.#measure()
    })
    this.#ask()
  }

  /** Resolves when Redis has told its time, or cannot now; null where it is known, and where there is no Redis. */
  get ready (): Promise<void> | null {
    return this.#offsetMs !== undefined || this.#link.client === null || this.#isStopped ? null : this.#ask()
  }

  /** Whole milliseconds since 1970. The clock of this process as long as Redis has told nothing. */
  now (): number {
    return this.#offsetMs === undefined ? Date.now() : Math.floor(this.#offsetMs + performance.now())
  }

  /** The latest that Redis' clock may say now: what was done there before has no later time. */
  latest (): number {
    const at = performance.now()
    return this.#offsetMs === undefined ? Date.now() : Math.ceil(this.#offsetMs + at + this.#offByMs + (at - this.#measuredAt) * DRIFT)
  }

  stop (): void {
    this.#isStopped = true
    clearInterval(this.#timer)
    clearTimeout(this.#again)
  }

  #ask (): Promise<void> {
    this.#asking ??= this.#measure().finally(() => { this.#asking = null })
    return this.#asking
  }

  /** Never rejects: what was measured before is better than nothing. */
  async #measure (): Promise<void> {
    if (this.#isStopped) return
    const [life, before] = [this.#life, performance.now()]
    const time = await this.#link.run((client) => client.time()).catch(() => null)
    const after = performance.now()
    if (time !== null && life === this.#life) this.#learn(Number(time[0]) * 1000 + Number(time[1]) / 1000, before, after)
    if (this.#errorMs <= CLOSE_MS || this.#isStopped) return
    clearTimeout(this.#again)
    this.#again = setTimeout(() => this.#measure(), AGAIN_MS).unref()
  }

  #learn (redisMs: number, before: number, after: number): void {
    const errorMs = (after - before) / 2
    if (errorMs > this.#errorMs + (after - this.#measuredAt) * DRIFT) return
    this.#offsetMs = redisMs - (before + after) / 2
    this.#errorMs = this.#offByMs = errorMs
    this.#measuredAt = after
  }
}
