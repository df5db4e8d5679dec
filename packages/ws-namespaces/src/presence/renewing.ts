import type { Outages } from '@jpulse/redis-link'

/**
 * Whether this process renewed its lease up to now, or would have but for an outage: only then may it take a pause, in which nobody did,
 * for one in which nobody could. Who had nothing to renew knows of no reason for the pause, and would give the dead a lease
 * again each time.
 */
export class Renewing {
  readonly #outages: Outages
  /** Version of the outages when there was nothing to renew; null where there was. */
  #idleAt: number | null

  constructor (outages: Outages) {
    this.#outages = outages
    this.#idleAt = outages.version
  }

  /** As the scripts want it. */
  get flag (): 0 | 1 {
    return this.#idleAt === null || this.#idleAt !== this.#outages.version ? 1 : 0
  }

  renewed (): void {
    this.#idleAt = null
  }

  /** It was time, and there was nothing to renew. */
  idle (): void {
    this.#idleAt = this.#outages.version
  }
}
