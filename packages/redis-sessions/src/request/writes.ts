import type { FastifyRequest } from 'fastify'
import { unavailable } from '../errors.ts'
import { eventOf, type EndReason } from '../events.ts'
import type { SessionRef } from '../stores/ids.ts'
import { changesOf, checkNames, fieldsOf, toJson, type Fields } from '../vault/fields.ts'
import { newMeta, type Asking, type SessionMeta } from '../vault/record.ts'
import type { Loaded } from '../vault/vault.ts'
import type { Held } from './held.ts'
import type { Presented } from './presented.ts'
import type { Shared } from './shared.ts'

/** What ended for another session to begin: `out` where this request had ended it, `gone` where others had, null where nothing was stored. */
export type Ended = Loaded | 'out' | 'gone' | null

/** What one request writes to the store, and what it then knows of its sessions. */
export class Writes {
  readonly #request: FastifyRequest
  readonly #shared: Pick<Shared, 'vault' | 'events' | 'log'>

  constructor (request: FastifyRequest, shared: Shared) {
    this.#request = request
    this.#shared = shared
  }

  /** Stores what the request changed in a session object. */
  async save (held: Held, session: object, { failure, unreadable }: Presented): Promise<void> {
    if (held.isOut || held.isDropped) return
    if (failure !== null) throw failure
    const fields = fieldsOf(session)
    if (held.loaded === null) return this.#saveFirst(held, fields, unreadable)
    const changes = changesOf(held.base, fields)
    if (changes.size === 0) return
    checkNames(changes.keys())
    const base = toJson(fields)
    const saved = await this.#shared.vault.save(held.loaded, changes)
    if (saved === null) return this.drop(held)
    held.keep(saved, base)
    held.isNew = true
  }

  /** Stores a session that was not. */
  async create (held: Held, meta: SessionMeta, json: string): Promise<Loaded> {
    const created = await this.#shared.vault.create(held.ref, { meta, json })
    held.keep(created)
    if (created === null) throw unavailable(new Error('the new session was refused'))
    return created
  }

  /** Stores the fields under another id, for what ended. */
  async move (ended: Ended, held: Held, fields: Fields): Promise<void> {
    if (ended === 'out') held.isOut = true
    if (ended === 'gone') this.drop(held)
    if (ended === null || typeof ended === 'string') return
    // With its old stamp: a logout-all that came between must hold for this session too.
    const { meta, stored: { stamp, createdAt } } = ended
    held.keep(await this.#shared.vault.create(held.ref, { meta, json: toJson(fields) }, { stamp, createdAt }))
    if (held.loaded === null) this.drop(held)
  }

  /** Ends a stored session, and tells why where there is somebody to tell of. */
  async end (ref: SessionRef | null, reason: EndReason | null): Promise<Loaded | null> {
    const ended = ref === null ? null : await this.#shared.vault.end(ref)
    if (ended?.meta.userId != null && reason !== null) {
      await this.#shared.events.ended({ userId: ended.meta.userId, handles: [ended.meta.handle], reason })
    }
    return ended
  }

  /** Ends a session for another to begin. */
  async endFor (left: Held, reason: EndReason | null): Promise<Ended> {
    if (left.isOut) return 'out'
    if (left.isDropped) return 'gone'
    if (left.loaded === null) return null
    const ended = await this.end(left.ref, reason)
    left.loaded = null
    left.isOut = true
    return ended ?? 'gone'
  }

  /** The session ended: nothing more of this request is stored in it. */
  drop (held: Held): void {
    held.isDropped = true
    held.loaded = null
    this.#shared.log.info({ reqId: this.#request.id }, 'a session ended while a request was using it; what the request wrote to it is dropped')
  }

  async #saveFirst (held: Held, fields: Fields, unreadable: Error | null): Promise<void> {
    const json = toJson(fields)
    if (json === '{}') return
    if (unreadable !== null) throw unreadable
    checkNames(Object.keys(fields))
    const created = await this.create(held, newMeta(this.#request as Asking, null), json)
    held.isNew = true
    this.#shared.events.tell('created', eventOf(created))
  }
}
