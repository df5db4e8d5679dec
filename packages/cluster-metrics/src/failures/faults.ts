import type { FastifyBaseLogger } from 'fastify'
import { redactError } from './redact.ts'

/** What of the application may fail while it is asked. */
export type Asked = 'gauge' | 'component' | 'check' | 'registry'

const PAUSE_MS = 60_000
const MOST = 1000

/** What went wrong in functions of the application: counted, and logged without secrets, each at most once a minute. */
export class Faults {
  readonly counts: Record<Asked, number> = { gauge: 0, component: 0, check: 0, registry: 0 }
  readonly #log: FastifyBaseLogger
  readonly #toldAt = new Map<string, number>()

  constructor (log: FastifyBaseLogger) {
    this.#log = log
  }

  note (asked: Asked, name: string, err: unknown): void {
    this.counts[asked]++
    const now = performance.now()
    const key = `${asked} ${name}`
    if (now - (this.#toldAt.get(key) ?? -Infinity) < PAUSE_MS) return
    if (this.#toldAt.size >= MOST) this.#toldAt.clear()
    this.#toldAt.set(key, now)
    this.#log.warn({ err: redactError(err), [asked]: name }, `a ${asked} could not be read`)
  }
}
