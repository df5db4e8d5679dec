import type { FastifyReply, FastifyRequest } from 'fastify'
import { callSafely } from '@jpulse/plugin-kit'
import { FST_ERR_REDIS_SESSIONS_REPLY_SENT } from '../errors.ts'
import { eventOf, type EndReason } from '../events.ts'
import { refOf } from '../stores/ids.ts'
import { hasNoFields, toJson, type Fields } from '../record/fields.ts'
import { newMeta, type Requester, type OwnLifetimes } from '../record/record.ts'
import type { Loaded } from '../record/session-records.ts'
import { KnownSession } from './known-session.ts'
import { Queue } from './operation.ts'
import { Renewal, type SessionStart } from './renewal.ts'
import { ReplacedSessions } from './replaced-sessions.ts'
import { ReplyCookie } from './reply-cookie.ts'
import { isUpgrade, refuse, setSession } from './request-property.ts'
import { Session, type Owner } from './session.ts'
import type { Shared } from './shared.ts'
import { lookUpTokens, NO_TOKEN } from './token-lookup.ts'
import { Writes, type Ended } from './writes.ts'

/**
 * The session of one request: which object the request is given, and what is done to it from the request's begin to its end.
 * The operations form a queue, for which the end of the request waits.
 */
export class RequestSession implements Owner {
  readonly request: FastifyRequest
  readonly token: string | undefined
  /** Whether the reply has left, or is about to, so that no cookie can be set any more. */
  isOver = false
  /** See InFlight. */
  position = -1
  everyMs = Infinity
  readonly reply: FastifyReply | null
  readonly #shared: Shared
  readonly #renewal: Renewal
  readonly #writes: Writes
  readonly #others: () => readonly string[]
  readonly #queue = new Queue()
  #lookup = NO_TOKEN
  #session!: Session
  readonly #replaced = new ReplacedSessions()
  readonly #cookie: ReplyCookie

  constructor (request: FastifyRequest, shared: Shared, start: SessionStart = {}) {
    this.request = request
    this.token = start.token
    this.reply = start.reply ?? null
    this.#shared = shared
    this.#renewal = new Renewal(request, shared, start)
    this.#writes = new Writes(request, shared, start.isActivity)
    this.#cookie = new ReplyCookie(this, this.#renewal, shared.cookies)
    this.#others = start.others ?? (() => [])
  }

  /** Why the session could not be read: thrown where the request touches it. */
  get failure (): Error | null {
    return this.#lookup.failure
  }

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
    const [token, lookup] = await lookUpTokens(this.token!, this.#others, this.#shared, this.request as Requester)
    this.#lookup = lookup
    const { id, isOld, found, failure } = lookup
    if (found === null) {
      this.begin()
      if (failure !== null) refuse(this.request, failure)
      return
    }
    const known = new KnownSession(this.#shared, { id: id!, ...(isOld ? {} : { token }) })
    known.keepOpened(found)
    this.#give(this.#make(known, found.fields))
    this.#stay()
    // With less than half of the idle timeout left it might end while the request runs.
    if (this.#renewal.isPast(found, 1 / 2)) this.touch()
  }

  /** A session of a user, in place of the request's, which ends. What was in it is gone. */
  login (userId: string, fields: Fields, own: OwnLifetimes | undefined, made: (loaded: Loaded) => Promise<void>): Promise<void> {
    const known = new KnownSession(this.#shared, { userId })
    return this.#replace(this.#session, known, fields, 'login', async () => {
      const created = await this.#writes.create(known, newMeta(this.request as Requester, userId, own), toJson(fields))
      this.#shared.events.emit('login', eventOf(created))
      await made(created).catch((err) => this.#shared.log.warn({ err }, 'a user may have more sessions than maxSessionsPerUser until the next login'))
    })
  }

  regenerate (session: Session, fields: Fields): Promise<void> {
    const known = new KnownSession(this.#shared, { userId: Session.knownOf(session)!.userId })
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
      if (found !== null) next.keepOpened(found)
      else if (known.loaded !== null || known.isGone) this.#writes.markGone(next)
      next.isEnded = known.isEnded
      if (session === this.#session) this.#give(this.#make(next, found?.fields ?? {}))
    })
  }

  /** Stores what the request changed. */
  save (session: Session): Promise<void> {
    return this.#queue.add(async () => {
      await this.#save(session)
      this.#stay()
      if (Session.knownOf(session)!.isNew) this.#cookie.setInHijacked()
    })
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
    return this.#renewal.isCookieCurrent(known, this.#renewal.isDue(known.loaded), this.#session) && known.isSame(this.#session)
  }

