import { refOf } from '../stores/ids.ts'
import { fieldsOf, type Fields } from '../vault/fields.ts'
import type { Vault } from '../vault/vault.ts'
import type { Events } from '../events.ts'
import { Session } from './session.ts'

type Callback = (err?: unknown) => void

/** `request.sessionStore`: sessions by their ids, for code that knows the stores of @fastify/session. */
export class IdStore {
  readonly #vault: Vault
  readonly #events: Events

  constructor (vault: Vault, events: Events) {
    this.#vault = vault
    this.#events = events
  }

  /** The fields of a session, or null. */
  get (id: string, callback: (err: unknown, fields?: Fields | null) => void): void {
    const ref = refOf(id)
    const opened = ref === null ? Promise.resolve(null) : this.#vault.open(ref)
    opened.then((found) => callback(null, found?.fields ?? null), callback)
  }

  /** Writes the fields over those of a session that lives, and leaves its others. */
  set (id: string, session: object, callback: Callback): void {
    const saved = Session.heldBy(session) === undefined ? this.#merge(id, session) : (session as Session).save()!
    saved.then(() => callback(), callback)
  }

  destroy (id: string, callback: Callback): void {
    this.#destroy(id).then(() => callback(), callback)
  }

  async #merge (id: string, session: object): Promise<void> {
    const ref = refOf(id)
    const found = ref === null ? null : await this.#vault.open(ref)
    if (found === null) return
    await this.#vault.save(found, new Map(Object.entries(fieldsOf(session)).map(([name, value]) => [name, JSON.stringify(value) ?? null])))
  }

  async #destroy (id: string): Promise<void> {
    const ref = refOf(id)
    const ended = ref === null ? null : await this.#vault.end(ref)
    if (ended?.meta.userId != null) await this.#events.ended({ userId: ended.meta.userId, handles: [ended.meta.handle], reason: 'destroy' })
  }
}
