import type { FastifyBaseLogger, FastifyReply, FastifyRequest } from 'fastify'
import { callSafely } from '@jpulse/plugin-kit'
import { FST_ERR_REDIS_SESSIONS_REPLY_SENT, FST_ERR_REDIS_SESSIONS_UNREADABLE, unavailable } from '../errors.ts'
import type { EndReason, Events } from '../events.ts'
import { refOf } from '../stores/ids.ts'
import { changesOf, checkNames, fieldsOf, hasNoFields, isSame, toJson, type Fields } from '../vault/fields.ts'
import { newMeta, type Asking, type OwnLifetimes } from '../vault/record.ts'
import type { Loaded, Vault } from '../vault/vault.ts'
import { headersOf, mayBeShared } from './caching.ts'
import type { CookieAttributes, Cookies } from './cookies.ts'
import { Held, type Naming } from './held.ts'
import { Queue } from './operation.ts'
import type { Recent } from './progress.ts'
import { Session, type Owner } from './session.ts'
import type { Signer } from './signer.ts'

/** What all requests of a registration share. */
export interface Shared extends Naming {
  readonly vault: Vault
  readonly cookies: Cookies
  readonly signer: Signer
  readonly events: Events
  readonly touchIntervalMs: number
  /** Sessions whose renewal this process noted as owed within the last interval. */
  readonly owed: Recent
  readonly log: FastifyBaseLogger
}

export interface SessionStart {
  /** What came in place of a cookie; undefined where none did. */
  readonly token?: string | undefined
  /** Attributes of the cookie beside those of the options. */
  readonly cookie?: CookieAttributes
  /** Whether the request counts as activity. @default true */
  readonly isActivity?: boolean
}

/**
 * One request's dealings with its session: what was loaded, what was changed, what the cookie must say. Its operations form a
 * queue, for which the end of the request waits.
 */
export class RequestSession implements Owner {
  readonly request: FastifyRequest
  readonly token: string | undefined
  /** Why the session could not be read: thrown where the request touches it. */
  failure: Error | null = null
  /** The id that the token carried with a valid signature. */
  tokenId: string | null = null
  /** Whether the reply has left, or is about to, so that no cookie can be set any more. */
  isOver = false
  readonly #shared: Shared
  readonly #cookie: CookieAttributes
  readonly #isActivity: boolean
  readonly #queue = new Queue()
  /** Another instance can read what is stored: nothing is put in its place. */
  #unreadable: Error | null = null
  #session!: Session
  #expires: Date | null = null
  #wasTold = false
  /** The token is signed with a secret that is on its way out. */
  #isOld = false
  /** It was noted as seen by this request, and the browser does not know. */
  #owesCookie = false

  constructor (request: FastifyRequest, shared: Shared, { token, cookie = {}, isActivity = true }: SessionStart = {}) {
    this.request = request
    this.token = token
    this.#shared = shared
    this.#cookie = cookie
    this.#isActivity = isActivity
  }

  /** The session object last given to the request. */
  get session (): Session {
    return this.#session
  }

