import type { FastifyBaseLogger } from 'fastify'
import type { RedisLink } from '@jpulse/redis-link'
import { FST_ERR_REDIS_SESSIONS_UNAVAILABLE, unavailable } from './errors.ts'
import type { StoredSession } from './header.ts'
import type { SessionRef } from './ids.ts'
import { MemoryStore } from './memory-store.ts'
import type { EndAllOptions, EndedAll, Lifetimes, ListedSession, Origin, ReplaceResult, SessionStore } from './store.ts'

const RETRY_MS = 250
/**
 * The ages of a logout-all and of the session that outlived it here are told to Redis one after the other, each exact to
 * some milliseconds. This keeps their order.
 */
const CLOCK_SLACK_MICROS = 50_000

/** A logout-all to be carried out in Redis; `at` is of `performance.now()`. */
interface LateLogout { tag: string, at: number, except?: SessionRef }

/**
 * Policy `onUnavailable: 'memory'`: sessions live in Redis while it answers, else in the process.
 *
 * During an outage the process knows only the sessions made here, never copies of Redis' sessions: a copy could be of one
 * that was logged out elsewhere. Logouts are remembered, whether the session is known or not. When Redis is back they are
 * carried out there first, then the sessions made here are moved; until that is done, nothing is read from Redis.
 */
export class FallbackStore implements SessionStore {
  readonly #primary: SessionStore
  readonly #memory: MemoryStore
  readonly #link: RedisLink
  readonly #log: FastifyBaseLogger
  readonly #ended = new Map<string, SessionRef>()
  readonly #late = new Map<string, LateLogout>()
  readonly #onUp = () => { this.#recover() }
  /** Groups whose late logouts are carried out, in the recovery under way. */
  readonly #replayed = new Set<string>()
  #isAway = false
  #replaying: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor (primary: SessionStore, link: RedisLink, lifetimes: Lifetimes, log: FastifyBaseLogger) {
    this.#primary = primary
    this.#memory = new MemoryStore(lifetimes)
    this.#link = link
    this.#log = log
    link.on('up', this.#onUp)
  }

  get mode (): SessionStore['mode'] {
    return this.#isAway ? 'memory' : this.#primary.mode
  }

  async read (ref: SessionRef): Promise<StoredSession | null> {
    return this.#either((store) => store.read(ref))
  }

  async create (ref: SessionRef, payload: string, origin?: Origin): Promise<StoredSession | null> {
    return this.#either((store) => store.create(ref, payload, origin))
  }

  async replace (ref: SessionRef, version: string, payload: string): Promise<ReplaceResult> {
    const result = await this.#either((store) => store.replace(ref, version, payload))
    if (result.outcome !== 'gone' || !this.#isAway || this.#ended.has(ref.hash) || this.#late.has(ref.tag)) return result
    // Loaded before the outage: it is in Redis, where this change cannot go now.
    throw unavailable(new Error('the session is in Redis'))
  }

  async touch (ref: SessionRef): Promise<boolean> {
    return this.#either((store) => store.touch(ref))
  }

  async remove (ref: SessionRef): Promise<StoredSession | null> {
    const known = await this.#memory.remove(ref)
    try {
      // Asked in an outage too: it refuses at once, and where it has a backup, that knows of the logout then.
      await this.#replaying
      const ended = await this.#primary.remove(ref)
      return ended ?? known
    } catch (err) {
      this.#away(err)
      this.#ended.set(ref.hash, ref)
      return await this.#memory.remove(ref) ?? known
    }
  }

  async removeAll (tag: string, options: EndAllOptions = {}): Promise<EndedAll> {
    const here = await this.#memory.removeAll(tag, options)
    try {
      await this.#replaying
      const { mark, known } = await this.#primary.removeAll(tag, options)
      return { mark, known: [...here.known, ...known] }
    } catch (err) {
      this.#away(err)
      this.#late.set(tag, { tag, at: performance.now(), ...(options.except === undefined ? {} : { except: options.except }) })
      const { mark, known } = await this.#memory.removeAll(tag, options)
      return { mark, known: [...here.known, ...known] }
    }
  }

  async list (tag: string): Promise<ListedSession[]> {
    return this.#either((store) => store.list(tag))
  }

  async count (): Promise<number> {
    return this.#either((store) => store.count())
  }

  async close (): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    this.#link.off('up', this.#onUp)
    if (this.#isAway && (this.#ended.size > 0 || this.#late.size > 0)) {
      this.#log.error({ logouts: this.#ended.size, logoutAlls: this.#late.size }, 'closed while Redis was away: logouts of this process were not carried out there')
    }
    await this.#primary.close()
  }

