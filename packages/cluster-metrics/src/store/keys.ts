import type { RedisLink } from '@jpulse/redis-link'

/** The only builder of our keys. One process writes to keys with its boot id; the index and the errors are shared. */
export class Keys {
  /** Sorted set: boot id → when it last reported, in milliseconds of Redis' clock. */
  readonly index: string
  /** String: the sum of what instances counted that ended. */
  readonly ended: string
  /** Sorted set: points of the cluster's last day, as JSON. */
  readonly days: string
  /** List of the last errors, the newest first. */
  readonly errors: string
  readonly #link: Pick<RedisLink, 'key'>

  constructor (link: Pick<RedisLink, 'key'>) {
    this.#link = link
    this.index = link.key('health', 'index')
    this.ended = link.key('health', 'ended')
    this.days = link.key('health', 'days')
    this.errors = link.key('errors', 'recent')
  }

  /** String: the report of a living process. */
  instance (bootId: string): string {
    return this.#link.key('health', 'instance', bootId)
  }

  /** Sorted set: points of the last hour by Redis' time. */
  history (bootId: string): string {
    return this.#link.key('health', 'history', bootId)
  }

  /** String: value of one custom counter. */
  metric (name: string, bootId: string): string {
    return this.#link.key('metric', name, bootId)
  }

  /** String: everything that only grows, kept beyond the end of its process. No counter can have the name. */
  totals (bootId: string): string {
    return this.#link.key('metric', '-totals', bootId)
  }

  /** Hash: `route:status` → requests of one minute, which is named by its first millisecond. */
  requests (bootId: string, minute: number): string {
    return this.#link.key('requests', bootId, String(minute))
  }
}
