import { LogThrottle } from '@jpulse/plugin-kit'
import type { FastifyBaseLogger } from 'fastify'
import { unkept, writes } from './events.ts'
import type { Counters } from './stats.ts'

/** Reports what the cache did not do though it was asked to: a figure and an event each time, and a line in the log once a minute for each cause. */
export class Notices {
  readonly #log: FastifyBaseLogger
  readonly #counters: Counters
  readonly #throttle = new LogThrottle()

  constructor (log: FastifyBaseLogger, counters: Counters) {
    this.#log = log
    this.#counters = counters
  }

  /** A value is handed out and not kept, so it is loaded at each read. @param cause what is logged once a minute @param err with its stack in the log */
  unkept (key: string, reason: string, cause = key, err?: unknown): void {
    this.#counters.unkept++
    unkept.publish({ key, level: 'process', reason })
    this.#warn(`unkept ${cause}`, { key, reason, ...(err !== undefined && { err }) }, 'a value is not cached')
  }

  /** Redis did not take a value, so every instance loads it. */
  unshared (key: string, reason: string): void {
    this.#counters.unshared++
    unkept.publish({ key, level: 'redis', reason })
    this.#warn(`unshared ${reason}`, { key, reason }, 'a value is not shared through Redis')
  }

  refused (tags: readonly string[], reason: string): void {
    this.#counters.refused++
    writes.publish({ step: 'refused', tags, reason })
    this.#warn(`refused ${reason}`, { reason }, 'a write was refused')
  }

  /** Likewise, because documents are in another process. */
  refusedForeign (tags: readonly string[], reason: string): void {
    this.#counters.refused++
    writes.publish({ step: 'refused', tags, reason })
    this.foreign(reason)
  }

  /** A document is in another process: it was not read. */
  foreign (reason: string): void {
    this.#counters.foreign++
    this.#warn('foreign', { reason }, 'documents are neither read nor written here')
  }

  unconfirmed (tags: readonly string[], reason: string): void {
    this.#counters.unconfirmed++
    writes.publish({ step: 'unconfirmed', tags, reason })
    this.#warn(`unconfirmed ${reason}`, { reason }, 'a write is done, and the cluster is not told yet')
  }

  #warn (cause: string, details: object, text: string): void {
    const suppressed = this.#throttle.pass(cause)
    if (suppressed !== null) this.#log.warn({ ...details, ...(suppressed > 0 && { suppressed }) }, text)
  }
}
