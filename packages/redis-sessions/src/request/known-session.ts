import { newId, refOf, tagOf, type SessionRef } from '../stores/ids.ts'
import { isSame, type Fields } from '../record/fields.ts'
import { copyOf, isSameValue } from '../record/json-values.ts'
import type { Loaded, Opened } from '../record/session-records.ts'
import type { Shared } from './shared.ts'

/** A field that is copied when it is asked for. */
interface LateField {
  readonly get: () => unknown
  isRead: boolean
}

/** What a request knows of the stored session behind a session object. */
export class KnownSession {
  /** What is stored; null for what is not. */
  loaded: Loaded | null = null
  /** The JSON text of the fields as this request last knew them: others may have stored more since. */
  base = '{}'
  /** What `base` is the text of, where this is what was read. */
  #opened: Opened | null = null
  #late: Map<string, LateField> | null = null
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

  /** Makes what was not asked for yet, for who looks at the properties and not at their values. */
  copyAll (session: object): void {
    for (const [name, { get }] of this.#late ?? []) if (this.#isUnread(session, name)) get()
  }

  /** An own property like the others for who looks at it, whose value is made then. */
  #copyWhenRead (session: Fields, name: string, value: unknown): void {
    let own: unknown
    const late: LateField = { isRead: false, get: () => late.isRead ? own : become(copyOf(value)) }
    const become = (given: unknown) => {
      own = given
      late.isRead = true
      // Not where it is sealed, or gone. Whoever has the accessor, in a copy of the properties, finds the same value.
      if (isAccessor(session, name, late.get)) Reflect.defineProperty(session, name, { value: own, writable: true, enumerable: true, configurable: true })
      return own
    }
    const set = function (this: object, given: unknown): void {
      // A copy of the properties, or what inherits them, becomes another object.
      if (this !== session) {
        Reflect.defineProperty(this, name, { value: given, writable: true, enumerable: true, configurable: true })
        return
      }
      if (Object.isFrozen(session)) throw new TypeError(`Cannot assign to read only property '${name}' of a session`)
      become(given)
    }
    this.#late ??= new Map()
    this.#late.set(name, late)
    Object.defineProperty(session, name, { get: late.get, set, enumerable: true, configurable: true })
  }

  #isUnread (session: object, name: string): boolean {
    const late = this.#late?.get(name)
    return late !== undefined && !late.isRead && isAccessor(session, name, late.get)
  }
}

function isAccessor (object: object, name: string, get: () => unknown): boolean {
  return Object.getOwnPropertyDescriptor(object, name)?.get === get
}
