import { LogThrottle } from '@jpulse/plugin-kit'
import type { FastifyBaseLogger } from 'fastify'
import type { RedisLink } from '@jpulse/redis-link'
import { FST_ERR_REDIS_SESSIONS_INCOHERENT, FST_ERR_REDIS_SESSIONS_UNAVAILABLE, unavailable } from '../errors.ts'
import { doneBefore } from './half-done.ts'
import type { StoredSession } from './header.ts'
import type { SessionRef } from './ids.ts'
import { MemoryStore } from './memory-store.ts'
import { Outage, type LateLogout, type Move } from './outage.ts'
import type { EndAllOptions, EndedAll, Lifetimes, ListedSession, Origin, ReplaceResult, Seen, SessionStore } from './store.ts'

const RETRY_MS = 250
/**
 * The ages of a logout-all and of the session that outlived it here are told to Redis one after the other, each exact to
 * some milliseconds. This keeps their order.
 */
const CLOCK_SLACK_MICROS = 50_000

/**
 * Policy `onUnavailable: 'memory'`: sessions live in Redis while it answers, else in the process.
 *
 * During an outage the process knows only the sessions made here, never copies of Redis' sessions: a copy could be of one
 * that was logged out elsewhere. Logouts are remembered, whether the session is known or not. When Redis is back they are
 * carried out there first, then the sessions made here are moved. Requests do not wait for that: a session of which
 * something is still to be told to Redis is looked up here, any other there.
 *
 * `Outage` decides; this asks the two stores.
 */
export class FallbackStore implements SessionStore {
  readonly #primary: SessionStore
  readonly #memory: MemoryStore
  readonly #link: RedisLink
  readonly #log: FastifyBaseLogger
  readonly #outage: Outage
  /** Logout-alls that Redis is being told of. */
  readonly #asking = new Set<Promise<unknown>>()
  readonly #onUp = () => { this.#recover() }
  readonly #warnings = new LogThrottle()
  #recovering = false
  #timer: NodeJS.Timeout | undefined
  #closed = false

