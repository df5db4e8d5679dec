import { callSafely } from '@jpulse/plugin-kit'
import type { FastifyBaseLogger } from 'fastify'
import { refOf } from '../stores/ids.ts'
import { changesOf, checkNames, fieldsOf, type Changes, type Fields } from '../record/fields.ts'
import { copyOf } from '../record/json-values.ts'
import type { SessionRecords } from '../record/session-records.ts'
import type { Events } from '../events.ts'
import { Session } from './session.ts'

type Callback<Args extends unknown[] = []> = (err?: unknown, ...args: Args) => void

/** `request.sessionStore`: sessions by their ids, for code that knows the stores of @fastify/session. */
export class IdStore {
  readonly #records: SessionRecords
  readonly #events: Events
  readonly #log: FastifyBaseLogger

  constructor (records: SessionRecords, events: Events, log: FastifyBaseLogger) {
    this.#records = records
    this.#events = events
    this.#log = log
  }

  /** The fields of a session, or null. */
  get (id: string, callback: Callback<[fields?: Fields | null]>): void {
    this.#answer(this.#open(id).then((found) => found === null ? null : copyOf(found.fields) as Fields), callback)
  }

  /** Writes the fields over those of a session that lives, and leaves its others. */
  set (id: string, session: object, callback: Callback): void {
    this.#answer(Session.knownOf(session) === undefined ? this.#merge(id, session) : (session as Session).save()!, callback)
  }

  destroy (id: string, callback: Callback): void {
    this.#answer(this.#destroy(id), callback)
  }

  /** What a callback throws is nobody's to catch. */
  #answer<T> (asked: Promise<T>, callback: Callback<[T]>): void {
    const call = (...args: Parameters<typeof callback>) => callSafely((err) => this.#log.error({ err }, 'a callback that was passed to request.sessionStore failed'), callback, ...args)
    asked.then((value) => call(null, value), (err) => call(err, undefined as T))
  }

  async #open (id: string) {
    const ref = refOf(id)
    return ref === null ? null : this.#records.open(ref)
  }

  async #merge (id: string, session: object): Promise<void> {
    const found = await this.#open(id)
    if (found === null) return
    const fields = fieldsOf(session)
    const changes: Changes = changesOf('{}', fields)
    for (const [name, value] of Object.entries(fields)) if (value === undefined) changes.set(name, null)
    checkNames(changes.keys())
    await this.#records.save(found, changes)
  }

  async #destroy (id: string): Promise<void> {
    const ref = refOf(id)
    if (ref === null) return
    await this.#records.end(ref, async ({ meta: { userId, handle } }) => {
      if (userId !== null) await this.#events.ended({ userId, handles: [handle], reason: 'destroy' })
    })
  }
}
