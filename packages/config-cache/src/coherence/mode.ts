import type { FastifyBaseLogger } from 'fastify'
import { modes } from '../events.ts'
import type { Counters } from '../stats.ts'
import { now } from '../time.ts'

/** How long messages may be unheard before it is logged: each broken connection begins so. */
const LOG_DELAY_MS = 5000

export const AWAY = 'Redis is away'
export const UNHEARD = 'messages are not heard, though Redis answers: the user of Redis must be allowed to subscribe to the channels of the site'
export const QUARANTINE = 'an epoch of Redis began, and operations of the one before may still reach the database'
export const FENCED = 'a fence in the source turns all caches off'
export const BUSY = 'the event loop of this process stands still for too long too often, so writers of others do not wait for it'
export const LAPSED = 'the lease ran out, and is not renewed yet'
export const NEWER = 'a write of a newer release is under way'

/** Reports each change of why nothing is cached: once in the log, on the channel `jpulse:config-cache:mode`, and as a figure. */
export class Mode {
  readonly #log: FastifyBaseLogger
  readonly #counters: Counters
  #reason: string | null = 'not joined yet'
  #kind: string | null = this.#reason
  #since = now()
  #isLogged = true
  #hasWarned = false

  constructor (log: FastifyBaseLogger, counters: Counters) {
    this.#log = log
    this.#counters = counters
  }

  /** Why nothing is cached; null where something is. */
  get reason (): string | null {
    return this.#reason
  }

  /**
   * @param reason null: caching
   * @param kind reasons of one kind are logged once
   */
  is (reason: string | null, kind = reason): void {
    if (reason !== this.#reason) {
      if (this.#reason === null) this.#counters.interruptions++
      this.#reason = reason
      if (kind !== this.#kind) {
        this.#kind = kind
        this.#since = now()
        this.#isLogged = false
      }
      modes.publish({ mode: reason === null ? 'coherent' : 'bypass', reason })
    }
    if (this.#isLogged || (reason === UNHEARD && now() - this.#since < LOG_DELAY_MS)) return
    this.#isLogged = true
    this.#report(reason)
  }

  #report (reason: string | null): void {
    if (reason === null) {
      if (this.#hasWarned) this.#log.info('values are cached again')
      this.#hasWarned = false
    } else if (reason === QUARANTINE && this.#counters.interruptions === 0) {
      // Every start on an empty Redis begins with it: no warning.
      this.#log.info({ reason }, 'nothing is cached for a while')
    } else {
      this.#log.warn({ reason }, 'nothing is cached')
      this.#hasWarned = true
    }
  }
}
