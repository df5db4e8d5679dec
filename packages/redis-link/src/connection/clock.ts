import type { FastifyBaseLogger } from 'fastify'
import type { RedisClient } from '../options.ts'
import { nodeName, primaries } from './client.ts'
import type { RedisChange } from './connection.ts'
import { isOutage, isReply } from './refusals.ts'

const EVERY_MS = 60_000
/** An answer that took longer than twice this says too little: Redis is asked again soon. */
const CLOSE_MS = 25
/** Pause before the first further question; it doubles up to `EVERY_MS`. */
const AGAIN_MS = 1000
/** How far two clocks may drift apart in a millisecond: 500 ppm, as NTP assumes (RFC 5905). */
const DRIFT = 500e-6

/** What a clock needs of a link. */
export interface ClockLink {
  readonly client: RedisClient | null
  run<T> (command: (client: RedisClient) => Promise<T>): Promise<T>
  on (event: 'change', listener: (change: Pick<RedisChange, 'state'>) => void): unknown
}

/** How far the clock of a server is from this process' steady one. */
interface Measurement {
  readonly offsetMs: number
  /** What it may be off by, at the time of the measurement. */
  readonly errorMs: number
  readonly measuredAt: number
  readonly life: number
}

/**
 * What Redis' clock says, without a question each time: how far it is from this process' steady clock is measured when the link
 * comes up, when a server is replaced, and every minute. The process' own clock, which may be wrong or be set, decides nothing.
 * On a Redis Cluster every primary is asked, because each has a clock of its own.
 *
 * The moment at which Redis answered lies somewhere between question and answer, so a measurement is off by half of that time
 * at most, and one that took long does not replace one that took less.
 */
export class RedisClock {
  readonly #link: ClockLink
  readonly #log: Pick<FastifyBaseLogger, 'warn'> | undefined
  /** By name of the primary. */
  readonly #known = new Map<string, Measurement>()
  /** The one of them that `now` goes by. */
  #own: Measurement | undefined
  #next: NodeJS.Timeout | undefined
  #pauseMs = AGAIN_MS
  #isStopped = false
  #hasWarned = false
  #asking: Promise<void> | null = null
  /** Grows with every change of the servers: what was asked before it may be of another one, with another clock. */
  #life = 0

  constructor (link: ClockLink, log?: Pick<FastifyBaseLogger, 'warn'>) {
    this.#link = link
    this.#log = log
    if (link.client === null) return
    link.on('change', ({ state }) => {
      if (state !== 'up') return
      this.#life++
      this.#pauseMs = AGAIN_MS
      this.#measure()
    })
    this.#ask()
  }

  /** Resolves when Redis has told its time, or cannot now; null where it is known, and where there is no Redis. */
  get ready (): Promise<void> | null {
    if (this.#link.client === null || this.#isStopped) return null
    return this.#own === undefined ? this.#ask() : this.#asking
  }

  /**
   * Whole milliseconds since 1970. On a Redis Cluster by the clock of one primary, the same as long as it is there. The clock of
   * this process as long as Redis has told nothing.
   */
  now (): number {
    return this.#own === undefined ? Date.now() : Math.floor(this.#own.offsetMs + performance.now())
  }

  /**
   * The latest that Redis' clock may say now, on a Redis Cluster that of any primary: what was done there before has no later time.
   *
   * That is no bound where the clock of Redis was set since it was asked, up to a minute ago; for a primary that could not be asked
   * yet, or took over and the link has not noticed; for the times of a server that is gone and was ahead; and where Redis has told
   * nothing.
   */
  latest (): number {
    if (this.#own === undefined) return Date.now()
    const at = performance.now()
    let latest = -Infinity
    for (const { offsetMs, errorMs, measuredAt } of this.#known.values()) latest = Math.max(latest, offsetMs + at + errorMs + (at - measuredAt) * DRIFT)
    return Math.ceil(latest)
  }

  stop (): void {
    this.#isStopped = true
    clearTimeout(this.#next)
  }

  #ask (): Promise<void> {
    this.#asking ??= this.#measure().finally(() => { this.#asking = null })
    return this.#asking
  }

  /** Never rejects: what was measured before is better than nothing. */
  async #measure (): Promise<void> {
    const { client } = this.#link
    if (this.#isStopped || client === null) return
    const life = this.#life
    const servers = new Map(primaries(client).map((server) => [client.isCluster ? nodeName(server) : '', server]))
    await Promise.all([...servers].map(([name, server]) => this.#measureOne(name, server, life)))
    if (this.#isStopped || life !== this.#life) return
    // Where no node is known, nobody left.
    if (servers.size > 0) for (const name of this.#known.keys()) if (!servers.has(name)) this.#known.delete(name)
    this.#choose()
    const isClose = servers.size > 0 && [...servers.keys()].every((name) => this.#isClose(name))
    clearTimeout(this.#next)
    this.#next = setTimeout(() => { this.#measure() }, isClose ? EVERY_MS : this.#pauseMs).unref()
    this.#pauseMs = isClose ? AGAIN_MS : Math.min(EVERY_MS, this.#pauseMs * 2)
  }

  async #measureOne (name: string, server: RedisClient, life: number): Promise<void> {
    const before = performance.now()
    try {
      const [seconds, micros] = await this.#link.run(() => server.time())
      if (life === this.#life) this.#learn(name, Number(seconds) * 1000 + Number(micros) / 1000, before, performance.now())
    } catch (err) {
      if (this.#hasWarned || !isReply(err) || isOutage(err)) return
      this.#hasWarned = true
      this.#log?.warn({ err }, `Redis does not tell its time, and the clock of this process stands for it: ${err.message}`)
    }
  }

  #learn (name: string, redisMs: number, before: number, after: number): void {
    const errorMs = (after - before) / 2
    const known = this.#known.get(name)
    if (known?.life === this.#life && errorMs > known.errorMs + (after - known.measuredAt) * DRIFT) return
    this.#known.set(name, { offsetMs: redisMs - (before + after) / 2, errorMs, measuredAt: after, life: this.#life })
    this.#choose()
  }

  /** The first by name, which other processes go by as well. */
  #choose (): void {
    this.#own = this.#known.get([...this.#known.keys()].sort()[0] ?? '')
  }

  #isClose (name: string): boolean {
    const known = this.#known.get(name)
    return known?.life === this.#life && known.errorMs <= CLOSE_MS
  }
}
