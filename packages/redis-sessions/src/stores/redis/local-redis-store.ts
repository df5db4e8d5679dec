import { FST_ERR_REDIS_SESSIONS_INCOHERENT, unavailable, withRetryAfter } from '../../errors.ts'
import type { StoredSession } from '../header.ts'
import type { SessionRef } from '../ids.ts'
import type { EndAllOptions, EndedAll, Lifetimes, ReplaceResult, Seen } from '../store.ts'
import type { Copies, Copy } from './copies.ts'
import { RedisStore } from './redis-store.ts'

/** What is used of @jpulse/config-cache. */
export interface CoherentCache {
  readonly mode: string
  getOrLoad<T> (key: string, options: { tags: string, ttlMs: (value: T) => number, l2: false }, loader: () => Promise<T>): Promise<T>
  write<T> (write: { tags: string }, work: () => Promise<T>): Promise<T>
}

/** The shortest time for which the cache holds a block (its `blockTtlMs`), less what a timer may be late. */
const HELD_MS = 400

/**
 * Sessions in Redis, of which this process serves copies as long as it holds a lease of the cache: docs/local-reads.md.
 *
 * A copy is one more value of the cache. Whatever changes or ends a session is a coherent write of its tag, and what ends a
 * group of sessions one of the group's: no instance serves what was before once it has resolved. A session that is made has
 * an id that nobody has asked for, and what is not there is not kept, so a login is no such write. Neither is noting a session
 * as seen, which moves only its end: a copy ends when the session would have ended without.
 */
export class LocalRedisStore extends RedisStore {
  readonly #cache: CoherentCache
  readonly #copies: Copies
  override readonly keepsCopies: boolean

  constructor (...[cache, copies, ...own]: [cache: CoherentCache, copies: Copies, ...own: ConstructorParameters<typeof RedisStore>]) {
    super(...own)
    this.#cache = cache
    this.#copies = copies
    this.keepsCopies = copies.areServed
  }

  override async read (ref: SessionRef): Promise<StoredSession | null> {
    if (!this.#copies.areServed || this.#cache.mode !== 'coherent') return super.read(ref)
    try {
      return this.#copies.current(ref, await this.#cache.getOrLoad(this.#copies.keyOf(ref), { tags: this.#copies.groupOf(ref.tag), ttlMs: this.#copies.ttlOf, l2: false }, () => this.#load(ref)))
    } catch (err) {
      throw isOfTheCache(err) ? unavailable(err) : err
    }
  }

  /** Of one that was seen before, somebody may be asking for the id at this moment: it comes back, or comes from another store. */
  override create (...given: Parameters<RedisStore['create']>): Promise<StoredSession | null> {
    const [ref, , origin] = given
    return origin?.touchedAt === undefined ? super.create(...given) : this.#write(this.#copies.keyOf(ref), () => super.create(...given))
  }

  override replace (...[ref, ...rest]: [SessionRef, string, string, Lifetimes?, boolean?]): Promise<ReplaceResult> {
    return this.#write(this.#copies.keyOf(ref), () => super.replace(ref, ...rest))
  }

  override async touch (ref: SessionRef, seen: Seen = {}): Promise<boolean> {
    if (!await super.touch(ref, seen)) return false
    this.#copies.seen(ref, this.now() - (seen.agoMs ?? 0))
    return true
  }

  override remove (ref: SessionRef): Promise<StoredSession | null> {
    return this.#write(this.#copies.keyOf(ref), () => super.remove(ref))
  }

  override takeBack (ref: SessionRef, version: string): Promise<void> {
    return this.#write(this.#copies.keyOf(ref), () => super.takeBack(ref, version))
  }

  override removeAll (tag: string, options?: EndAllOptions): Promise<EndedAll> {
    return this.#write(this.#copies.groupOf(tag), () => super.removeAll(tag, options))
  }

  override endUpTo (tag: string, mark: number, except?: SessionRef): Promise<void> {
    return this.#write(this.#copies.groupOf(tag), () => super.endUpTo(tag, mark, except))
  }

  /** The session and when it ends unless it is seen again. */
  async #load (ref: SessionRef): Promise<Copy> {
    const at = performance.now()
    const [stored, endsAt] = await Promise.all([super.read(ref), this.expiryOf(ref)])
    return { stored, leftMs: stored === null || endsAt === null ? 0 : endsAt - this.now(), at }
  }

  /** @throws FST_ERR_REDIS_SESSIONS_UNAVAILABLE, FST_ERR_REDIS_SESSIONS_INCOHERENT */
  async #write<T> (tag: string, work: () => Promise<T>): Promise<T> {
    // Of a silent server only the first waits.
    this.checkThere()
    let done: { readonly value: T, readonly tookMs: number } | undefined
    try {
      return await this.#cache.write({ tags: tag }, async () => {
        const begun = performance.now()
        const value = await work()
        done = { value, tookMs: performance.now() - begun }
        return value
      })
    } catch (err) {
      if (!isOfTheCache(err)) throw err
      // Nobody had a copy when the work began, nor could have one until it was done: only that all may have one again is not told.
      if (done !== undefined && done.tookMs < HELD_MS) return done.value
      // What Redis refuses or does not answer, it would have without copies too.
      if (done === undefined && (err as Error).cause instanceof Error && !isOfTheCache((err as Error).cause)) throw unavailable(err)
      throw Object.assign(withRetryAfter(new FST_ERR_REDIS_SESSIONS_INCOHERENT()), { cause: err })
    }
  }
}

function isOfTheCache (err: unknown): boolean {
  return String((err as { code?: unknown } | undefined)?.code).startsWith('FST_ERR_CONFIG_CACHE_')
}
