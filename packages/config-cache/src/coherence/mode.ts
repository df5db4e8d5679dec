import { channel } from 'node:diagnostics_channel'
import type { FastifyBaseLogger } from 'fastify'
import { now } from '../time.ts'

const changes = channel('jpulse:config-cache:mode')
/** How long a loss of messages may last before it is more than the end of a connection, of which the link speaks. */
const PATIENCE_MS = 5000

export const AWAY = 'Redis is away'
export const UNHEARD = 'messages are not heard, though Redis answers: the user of Redis must be allowed to subscribe to the channels of the site'
export const QUARANTINE = 'an epoch of Redis began, and operations of the one before may still reach the database'
export const FENCED = 'a fence in the source turns all caches off'
export const BUSY = 'the event loop of this process stands still for too long too often, so writers of others do not wait for it'
export const NEWER = 'a write of a newer release is under way'

/** Tells each change of why nothing is cached: once in the log, and to who subscribed to `jpulse:config-cache:mode`. */
export class Mode {
  readonly #log: FastifyBaseLogger
  #reason: string | null = 'not joined yet'
  #since = now()
  #isSaid = true

  constructor (log: FastifyBaseLogger) {
    this.#log = log
  }

  /** Why nothing is cached; null where something is. */
  get reason (): string | null {
    return this.#reason
  }

  /** @param reason null: caching */
  is (reason: string | null): void {
    if (reason !== this.#reason) {
      this.#reason = reason
      this.#since = now()
      this.#isSaid = false
      changes.publish({ mode: reason === null ? 'coherent' : 'bypass', reason })
    }
    if (this.#isSaid || (reason === UNHEARD && now() - this.#since < PATIENCE_MS)) return
    this.#isSaid = true
    // Of outages the link speaks itself.
    if (reason === null || reason === AWAY) return
    if (reason === QUARANTINE) this.#log.info({ reason }, 'nothing is cached for a while')
    else this.#log.warn({ reason }, 'nothing is cached')
  }
}
