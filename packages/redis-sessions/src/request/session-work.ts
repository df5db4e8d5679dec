import type { FastifyReply, FastifyRequest } from 'fastify'
import { callSafely } from '@jpulse/plugin-kit'
import { FST_ERR_REDIS_SESSIONS_REPLY_SENT } from '../errors.ts'
import { eventOf, type EndReason } from '../events.ts'
import { refOf } from '../stores/ids.ts'
import { hasNoFields, jsonOf, toJson, type Fields } from '../record/fields.ts'
import { newMeta, type Requester, type OwnLifetimes } from '../record/record.ts'
import type { Loaded, Opened } from '../record/session-records.ts'
import { KnownSession } from './known-session.ts'
import { Queue } from './operation.ts'
import type { Renewal } from './renewal.ts'
import { ReplacedSessions } from './replaced-sessions.ts'
import { ReplyCookie } from './reply-cookie.ts'
import { isUpgrade, setSession } from './request-property.ts'
import { Session } from './session.ts'
import type { Shared } from './shared.ts'
import type { TokenLookup } from './token-lookup.ts'
import { Writes, type Ended } from './writes.ts'

/** The session of a request, as what is done to it sees it. */
interface Subject {
  readonly request: FastifyRequest
  readonly reply: FastifyReply | null
  readonly token: string | undefined
  readonly lookup: TokenLookup
  readonly failure: Error | null
  readonly isOver: boolean
  readonly session: Session
  readonly known: KnownSession
  readonly renewal: Renewal
  make (known: KnownSession, opened?: Opened | null): Session
  give (session: Session): void
  stay (loaded: Loaded): void
}

/** What is done to the session of one request. The operations form a queue, for which the end of the request waits. */
export class SessionWork {
  readonly #subject: Subject
  readonly #shared: Shared
  readonly #writes: Writes
  readonly #queue = new Queue()
  readonly #replaced = new ReplacedSessions()
  readonly #cookie: ReplyCookie
  /** What could not be stored before the reply left, which says so. */
  #refused: { readonly json: string | null } | null = null

  constructor (subject: Subject, shared: Shared, isActivity: boolean | undefined) {
    this.#subject = subject
    this.#shared = shared
    this.#writes = new Writes(subject.request, shared, isActivity)
    this.#cookie = new ReplyCookie(subject, subject.renewal, shared.cookies)
  }

  get isIdle (): boolean {
    return this.#queue.isIdle
  }

  /** A session of a user, in place of the request's, which ends. What was in it is gone. */
  login (userId: string, fields: Fields, own: OwnLifetimes | undefined, made: (loaded: Loaded) => Promise<void>): Promise<void> {
    const known = new KnownSession(this.#shared, userId)
    return this.#replace(this.#subject.session, known, fields, 'login', async () => {
      const created = await this.#writes.create(known, newMeta(this.#subject.request as Requester, userId, own), toJson(fields))
      this.#shared.events.emit('login', eventOf(created))
      await made(created).catch((err) => this.#shared.log.warn({ err }, 'a user may have more sessions than maxSessionsPerUser until the next login'))
    })
  }

