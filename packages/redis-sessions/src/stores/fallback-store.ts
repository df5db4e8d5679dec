import type { FastifyBaseLogger } from 'fastify'
import type { RedisLink } from '@jpulse/redis-link'
import { FST_ERR_REDIS_SESSIONS_UNAVAILABLE, unavailable } from '../errors.ts'
import type { StoredSession } from './header.ts'
import type { SessionRef } from './ids.ts'
import { MemoryStore } from './memory-store.ts'
import type { EndAllOptions, EndedAll, Lifetimes, ListedSession, Origin, ReplaceResult, Seen, SessionStore } from './store.ts'

const RETRY_MS = 250
/** So many sessions or logouts are told to Redis at once. */
const SLICE = 100
/**
 * The ages of a logout-all and of the session that outlived it here are told to Redis one after the other, each exact to
 * some milliseconds. This keeps their order.
 */
const CLOCK_SLACK_MICROS = 50_000

/** A logout-all to be carried out in Redis; `at` is of `performance.now()`. */
interface LateLogout { tag: string, at: number, except?: SessionRef }

/** A session that was sent to Redis in the recovery; `isThere` where Redis said that it took it. */
interface Moved { ref: SessionRef, isThere: boolean }

/**
 * Policy `onUnavailable: 'memory'`: sessions live in Redis while it answers, else in the process.
 *
 * During an outage the process knows only the sessions made here, never copies of Redis' sessions: a copy could be of one
 * that was logged out elsewhere. Logouts are remembered, whether the session is known or not. When Redis is back they are
 * carried out there first, then the sessions made here are moved. Requests do not wait for that: a session of which
 * something is still to be told to Redis is looked up here, any other there.
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
  /** By hash, until the recovery is done. */
  readonly #moved = new Map<string, Moved>()
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
    return this.#either(this.#isHere(ref), (store) => store.read(ref))
  }

  async create (ref: SessionRef, payload: string, origin?: Origin, lifetimes?: Lifetimes): Promise<StoredSession | null> {
    return this.#either(this.#isHere(ref), (store) => store.create(ref, payload, origin, lifetimes))
  }

  async replace (ref: SessionRef, version: string, payload: string, lifetimes?: Lifetimes): Promise<ReplaceResult> {
    return this.#either(this.#isHere(ref), async (store) => {
      const result = await store.replace(ref, version, payload, lifetimes)
      if (store !== this.#memory || result.outcome !== 'gone' || this.#ended.has(ref.hash) || this.#late.has(ref.tag)) return result
      // Loaded before the outage: it is in Redis, where this change cannot go now.
      throw unavailable(new Error('the session is in Redis'))
    })
  }

  async touch (ref: SessionRef, seen?: Seen): Promise<boolean> {
    return this.#either(this.#isHere(ref), (store) => store.touch(ref, seen))
  }

  async remove (ref: SessionRef): Promise<StoredSession | null> {
    // It may be on its way to Redis, and arrive after the logout: the recovery carries that out once more.
    if (this.#moved.has(ref.hash)) this.#ended.set(ref.hash, ref)
    const known = await this.#memory.remove(ref)
    try {
      // Asked in an outage too: it refuses at once, and where it has a backup, that knows of the logout then.
      const ended = await this.#primary.remove(ref)
      return ended ?? known
    } catch (err) {
      this.#away(err)
      this.#ended.set(ref.hash, ref)
      return await this.#memory.remove(ref) ?? known
    }
  }

  async removeAll (tag: string, options: EndAllOptions = {}): Promise<EndedAll> {
    const here = await this.#removeAllHere(tag, options)
    try {
      const { mark, known } = await this.#primary.removeAll(tag, options)
      return { mark, known: [...here.known, ...known] }
    } catch (err) {
      this.#away(err)
      this.#late.set(tag, { tag, at: performance.now(), ...(options.except === undefined ? {} : { except: options.except }) })
      const { mark, known } = await this.#removeAllHere(tag, options)
      return { mark, known: [...here.known, ...known] }
    }
  }

  async list (tag: string): Promise<ListedSession[]> {
    if (!this.#isAway) return this.#either(false, (store) => store.list(tag))
    const here = await this.#memory.list(tag)
    if (this.#replaying === undefined || this.#late.has(tag)) return here
    const there = await this.#either(false, (store) => store.list(tag))
    const known = new Set(here.map(({ ref }) => ref.hash))
    return [...here, ...there.filter(({ ref: { hash } }) => !known.has(hash) && !this.#ended.has(hash))]
  }

  /** Of Redis, which the process' own clock should not be far from: sessions of both are compared with it. */
  now (): number {
    return this.#isAway ? Date.now() : this.#primary.now?.() ?? Date.now()
  }

  async count (): Promise<number> {
    if (this.#isAway && this.#replaying === undefined) return this.#memory.count()
    try {
      return await this.#primary.count()
    } catch (err) {
      // It takes many commands: that one was slow does not say that sessions cannot be read.
      if (this.#link.isUp) throw err
      this.#away(err)
      return this.#memory.count()
    }
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

  async #either<T> (here: boolean, use: (store: SessionStore) => Promise<T>): Promise<T> {
    if (here) return use(this.#memory)
    try {
      return await use(this.#primary)
    } catch (err) {
      this.#away(err)
      return use(this.#memory)
    }
  }

  /** Redis' answer counts where it answers, and all that happened to the session here is there. */
  #isHere (ref: SessionRef): boolean {
    if (!this.#isAway) return false
    return this.#replaying === undefined || this.#ended.has(ref.hash) || this.#late.has(ref.tag) || this.#memory.get(ref) !== null
  }

  #removeAllHere (tag: string, options: EndAllOptions): Promise<EndedAll> {
    // Between those that were moved and this one the clocks of two machines would decide.
    for (const { ref } of this.#moved.values()) if (ref.tag === tag && ref.hash !== options.except?.hash) this.#ended.set(ref.hash, ref)
    return this.#memory.removeAll(tag, options)
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
    // Logouts and changes come in while this runs, so it goes on until there is nothing left to do.
    for (;;) {
      await this.#replayLogouts()
      const made = this.#memory.all()
      if (made.length === 0 && this.#ended.size === 0 && this.#late.size === 0) break
      for (const slice of slices(made)) {
        await this.#replayLogouts()
        moved += (await settle(slice.map(({ ref }) => this.#move(ref)))).filter(Boolean).length
      }
    }
    clearTimeout(this.#timer)
    this.#memory.clear()
    this.#replayed.clear()
    this.#moved.clear()
    this.#isAway = false
    this.#log.info({ moved }, 'Redis is back: it has the logouts and the sessions of the outage')
  }

  async #replayLogouts (): Promise<void> {
    while (this.#ended.size > 0 || this.#late.size > 0) {
      for (const slice of slices([...this.#ended.values()])) await settle(slice.map((ref) => this.#replayLogout(ref)))
      for (const slice of slices([...this.#late.values()])) await settle(slice.map((late) => this.#replayLogoutAll(late)))
    }
  }

  async #replayLogout (ref: SessionRef): Promise<void> {
    await this.#primary.remove(ref)
    if (this.#ended.get(ref.hash) === ref) this.#ended.delete(ref.hash)
  }

  async #replayLogoutAll (late: LateLogout): Promise<void> {
    const { tag, at, except } = late
    await this.#primary.removeAll(tag, { ageMs: performance.now() - at, ...(except === undefined ? {} : { except }) })
    this.#replayed.add(tag)
    if (this.#late.get(tag) === late) this.#late.delete(tag)
  }

  /**
   * A session made here goes to Redis with its age, so that a logout-all elsewhere in the meantime holds for it too. What
   * Redis once took is not made there again: if it is gone, it was logged out elsewhere.
   */
  async #move (ref: SessionRef): Promise<boolean> {
    const stored = this.#memory.get(ref)
    if (stored === null) return false
    const { payload, version } = stored
    const lifetimes = this.#memory.lifetimesOf(ref)
    const moved = this.#moved.get(ref.hash) ?? { ref, isThere: false }
    this.#moved.set(ref.hash, moved)
    const isNew = !moved.isThere && await this.#primary.create(ref, payload, this.#originOf(ref, stored), lifetimes) !== null
    if (!isNew) {
      // There from an attempt whose answer was lost, and changed here since; or refused by a logout.
      const there = await this.#primary.read(ref)
      if (there !== null) await this.#primary.replace(ref, there.version, payload, lifetimes)
      else if (moved.isThere) await this.#memory.remove(ref)
    }
    moved.isThere = true
    // Changed while it was moved: the next round takes it along.
    if (this.#memory.get(ref)?.version === version) await this.#memory.remove(ref)
    return isNew
  }

  #originOf ({ tag }: SessionRef, { stamp, createdAt, touchedAt }: StoredSession): Origin {
    const clock = Date.now()
    // Never ahead of a logout-all that follows.
    const latest = Math.max(stamp, (clock + 1) * 1000)
    return { stamp: this.#replayed.has(tag) ? Math.min(stamp + CLOCK_SLACK_MICROS, latest) : stamp, createdAt, touchedAt, clock }
  }
}

function slices<T> (items: T[]): T[][] {
  return Array.from({ length: Math.ceil(items.length / SLICE) }, (_, index) => items.slice(index * SLICE, (index + 1) * SLICE))
}

/** Waits for all, so that nothing is under way where the next attempt begins. @throws the first failure */
async function settle<T> (promises: Array<Promise<T>>): Promise<T[]> {
  await Promise.allSettled(promises)
  return Promise.all(promises)
}
