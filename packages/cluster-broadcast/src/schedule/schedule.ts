import { EventEmitter } from 'node:events'
import { acceptOnly, callSafely, emitSafely } from '@jpulse/plugin-kit'
import { Cron } from 'croner'
import type { FastifyBaseLogger } from 'fastify'
import { FST_ERR_CLUSTER_BROADCAST_INVALID_ARGUMENT } from '../errors.ts'
import { randomId } from '../membership/identity.ts'
import type { Claims } from '../once/once.ts'

/** Ticks that were missed together. */
export interface MissedTicks {
  /** The last of them. */
  readonly last: Date
  /** How many there are, 1000 at most: more are not counted. */
  readonly count: number
}

/** What a timetable tells. */
export interface ScheduleEvents {
  /**
   * This process could not run a tick in time, nor tell whether another one did. Ticks that went by while the process or its machine
   * stood still are told as one, whose first is `at`.
   */
  missed: [at: Date, ticks: MissedTicks]
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
/** Longest pause between two questions whether a tick that somebody has was begun. */
const MOST_PAUSE_MS = 10_000
/** How often the clock is checked: a timer does not notice that it was set, nor how long the machine was suspended. */
const CLOCK_CHECK_MS = 1000
/** No later than this is on time. */
const ON_TIME_MS = 1000
/** A night of seconds has 28,800 ticks; to count so many takes too long for one turn of the event loop. */
const MOST_COUNTED = 1000

/**
 * Runs a function at the ticks of a cron pattern, each on one process of the cluster.
 *
 * At most once: where the process that runs it dies, nobody runs that tick again. One that a process has, and does not begin because
 * it was stopped, is left to the others. A tick that nobody could begin within `graceMs` is skipped, not made up for: every process
 * was away or stood still, or Redis was away, so that nobody can be sure. A tick does not wait for the one before.
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
  /** Ticks that are being claimed. */
  readonly #claiming = new Set<Promise<void>>()

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

  /** Resolves when no tick is being claimed any more: a claim that comes too late is given back by then. */
  async idle (): Promise<void> {
    await Promise.all(this.#claiming)
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
      const earliest = Date.now() - this.#latestMs
      if (at.getTime() < earliest) this.#pass(at, earliest)
      else this.#claim(at)
      this.#plan(new Date(Math.max(at.getTime(), earliest - 1)))
    }, Math.min(Math.max(at.getTime() - now, 0), CLOCK_CHECK_MS)).unref()
  }

  /** How late a tick may begin. */
  get #latestMs (): number {
    return Math.max(this.#graceMs, ON_TIME_MS)
  }

  #claim (at: Date): void {
    const claiming = this.#tick(at)
      .catch((err: unknown) => this.#log.error({ err, name: this.#name }, 'a tick of a timetable failed'))
      .finally(() => this.#claiming.delete(claiming))
    this.#claiming.add(claiming)
  }

  async #tick (at: Date): Promise<void> {
    const claim = `schedule:${this.#name}:${at.getTime()}`
    // The same for all tries, by which a claim of ours whose answer was lost is recognised.
    const token = randomId()
    const isWithin = (ms: number): boolean => Date.now() - at.getTime() <= ms
    let wasTaken = false
    let pauseMs = RETRY_MS
    for (let allowedMs = this.#latestMs; !this.#stopped && isWithin(allowedMs);) {
      const taken = await this.#claims.take(claim, token, REMEMBERED_MS, '')
      if (taken?.state === 'done') return
      if (taken?.state === 'won') {
        if (!this.#stopped && isWithin(this.#latestMs)) return this.#begin(at, claim, token)
        // Who stopped it may have closed already what it works with. A process whose clock is behind may still have the tick.
        await this.#claims.forgo(claim, token)
        return this.#miss(at, { last: at, count: 1 })
      }
      if (taken !== null) {
        wasTaken = true
        // Who has it says so as soon as it has begun; until then it may still give it back, as here. The pauses grow because where it says
        // nothing any more all other processes ask too.
        await this.#claims.wait(claim, pauseMs)
        pauseMs = Math.min(2 * pauseMs, MOST_PAUSE_MS)
      } else {
        if (this.#graceMs === 0) break
        allowedMs = this.#graceMs
        await new Promise((resolve) => { setTimeout(resolve, RETRY_MS).unref() })
      }
    }
    // Where an answer was lost it may be ours, and the others would wait for it in vain.
    this.#claims.giveBack(claim, token, REMEMBERED_MS)
    if (this.#stopped || wasTaken) return
    this.#miss(at, { last: at, count: 1 })
  }

  /** It is too late for a tick, and for all that follow it before `earliest`. */
  #pass (at: Date, earliest: number): void {
    let [last, count] = [at, 1]
    for (let next = this.#cron.nextRun(at); next !== null && next.getTime() < earliest; next = this.#cron.nextRun(next)) {
      if (count === MOST_COUNTED) {
        last = this.#cron.previousRuns(1, new Date(earliest))[0] ?? next
        break
      }
      last = next
      count++
    }
    this.#miss(at, { last, count })
  }

  #miss (at: Date, ticks: MissedTicks): void {
    const isOne = ticks.count === 1
    this.#log.warn({ name: this.#name, at, ...(isOne ? {} : ticks) }, isOne ? 'a tick of a timetable was skipped' : 'ticks of a timetable were skipped')
    emitSafely(this, (err) => this.#log.error({ err }, 'a listener of a timetable failed'), 'missed', at, ticks)
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