  /** @param refusesMs how long after its end the primary refuses to make a session again; 0 where it does not */
  constructor (primary: SessionStore, link: RedisLink, lifetimes: Lifetimes, log: FastifyBaseLogger, refusesMs = 0) {
    this.#primary = primary
    this.#memory = new MemoryStore(lifetimes)
    this.#link = link
    this.#log = log
    this.#outage = new Outage((ref) => this.#memory.get(ref) !== null, refusesMs)
    link.on('up', this.#onUp)
  }

  get onExpired (): SessionStore['onExpired'] {
    return this.#memory.onExpired
  }

  set onExpired (listener: SessionStore['onExpired']) {
    this.#memory.onExpired = listener
    this.#primary.onExpired = listener
  }

  /** Nobody knows it but Redis: of its own sessions the process tells by itself. */
  async missed (ref: SessionRef): Promise<void> {
    if (!this.#outage.isAway) await this.#primary.missed?.(ref)
  }

  get keepsCopies (): boolean {
    return this.#primary.keepsCopies === true
  }

  get mode (): SessionStore['mode'] {
    return this.#outage.isAway ? 'memory' : this.#primary.mode
  }

  async read (ref: SessionRef): Promise<StoredSession | null> {
    return this.#primaryOrMemory(this.#outage.isHere(ref), (store) => store.read(ref))
  }

  async create (ref: SessionRef, payload: string, origin?: Origin, lifetimes?: Lifetimes, notice?: string): Promise<StoredSession | null> {
    return this.#primaryOrMemory(this.#outage.isHere(ref), (store) => store.create(ref, payload, origin, lifetimes, notice))
  }

  async replace (ref: SessionRef, version: string, payload: string, lifetimes?: Lifetimes, isSeen?: boolean): Promise<ReplaceResult> {
    return this.#primaryOrMemory(this.#outage.isHere(ref), async (store) => {
      const result = await store.replace(ref, version, payload, lifetimes, isSeen)
      if (store !== this.#memory || result.outcome !== 'gone' || this.#outage.isEnded(ref)) return result
      // Loaded before the outage: it is in Redis, where this change cannot go now.
      throw unavailable(new Error('the session is in Redis'))
    })
  }

  async touch (ref: SessionRef, seen?: Seen): Promise<boolean> {
    return this.#primaryOrMemory(this.#outage.isHere(ref), (store) => store.touch(ref, seen))
  }

  async remove (ref: SessionRef): Promise<StoredSession | null> {
    this.#outage.end(ref)
    const known = await this.#memory.remove(ref)
    try {
      // Asked in an outage too: it refuses at once, and where it has a backup, that knows of the logout then.
      const ended = await this.#primary.remove(ref)
      return ended ?? known
    } catch (err) {
      this.#noteOutage(err)
      this.#outage.endLater(ref)
      return await this.#memory.remove(ref) ?? known ?? doneBefore<StoredSession>(err) ?? null
    }
  }

  async noteReplaced (ref: SessionRef): Promise<void> {
    await this.#primaryOrMemory(this.#outage.isHere(ref), async (store) => store.noteReplaced?.(ref))
  }

  async wasReplaced (ref: SessionRef): Promise<boolean> {
    return await this.#memory.wasReplaced(ref) || await this.#primaryOrMemory(this.#outage.isHere(ref), async (store) => await store.wasReplaced?.(ref) ?? false)
  }

  async forgetReplaced (ref: SessionRef): Promise<void> {
    await this.#memory.forgetReplaced(ref)
    await this.#primaryOrMemory(this.#outage.isHere(ref), async (store) => store.forgetReplaced?.(ref))
  }

  async removeAll (tag: string, options: EndAllOptions = {}): Promise<EndedAll> {
    const { except } = options
    this.#outage.endAll(tag, except)
    const here = await this.#memory.removeAll(tag, options)
    let noted = 0
    const asked = this.#primary.removeAll(tag, { ...options, noted: (mark) => { noted = mark } })
    this.#asking.add(asked)
    try {
      const { mark, known } = await asked
      this.#outage.endedAll(tag, mark, except)
      return { mark, known: [...here.known, ...known] }
    } catch (err) {
      this.#noteOutage(err)
      this.#outage.noted(tag, noted)
      this.#outage.endAllLater({ tag, at: performance.now(), ...(except === undefined ? {} : { except }) })
      const { mark, known } = await this.#memory.removeAll(tag, options)
      return { mark, known: [...here.known, ...known, ...doneBefore<EndedAll>(err)?.known ?? []] }
    } finally {
      this.#asking.delete(asked)
      this.#outage.stopAsking(except)
    }
  }

  async list (tag: string): Promise<ListedSession[]> {
    const from = this.#outage.listsFrom(tag)
    if (from === 'redis') return this.#primaryOrMemory(false, (store) => store.list(tag))
    const here = await this.#memory.list(tag)
    if (from === 'memory') return here
    const there = await this.#primaryOrMemory(false, (store) => store.list(tag))
    const known = new Set(here.map(({ ref }) => ref.hash))
    return [...here, ...there.filter(({ ref }) => !known.has(ref.hash) && !this.#outage.isEnded(ref))]
  }

  /** Of Redis, which the process' own clock should not be far from: sessions of both are compared with it. */
  now (): number {
    return this.#outage.isAway ? this.#memory.now() : this.#thereNow()
  }

  async count (): Promise<number> {
    if (this.#outage.isAway && !this.#outage.isReplaying) return this.#memory.count()
    try {
      return await this.#primary.count()
    } catch (err) {
      // It takes many commands: that one was slow does not say that sessions cannot be read.
      if (this.#link.isUp) throw err
      this.#noteOutage(err)
      return this.#memory.count()
    }
  }

  async close (): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    this.#link.off('up', this.#onUp)
    const { untold } = this.#outage
    if (untold.logouts > 0 || untold.logoutAlls > 0) {
      this.#log.error(untold, 'closed while Redis was away: logouts of this process were not carried out there')
    }
    await this.#primary.close()
  }

  async #primaryOrMemory<T> (here: boolean, use: (store: SessionStore) => Promise<T>): Promise<T> {
    if (here) return use(this.#memory)
    try {
      return await use(this.#primary)
    } catch (err) {
      this.#noteOutage(err)
      return use(this.#memory)
    }
  }

  /** Begins the outage. @throws what is no outage of Redis */
  #noteOutage (err: unknown): void {
    // In an outage also what the other instances cannot be told is told later.
    if (!(err instanceof FST_ERR_REDIS_SESSIONS_UNAVAILABLE || (err instanceof FST_ERR_REDIS_SESSIONS_INCOHERENT && this.#outage.isAway))) throw err
    if (this.#outage.isAway || this.#closed) return
    this.#outage.begin()
    this.#log.warn({ err }, 'sessions are kept in this process until Redis is back')
    this.#retryLater()
  }

  #retryLater (): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#recover(), RETRY_MS).unref()
  }

  async #recover (): Promise<void> {
    if (!this.#outage.isAway || this.#closed || this.#recovering) return
    this.#recovering = true
    try {
      await this.#link.ping()
      this.#outage.replay()
      await this.#replay()
    } catch (err) {
      this.#outage.interrupt()
      // The link says that it is away, and nobody that it does not take what it is told.
      if (this.#link.isUp && this.#warnings.pass() !== null) this.#log.warn({ err }, 'Redis is back, but cannot be told the logouts and sessions of the outage; it is tried again, and sessions stay in this process until then')
      if (!this.#closed) this.#retryLater()
    } finally {
      this.#recovering = false
    }
  }

  /** Logouts and changes come in while this runs, so it goes on until there is nothing left to do. */
  async #replay (): Promise<void> {
    let moved = 0
    for (;;) {
      const work = this.#outage.next(() => this.#memory.all().map(({ ref }) => ref))
      if (work.kind === 'done') break
      if (work.kind === 'logouts') await settle(work.refs.map((ref) => this.#replayLogout(ref)))
      else if (work.kind === 'logout-alls') await settle(work.lates.map((late) => this.#replayLogoutAll(late)))
      else if (work.kind === 'moves') moved += (await settle(work.refs.map((ref) => this.#move(ref)))).filter(Boolean).length
      else await Promise.allSettled(this.#asking)
    }
    clearTimeout(this.#timer)
    this.#memory.clear()
    this.#outage.finish()
    this.#log.info({ moved }, 'Redis is back: it has the logouts and the sessions of the outage')
  }

  async #replayLogout (ref: SessionRef): Promise<void> {
    await this.#primary.remove(ref)
    this.#outage.toldEnd(ref)
  }

  async #replayLogoutAll (late: LateLogout): Promise<void> {
    const { tag, at, except } = late
    const noted = (mark: number) => this.#outage.noted(tag, mark)
    const { mark } = await this.#primary.removeAll(tag, { ageMs: performance.now() - at, noted, ...(except === undefined ? {} : { except }) })
    this.#outage.toldEndAll(late, mark)
  }

  /** A session made here goes to Redis with its age, so that a logout-all elsewhere in the meantime holds for it too. */
  async #move (ref: SessionRef): Promise<boolean> {
    const stored = this.#memory.get(ref)
    if (stored === null) return false
    // Not sent, so it need not be asked later whether it arrived.
    if (!this.#link.isUp) throw unavailable(new Error('the link is down'))
    const { payload, version } = stored
    const lifetimes = this.#memory.lifetimesOf(ref)
    const notice = this.#memory.noticeOf(ref)
    const move = this.#outage.send(ref, performance.now())
    const isNew = move.creates && await this.#primary.create(ref, payload, this.#originOf(ref, stored, move), lifetimes, notice) !== null
    if (!isNew) {
      // There from an attempt whose answer was lost, and changed here since; or refused by a logout.
      const there = await this.#primary.read(ref)
      if (there === null) {
        if (this.#outage.isRefused(ref, move)) await this.#memory.remove(ref)
        return false
      }
      await this.#primary.replace(ref, there.version, payload, lifetimes)
    }
    this.#outage.arrived(ref)
    // Changed while it was moved: the next round takes it along.
    if (this.#memory.get(ref)?.version === version) await this.#memory.remove(ref)
    return isNew
  }

  #originOf (ref: SessionRef, { stamp, createdAt, touchedAt }: StoredSession, { mark, noted }: Move): Origin {
    const clock = this.#memory.now()
    const ahead = Math.round(this.#thereNow() - clock)
    if (mark > 0) {
      // The watermark is of Redis' clock, so all of them are: the stamp to the microsecond, the others as well as it is known.
      return { stamp: mark + 1, createdAt: createdAt + ahead, touchedAt: touchedAt + ahead }
    }
    // Never ahead of a logout-all that follows.
    const latest = Math.max(stamp, (clock + 1) * 1000)
    const made = this.#outage.followsLogout(ref) ? Math.min(stamp + CLOCK_SLACK_MICROS, latest) : stamp
    const there = made + ahead * 1000
    if (there > noted + CLOCK_SLACK_MICROS) return { stamp: made, createdAt, touchedAt, clock }
    // What the backup has is as late as Redis' clock may have been; a restoration would find the session ended.
    return { stamp: Math.max(there, noted + 1), createdAt: createdAt + ahead, touchedAt: touchedAt + ahead }
  }

  #thereNow (): number {
    return this.#primary.now?.() ?? Date.now()
  }
}

/** Waits for all, so that nothing is under way where the next attempt begins. @throws the first failure */
async function settle<T> (promises: Array<Promise<T>>): Promise<T[]> {
  await Promise.allSettled(promises)
  return Promise.all(promises)
}
