import type { FastifyBaseLogger, FastifyReply, FastifyRequest } from 'fastify'
import type { Cookies } from './cookies.ts'
import { unavailable } from '../errors.ts'
import { changesOf, checkName, checkNames, fieldsOf, hasNoFields, isSame, toJson, type Fields } from '../vault/fields.ts'
import { refOf } from '../stores/ids.ts'
import type { ResolvedOptions } from '../options.ts'
import { newMeta } from '../vault/record.ts'
import type { EndedSessions } from '../sessions.ts'
import type { Loaded, Vault } from '../vault/vault.ts'

/** What all requests of an application share. */
export interface Context {
  readonly vault: Vault
  readonly cookies: Cookies
  readonly options: ResolvedOptions
  readonly log: FastifyBaseLogger
  /** Tells everybody that sessions ended. Never rejects. */
  announce (ended: EndedSessions): Promise<void>
}

/** The session object of @fastify/session. */
export type SessionObject = FastifyRequest['session']

/** A login that is under way: what the session made next becomes. */
interface Login { readonly userId: string, readonly fields: Fields }

/** One request's dealings with its session: what was loaded, what was changed, what the cookie must say. */
export class RequestSession {
  readonly request: FastifyRequest
  /** Value of the cookie that came. */
  readonly cookie: string | undefined
  /** The id that the cookie carried with a valid signature. */
  cookieId: string | null = null
  /** The stored session behind `request.session`; null for one that is not stored. */
  loaded: Loaded | null = null
  /** Why the session could not be read. */
  failure: Error | null = null
  /** Whether `request.session` is there, so that a new id means `regenerate`. */
  ready = false
  login: Login | null = null
  /** What stood at `request.session` while @fastify/session must not see it. */
  hidden: { readonly session: SessionObject | null | undefined } | null = null
  readonly #context: Context
  #session: SessionObject | null = null
  #expires: Date | null | undefined
  #leftError: unknown
  #leftAlive = true
  #isDropped = false
  #isOut = false
  #isNew = false
  #isFinished = false

  constructor (request: FastifyRequest, cookie: string | undefined, context: Context) {
    this.request = request
    this.cookie = cookie
    this.#context = context
  }

  /** The session object last given to the request. */
  get session (): SessionObject | null {
    return this.#session
  }

  /** Takes a session object as the request's, and lets its cookie say when the session really expires. */
  adopt (session: SessionObject): void {
    this.#session = session
    if (this.loaded !== null) session.cookie.expires = this.#expiresAt(this.#isDue() ? Date.now() : this.loaded.stored.touchedAt)
    this.#expires = session.cookie.expires
  }

