import type { ScriptValue, ScriptValues } from '@jpulse/redis-link'
import { FST_ERR_REDIS_SESSIONS_INCOHERENT, unavailable, withRetryAfter } from '../../errors.ts'
import { doneBefore, withDone } from '../half-done.ts'
import { newVersion, parseStored, type StoredSession } from '../header.ts'
import type { SessionRef } from '../ids.ts'
import type { EndAllOptions, EndedAll, Seen } from '../store.ts'
import type { Copies, Copy } from './copies.ts'
import * as held from './holder-scripts.ts'
import { RedisStore } from './redis-store.ts'
import * as scripts from './scripts.ts'
import type { SessionScript } from './scripts.ts'

/** What is used of @jpulse/config-cache. */
export interface CoherentCache {
  readonly mode: string
  /** Where there is none, copies are asked for by `getOrLoad`. */
  peek?<T> (key: string, tags: string): T | undefined
  getOrLoad<T> (key: string, options: { tags: string, ttlMs: (value: T) => number, l2: false, remembered: false }, loader: () => Promise<T>): Promise<T>
  write<T> (write: { tags: string }, work: () => Promise<T>): Promise<T>
  writeHere<T> (write: { tags: string }, work: () => Promise<T>): Promise<T>
}

/** Position among the arguments of `create`. */
const SEEN = scripts.create.args.indexOf('seenMs')

/**
 * Sessions in Redis, of which this process serves copies as long as it holds a lease of the cache: docs/local-reads.md.
 *
 * A copy is one more value of the cache. Whatever changes or ends a session is a coherent write of its tag, and what ends a
 * group of sessions one of the group's: no instance serves what was before once it has resolved. Beside a session stands in Redis
 * who may have a copy of it. Where that is nobody else, the change is one script as without copies, and only this process forgets.
 *
 * A session that is made has an id that nobody has asked for, and what is not there is not kept, so a login is no such write.
 * Neither is noting a session as seen, which moves only its end: a copy ends when the session would have ended without.
 */
export class LocalRedisStore extends RedisStore {
  readonly #cache: CoherentCache
  readonly #copies: Copies
  /** Name of this process in the directory. */
  readonly #self = newVersion()
  override readonly keepsCopies: boolean

  constructor (...[cache, copies, ...own]: [cache: CoherentCache, copies: Copies, ...own: ConstructorParameters<typeof RedisStore>]) {
    super(...own)
    this.#cache = cache
    this.#copies = copies
    this.keepsCopies = copies.areServed
  }

