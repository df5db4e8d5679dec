import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyBaseLogger } from 'fastify'
import type { Codec } from './cipher.ts'
import { FST_ERR_REDIS_SESSIONS_CONFLICT, FST_ERR_REDIS_SESSIONS_TOO_LARGE, withRetryAfter } from '../errors.ts'
import { applyChanges, type Changes, type Fields } from './fields.ts'
import type { StoredSession } from '../stores/header.ts'
import type { SessionRef } from '../stores/ids.ts'
import { decodeRecord, encodeRecord, type SessionRecord } from './record.ts'
import type { ListedSession, Origin, SessionStore } from '../stores/store.ts'

/** A session as a request knows it. */
export interface Loaded extends SessionRecord {
  readonly ref: SessionRef
  readonly stored: StoredSession
}

/** Attempts to save against others that write the same session. With 8 writers at once none was seen to need more than 9. */
const ATTEMPTS = 40
const PAUSE_MS = 4
const PAUSE_CAP_MS = 50

/** Reads and merges sessions: what the application's fields mean, on a store that knows payloads only. */
export class Vault {
  readonly store: SessionStore
  readonly #codec: Codec
  readonly #maxBytes: number
  readonly #log: FastifyBaseLogger

  constructor (store: SessionStore, codec: Codec, maxBytes: number, log: FastifyBaseLogger) {
    this.store = store
    this.#codec = codec
    this.#maxBytes = maxBytes
    this.#log = log
  }

  /** The session, or null; a value that cannot be read is logged and is none. */
  async open (ref: SessionRef): Promise<(Loaded & { fields: Fields }) | null> {
    const stored = await this.store.read(ref)
    return stored === null ? null : this.decode(ref, stored)
  }

  /** @throws FST_ERR_REDIS_SESSIONS_TOO_LARGE */
  async create (ref: SessionRef, record: SessionRecord, origin?: Origin): Promise<Loaded | null> {
    const stored = await this.store.create(ref, this.#encode(ref, record), origin)
    return stored === null ? null : { ...record, ref, stored }
  }

  /**
   * Merges the changes into the stored session, whatever others changed meanwhile. Null where it ended.
   *
   * @throws FST_ERR_REDIS_SESSIONS_TOO_LARGE, FST_ERR_REDIS_SESSIONS_CONFLICT
   */
  async save (loaded: Loaded, changes: Changes): Promise<Loaded | null> {
    const { ref } = loaded
    let base: Loaded = loaded
    for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
      const next = { meta: base.meta, json: applyChanges(base.json, changes) }
      const result = await this.store.replace(ref, base.stored.version, this.#encode(ref, next))
      if (result.outcome === 'gone') return null
      if (result.outcome === 'saved') return { ...next, ref, stored: result.stored }
      const current = this.decode(ref, result.stored)
      if (current === null) return null
      base = current
      await sleep(Math.random() * Math.min(PAUSE_MS * attempt, PAUSE_CAP_MS))
    }
    throw withRetryAfter(new FST_ERR_REDIS_SESSIONS_CONFLICT(ATTEMPTS))
  }

  /** Ends a session; what it was, or null. */
  async end (ref: SessionRef): Promise<Loaded | null> {
    const stored = await this.store.remove(ref)
    return stored === null ? null : this.decode(ref, stored)
  }

  /** The sessions of a group that can be read. */
  decodeAll (listed: readonly ListedSession[]): Loaded[] {
    return listed.map(({ ref, stored }) => this.decode(ref, stored)).filter((loaded) => loaded !== null)
  }

  decode (ref: SessionRef, stored: StoredSession): (Loaded & { fields: Fields }) | null {
    const text = this.#codec.decode(stored.payload, ref.hash)
    const record = text === null ? null : decodeRecord(text)
    if (record === null) {
      this.#log.warn({ session: ref.hash.slice(0, 8) }, 'a stored session cannot be read and counts as none')
      return null
    }
    return { ...record, ref, stored }
  }

  /** @throws FST_ERR_REDIS_SESSIONS_TOO_LARGE */
  check (json: string): void {
    const bytes = Buffer.byteLength(json)
    if (bytes > this.#maxBytes) throw new FST_ERR_REDIS_SESSIONS_TOO_LARGE(bytes, this.#maxBytes)
  }

  #encode ({ hash }: SessionRef, record: SessionRecord): string {
    this.check(record.json)
    return this.#codec.encode(encodeRecord(record), hash)
  }
}
