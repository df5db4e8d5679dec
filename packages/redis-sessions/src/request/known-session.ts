import { newId, refOf, tagOf, type SessionRef } from '../stores/ids.ts'
import { isSame, type Fields } from '../record/fields.ts'
import { copyOf, isSameValue } from '../record/json-values.ts'
import type { Loaded, Opened } from '../record/session-records.ts'
import type { Shared } from './shared.ts'

/** What a request knows of the stored session behind a session object. */
export class KnownSession {
  /** What is stored; null for what is not. */
  loaded: Loaded | null = null
  /** The JSON text of the fields as this request last knew them: others may have stored more since. */
  base = '{}'
  /** What `base` is the text of, where this is what was read. */
  #opened: Opened | null = null
  /** Of the fields that are copied when they are asked for: what waits for that. */
  #unread: Map<string, () => unknown> | null = null
  /** Of whom it is, also before it is stored. */
  userId: string | null
  /** It was ended by this request, or never made: what is written to it goes nowhere. */
  isEnded = false
  /** It ended elsewhere: what is written to it goes nowhere. */
  isGone = false
  /** The browser has to be told of it. */
  isNew = false
  readonly #shared: Pick<Shared, 'realm' | 'sign'>
  #id: string | undefined
  #token: string | undefined

  constructor (shared: Pick<Shared, 'realm' | 'sign'>, userId: string | null = null, id?: string, token?: string) {
    this.#shared = shared
    this.userId = userId
    this.#id = id
    this.#token = token
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
  keep (loaded: Loaded | null, base = loaded?.json ?? '{}'): void {
    this.loaded = loaded
    this.base = base
    this.#opened = null
    if (loaded !== null) this.userId = loaded.meta.userId
  }

  /** What was read, whose fields become those of a session object. */
  open (opened: Opened, session: object): void {
    this.keep(opened, opened.json)
    const { fields, isShared, large } = opened
    if (!isShared) {
      Object.assign(session, fields)
      return
    }
    this.#opened = opened
    for (const name in fields) {
      if (large.has(name)) this.#copyWhenRead(session as Fields, name, fields[name])
      else (session as Fields)[name] = copyOf(fields[name])
    }
  }

  /** Whether a session object has the fields that this request knows. Hot path: most requests change nothing. */
  isSame (session: object): boolean {
    return (this.#opened !== null && this.#isAsOpened(session as Fields, this.#opened.fields)) || isSame(this.base, session)
  }

  /** What has another order is not found to be the same. */
  #isAsOpened (session: Fields, fields: Fields): boolean {
    // With its cookie.
    let count = 1
    for (const name in fields) {
      const value = fields[name]
      if (typeof value !== 'object' || value === null) {
        if (session[name] !== value) return false
      } else if (!this.#isUnread(session, name) && !isSameValue(session[name], value)) return false
      count++
    }
    return Object.keys(session).length === count
  }

  /** An own property like the others for who looks at it, whose value is made then. */
  #copyWhenRead (session: Fields, name: string, value: unknown): void {
    const become = (own: unknown) => {
      Object.defineProperty(session, name, { value: own, writable: true, enumerable: true, configurable: true })
      return own
    }
    const get = () => become(copyOf(value))
    this.#unread ??= new Map()
    this.#unread.set(name, get)
    Object.defineProperty(session, name, { get, set: become, enumerable: true, configurable: true })
  }

  #isUnread (session: object, name: string): boolean {
    const get = this.#unread?.get(name)
    return get !== undefined && Object.getOwnPropertyDescriptor(session, name)?.get === get
  }
}