  get held (): Held {
    return Session.heldBy(this.#session)!
  }

  /** Gives the request a session that is not stored. */
  begin (): void {
    this.#give(this.#make(new Held(this.#shared), {}))
  }

  /** Gives the request the session of its token. Never rejects. */
  async load (): Promise<void> {
    const found = await this.#find()
    if (found === null) {
      this.begin()
      if (this.failure !== null) refuse(this.request, this.failure)
      return
    }
    this.#enter(found)
    // So little is left that it might end while the request runs.
    const { vault } = this.#shared
    if (vault.now() - found.stored.touchedAt > vault.lifetimesOf(found.meta).idleTimeoutMs / 2) this.touch()
  }

  /** A session of a user, in place of the request's, which ends. What was in it is gone. */
  login (userId: string, fields: Fields, own: OwnLifetimes | undefined, made: (loaded: Loaded) => Promise<void>): Promise<void> {
    const meta = newMeta(this.request as Asking, userId, own)
    const held = new Held(this.#shared, { userId })
    return this.#replace(this.#session, held, fields, 'login', async () => {
      held.keep(await this.#shared.vault.create(held.ref, { meta, json: toJson(fields) }))
      if (held.loaded === null) throw unavailable(new Error('the new session was refused'))
      this.#shared.events.tell('login', eventOf(held.loaded))
      await made(held.loaded).catch((err) => this.#shared.log.warn({ err }, 'a user may have more sessions than maxSessionsPerUser until the next login'))
    })
  }

  regenerate (session: Session, fields: Fields): Promise<void> {
    const left = Session.heldBy(session)!
    const held = new Held(this.#shared, { userId: left.userId })
    return this.#replace(session, held, fields, null, async (old) => {
      if (old === 'out') held.isOut = true
      if (old === 'gone') this.#drop(held)
      if (old === null || typeof old === 'string') return
      // With its old stamp: a logout-all that came between must hold for this session too.
      const { meta, stored: { stamp, createdAt } } = old
      held.keep(await this.#shared.vault.create(held.ref, { meta, json: toJson(fields) }, { stamp, createdAt }))
      if (held.loaded === null) this.#drop(held)
    })
  }

  /** Ends the session of the request, and that of its token where that is another. */
  logout (): Promise<void> {
    return this.#queue.add(async () => {
      const { held } = this
      const ids = new Set([this.tokenId, held.loaded === null ? null : held.id])
      for (const id of ids) if (id !== null) await this.#end(refOf(id), 'logout')
      this.#leave(held)
    })
  }

