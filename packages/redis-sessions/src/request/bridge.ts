import type { FastifyRequest } from 'fastify'
import { fieldsOf, type Fields } from '../vault/fields.ts'
import { newId, refOf, tagOf } from '../stores/ids.ts'
import type { Context, RequestSession, SessionObject } from './request-session.ts'

type Callback = (err?: unknown) => void
type Loaded = (err: unknown, session?: SessionObject | null) => void

const kState = Symbol('redis-sessions.request')

interface Marked { [kState]?: RequestSession }

/** The request's dealings with its session; undefined where it did not pass our hooks. */
export function stateOf (request: FastifyRequest): RequestSession | undefined {
  return (request as Marked)[kState]
}

/**
 * What @fastify/session takes for its store. That interface knows ids only, while a merge needs to know what the request
 * loaded, so each call is traced to its request: `get` follows at once on `enter` or `reload`; `set` hands over a session object
 * that is marked, or an id that `generateId` made for a request; `destroy` follows at once on that id (in @fastify/session 11.1, all
 * within one turn of the event loop; a test fails where a later version differs).
 */
export class Bridge {
  readonly #context: Context
  readonly #made = new Map<string, RequestSession>()
  readonly #reload = this.#reloadMethod()
  #entering: RequestSession | null = null
  #leaving: RequestSession | null = null

  constructor (context: Context) {
    this.#context = context
  }

  /** Called right before @fastify/session loads the session of a request. */
  enter (state: RequestSession): void {
    (state.request as Marked)[kState] = state
    this.#entering = state
  }

  /** Called right after @fastify/session gave the request a session object. */
  entered (state: RequestSession): void {
    this.#entering = null
    state.ready = true
    const { session } = state.request
    if (typeof session?.sessionId === 'string') this.#adopt(state, session)
  }

  readonly generateId = (request?: FastifyRequest): string => {
    const state = request === undefined ? undefined : stateOf(request)
    if (state?.ready !== true) return newId()
    const userId = state.login?.userId ?? state.loaded?.meta.userId ?? null
    const id = newId(userId === null ? '' : tagOf(userId))
    this.#made.set(id, state)
    this.#leaving = state
    return id
  }

  get (id: string, callback: Loaded): void {
    const state = this.#entering
    this.#entering = null
    this.#read(id, state).then((fields) => callback(null, fields as SessionObject | null), callback)
  }

  set (id: string, session: SessionObject, callback: Callback): void {
    this.#write(id, session).then(() => callback(), callback)
  }

  destroy (id: string, callback: Callback): void {
    const state = this.#leaving
    this.#leaving = null
    const left = state !== null && state.session?.sessionId === id ? state.leave() : this.#end(id)
    left.then(() => callback(), callback)
  }

  async #read (id: string, state: RequestSession | null): Promise<Fields | null> {
    const ref = refOf(id)
    if (ref === null) return null
    if (state !== null) state.cookieId = id
    try {
      const found = await this.#context.vault.open(ref)
      if (state !== null) state.loaded = found
      return found?.fields ?? null
    } catch (err) {
      if (state === null || state.ready) throw err
      // Thrown where the request touches its session; a page that does not is served.
      state.failure = err as Error
      return null
    }
  }

  async #write (id: string, session: SessionObject): Promise<void> {
    const made = this.#made.get(id)
    if (made !== undefined) {
      this.#made.delete(id)
      await made.enter(id, session)
      return this.#adopt(made, session)
    }
    const state = (session as Marked)[kState]
    if (state === undefined) return this.#writeDetached(id, session)
    if (state.session === session) await state.save(session)
  }

  /** A session that the application loaded itself by `decryptSession`: only its fields are known, not what they were. */
  async #writeDetached (id: string, session: SessionObject): Promise<void> {
    const ref = refOf(id)
    const found = ref === null ? null : await this.#context.vault.open(ref)
    if (found === null) return
    const changes = new Map(Object.entries(fieldsOf(session)).map(([name, value]) => [name, JSON.stringify(value) ?? null]))
    await this.#context.vault.save(found, changes)
  }

  /** `session.destroy()` of the application. */
  async #end (id: string): Promise<void> {
    const ref = refOf(id)
    const ended = ref === null ? null : await this.#context.vault.end(ref)
    if (ended?.meta.userId) await this.#context.announce({ userId: ended.meta.userId, handles: [ended.meta.handle], reason: 'destroy' })
  }

  /** Marks a session object, and has its `reload()` renew what was loaded. */
  #adopt (state: RequestSession, session: SessionObject): void {
    state.adopt(session)
    ;(session as Marked)[kState] = state
    Object.defineProperty(session, 'reload', { value: this.#reload, configurable: true, writable: true })
  }

  /** Stands on each session object in place of the method of @fastify/session, which would not tell for whom it loads. */
  #reloadMethod (): (this: SessionObject, callback?: Callback) => Promise<void> | void {
    const bridge = this
    return function reload (callback) {
      const reloaded = bridge.#reloadOf(this)
      if (callback === undefined) return reloaded
      reloaded.then(() => callback(), callback)
    }
  }

  async #reloadOf (session: SessionObject): Promise<void> {
    const state = (session as Marked)[kState]!
    const wasStored = state.loaded !== null
    this.#entering = state
    const { reload } = Object.getPrototypeOf(session) as SessionObject
    await reload.call(session)
    if (wasStored && state.loaded === null) state.drop()
    this.#adopt(state, state.request.session)
  }
}
