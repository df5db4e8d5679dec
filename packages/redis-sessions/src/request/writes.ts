import type { FastifyRequest } from 'fastify'
import { unavailable } from '../errors.ts'
import { eventOf, type EndReason } from '../events.ts'
import { refOf, type SessionRef } from '../stores/ids.ts'
import { changesOf, checkNames, fieldsOf, toJson, type Fields } from '../record/fields.ts'
import { newMeta, type Requester, type SessionMeta, type SessionRecord } from '../record/record.ts'
import type { Loaded } from '../record/session-records.ts'
import type { Origin } from '../stores/store.ts'
import type { KnownSession } from './known-session.ts'
import type { TokenLookup } from './token-lookup.ts'
import type { Shared } from './shared.ts'

/** What ended for another session to begin: `ended` where this request had ended it, `gone` where others had, null where nothing was stored. */
export type Ended = Loaded | 'ended' | 'gone' | null

/** What one request writes to the store, and what it then knows of its sessions. */
export class Writes {
  readonly #request: FastifyRequest
  readonly #shared: Pick<Shared, 'records' | 'events' | 'log'>
  readonly #isActivity: boolean

  /** @param isActivity whether what is written counts as seen */
  constructor (request: FastifyRequest, shared: Shared, isActivity = true) {
    this.#request = request
    this.#shared = shared
    this.#isActivity = isActivity
  }

  /** Stores what the request changed in a session object. */
  async save (known: KnownSession, session: object, lookup: TokenLookup): Promise<void> {
    if (known.isEnded || known.isGone) return
    if (lookup.failure !== null) throw lookup.failure
    const fields = fieldsOf(session)
    if (known.loaded === null) return this.#saveFirst(known, fields, lookup)
    const changes = changesOf(known.base, fields)
    if (changes.size === 0) return
    checkNames(changes.keys())
    const base = toJson(fields)
    const saved = await this.#shared.records.save(known.loaded, changes, this.#isActivity)
    if (saved === null) return this.markGone(known)
    known.keep(saved, base)
    known.isNew = true
  }

  /** Stores a session that was not. */
  async create (known: KnownSession, meta: SessionMeta, json: string): Promise<Loaded> {
    const created = await this.#make(known.ref, { meta, json })
    known.keep(created)
    if (created === null) throw unavailable(new Error('the new session was refused'))
    return created
  }

  /** Stores the fields under another id, for what ended. */
  async move (ended: Ended, known: KnownSession, fields: Fields): Promise<void> {
    if (ended === 'ended') known.isEnded = true
    if (ended === 'gone') this.markGone(known)
    if (ended === null || typeof ended === 'string') return
    // With its old stamp: a logout-all that came between must hold for this session too.
    const { meta, stored: { stamp, createdAt } } = ended
    try {
      known.keep(await this.#make(known.ref, { meta, json: toJson(fields) }, { stamp, createdAt }))
    } finally {
      // The old id is dead, whatever became of the new one.
      if (meta.userId !== null) await this.#shared.events.moved(meta.userId, meta.handle)
    }
    if (known.loaded !== null) return
    this.markGone(known)
    await this.forgetReplaced(ended.ref)
  }

  /** Ends a stored session, and tells why where there is somebody to tell of. */
  async end (ref: SessionRef | null, reason: EndReason | null): Promise<Loaded | null> {
    if (ref === null) return null
    return this.#shared.records.end(ref, async ({ meta: { userId, handle } }) => {
      if (userId !== null && reason !== null) await this.#shared.events.ended({ userId, handles: [handle], reason })
    })
  }

  /** Ends a session that does not reach the browser. That goes on with the cookie that it had: what it sends next is not late. */
  async abandon (made: SessionRef | null, formerId: string | null): Promise<void> {
    await this.end(made, 'aborted')
    const former = formerId === null ? null : refOf(formerId)
    if (former !== null) await this.forgetReplaced(former)
  }

  /** Nothing took the place of a session after all. Never rejects: the note ends by itself, too. */
  async forgetReplaced (former: SessionRef): Promise<void> {
    await this.#shared.records.store.forgetReplaced?.(former).catch(() => {})
  }

  /** Ends a session for another to begin. */
  async endFor (left: KnownSession, reason: EndReason | null): Promise<Ended> {
    if (left.isEnded) return 'ended'
    if (left.isGone) return 'gone'
    if (left.loaded === null) return null
    await this.#shared.records.store.noteReplaced?.(left.ref)
    const ended = await this.end(left.ref, reason)
    left.loaded = null
    left.isEnded = true
    return ended ?? 'gone'
  }

  /** The session ended: nothing more of this request is stored in it. */
  markGone (known: KnownSession): void {
    known.isGone = true
    known.loaded = null
    this.#shared.log.info({ reqId: this.#request.id }, 'a session ended while a request was using it; what the request wrote to it is dropped')
  }

  async #make (ref: SessionRef, record: SessionRecord, origin?: Origin): Promise<Loaded | null> {
    const { records } = this.#shared
    try {
      return await records.create(ref, record, origin)
    } catch (err) {
      // It may be there, and only the answer was lost: nobody could use it, or end it. Where this fails, too, it times out.
      if ((err as { statusCode?: unknown }).statusCode === 503) await records.store.remove(ref).catch(() => {})
      throw err
    }
  }

  async #saveFirst (known: KnownSession, fields: Fields, { id, refused, unreadable }: TokenLookup): Promise<void> {
    const json = toJson(fields)
    if (json === '{}') return
    if (unreadable !== null) throw unreadable
    checkNames(Object.keys(fields))
    // Sent before the browser had the cookie of a login: one of a new session would take that from it.
    const former = refused === 'unknown' && id !== null ? refOf(id) : null
    if (former !== null && await this.#shared.records.store.wasReplaced?.(former)) return this.markGone(known)
    const created = await this.create(known, newMeta(this.#request as Requester, null), json)
    known.isNew = true
    this.#shared.events.emit('created', eventOf(created))
  }
}
