import { LogThrottle } from '@jpulse/plugin-kit'
import type { FastifyBaseLogger } from 'fastify'
import type { RedisLink } from '@jpulse/redis-link'
import { FST_ERR_REDIS_SESSIONS_INCOHERENT, FST_ERR_REDIS_SESSIONS_UNAVAILABLE, unavailable } from '../errors.ts'
import { doneBefore } from './half-done.ts'
import type { StoredSession } from './header.ts'
import type { SessionRef } from './ids.ts'
import { MemoryStore } from './memory-store.ts'
import { Outage } from './outage.ts'
import { Replay } from './replay.ts'
import type { EndAllOptions, EndedAll, Lifetimes, ListedSession, Origin, ReplaceResult, Seen, SessionStore } from './store.ts'

const RETRY_MS = 250

/**
 * Policy `onUnavailable: 'memory'`: sessions live in Redis while it answers, else in the process.
 *
 * During an outage the process knows only the sessions made here, never copies of Redis' sessions: a copy could be of one
 * that was logged out elsewhere. Logouts are remembered, whether the session is known or not. When Redis is back they are
 * carried out there first, then the sessions made here are moved. Requests do not wait for that: a session of which
 * something is still to be told to Redis is looked up here, any other there.
 *
 * `Outage` decides, `Replay` tells Redis afterwards; this asks the two stores.
 */
export class FallbackStore implements SessionStore {
  readonly #primary: SessionStore
  readonly #memory: MemoryStore
  readonly #link: RedisLink
  readonly #log: FastifyBaseLogger
  readonly #outage: Outage
  readonly #replayed: Replay
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
    this.#replayed = new Replay(primary, this.#memory, link, this.#outage)
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

  readNow (ref: SessionRef): StoredSession | null | undefined {
    return this.#outage.isHere(ref) ? undefined : this.#primary.readNow?.(ref)
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
      const moved = await this.#replayed.run(this.#asking)
      clearTimeout(this.#timer)
      this.#log.info({ moved }, 'Redis is back: it has the logouts and the sessions of the outage')
    } catch (err) {
      this.#outage.interrupt()
      // The link says that it is away, and nobody that it does not take what it is told.
      if (this.#link.isUp && this.#warnings.pass() !== null) this.#log.warn({ err }, 'Redis is back, but cannot be told the logouts and sessions of the outage; it is tried again, and sessions stay in this process until then')
      if (!this.#closed) this.#retryLater()
    } finally {
      this.#recovering = false
    }
  }

  #thereNow (): number {
    return this.#primary.now?.() ?? Date.now()
  }
}
