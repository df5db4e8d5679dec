import type { FastifyReply, FastifyRequest } from 'fastify'
import { callSafely } from '@jpulse/plugin-kit'
import { FST_ERR_REDIS_SESSIONS_REPLY_SENT } from '../errors.ts'
import { eventOf, type EndReason } from '../events.ts'
import { refOf } from '../stores/ids.ts'
import { hasNoFields, isSame, jsonOf, toJson, type Fields } from '../record/fields.ts'
import { newMeta, type Requester, type OwnLifetimes } from '../record/record.ts'
import type { Loaded } from '../record/session-records.ts'
import { KnownSession } from './known-session.ts'
import { Queue } from './operation.ts'
import { lookUpToken, NO_TOKEN, emitRefused } from './token-lookup.ts'
import { Renewal, type SessionStart } from './renewal.ts'
import { isUpgrade, refuse, setSession } from './request-property.ts'
import { Session, type Owner } from './session.ts'
import type { Shared } from './shared.ts'
import { Writes, type Ended } from './writes.ts'

/**
 * The session of one request: which object the request is given, and what is done to it from the request's begin to its end. The operations form a queue, for which the end of the request waits.
 */
export class RequestSession implements Owner {
  readonly request: FastifyRequest
  readonly token: string | undefined
  /** Whether the reply has left, or is about to, so that no cookie can be set any more. */
  isOver = false
  /** See InFlight. */
  position = -1
  readonly response: SessionStart['response'] & object | null
  readonly #shared: Shared
  readonly #renewal: Renewal
  readonly #writes: Writes
  readonly #others: () => readonly string[]
  readonly #queue = new Queue()
  #lookup = NO_TOKEN
  #session!: Session
  /** The session objects that were replaced, as they were then. */
  readonly #replaced: Array<[session: Session, json: string | null]> = []
  /** The browser may have been sent the cookie of a session that this request ended. */
  #mayHaveCookie = false

  constructor (request: FastifyRequest, shared: Shared, start: SessionStart = {}) {
    this.request = request
    this.token = start.token
    this.response = start.response ?? null
    this.#shared = shared
    this.#renewal = new Renewal(request, shared, start)
    this.#writes = new Writes(request, shared)
    this.#others = start.others ?? (() => [])
  }

  /** Why the session could not be read: thrown where the request touches it. */
  get failure (): Error | null {
    return this.#lookup.failure
  }

  /** The session object last given to the request. */
  get session (): Session {
    return this.#session
  }

