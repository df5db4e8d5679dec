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

  constructor (log: FastifyBaseLogger) {
    this.#log = log
  }

  note (asked: Asked, name: string, err: unknown): void {
    this.counts[asked]++
    if (this.#throttle.pass(`${asked} ${name}`) !== null) this.#log.warn({ err: redactError(err), [asked]: name }, `a ${asked} could not be read`)
  }
}