  /** Waits for the operations, saves, and says by the cookie what became of the session, also where something failed. */
  async finish (reply: FastifyReply): Promise<void> {
    try {
      await this.#finish(reply)
    } catch (err) {
      this.#cookie.trySet(reply)
      throw err
    } finally {
      if (this.#cookie.isLost || this.#cookie.refused !== null) await this.#abandon()
    }
  }

  async #finish (reply: FastifyReply): Promise<void> {
    const unseen = await this.#queue.settled()
    // What the application told the visitor as an error is none to tell again.
    if (unseen !== undefined && reply.statusCode < 400) throw unseen.error
    if (this.failure !== null) return
    this.#replaced.warnOfLost(this.request, this.#shared.log)
    const session: unknown = this.request.session
    // Who sets it to null means its end, not only that of the cookie.
    if (session === null && this.known.loaded !== null) await this.destroy(this.#session)
    const { known } = this
    if (session === null || session === undefined || known.isEnded) return this.#cookie.set(reply, true)
    if (session !== this.#session || isUpgrade(this.request)) return
    await this.#save(this.#session)
    if (known.loaded !== null) await this.#renewal.sendCookie(reply, known, known.loaded, this)
  }

  /** What the request changed after its reply began, or without one: streams, and replies that the application took over. */
  async finishLate (): Promise<void> {
    try {
      const unseen = await this.#queue.settled()
      if (unseen !== undefined) throw unseen.error
      if (this.failure === null && !isUpgrade(this.request) && (this.request.session as unknown) === this.#session) await this.#saveLate()
    } finally {
      if (!this.isOver && !this.#cookie.isSet && !isUpgrade(this.request)) await this.#abandon()
    }
  }

  async #saveLate (): Promise<void> {
    const { known } = this
    if (known.loaded === null) {
      if (!known.isEnded && !known.isGone && !hasNoFields(this.#session)) this.#shared.log.warn({ reqId: this.request.id }, 'a request wrote to a new session after its reply began: without a cookie it cannot be kept. Await session.save() before')
      return
    }
    await this.#save(this.#session)
    if (!this.isOver && known.loaded !== null && this.#renewal.isDue(known.loaded)) await this.#renewal.touch(known)
  }

  /** Ends a session that this request made and whose cookie does not reach the browser: nobody could use it, or end it. */
  async #abandon (): Promise<void> {
    const { known } = this
    if (known.loaded === null || known.id === this.#lookup.id || !this.#shared.cookies.isUsed) return
    await this.#writes.abandon(known.ref, this.#lookup.id)
    this.#markEnded(known)
    if (this.#cookie.refused !== null) this.#shared.log.error({ err: this.#cookie.refused, reqId: this.request.id }, 'the cookie of a new session could not be made, and the session was ended')
    else if (this.#cookie.isLost) this.#shared.log.info({ reqId: this.request.id }, 'the client left before it had the cookie of a new session, which was ended')
    else this.#shared.log.warn({ reqId: this.request.id }, 'a hijacked reply began without the cookie of a new session, which was ended: await login or session.save() before its headers leave')
  }

  /** Keeps the session of a request that takes long from timing out. */
  async keepAlive (): Promise<void> {
    if (!this.isOver) await this.#renewal.keepAlive(this.known)
  }

  /** From here on its session does not time out before the reply begins. A socket may be open for days: of that the application tells, by `watch`. */
  #stay (): void {
    const { loaded } = this.known
    if (loaded !== null && this.reply !== null && !this.isOver && !isUpgrade(this.request)) this.#shared.inFlight.add(this, loaded.meta.own?.idleTimeoutMs)
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
    if (this.isOver || (this.reply?.raw.headersSent === true && this.#shared.cookies.isUsed)) return this.fail(new FST_ERR_REDIS_SESSIONS_REPLY_SENT())
    const next = this.#make(known, fields)
    this.#replaced.add(previous)
    this.#give(next)
    return this.#queue.add(async () => {
      const left = Session.knownOf(previous)!
      const wasStored = left.loaded !== null
      try {
        await make(await this.#writes.endFor(left, reason))
        known.isNew = known.loaded !== null
        this.#stay()
        this.#cookie.setInHijacked()
        if (known.loaded !== null) this.#renewal.setExpiry(next, known.loaded)
      } catch (err) {
        known.isEnded = true
        if (this.#session === next) this.#give(previous)
        if (wasStored) await this.#writes.forgetReplaced(left.ref)
        throw err
      } finally {
        if (this.known.isEnded) setSession(this.request, null)
      }
    })
  }

  /** The session was ended: whatever the request still does to it is not stored. */
  #markEnded (known: KnownSession): void {
    this.#cookie.mayBeThere ||= known.isNew
    known.isEnded = true
    known.loaded = null
    if (known === this.known) setSession(this.request, null)
    this.#cookie.setInHijacked()
  }
}
