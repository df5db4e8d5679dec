import { newId, refOf, tagOf, type SessionRef } from '../stores/ids.ts'
import { hasFields, isSame, type Fields } from '../record/fields.ts'
import type { Loaded, Opened } from '../record/session-records.ts'
import type { Shared } from './shared.ts'

/** What a request knows of the stored session behind a session object. */
export class KnownSession {
  /** What is stored; null for what is not. */
  loaded: Loaded | null = null
  /** The JSON text of the fields as this request last knew them: others may have stored more since. */
  base = '{}'
  /** The same as `base`, where no field holds an object. */
  #flat: Fields | null = null
  /** Of whom it is, also before it is stored. */
  userId: string | null = null
  /** It was ended by this request, or never made: what is written to it goes nowhere. */
  isEnded = false
  /** It ended elsewhere: what is written to it goes nowhere. */
  isGone = false
  /** The browser has to be told of it. */
  isNew = false
  readonly #shared: Pick<Shared, 'realm' | 'sign'>
  #id: string | undefined
  #token: string | undefined

  constructor (shared: Pick<Shared, 'realm' | 'sign'>, start: { id?: string, token?: string, userId?: string | null } = {}) {
    this.#shared = shared
    this.#id = start.id
    this.#token = start.token
    this.userId = start.userId ?? null
  }

  /** Made when it is asked for: most visitors who have no session need none. */
  get id (): string {
    this.#id ??= newId(this.userId === null ? '' : tagOf(this.userId, this.#shared.realm))
    return this.#id
  }

  /** The id with its signature, as the cookie has it. */
  get token (): string {
    this.#token ??= this.#shared.sign(this.id)
    return this.#token
  }

  get ref (): SessionRef {
    return refOf(this.id)!
  }

  /** What is stored now, and what the request knows of it. */
  keep (loaded: Loaded | null, base = loaded?.json ?? '{}', flat: Fields | null = null): void {
    this.loaded = loaded
    this.base = base
    this.#flat = flat
    if (loaded !== null) this.userId = loaded.meta.userId
  }

  /** What was read. */
  keepOpened (opened: Opened): void {
    this.keep(opened, opened.json, opened.isFlat ? opened.fields : null)
  }

  /** Whether a session object has the fields that this request knows. Hot path: most requests change nothing, and most fields hold no objects. */
  isSame (session: object): boolean {
    return (this.#flat !== null && hasFields(session, this.#flat)) || isSame(this.base, session)
  }
}
