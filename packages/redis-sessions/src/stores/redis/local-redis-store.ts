import { FST_ERR_REDIS_SESSIONS_INCOHERENT, unavailable, withRetryAfter } from '../../errors.ts'
import { withDone } from '../half-done.ts'
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
    let done: { value: T } | undefined
    try {
      return await this.#cache.write({ tags: tag }, async () => {
        done = { value: await work() }
        return done.value
      })
    } catch (err) {
      if (!isOfTheCache(err)) throw err
      // What Redis refuses or does not answer, it would have without copies too. A change that was made and not confirmed is refused
      // all the same: the block may have ended before it, so that somebody has a copy of what was.
      if (done === undefined && (err as Error).cause instanceof Error && !isOfTheCache((err as Error).cause)) throw unavailable(err)
      const refused = Object.assign(withRetryAfter(new FST_ERR_REDIS_SESSIONS_INCOHERENT()), { cause: err })
      throw done === undefined ? refused : withDone(refused, done.value)
    }
  }
}

function isOfTheCache (err: unknown): boolean {
  return String((err as { code?: unknown } | undefined)?.code).startsWith('FST_ERR_CONFIG_CACHE_')
}
