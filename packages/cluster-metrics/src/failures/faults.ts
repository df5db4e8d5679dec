import { LogThrottle } from '@jpulse/plugin-kit'
import type { FastifyBaseLogger } from 'fastify'
import { redactError } from './redact.ts'

/** What of the application may fail while it is asked. */
export type Asked = 'gauge' | 'component' | 'check' | 'registry'

/** What went wrong in functions of the application: counted, and logged without secrets, each at most once a minute. */
export class Faults {
  readonly counts: Record<Asked, number> = { gauge: 0, component: 0, check: 0, registry: 0 }
  readonly #log: FastifyBaseLogger
  readonly #throttle = new LogThrottle()
  readonly #full = new Set<string>()

  constructor (log: FastifyBaseLogger) {
    this.#log = log
  }

  note (asked: Asked, name: string, err: unknown): void {
    this.counts[asked]++
    if (this.#throttle.pass(`${asked} ${name}`) !== null) this.#log.warn({ err: redactError(err), [asked]: name }, `a ${asked} could not be read`)
  }

  /** Says once that a metric has more sets of labels than are told apart. */
  tellFull (name: string): void {
    if (this.#full.has(name)) return
    this.#full.add(name)
    this.#log.warn({ metric: name }, 'a metric has more sets of labels than are told apart: the others are counted as __other__, so use fewer values')
  }
}
