import { LogThrottle } from '@jpulse/plugin-kit'
import { giveBack, type RedisLink, type Subscriber } from '@jpulse/redis-link'
import type { FastifyBaseLogger } from 'fastify'
import type { Keys } from '../keys.ts'
import { isOutage } from '../log/epoch-log.ts'
import type { Claim, Claims } from './once.ts'
import { claim, done, giveBack as giveBackScript } from './scripts.ts'
import { Waiters } from './waiters.ts'

/** Polling interval of those who wait, in case the message that it is done was lost. */
const POLL_MS = 1000
/** How long a claim whose answer was lost is asked for again. */
const UNKNOWN_MS = 2000
const RETRY_MS = 250
/** How often a claim is asked for whose time was over when it was read that it is ours. */
const MOST_LATE = 3

/** Claims in Redis. */
export class RedisClaims implements Claims {
  readonly #link: RedisLink
  readonly #log: FastifyBaseLogger
  readonly #keys: Keys
  readonly #subscriber: Subscriber
  readonly #waiters = new Waiters()
  /** Tokens of claims of unknown outcome. */
  readonly #unknown = new Set<string>()
  #heard: Promise<unknown> | undefined
  /** A timetable asks again and again. */
  readonly #complaints = new LogThrottle()
  #closed = false

  constructor (link: RedisLink, subscriber: Subscriber, keys: Keys, log: FastifyBaseLogger) {
    this.#link = link
    this.#subscriber = subscriber
    this.#log = log
    this.#keys = keys
  }

  async take (name: string, token: string, ttlMs: number, awaited: string): Promise<Claim | null> {
    // Where Redis refuses the channel, those who wait poll.
    this.#heard ??= this.#subscriber.subscribe(this.#keys.done, (name) => this.#waiters.wake(name.toString())).catch(() => {})
    await this.#heard
    if (this.#closed) return null
    const begunAt = performance.now()
    // A command that was never sent claimed nothing, nor did one that was refused.
    let isUnknown = false
    for (let late = 0; ;) {
      const wasUp = this.#link.isUp
      const askedAt = performance.now()
      try {
        const [state, leftMs, holder] = await this.#link.runScript(claim, { keys: [this.#keys.once(name)], args: [token, ttlMs, awaited] })
        // It has lapsed, because this process stood still or Redis was slow: another one may run it by now.
        if (state === 'won' && performance.now() - askedAt >= leftMs) {
          if (++late < MOST_LATE) continue
          throw new Error('the answers of Redis take longer than the claim lasts')
        }
        this.#unknown.delete(token)
        return { state, leftMs, holder }
      } catch (err) {
        isUnknown ||= wasUp && isOutage(err)
        if (isUnknown && !this.#closed && performance.now() - begunAt < Math.min(UNKNOWN_MS, ttlMs)) {
          await this.#link.outages.changed(RETRY_MS)
          continue
        }
        if (this.#complaints.pass() !== null) this.#log.warn({ err, name }, 'whether to run this once cannot be told')
        if (isUnknown) this.#unknown.add(token)
        return null
      }
    }
  }

  async forgo (name: string, token: string): Promise<void> {
    await this.#giveBack(name, token)
      .catch((err: unknown) => this.#log.warn({ err, name }, 'that this was not run could not be told; its claim lapses by itself'))
  }

  async done (name: string, token: string): Promise<void> {
    this.#unknown.delete(token)
    await this.#link.runScript(done, { keys: [this.#keys.once(name)], args: [token, name, this.#keys.done] })
      .catch((err: unknown) => this.#log.warn({ err, name }, 'that this was run once could not be told; its claim lapses by itself'))
  }

  wait (name: string, ms: number): Promise<void> {
    return this.#closed ? Promise.resolve() : this.#waiters.wait(name, Math.min(ms, POLL_MS))
  }

  close (): void {
    this.#closed = true
    this.#waiters.wakeAll()
  }

  /** When Redis answers again, and more than once, because what claimed it may still be on its way. */
  async giveBack (name: string, token: string, ttlMs: number): Promise<void> {
    if (!this.#unknown.delete(token)) return
    await giveBack(this.#link.outages, ttlMs, () => this.#closed, () => this.#giveBack(name, token))
  }

  #giveBack (name: string, token: string): Promise<number> {
    return this.#link.runScript(giveBackScript, { keys: [this.#keys.once(name)], args: [token, name, this.#keys.done] })
  }
}