  regenerate (session: Session, fields: Fields): Promise<void> {
    const known = new KnownSession(this.#shared, Session.knownOf(session)!.userId)
    return this.#replace(session, known, fields, null, (ended) => this.#writes.move(ended, known, fields))
  }

  /** Ends the session of the request, and that of its token where that is another. */
  logout (): Promise<void> {
    return this.#queue.add(async () => {
      const { known } = this.#subject
      const ids = new Set([this.#subject.lookup.id, known.loaded === null ? null : known.id])
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
      const next = new KnownSession(this.#shared, known.userId, known.id, known.token)
      next.isNew = known.isNew
      const read = this.#subject.make(next, found)
      if (found === null && (known.loaded !== null || known.isGone)) this.#writes.markGone(next)
      next.isEnded = known.isEnded
      if (session === this.#subject.session) this.#subject.give(read)
    })
  }

  /** Stores what the request changed. */
  save (session: Session): Promise<void> {
    return this.#queue.add(async () => {
      await this.#save(session)
      const { loaded } = this.#subject.known
      if (loaded !== null) this.#subject.stay(loaded)
      if (Session.knownOf(session)!.isNew) this.#cookie.setInHijacked()
    })
  }

  /** Notes the session as seen now, which moves its idle timeout. */
  touch (session: Session = this.#subject.session): void {
    const known = Session.knownOf(session)!
    this.#queue.add(async () => {
      if (known.loaded !== null) await this.#subject.renewal.touch(known)
      if (known.loaded !== null && session === this.#subject.session) this.#subject.renewal.setExpiry(session, known.loaded)
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

  /** Waits for the operations, saves, and says by the cookie what became of the session, also where something failed. */
  async finish (reply: FastifyReply): Promise<void> {
    try {
      await this.#finish(reply)
    } catch (err) {
      this.#cookie.trySet(reply)
      this.#refused = { json: jsonOf(this.#subject.session) }
      throw err
    } finally {
      if (this.#cookie.isLost || this.#cookie.refused !== null) await this.#abandon()
    }
  }

  async #finish (reply: FastifyReply): Promise<void> {
    const unseen = await this.#queue.settled()
    // What the application told the visitor as an error is none to tell again.
    if (unseen !== undefined && reply.statusCode < 400) throw unseen.error
    if (this.#subject.failure !== null) return
    this.#replaced.warnOfLost(this.#subject.request, this.#shared.log)
    const session: unknown = this.#subject.request.session
    await this.#endIfNull(session)
    const { known } = this.#subject
    if (session === null || session === undefined || known.isEnded) return this.#cookie.set(reply, true)
    if (session !== this.#subject.session || isUpgrade(this.#subject.request)) return
    await this.#save(this.#subject.session)
    if (known.loaded !== null) await this.#subject.renewal.sendCookie(reply, known, known.loaded, this.#subject)
  }

  /** What the request changed after its reply began, or without one: streams, and replies that the application took over. */
  async finishLate (): Promise<void> {
    try {
      const unseen = await this.#queue.settled()
      if (unseen !== undefined) throw unseen.error
      if (this.#subject.failure === null && !isUpgrade(this.#subject.request)) {
        this.#replaced.warnOfLost(this.#subject.request, this.#shared.log)
        const session: unknown = this.#subject.request.session
        await this.#endIfNull(session)
        if (session === this.#subject.session) await this.#saveLate()
      }
    } finally {
      if (!this.#subject.isOver && !this.#cookie.isSet && !isUpgrade(this.#subject.request)) await this.#abandon()
    }
  }

  /** Who sets it to null means its end, not only that of the cookie. */
  async #endIfNull (session: unknown): Promise<void> {
    if (session === null && this.#subject.known.loaded !== null) await this.destroy(this.#subject.session)
  }

  async #saveLate (): Promise<void> {
    const { known } = this.#subject
    if (known.loaded === null) {
      if (!known.isEnded && !known.isGone && !hasNoFields(this.#subject.session)) this.#shared.log.warn({ reqId: this.#subject.request.id }, 'a request wrote to a new session after its reply began: without a cookie it cannot be kept. Await session.save() before')
      return
    }
    // The visitor was told that it was not, and may have written since: it would come late, and over that.
    if (this.#refused !== null && this.#refused.json === jsonOf(this.#subject.session)) return
    await this.#save(this.#subject.session)
    if (!this.#subject.isOver && known.loaded !== null && this.#subject.renewal.isDue(known.loaded)) await this.#subject.renewal.touch(known)
  }

  /** Ends a session that this request made and whose cookie does not reach the browser: nobody could use it, or end it. */
  async #abandon (): Promise<void> {
    const { known } = this.#subject
    if (known.loaded === null || known.id === this.#subject.lookup.id || !this.#shared.cookies.isUsed) return
    await this.#writes.abandon(known.ref, this.#subject.lookup.id)
    this.#markEnded(known)
    if (this.#cookie.refused !== null) this.#shared.log.error({ err: this.#cookie.refused, reqId: this.#subject.request.id }, 'the cookie of a new session could not be made, and the session was ended')
    else if (this.#cookie.isLost) this.#shared.log.info({ reqId: this.#subject.request.id }, 'the client left before it had the cookie of a new session, which was ended')
    else this.#shared.log.warn({ reqId: this.#subject.request.id }, 'a hijacked reply began without the cookie of a new session, which was ended: await login or session.save() before its headers leave')
  }

  #save (session: Session): Promise<void> {
    return this.#writes.save(Session.knownOf(session)!, session, this.#subject.lookup)
  }

  /**
   * Puts another session in the place of one: at once for the request, in the order of the queue for the store. What is written
   * from here on goes to the new one.
   */
  #replace (previous: Session, known: KnownSession, fields: Fields, reason: EndReason | null, make: (ended: Ended) => Promise<void>): Promise<void> {
    // A reply that was hijacked may have begun: the cookie of the new session would not leave any more.
    if (this.#subject.isOver || (this.#subject.reply?.raw.headersSent === true && this.#shared.cookies.isUsed)) return this.fail(new FST_ERR_REDIS_SESSIONS_REPLY_SENT())
    const next = Object.assign(this.#subject.make(known), fields)
    this.#replaced.add(previous)
    this.#subject.give(next)
    return this.#queue.add(async () => {
      const left = Session.knownOf(previous)!
      const wasStored = left.loaded !== null
      try {
        await make(await this.#writes.endFor(left, reason))
        known.isNew = known.loaded !== null
        if (known.loaded !== null) this.#subject.stay(known.loaded)
        this.#cookie.setInHijacked()
        if (known.loaded !== null) this.#subject.renewal.setExpiry(next, known.loaded)
      } catch (err) {
        known.isEnded = true
        if (this.#subject.session === next) this.#subject.give(previous)
        if (wasStored) await this.#writes.forgetReplaced(left.ref)
        throw err
      } finally {
        if (this.#subject.known.isEnded) setSession(this.#subject.request, null)
      }
    })
  }

  /** The session was ended: whatever the request still does to it is not stored. */
  #markEnded (known: KnownSession): void {
    this.#cookie.mayBeThere ||= known.isNew
    known.isEnded = true
    known.loaded = null
    if (known === this.#subject.known) setSession(this.#subject.request, null)
    this.#cookie.setInHijacked()
  }
}
