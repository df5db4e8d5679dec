import { newId, refOf, tagOf, type SessionRef } from '../stores/ids.ts'
import type { Loaded } from '../vault/vault.ts'

/** What all sessions of a registration share. */
export interface Naming {
  readonly realm: string
  sign (id: string): string
}

/** What is known of the session behind a session object. */
export class Held {
  /** What is stored; null for what is not. */
  loaded: Loaded | null = null
  /** The JSON text of the fields as this request last knew them: others may have stored more since. */
  base = '{}'
  /** Of whom it is, also before it is stored. */
  userId: string | null = null
  /** It was ended by this request, or never made: what is written to it goes nowhere. */
  isOut = false
  /** It ended elsewhere: likewise. */
  isDropped = false
  /** The browser has to be told of it. */
  isNew = false
  readonly #naming: Naming
  #id: string | undefined
  #token: string | undefined

  constructor (naming: Naming, known: { id?: string, token?: string, userId?: string | null } = {}) {
    this.#naming = naming
    this.#id = known.id
    this.#token = known.token
    this.userId = known.userId ?? null
  }

  /** Made when it is asked for: most visitors who have no session need none. */
  get id (): string {
    this.#id ??= newId(this.userId === null ? '' : tagOf(this.userId, this.#naming.realm))
    return this.#id
  }

  /** The id with its signature, as the cookie has it. */
  get token (): string {
    this.#token ??= this.#naming.sign(this.id)
    return this.#token
  }

  get ref (): SessionRef {
    return refOf(this.id)!
  }

  /** What is stored now, and what the request knows of it. */
  keep (loaded: Loaded | null, base = loaded?.json ?? '{}'): void {
    this.loaded = loaded
    this.base = base
    if (loaded !== null) this.userId = loaded.meta.userId
  }
}