  /** Ends the stored session before `regenerate` makes the next. */
  async leave (): Promise<void> {
    const old = this.loaded
    this.#leftError = undefined
    this.#leftAlive = true
    if (old === null) return
    try {
      this.#leftAlive = await this.#context.vault.end(old.ref) !== null
      const { userId, handle } = old.meta
      if (this.login !== null && userId !== null && this.#leftAlive) await this.#context.announce({ userId, handles: [handle], reason: 'login' })
    } catch (err) {
      this.#leftError = err
      throw err
    }
  }

  /** Makes the session that `regenerate` or `login` goes on with. */
  async enter (id: string, session: SessionObject): Promise<void> {
    if (this.#leftError !== undefined) throw this.#leftError
    const { vault } = this.#context
    const ref = refOf(id)!
    const old = this.loaded
    this.loaded = null
    if (this.login !== null) {
      const meta = newMeta(this.request, this.login.userId)
      this.loaded = await vault.create(ref, { meta, json: toJson(this.login.fields) })
      if (this.loaded === null) throw unavailable(new Error('the new session was refused'))
      this.#isDropped = false
    } else if (old !== null && this.#leftAlive) {
      // With its old stamp: a logout-all that came between must hold for this session too.
      const { stamp, createdAt } = old.stored
      this.loaded = await vault.create(ref, { meta: old.meta, json: toJson(fieldsOf(session)) }, { stamp, createdAt })
      if (this.loaded === null) this.drop()
    } else if (old !== null) {
      this.drop()
    }
    this.#isNew = this.loaded !== null
    this.#isOut = false
    this.adopt(session)
  }

  /** The session was destroyed: whatever the request still does to it is not stored. */
  out (): void {
    this.#isOut = true
    this.#isDropped = true
    this.loaded = null
  }

  /** The session ended: nothing more of this request is stored in it. */
  drop (): void {
    this.#isDropped = true
    this.#context.log.info({ reqId: this.request.id }, 'a session ended while a request was using it; what the request wrote to it is dropped')
  }

  /** Stores what the request changed, as `session.save()` and the end of the request ask for. */
  async save (session: SessionObject): Promise<void> {
    if (this.#isDropped) return
    const { vault } = this.#context
    const fields = fieldsOf(session) as Fields
    if (this.loaded === null) return this.#store(session, fields)
    const changes = changesOf(this.loaded.json, fields)
    if (changes.size === 0) return
    for (const name of changes.keys()) checkName(name)
    this.loaded = await vault.save(this.loaded, changes)
    if (this.loaded === null) this.drop()
    else this.#isNew = true
  }

  /** Whether `finish` has nothing to do. */
  isUnchanged (session: SessionObject | null | undefined): boolean {
    if (this.#isFinished) return true
    if (session !== this.#session || session === null || this.#isOut || this.#isNew) return false
    if (this.loaded === null) return hasNoFields(session)
    return session.encryptedSessionId === this.cookie && !this.#isDue() && isSame(this.loaded.json, session)
  }

  /** Saves at the end of the request, and says by the cookie what became of the session. Once per request. */
  async finish (reply: FastifyReply, session: SessionObject | null | undefined): Promise<void> {
    if (this.#isFinished) return
    this.#isFinished = true
    const { cookies } = this.#context
    if (this.#isOut || session === null || session === undefined) {
      if (this.cookie !== undefined || this.#isNew) cookies.clear(this.request, reply)
      return
    }
    if (this.failure !== null || session !== this.#session || isUpgraded(this.request)) return
    await this.save(session)
    if (await this.#mustTell(session)) cookies.set(this.request, reply, session, this.#tellExpires(session))
  }

  async #store (session: SessionObject, fields: Fields): Promise<void> {
    const json = toJson(fields)
    if (json === '{}') return
    checkNames(fields)
    const meta = newMeta(this.request, null)
    this.loaded = await this.#context.vault.create(refOf(session.sessionId)!, { meta, json })
    if (this.loaded === null) throw unavailable(new Error('the new session was refused'))
    this.#isNew = true
  }

  /** Whether the cookie is sent: the session is new or changed, or is noted as seen now, and is alive. */
  async #mustTell (session: SessionObject): Promise<boolean> {
    const { loaded } = this
    if (loaded === null) return false
    if (this.#isNew) return true
    const isRotated = session.encryptedSessionId !== this.cookie
    if (!isRotated && !this.#isDue()) return false
    // A page that was computed needs no more of the store: an outage now only leaves the idle timeout as it was.
    return this.#context.vault.store.touch(loaded.ref).catch((err) => {
      this.#context.log.debug({ err }, 'a session could not be noted as seen')
      return false
    })
  }

  #isDue (): boolean {
    return Date.now() - this.loaded!.stored.touchedAt >= this.#context.options.touchIntervalMs
  }

  #expiresAt (seenAt: number): Date {
    const { idleTimeoutMs, absoluteTimeoutMs } = this.#context.options
    return new Date(Math.min(seenAt + idleTimeoutMs, this.loaded!.stored.createdAt + absoluteTimeoutMs))
  }

  /** What the application set on this session's cookie stands. */
  #tellExpires (session: SessionObject): Date | undefined {
    const { expires } = session.cookie
    return expires === this.#expires ? this.#expiresAt(Date.now()) : expires ?? undefined
  }
}

/** @fastify/websocket marks its requests. Their handshake is no end of a request, and says nothing about the session. */
function isUpgraded (request: FastifyRequest): boolean {
  return (request as { ws?: unknown }).ws === true
}