  get known (): KnownSession {
    return Session.knownOf(this.#session)!
  }

  /** Gives the request a session that is not stored. */
  begin (): void {
    this.#give(this.#make(new KnownSession(this.#shared), {}))
  }

  /** Gives the request the session of its token. Never rejects. */
  async load (): Promise<void> {
    let token = this.token!
    this.#lookup = await lookUpToken(token, this.#shared)
    if (this.#lookup.refused !== null) token = await this.#findAmongOthers(token)
    const { id, isOld, found, failure } = this.#lookup
    if (found === null) {
      this.begin()
      if (failure !== null) refuse(this.request, failure)
      return
    }
    const known = new KnownSession(this.#shared, { id: id!, ...(isOld ? {} : { token }) })
    known.keep(found)
    this.#give(this.#make(known, found.fields))
    // With less than half of the idle timeout left it might end while the request runs.
    const { records } = this.#shared
    if (records.now() - found.stored.touchedAt > records.lifetimesOf(found.meta).idleTimeoutMs / 2) this.touch()
  }

  /** A dead cookie may stand before a living one: of another path or domain, or of a name of before. Returns the token that counts. */
  async #findAmongOthers (token: string): Promise<string> {
    for (const other of this.#others()) {
      const lookup = await lookUpToken(other, this.#shared)
      if (lookup.refused !== null) continue
      this.#lookup = lookup
      return other
    }
    const { refused } = this.#lookup
    if (refused !== null) emitRefused(this.#shared.events, this.request as Requester, refused)
    return token
  }

  /** A session of a user, in place of the request's, which ends. What was in it is gone. */
  login (userId: string, fields: Fields, own: OwnLifetimes | undefined, made: (loaded: Loaded) => Promise<void>): Promise<void> {
    const meta = newMeta(this.request as Requester, userId, own)
    const known = new KnownSession(this.#shared, { userId })
    return this.#replace(this.#session, known, fields, 'login', async () => {
      const created = await this.#writes.create(known, meta, toJson(fields))
      this.#shared.events.emit('login', eventOf(created))
      await made(created).catch((err) => this.#shared.log.warn({ err }, 'a user may have more sessions than maxSessionsPerUser until the next login'))
    })
  }

  regenerate (session: Session, fields: Fields): Promise<void> {
    const left = Session.knownOf(session)!
    const known = new KnownSession(this.#shared, { userId: left.userId })
    return this.#replace(session, known, fields, null, (ended) => this.#writes.move(ended, known, fields))
  }

  /** Ends the session of the request, and that of its token where that is another. */
  logout (): Promise<void> {
    return this.#queue.add(async () => {
      const { known } = this
      const ids = new Set([this.#lookup.id, known.loaded === null ? null : known.id])
      for (const id of ids) if (id !== null) await this.#writes.end(refOf(id), 'logout')
      this.#markEnded(known)
    })
  }

  destroy (session: Session): Promise<void> {
    return this.#queue.add(async () => {
      const known = Session.knownOf(session)!
      if (known.loaded !== null) await this.#writes.end(known.ref, 'destroy')
      this.#markEnded(known)
    })
  }

  reload (session: Session): Promise<void> {
    return this.#queue.add(async () => {
      const known = Session.knownOf(session)!
      const found = known.isEnded ? null : await this.#shared.records.open(known.ref)
      const next = new KnownSession(this.#shared, { id: known.id, token: known.token, userId: known.userId })
      next.isNew = known.isNew
      if (found !== null) next.keep(found)
      else if (known.loaded !== null || known.isGone) this.#writes.markGone(next)
      next.isEnded = known.isEnded
      if (session === this.#session) this.#give(this.#make(next, found?.fields ?? {}))
    })
  }

  /** Stores what the request changed. */
  save (session: Session): Promise<void> {
    return this.#queue.add(() => this.#save(session))
  }

  /** Notes the session as seen now, which moves its idle timeout. */
  touch (session: Session = this.#session): void {
    const known = Session.knownOf(session)!
    this.#queue.add(async () => {
      if (known.loaded !== null) await this.#renewal.touch(known)
      if (known.loaded !== null && session === this.#session) this.#renewal.setExpiry(session, known.loaded)
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
    return !isSame(Session.knownOf(session)!.base, session)
  }

  call (callback: (err?: unknown) => void, err?: unknown): void {
    callSafely((fault) => this.#shared.log.error({ err: fault }, 'a callback that was passed to a session failed'), callback, err)
  }

  /** Whether the end of the request has nothing to wait for. */
  canEndAtOnce (): boolean {
    if (!this.#queue.isIdle) return false
    if (this.failure !== null) return true
    if ((this.request.session as unknown) !== this.#session) return false
    const { known } = this
    if (known.isEnded || known.isNew) return false
    if (known.loaded === null) return hasNoFields(this.#session)
    return this.#renewal.isCookieCurrent(known, this.#renewal.isDue(known.loaded), this.#session) && isSame(known.base, this.#session)
  }

  /** Waits for the operations, saves, and says by the cookie what became of the session. */
  async finish (reply: FastifyReply): Promise<void> {
    const unseen = await this.#queue.settled()
    // What the application told the visitor as an error is none to tell again.
    if (unseen !== undefined && reply.statusCode < 400) throw unseen.error
    if (this.failure !== null) return
    this.#warnOfLost()
    const session: unknown = this.request.session
    const { known } = this
    // Who sets it to null means its end, not only that of the cookie.
    if (session === null && known.loaded !== null) await this.destroy(this.#session)
    if (session === null || session === undefined || known.isEnded) {
      if (this.token !== undefined || this.#mayHaveCookie) this.#shared.cookies.clear(this.request, reply)
      return
    }
    if (session !== this.#session || isUpgrade(this.request)) return
    await this.#save(this.#session)
    if (known.loaded !== null) await this.#renewal.sendCookie(reply, known, known.loaded, this)
  }

  /** What the request changed after its reply began, or without one: streams, and replies that the application took over. */
  async finishLate (): Promise<void> {
    const unseen = await this.#queue.settled()
    if (unseen !== undefined) throw unseen.error
    if (this.failure !== null || isUpgrade(this.request) || (this.request.session as unknown) !== this.#session) return
    const { known } = this
    if (known.loaded === null) {
      if (!known.isEnded && !known.isGone && !hasNoFields(this.#session)) this.#shared.log.warn({ reqId: this.request.id }, 'a request wrote to a new session after its reply began: without a cookie it cannot be kept')
      return
    }
    await this.#save(this.#session)
    if (!this.isOver && known.loaded !== null && this.#renewal.isDue(known.loaded)) await this.#renewal.touch(known)
  }

  /** Keeps the session of a request that takes long from timing out. */
  async keepAlive (): Promise<void> {
    const { loaded } = this.known
    const { records } = this.#shared
    if (loaded === null || this.isOver || records.now() - loaded.stored.touchedAt < Math.floor(records.lifetimesOf(loaded.meta).idleTimeoutMs / 4)) return
    await this.#renewal.touch(this.known)
  }

  /** What goes to an object that is not, or not any more, the session of the request goes nowhere. */
  #warnOfLost (): void {
    const { session, id: reqId, routeOptions } = this.request
    if (session as unknown !== null && session !== undefined && Session.knownOf(session) === undefined) {
      this.#shared.log.warn({ reqId, url: routeOptions?.url }, 'request.session was replaced by an object that is no session, of which nothing is stored: set the fields of request.session, or use login or regenerate')
    }
    if (this.#replaced.some(([left, json]) => left !== session && json !== null && !isSame(json, left))) {
      this.#shared.log.warn({ reqId, url: routeOptions?.url }, 'a request wrote to the session object of before login or regenerate, which is not stored: take request.session anew after them')
    }
  }

  #save (session: Session): Promise<void> {
    return this.#writes.save(Session.knownOf(session)!, session, this.#lookup)
  }

  #make (known: KnownSession, fields: object): Session {
    const session = new Session(this, known, this.#renewal.attributes(), fields)
    this.#renewal.begin(session, known.loaded)
    return session
  }

  #give (session: Session): void {
    this.#session = session
    this.request.session = session as unknown as FastifyRequest['session']
  }

  /**
   * Puts another session in the place of one: at once for the request, in the order of the queue for the store. What is written
   * from here on goes to the new one.
   */
  #replace (previous: Session, known: KnownSession, fields: Fields, reason: EndReason | null, make: (ended: Ended) => Promise<void>): Promise<void> {
    // A reply that was hijacked may have begun: the cookie of the new session would not leave any more.
    const isSent = this.isOver || (this.response?.headersSent === true && this.#shared.cookies.isUsed)
    if (isSent) return this.#queue.add(() => Promise.reject(new FST_ERR_REDIS_SESSIONS_REPLY_SENT()))
    const next = this.#make(known, fields)
    this.#replaced.push([previous, jsonOf(previous)])
    this.#give(next)
    return this.#queue.add(async () => {
      const left = Session.knownOf(previous)!
      try {
        await make(await this.#writes.endFor(left, reason))
        known.isNew = known.loaded !== null
        if (known.loaded !== null) this.#renewal.setExpiry(next, known.loaded)
      } catch (err) {
        known.isEnded = true
        if (this.#session === next) this.#give(previous)
        throw err
      } finally {
        if (this.known.isEnded) setSession(this.request, null)
      }
    })
  }

  /** The session was ended: whatever the request still does to it is not stored. */
  #markEnded (known: KnownSession): void {
    this.#mayHaveCookie ||= known.isNew
    known.isEnded = true
    known.loaded = null
    if (known === this.known) setSession(this.request, null)
  }
}
