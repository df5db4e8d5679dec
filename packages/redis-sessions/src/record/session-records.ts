import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyBaseLogger } from 'fastify'
import { FST_ERR_REDIS_SESSIONS_CONFLICT, FST_ERR_REDIS_SESSIONS_TOO_LARGE, FST_ERR_REDIS_SESSIONS_UNREADABLE, withRetryAfter } from '../errors.ts'
import { doneBefore } from '../stores/half-done.ts'
import type { StoredSession } from '../stores/header.ts'
import type { SessionRef } from '../stores/ids.ts'
import { expiryOf, type EndAllOptions, type EndedAll, type Lifetimes, type ListedSession, type Origin, type SessionStore } from '../stores/store.ts'
import type { Codec } from './cipher.ts'
import { applyChanges, isFlat, type Changes, type Fields } from './fields.ts'
import { largeOf } from './json-values.ts'
import { decodeNotice, decodeRecord, encodeNotice, encodeRecord, type SessionMeta, type SessionRecord } from './record.ts'

/** A session as a request knows it. */
export interface Loaded extends SessionRecord {
  readonly ref: SessionRef
  readonly stored: StoredSession
}

/** A session that was read. */
export interface Opened extends Loaded {
  /** What `json` is the text of. */
  readonly fields: Fields
  /** Whether `fields` are not the caller's: other requests have them too, or they are what its changes are found against. */
  readonly isShared: boolean
  /** Which fields of shared ones are better not copied before they are asked for. */
  readonly large: ReadonlySet<string>
  readonly lifetimes: Lifetimes
}

const NONE: ReadonlySet<string> = new Set()

export interface RecordOptions extends Lifetimes { readonly maxBytes: number }

/** Attempts to save against others that write the same session. With 8 writers at once none was seen to need more than 9. */
const ATTEMPTS = 40
const PAUSE_MS = 4
const PAUSE_CAP_MS = 50

/** Reads and merges sessions: what the application's fields mean, on a store that knows payloads only. */
export class SessionRecords {
  readonly store: SessionStore
  /** How many values were met that this instance cannot read, while another configuration or release can. */
  unreadable = 0
  readonly #codec: Codec
  readonly #options: RecordOptions
  readonly #log: FastifyBaseLogger
  #isExpiryHeard = () => false
  /** What is in the copies that the store keeps: a copy is decoded once. */
  readonly #opened = new WeakMap<StoredSession, Opened>()

  constructor (store: SessionStore, codec: Codec, options: RecordOptions, log: FastifyBaseLogger) {
    this.store = store
    this.#codec = codec
    this.#options = options
    this.#log = log
  }

  /**
   * The session, or null; a damaged value is logged and is none.
   *
   * @throws FST_ERR_REDIS_SESSIONS_UNREADABLE where another instance can read what is stored
   */
  async open (ref: SessionRef): Promise<Opened | null> {
    const stored = await this.store.read(ref)
    return stored === null ? this.#missed(ref) : this.#decode(ref, stored)
  }

  /**
   * What `open` would resolve with, where the store has it at hand and it was decoded before; undefined where that is to be asked.
   *
   * @param now what `now` says
   */
  openNow (ref: SessionRef, now: number): Opened | undefined {
    const stored = this.store.readNow?.(ref)
    const opened = stored == null ? undefined : this.#opened.get(stored)
    return opened === undefined || this.#isOver(opened, now) ? undefined : opened
  }