  destroy (session: Session): Promise<void> {
    return this.#queue.add(async () => {
      const held = Session.heldBy(session)!
      if (held.loaded !== null) await this.#end(held.ref, 'destroy')
      this.#leave(held)
    })
  }

  reload (session: Session): Promise<void> {
    return this.#queue.add(async () => {
      const held = Session.heldBy(session)!
      const found = held.isOut ? null : await this.#shared.vault.open(held.ref)
      const next = new Held(this.#shared, { id: held.id, token: held.token, userId: held.userId })
      next.isNew = held.isNew
      if (found !== null) next.keep(found)
      else if (held.loaded !== null || held.isDropped) this.#drop(next)
      next.isOut = held.isOut
      if (session === this.#session) this.#give(this.#make(next, found?.fields ?? {}))
    })
  }

  /** Stores what the request changed. */
  save (session: Session): Promise<void> {
    return this.#queue.add(() => this.#save(session))
  }

  /** Notes the session as seen now, which moves its idle timeout. */
  touch (session: Session = this.#session): void {
    const held = Session.heldBy(session)!
    this.#queue.add(async () => {
      if (held.loaded !== null) await this.#seen(held)
      if (held.loaded !== null && session === this.#session) this.#showExpiry(session, held.loaded)
    })
  }

  /** An operation that could not begin. */
  fail (err: unknown): Promise<void> {
    return this.#queue.add(() => Promise.reject(err))
  }

  /** Waits for the operations under way. */
  settled (): Promise<void> {
    return this.#queue.idle()
  }

  isModified (session: Session): boolean {
    return !isSame(Session.heldBy(session)!.base, session)
  }

  call (callback: (err?: unknown) => void, err?: unknown): void {
    callSafely((fault) => this.#shared.log.error({ err: fault }, 'a callback that was passed to a session failed'), callback, err)
  }

  /** Whether the end of the request has nothing to wait for. */
  isQuiet (): boolean {
    if (!this.#queue.isIdle) return false
    if (this.failure !== null) return true
    if ((this.request.session as unknown) !== this.#session) return false
    const { held } = this
    if (held.isOut || held.isNew) return false
    if (held.loaded === null) return hasNoFields(this.#session)
    return held.token === this.token && !this.#owesCookie && !this.#isDue(held.loaded) && isSame(held.base, this.#session)
  }

  /** Waits for the operations, saves, and says by the cookie what became of the session. */
  async finish (reply: FastifyReply): Promise<void> {
    const unseen = await this.#queue.settled()
    // What the application told the visitor as an error is none to tell again.
    if (unseen !== undefined && reply.statusCode < 400) throw unseen.error
    if (this.failure !== null) return
    const session: unknown = this.request.session
    const { held } = this
    if (session === null || session === undefined || held.isOut) {
      if (this.token !== undefined || this.#wasTold) this.#shared.cookies.clear(this.request, reply)
      return
    }
    if (session !== this.#session || isUpgraded(this.request)) return
    await this.#save(this.#session)
    if (held.loaded !== null) await this.#tell(reply, held, held.loaded)
  }

  /** What the request changed after its reply began, or without one: streams, and replies that the application took over. */
  async finishLate (): Promise<void> {
    const unseen = await this.#queue.settled()
    if (unseen !== undefined) throw unseen.error
    if (this.failure !== null || isUpgraded(this.request) || (this.request.session as unknown) !== this.#session) return
    const { held } = this
    if (held.loaded === null) {
      if (!held.isOut && !held.isDropped && !hasNoFields(this.#session)) this.#shared.log.warn({ reqId: this.request.id }, 'a request wrote to a new session after its reply began: without a cookie it cannot be kept')
      return
    }
    await this.#save(this.#session)
    if (!this.isOver && held.loaded !== null && this.#isDue(held.loaded)) await this.#seen(held)
  }

  /** Keeps the session of a request that takes long from timing out. */
  async keepAlive (afterMs: number): Promise<void> {
    const { loaded } = this.held
    if (loaded === null || !this.#isActivity || this.isOver || this.#shared.vault.now() - loaded.stored.touchedAt < afterMs) return
    await this.#seen(this.held)
  }

  async #find (): Promise<(Loaded & { fields: Fields }) | null> {
    const { vault, signer } = this.#shared
    const { id, isOld } = signer.unsign(this.token!)
    const ref = id === null ? null : refOf(id)
    if (ref === null) {
      this.#refused('signature')
      return null
    }
    this.tokenId = id
    this.#isOld = isOld
    try {
      const found = await vault.open(ref)
      if (found === null) this.#refused('unknown')
      return found
    } catch (err) {
      if (err instanceof FST_ERR_REDIS_SESSIONS_UNREADABLE) {
        this.#unreadable = err
        this.#refused('unreadable')
      } else {
        this.failure = err as Error
      }
      return null
    }
  }

  #refused (reason: 'signature' | 'unknown' | 'unreadable'): void {
    const { events } = this.#shared
    if (!events.hears('refused')) return
    const { ip, userAgent } = newMeta(this.request as Asking, null)
    events.tell('refused', { reason, ip, userAgent })
  }

  #enter (found: Loaded & { fields: Fields }): void {
    const held = new Held(this.#shared, { id: this.tokenId!, ...(this.#isOld ? {} : { token: this.token! }) })
    held.keep(found)
    this.#give(this.#make(held, found.fields))
  }

  #make (held: Held, fields: object): Session {
    const { cookies, vault } = this.#shared
    const session = new Session(this, held, { ...cookies.attributes(this.request), ...this.#cookie }, fields)
    if (held.loaded !== null) this.#showExpiry(session, held.loaded)
    else if (this.#cookie.maxAge === undefined && this.#cookie.expires === undefined) session.cookie.maxAge = vault.lifetimesOf().idleTimeoutMs
    this.#expires = session.cookie.expires
    return session
  }

  /** Lets the cookie say when the session really expires. */
  #showExpiry (session: Session, loaded: Loaded): void {
    const { cookie } = session
    cookie.expires = loaded.meta.own?.remember === false ? null : this.#expiresAt(loaded, this.#isDue(loaded))
    if (this.#cookie.maxAge !== undefined) cookie.maxAge = this.#cookie.maxAge
    else if (this.#cookie.expires !== undefined) cookie.expires = this.#cookie.expires
    this.#expires = cookie.expires
  }

  /** In this process' clock, as headers have it. */
  #expiresAt (loaded: Loaded, isSeen: boolean): Date {
    const { vault } = this.#shared
    const now = vault.now()
    return new Date(Date.now() + vault.expiryOf(loaded, isSeen ? now : loaded.stored.touchedAt) - now)
  }

  #give (session: Session): void {
    this.#session = session
    this.request.session = session as unknown as FastifyRequest['session']
  }

  /**
   * Puts another session in the place of one: at once for the request, in the order of the queue for the store. What is written
   * from here on goes to the new one.
   */
  #replace (previous: Session, held: Held, fields: Fields, reason: EndReason | null, make: (old: Loaded | 'out' | 'gone' | null) => Promise<void>): Promise<void> {
    if (this.isOver) return this.#queue.add(() => Promise.reject(new FST_ERR_REDIS_SESSIONS_REPLY_SENT()))
    const next = this.#make(held, fields)
    this.#give(next)
    return this.#queue.add(async () => {
      const left = Session.heldBy(previous)!
      try {
        await make(await this.#endFor(left, reason))
        held.isNew = held.loaded !== null
        if (held.loaded !== null) this.#showExpiry(next, held.loaded)
      } catch (err) {
        held.isOut = true
        if (this.#session === next) this.#give(previous)
        throw err
      } finally {
        if (this.held.isOut) setSession(this.request, null)
      }
    })
  }

  /** @returns what ended for another to begin; 'out' where this request had ended it, 'gone' where others had, null where nothing was stored */
  async #endFor (left: Held, reason: EndReason | null): Promise<Loaded | 'out' | 'gone' | null> {
    if (left.isOut) return 'out'
    if (left.isDropped) return 'gone'
    if (left.loaded === null) return null
    const ended = await this.#end(left.ref, reason)
    left.loaded = null
    left.isOut = true
    return ended ?? 'gone'
  }

  /** Ends a stored session, and tells why where there is somebody to tell of. */
  async #end (ref: ReturnType<typeof refOf>, reason: EndReason | null): Promise<Loaded | null> {
    const ended = ref === null ? null : await this.#shared.vault.end(ref)
    if (ended?.meta.userId != null && reason !== null) {
      await this.#shared.events.ended({ userId: ended.meta.userId, handles: [ended.meta.handle], reason })
    }
    return ended
  }

  /** The session was ended: whatever the request still does to it is not stored. */
  #leave (held: Held): void {
    this.#wasTold ||= held.isNew
    held.isOut = true
    held.loaded = null
    if (held === this.held) setSession(this.request, null)
  }

  /** The session ended: nothing more of this request is stored in it. */
  #drop (held: Held): void {
    held.isDropped = true
    held.loaded = null
    this.#shared.log.info({ reqId: this.request.id }, 'a session ended while a request was using it; what the request wrote to it is dropped')
  }

  async #save (session: Session): Promise<void> {
    const held = Session.heldBy(session)!
    if (held.isOut || held.isDropped) return
    if (this.failure !== null) throw this.failure
    const fields = fieldsOf(session)
    if (held.loaded === null) return this.#store(held, fields)
    const changes = changesOf(held.base, fields)
    if (changes.size === 0) return
    checkNames(changes.keys())
    const base = toJson(fields)
    const saved = await this.#shared.vault.save(held.loaded, changes)
    if (saved === null) return this.#drop(held)
    held.keep(saved, base)
    held.isNew = true
  }

  /** Stores a session for the first time. */
  async #store (held: Held, fields: Fields): Promise<void> {
    const json = toJson(fields)
    if (json === '{}') return
    if (this.#unreadable !== null) throw this.#unreadable
    checkNames(Object.keys(fields))
    held.keep(await this.#shared.vault.create(held.ref, { meta: newMeta(this.request as Asking, null), json }))
    if (held.loaded === null) throw unavailable(new Error('the new session was refused'))
    held.isNew = true
    this.#shared.events.tell('created', eventOf(held.loaded))
  }

  /** Sends the cookie where the session is new or changed, or is noted as seen now. */
  async #tell (reply: FastifyReply, held: Held, loaded: Loaded): Promise<void> {
    const isRenewal = !held.isNew
    if (isRenewal) {
      const isDue = this.#isDue(loaded)
      if (held.token === this.token && !isDue && !this.#owesCookie) return
      if (mayBeShared(replyHeaders(reply))) return this.#oweRenewal(held)
      if ((isDue || !this.#owesCookie) && !await this.#seen(held)) return
    }
    const { cookie } = this.#session
    const isAsShown = cookie.expires === this.#expires && loaded.meta.own?.remember !== false
    const expires = isAsShown ? this.#expiresAt(held.loaded ?? loaded, true) : cookie.expires
    const onWithheld = isRenewal ? () => { this.#oweRenewal(held) } : undefined
    this.#shared.cookies.set(this.request, reply, held.token, { ...(cookie.toJSON() as CookieAttributes), expires }, onWithheld)
  }

  /** The session was seen, but its cookie could not be renewed: dated back, so that the next reply that may carry it does. */
  async #oweRenewal (held: Held): Promise<void> {
    const { owed, touchIntervalMs } = this.#shared
    if (owed.has(held.ref.hash)) return
    owed.add(held.ref.hash)
    await this.#seen(held, touchIntervalMs)
  }

  /** A page that was computed needs no more of the store: an outage now only leaves the idle timeout as it was. */
  async #seen (held: Held, agoMs = 0): Promise<boolean> {
    const { loaded } = held
    if (loaded === null || !this.#isActivity) return false
    const { vault, events, log } = this.#shared
    try {
      if (!await vault.touch(loaded, agoMs)) return false
      if (agoMs === 0) this.#owesCookie = true
      if (held.loaded === loaded) held.loaded = { ...loaded, stored: { ...loaded.stored, touchedAt: vault.now() - agoMs } }
      if (events.hears('renewed')) events.tell('renewed', eventOf(loaded))
      return true
    } catch (err) {
      log.debug({ err }, 'a session could not be noted as seen')
      return false
    }
  }

  #isDue ({ stored }: Loaded): boolean {
    const { vault, touchIntervalMs } = this.#shared
    // 0 is at every request, however exact the clock is known.
    return this.#isActivity && (touchIntervalMs === 0 || vault.now() - stored.touchedAt >= touchIntervalMs)
  }
}

function eventOf ({ meta: { userId, handle, ip, userAgent } }: Loaded) {
  return { userId, handle, ip, userAgent }
}

/** The headers of a reply as the application wrote them so far. */
function replyHeaders (reply: FastifyReply) {
  const raw = headersOf(reply.raw)
  return {
    get: (name: string) => reply.hasHeader(name) ? String(reply.getHeader(name)) : raw.get(name),
    names: () => [...Object.keys(reply.getHeaders()), ...raw.names()]
  }
}

/** Touching the session throws; a page that does not is served. */
function refuse (request: FastifyRequest, failure: Error): void {
  Object.defineProperty(request, 'session', {
    get () { throw failure },
    set (session: FastifyRequest['session']) { setSession(request, session) },
    configurable: true,
    enumerable: true
  })
}

function setSession (request: FastifyRequest, value: FastifyRequest['session'] | null): void {
  Object.defineProperty(request, 'session', { value, writable: true, configurable: true, enumerable: true })
}

/** @fastify/websocket marks its requests. Their handshake is no end of a request, and says nothing about the session. */
function isUpgraded (request: FastifyRequest): boolean {
  return (request as { ws?: unknown }).ws === true
}