  async #either<T> (use: (store: SessionStore) => Promise<T>): Promise<T> {
    try {
      await this.#whenRecovered()
      return await use(this.#primary)
    } catch (err) {
      this.#away(err)
      return use(this.#memory)
    }
  }

  /** Redis' answers count only when all that happened here is there. Rejects while it is away. */
  async #whenRecovered (): Promise<void> {
    if (!this.#isAway) return
    if (this.#replaying === undefined) throw unavailable(new Error('Redis is away'))
    await this.#replaying
  }

  /** @throws what is no outage of Redis */
  #away (err: unknown): void {
    if (!(err instanceof FST_ERR_REDIS_SESSIONS_UNAVAILABLE)) throw err
    if (this.#isAway || this.#closed) return
    this.#isAway = true
    this.#log.warn({ err }, 'sessions are kept in this process until Redis is back')
    this.#retryLater()
  }

  #retryLater (): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#recover(), RETRY_MS).unref()
  }

  /** Requests wait for the replay, but not for the probe before it, which a frozen Redis does not answer. */
  async #recover (): Promise<void> {
    if (!this.#isAway || this.#closed || this.#replaying !== undefined) return
    try {
      await this.#link.ping()
      this.#replaying ??= this.#replay()
      await this.#replaying
    } catch (err) {
      this.#log.debug({ err }, 'Redis is not back yet')
      if (!this.#closed) this.#retryLater()
    } finally {
      this.#replaying = undefined
    }
  }

  async #replay (): Promise<void> {
    let moved = 0
    // Logouts come in while this runs, so it goes on until there is nothing left to do.
    for (;;) {
      const [ended] = this.#ended.values()
      const [late] = this.#late.values()
      const [made] = this.#memory.all()
      if (ended !== undefined) {
        await this.#primary.remove(ended)
        this.#ended.delete(ended.hash)
      } else if (late !== undefined) {
        const { tag, at, except } = late
        await this.#primary.removeAll(tag, { ageMs: performance.now() - at, ...(except === undefined ? {} : { except }) })
        this.#replayed.add(tag)
        if (this.#late.get(tag) === late) this.#late.delete(tag)
      } else if (made !== undefined) {
        if (await this.#move(made)) moved++
      } else {
        break
      }
    }
    clearTimeout(this.#timer)
    this.#memory.clear()
    this.#replayed.clear()
    this.#isAway = false
    this.#log.info({ moved }, 'Redis is back: it has the logouts and the sessions of the outage')
  }

  /** A session made here goes to Redis with its age, so that a logout-all elsewhere in the meantime holds for it too. */
  async #move ({ ref, stored }: ListedSession): Promise<boolean> {
    const { payload, version, createdAt, touchedAt } = stored
    const stamp = stored.stamp + (this.#replayed.has(ref.tag) ? CLOCK_SLACK_MICROS : 0)
    const created = await this.#primary.create(ref, payload, { stamp, createdAt, touchedAt, clock: Date.now() })
    if (created === null) {
      // There from an attempt whose answer was lost, and changed here since; or refused by a logout.
      const there = await this.#primary.read(ref)
      if (there !== null) await this.#primary.replace(ref, there.version, payload)
    }
    // Changed while it was moved: the next round takes it along.
    if ((await this.#memory.read(ref))?.version === version) await this.#memory.remove(ref)
    return created !== null
  }
}
