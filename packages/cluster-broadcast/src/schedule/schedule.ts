import { EventEmitter } from 'node:events'
import { acceptOnly, callSafely, emitSafely } from '@jpulse/plugin-kit'
import { Cron } from 'croner'
import type { FastifyBaseLogger } from 'fastify'
import { FST_ERR_CLUSTER_BROADCAST_INVALID_ARGUMENT } from '../errors.ts'
import { randomId } from '../membership/identity.ts'
import type { Claims } from '../once/once.ts'

/** What a timetable tells. */
export interface ScheduleEvents {
  /** This process could not run a tick in time, nor tell whether another one did. */
  missed: [at: Date]
}

export interface ScheduleOptions {
  /** IANA name of the time zone of the pattern. @default that of the process */
  timeZone?: string
  /**
   * How late a tick may begin, in milliseconds, 0 to 600000: later it is skipped. A second is always allowed for timers; 0 means
   * that a tick begins when its time comes, and is not tried again where Redis cannot be asked. @default 60000
   */
  graceMs?: number
}

/** How long a tick is remembered: the clocks of the servers may be so far apart. */
const REMEMBERED_MS = 3_600_000
const RETRY_MS = 500
/** How often the clock is checked: a timer does not notice that it was set, nor how long the machine was suspended. */
const CLOCK_CHECK_MS = 1000
/** No later than this is on time. */
const ON_TIME_MS = 1000

/**
 * Runs a function at the ticks of a cron pattern, each on one process of the cluster.
 *
 * At most once: where the process that runs it dies, nobody runs that tick again. A tick that nobody could begin within
 * `graceMs` is skipped, not made up for: every process was away or stood still, or Redis was away, so that nobody can be sure.
 * A tick does not wait for the one before.
 */
export class Schedule extends EventEmitter<ScheduleEvents> {
  readonly #name: string
  readonly #claims: Claims
  readonly #cron: Cron
  readonly #graceMs: number
  readonly #run: (at: Date) => unknown
  readonly #log: FastifyBaseLogger
  #next: Date | null = null
  #timer: NodeJS.Timeout | undefined
  #stopped = false

  /** @throws FST_ERR_CLUSTER_BROADCAST_INVALID_ARGUMENT */
  constructor (name: string, pattern: string, run: (at: Date) => unknown, { timeZone, graceMs = 60_000 }: ScheduleOptions, claims: Claims, log: FastifyBaseLogger) {
    super()
    this.setMaxListeners(0)
    acceptOnly<ScheduleEvents>(this, { missed: true }, (wanted) => invalid('The event', wanted))
    if (typeof name !== 'string' || name.length < 1 || name.length > 512) throw invalid('The name of a timetable', 'a string of 1 to 512 characters')
    if (typeof run !== 'function') throw invalid('fn', 'a function')
    if (!Number.isSafeInteger(graceMs) || graceMs < 0 || graceMs > 600_000) throw invalid('graceMs', 'a whole number from 0 to 600000')
    this.#name = name
    this.#cron = parse(pattern, timeZone)
    this.#run = run
    this.#graceMs = graceMs
    this.#claims = claims
    this.#log = log
    this.#plan(new Date())
  }

  /** When the next tick is; null when it was stopped. */
  get next (): Date | null {
    return this.#next
  }

  /** Whether `stop` was called. */
  get isStopped (): boolean {
    return this.#stopped
  }

  /** No tick begins here any more, nor one that is being claimed; what runs goes on. */
  stop (): void {
    this.#stopped = true
    this.#next = null
    clearTimeout(this.#timer)
  }

  #plan (after: Date): void {
    if (this.#stopped) return
    this.#next = this.#cron.nextRun(after)
    if (this.#next !== null) this.#wait(this.#next)
  }

  /** By the clock at the time of use: it may be set, and a process may stand still. */
  #wait (at: Date): void {
    const now = Date.now()
    this.#timer = setTimeout(() => {
      // What was planned by a clock that ran ahead would leave out all ticks until then. Those that ran are claimed.
      if (Date.now() < now - CLOCK_CHECK_MS) return this.#plan(new Date(Date.now()))
      if (Date.now() < at.getTime()) return this.#wait(at)
      this.#tick(at).catch((err: unknown) => this.#log.error({ err, name: this.#name }, 'a tick of a timetable failed'))
      // Of many ticks that were missed together only those are looked at that may still begin.
      this.#plan(new Date(Math.max(at.getTime(), Date.now() - Math.max(this.#graceMs, ON_TIME_MS) - 1)))
    }, Math.min(Math.max(at.getTime() - now, 0), CLOCK_CHECK_MS)).unref()
  }

  async #tick (at: Date): Promise<void> {
    const claim = `schedule:${this.#name}:${at.getTime()}`
    // The same for all tries, by which a claim of ours whose answer was lost is recognised.
    const token = randomId()
    for (let allowedMs = Math.max(this.#graceMs, ON_TIME_MS); Date.now() - at.getTime() <= allowedMs && !this.#stopped; allowedMs = this.#graceMs) {
      const taken = await this.#claims.take(claim, token, REMEMBERED_MS, '')
      if (taken !== null) {
        if (taken.state !== 'won') return
        if (!this.#stopped) return this.#begin(at, claim, token)
        // Who stopped it may have closed already what it works with. A process whose clock is behind may still have the tick.
        await this.#claims.forgo(claim, token)
        return this.#miss(at)
      }
      if (this.#graceMs === 0) break
      await new Promise((resolve) => { setTimeout(resolve, RETRY_MS).unref() })
    }
    if (this.#stopped) return
    this.#claims.giveBack(claim, token, REMEMBERED_MS)
    this.#miss(at)
  }

  #miss (at: Date): void {
    this.#log.warn({ name: this.#name, at }, 'a tick of a timetable was skipped')
    emitSafely(this, (err) => this.#log.error({ err }, 'a listener of a timetable failed'), 'missed', at)
  }

  async #begin (at: Date, claim: string, token: string): Promise<void> {
    callSafely((err) => this.#log.error({ err, name: this.#name, at }, 'what a timetable runs failed'), this.#run, at)
    await this.#claims.done(claim, token)
  }
}

function parse (pattern: string, timeZone: string | undefined): Cron {
  // A date is no pattern: it would tick once, or never where it is over at the boot.
  if (typeof pattern !== 'string' || pattern.includes(':')) throw invalid('cron', 'a cron pattern of five or six fields')
  if (timeZone !== undefined && (typeof timeZone !== 'string' || timeZone === '')) throw invalid('timeZone', 'the IANA name of a time zone')
  let cron: Cron
  let next: Date | null
  try {
    cron = new Cron(pattern, { paused: true, mode: '5-or-6-parts', ...(timeZone === undefined ? {} : { timezone: timeZone }) })
    // A time zone is looked at only when it is used.
    next = cron.nextRun()
  } catch (err) {
    throw invalid('cron', `a cron pattern in a known time zone (${(err as Error).message})`)
  }
  if (next === null) throw invalid('cron', 'a pattern that has a tick: this one matches no time')
  return cron
}

function invalid (what: string, wanted: string): Error {
  return new FST_ERR_CLUSTER_BROADCAST_INVALID_ARGUMENT(what, wanted)
}