  override async read (ref: SessionRef): Promise<StoredSession | null> {
    if (!this.#copies.areServed || this.#cache.mode !== 'coherent' || !this.#copies.isWorthTaking(ref)) return super.read(ref)
    try {
      return this.#copies.current(ref, await this.#cache.getOrLoad(this.#copies.keyOf(ref), { tags: this.#copies.groupOfSession(ref), ttlMs: this.#copies.ttlOf, l2: false, remembered: false }, () => this.#load(ref)))
    } catch (err) {
      throw isOfTheCache(err) ? unavailable(err) : err
    }
  }

  /** Of a copy only. The same look as that of `read`: at the lease, at the clock, at the tags, all at this moment. */
  readNow (ref: SessionRef): StoredSession | null | undefined {
    if (!this.#copies.areServed) return undefined
    const copy = this.#cache.peek?.<Copy>(this.#copies.keyOf(ref), this.#copies.groupOfSession(ref))
    return copy === undefined ? undefined : this.#copies.current(ref, copy)
  }

  override async touch (ref: SessionRef, seen: Seen = {}): Promise<boolean> {
    if (!await super.touch(ref, seen)) return false
    this.#copies.seen(ref, this.now() - (seen.agoMs ?? 0))
    return true
  }

  override async remove (ref: SessionRef): Promise<StoredSession | null> {
    try {
      return await super.remove(ref)
    } catch (err) {
      const text = doneBefore<string | null>(err)
      throw text == null ? err : withDone(err as Error, parseStored(text))
    }
  }

  override removeAll (tag: string, options?: EndAllOptions): Promise<EndedAll> {
    return this.#write(this.keys.watermark(tag), this.#copies.groupOf(tag), () => super.removeAll(tag, options))
  }

  override endUpTo (tag: string, mark: number, except?: SessionRef): Promise<void> {
    return this.#write(this.keys.watermark(tag), this.#copies.groupOf(tag), () => super.endUpTo(tag, mark, except))
  }

  protected override async change<Reply, const Args extends readonly string[]> (script: SessionScript<Reply, Args>, ref: SessionRef, args: ScriptValues<Args, ScriptValue>): Promise<Reply> {
    const keys = [...this.keysOf(ref), this.keys.holders(ref)] as const
    const own = args as unknown as readonly ScriptValue[]
    const unasked = unaskedOf(script, own)
    if (unasked !== null) return this.run(unasked, { keys, args })
    this.#copies.changed(ref)
    const tag = this.#copies.keyOf(ref)
    const run = (mark: string) => this.run(held.askingOf(script), { keys, args: [...own, this.#self, this.#copies.takenAs(ref), mark] as never })
    const alone = isRestored(script, own) ? held.SHARED : await this.#writeHere(keys[1], tag, () => run(''))
    if (alone !== held.SHARED) return alone as Reply
    const mark = newVersion()
    const value = await this.#write(keys[1], tag, () => run(mark) as Promise<Reply>)
    // Nobody waits for it: where it fails, the next change tells everybody once more.
    this.run(held.settle, { keys: [this.keys.holders(ref)], args: [mark] }).catch(() => {})
    return value
  }

  /** The session and when it ends unless it is seen again. */
  async #load (ref: SessionRef): Promise<Copy> {
    const at = performance.now()
    const [text, mark, leftMs] = await this.run(held.take, { keys: [this.keys.session(ref), this.keys.watermark(ref.tag), this.keys.holders(ref)], args: [this.#self, this.#copies.taking(ref)] })
    return { stored: await this.liveOf([text, mark]), leftMs, at }
  }

  /** @param key of the server that is asked @throws FST_ERR_REDIS_SESSIONS_UNAVAILABLE, FST_ERR_REDIS_SESSIONS_INCOHERENT */
  async #writeHere<T> (key: string, tag: string, work: () => Promise<T>): Promise<T> {
    // What is not sent leaves nothing in doubt.
    this.checkThere(key)
    try {
      return await this.#cache.writeHere({ tags: tag }, work)
    } catch (err) {
      throw isOfTheCache(err) ? incoherent(err) : err
    }
  }

  /** As `#writeHere`, told to everybody. */
  async #write<T> (key: string, tag: string, work: () => Promise<T>): Promise<T> {
    // Of a silent server only the first waits.
    this.checkThere(key)
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
      throw done === undefined ? incoherent(err) : withDone(incoherent(err), done.value)
    }
  }
}

/** Of one that was seen before, somebody may be asking for the id at this moment: it comes back, or comes from another store. */
function isRestored (script: unknown, args: readonly ScriptValue[]): boolean {
  return script === scripts.create && args[SEEN] !== ''
}

/** What changes nothing that anybody has a copy of; null for the others. */
function unaskedOf<Reply, const Args extends readonly string[]> (script: SessionScript<Reply, Args>, args: readonly ScriptValue[]): held.HeldScript<Reply, Args> | null {
  const given: unknown = script
  const unasked: unknown = given === scripts.touch ? held.touch : given === scripts.create && !isRestored(given, args) ? held.createUnheld : null
  return unasked as held.HeldScript<Reply, Args> | null
}

function incoherent (cause: unknown): Error {
  return Object.assign(withRetryAfter(new FST_ERR_REDIS_SESSIONS_INCOHERENT()), { cause })
}

function isOfTheCache (err: unknown): boolean {
  return String((err as { code?: unknown } | undefined)?.code).startsWith('FST_ERR_CONFIG_CACHE_')
}
