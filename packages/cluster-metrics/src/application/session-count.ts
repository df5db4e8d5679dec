import type { RedisLink } from '@jpulse/redis-link'

/**
 * How many sessions are alive. Counting reads the names of all keys, so one instance at a time does it, and the others
 * read what it found.
 */
export class SessionCount {
  readonly #link: RedisLink
  readonly #everyMs: number

  constructor (link: RedisLink, everyMs: number) {
    this.#link = link
    this.#everyMs = everyMs
  }

  /** Null where nobody counted. */
  async read (sessions: { mode: string, count (): Promise<number> }): Promise<number | null> {
    if (this.#everyMs === 0) return null
    if (!this.#link.isUp || sessions.mode === 'memory') return sessions.count()
    const key = this.#link.key('metric', '-sessions')
    // The lock is not given back: it is the pause until the next count.
    if (await this.#link.tryLock('metrics:sessions', this.#everyMs) !== null) {
      const count = await sessions.count()
      await this.#link.run((client) => client.set(key, count, 'PX', 3 * this.#everyMs))
      return count
    }
    const text = await this.#link.run((client) => client.get(key))
    return text === null ? null : Number(text)
  }
}