  /** @throws FST_ERR_REDIS_SESSIONS_TOO_LARGE */
  async create (ref: SessionRef, record: SessionRecord, origin?: Origin): Promise<Loaded | null> {
    const line = encodeNotice(record.meta)
    const notice = line === undefined ? undefined : this.#codec.encode(line, ref.hash)
    const stored = await this.store.create(ref, this.#encode(ref, record), origin, this.lifetimesOf(record.meta), notice)
    return stored === null ? null : { ...record, ref, stored }
  }

  /**
   * Merges the changes into the stored session, whatever others changed meanwhile. Null where it ended.
   *
   * @param isSeen false where that is no activity
   * @throws FST_ERR_REDIS_SESSIONS_TOO_LARGE, FST_ERR_REDIS_SESSIONS_CONFLICT, FST_ERR_REDIS_SESSIONS_UNREADABLE
   */
  async save (loaded: Loaded, changes: Changes, isSeen = true): Promise<Loaded | null> {
    const { ref } = loaded
    let base: Loaded = loaded
    for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
      const next = { meta: base.meta, json: applyChanges(base.json, changes) }
      const result = await this.store.replace(ref, base.stored.version, this.#encode(ref, next), this.lifetimesOf(base.meta), isSeen)
      if (result.outcome === 'gone') return this.#missed(ref)
      if (result.outcome === 'saved') return { ...next, ref, stored: result.stored }
      const current = this.#decode(ref, result.stored)
      if (current === null) return null
      base = current
      await sleep(Math.random() * Math.min(PAUSE_MS * attempt, PAUSE_CAP_MS))
    }
    throw withRetryAfter(new FST_ERR_REDIS_SESSIONS_CONFLICT(ATTEMPTS))
  }

  /** Notes the session as seen now. False where it is not alive. */
  async touch ({ ref, meta }: Pick<Loaded, 'ref' | 'meta'>, agoMs = 0): Promise<boolean> {
    if (await this.store.touch(ref, { lifetimes: this.lifetimesOf(meta), agoMs })) return true
    this.#missed(ref)
    return false
  }

  /**
   * Ends a session; what it was, or null, also where that cannot be read.
   *
   * @param tell hears of it first; also where the store then fails to make sure of what belongs to it, and this rejects
   */
  async end (ref: SessionRef, tell: (ended: Loaded) => unknown = () => {}): Promise<Loaded | null> {
    const told = async (stored: StoredSession | null): Promise<Loaded | null> => {
      const [ended = null] = stored === null ? [] : this.decodeAll([{ ref, stored }])
      if (ended !== null) await tell(ended)
      return ended
    }
    return this.#telling(() => this.store.remove(ref), told)
  }

  /**
   * Ends the sessions of a group; how many were known.
   *
   * @param tell hears first of those that were known and can be read; also where the store then fails, as in `end`
   */
  async endAll (tag: string, options: EndAllOptions, tell: (ended: readonly Loaded[]) => unknown): Promise<number> {
    return this.#telling(() => this.store.removeAll(tag, options), async ({ known }: EndedAll) => {
      const ended = this.decodeAll(known)
      await tell(ended)
      return ended.length
    })
  }

  /** The sessions of a group that can be read. */
  decodeAll (listed: readonly ListedSession[]): Loaded[] {
    return listed.map(({ ref, stored }) => {
      try {
        return this.#decode(ref, stored)
      } catch {
        return null
      }
    }).filter((loaded) => loaded !== null)
  }

  /** What the clock of the sessions' times says. */
  now (): number {
    return this.store.now?.() ?? Date.now()
  }

  /** How long a session lives: what its login asked for, or the options. */
  lifetimesOf ({ own }: Partial<SessionMeta> = {}): Lifetimes {
    const { idleTimeoutMs, absoluteTimeoutMs } = this.#options
    return { idleTimeoutMs: own?.idleTimeoutMs ?? idleTimeoutMs, absoluteTimeoutMs: own?.absoluteTimeoutMs ?? absoluteTimeoutMs }
  }

  /** When a session ends that is seen at this time, by the clock of `now`. */
  expiryOf ({ stored, meta }: Loaded, seenAt: number): number {
    return expiryOf(stored, seenAt, this.lifetimesOf(meta))
  }

  /** @throws FST_ERR_REDIS_SESSIONS_TOO_LARGE */
  check (json: string): void {
    const bytes = Buffer.byteLength(json)
    if (bytes > this.#options.maxBytes) throw new FST_ERR_REDIS_SESSIONS_TOO_LARGE(bytes, this.#options.maxBytes)
  }

  /** Calls back with the sessions of users that timed out, when the store comes to know of it. Nothing is looked up where nobody hears. */
  onExpired (hasListener: () => boolean, tell: (meta: SessionMeta, expiredAt: number) => void): void {
    this.#isExpiryHeard = hasListener
    this.store.onExpired = (expired) => {
      if (!hasListener()) return
      for (const { hash, notice, expiredAt } of expired) {
        const decoded = this.#codec.decode(notice, hash)
        const meta = typeof decoded === 'string' ? null : decodeNotice(decoded.text)
        if (meta !== null) tell(meta, expiredAt)
      }
    }
  }

  async #telling<T, R> (end: () => Promise<T>, told: (value: T) => Promise<R>): Promise<R> {
    const value = await end().catch(async (err) => {
      const done = doneBefore<T>(err)
      if (done !== undefined) await told(done)
      throw err
    })
    return told(value)
  }

  /** A session that is not there: whether it timed out is looked up while nobody waits for it. */
  #missed (ref: SessionRef): null {
    if (ref.owned && this.#isExpiryHeard()) this.store.missed?.(ref).catch((err) => this.#log.debug({ err }, 'whether a session timed out could not be looked up'))
    return null
  }

  #decode (ref: SessionRef, stored: StoredSession): Opened | null {
    const opened = this.#opened.get(stored) ?? this.#openedOf(ref, stored)
    return opened === null || this.#isOver(opened, this.now()) ? null : opened
  }

  /** The time to live says the same, but for sessions from before the option was lowered. */
  #isOver ({ stored, lifetimes }: Opened, now: number): boolean {
    return stored.createdAt + lifetimes.absoluteTimeoutMs <= now
  }

  #openedOf (ref: SessionRef, stored: StoredSession): Opened | null {
    const decoded = this.#codec.decode(stored.payload, ref.hash)
    if (decoded === 'foreign') throw this.#foreign(ref)
    const record = decoded === 'damaged' ? null : decodeRecord(decoded.text)
    if (record === null) {
      this.#log.warn({ session: ref.hash.slice(0, 8) }, 'a stored session cannot be read by anybody and counts as none')
      return null
    }
    const { fields } = record
    const isKept = this.store.keepsCopies === true
    const opened = { ...record, ref, stored, lifetimes: this.lifetimesOf(record.meta), isShared: isKept || isFlat(fields), large: isKept ? largeOf(fields) : NONE }
    if (isKept) this.#opened.set(stored, opened)
    return opened
  }

  #foreign ({ hash }: SessionRef): Error {
    if (this.unreadable++ === 0) {
      this.#log.warn({ session: hash.slice(0, 8) }, 'a stored session is encrypted with a key that is not in encryption.keys, or of a newer release: it is left as it is. See "Deploys that lose nobody" in the README')
    }
    return withRetryAfter(new FST_ERR_REDIS_SESSIONS_UNREADABLE())
  }

  #encode ({ hash }: SessionRef, record: SessionRecord): string {
    this.check(record.json)
    return this.#codec.encode(encodeRecord(record), hash)
  }
}
