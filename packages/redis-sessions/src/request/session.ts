import { inspect } from 'node:util'
import { FST_ERR_REDIS_SESSIONS_RESERVED_FIELD } from '../errors.ts'
import type { KnownSession } from './known-session.ts'
import { checkAttributes, SessionCookie, type CookieAttributes } from './session-cookie.ts'

type Callback = (err?: unknown) => void

/** What a session object asks of its request. */
interface Operations {
  save (session: Session): Promise<void>
  regenerate (session: Session, fields: Record<string, unknown>): Promise<void>
  destroy (session: Session): Promise<void>
  reload (session: Session): Promise<void>
  touch (session: Session): void
  /** Calls what the application passed. */
  call (callback: Callback, err?: unknown): void
}

/** The operations are made when the first is asked for. */
interface Owner { readonly work: Operations }

/**
 * `request.session`, with the interface that @fastify/session documents. The application's fields are its own properties,
 * and so is `cookie`.
 */
export class Session {
  cookie: SessionCookie
  readonly #owner: Owner
  readonly #known: KnownSession
  #attributes: CookieAttributes

  constructor (owner: Owner, known: KnownSession, attributes: CookieAttributes) {
    this.#owner = owner
    this.#known = known
    this.#attributes = attributes
    this.cookie = new SessionCookie(attributes)
  }

  /** What is known of the session behind an object; undefined where it is none of ours. */
  static knownOf (session: unknown): KnownSession | undefined {
    return typeof session === 'object' && session !== null && #known in session ? session.#known : undefined
  }

  get sessionId (): string {
    return this.#known.id
  }

  get encryptedSessionId (): string {
    return this.#known.token
  }

  get (name: string): unknown {
    return (this as Record<string, unknown>)[name]
  }

  /** @throws FST_ERR_REDIS_SESSIONS_RESERVED_FIELD of `__proto__`: its fields would be read as the session's */
  set (name: string, value: unknown): void {
    if (name === '__proto__') throw new FST_ERR_REDIS_SESSIONS_RESERVED_FIELD(name)
    const fields = this as Record<string, unknown>
    fields[name] = value
  }

  /** @throws FST_ERR_REDIS_SESSIONS_INVALID_COOKIE */
  options (attributes: CookieAttributes): void {
    checkAttributes(attributes)
    this.#attributes = { ...this.#attributes, ...attributes }
    const former: unknown = this.cookie
    this.cookie = new SessionCookie(this.#attributes)
    if (former instanceof SessionCookie && attributes.maxAge === undefined && attributes.expires === undefined) this.cookie.expireAs(former)
  }

  touch (): void {
    this.#owner.work.touch(this)
  }

  save (callback?: Callback): Promise<void> | void {
    return this.#answer(this.#owner.work.save(this), callback)
  }

  regenerate (keep?: string[] | Callback, callback?: Callback): Promise<void> | void {
    const names = Array.isArray(keep) ? keep.filter((name) => Object.hasOwn(this, name) && name !== 'cookie') : []
    const kept = names.map((name) => [name, this.get(name)])
    return this.#answer(this.#owner.work.regenerate(this, Object.fromEntries(kept)), typeof keep === 'function' ? keep : callback)
  }

  destroy (callback?: Callback): Promise<void> | void {
    return this.#answer(this.#owner.work.destroy(this), callback)
  }

  reload (callback?: Callback): Promise<void> | void {
    return this.#answer(this.#owner.work.reload(this), callback, null)
  }

  isModified (): boolean {
    return !this.#known.isSame(this)
  }

  isSaved (): boolean {
    return this.#known.loaded !== null && !this.isModified()
  }

  /** Prints values, also of fields that nobody has asked for. */
  [inspect.custom] (): this {
    this.#known.copyAll(this)
    return this
  }

  /** @param none what stands for no error: @fastify/session passes what its stores pass, `null` where they read */
  #answer (done: Promise<void>, callback: Callback | undefined, none?: null): Promise<void> | void {
    if (callback === undefined) return done
    done.then(() => this.#owner.work.call(callback, none), (err) => this.#owner.work.call(callback, err))
  }
}
