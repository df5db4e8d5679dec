import type { FastifyReply, FastifyRequest } from 'fastify'
import { callSafely } from '@jpulse/plugin-kit'
import { FST_ERR_REDIS_SESSIONS_REPLY_SENT } from '../errors.ts'
import { eventOf, type EndReason } from '../events.ts'
import { refOf } from '../stores/ids.ts'
import { hasNoFields, isSame, jsonOf, toJson, type Fields } from '../vault/fields.ts'
import { newMeta, type Asking, type OwnLifetimes } from '../vault/record.ts'
import type { Loaded } from '../vault/vault.ts'
import { Held } from './held.ts'
import { Queue } from './operation.ts'
import { findPresented, NOTHING_PRESENTED, tellRefused } from './presented.ts'
import { Renewal, type SessionStart } from './renewal.ts'
import { isUpgrade, refuse, setSession } from './request-property.ts'
import { Session, type Owner } from './session.ts'
import type { Shared } from './shared.ts'
import { Writes, type Ended } from './writes.ts'

/**
 * One request's dealings with its session: which object it is given, and what is done to it from the request's begin to its
 * end. The operations form a queue, for which the end of the request waits.
 */
export class RequestSession implements Owner {
  readonly request: FastifyRequest
  readonly token: string | undefined
  /** Whether the reply has left, or is about to, so that no cookie can be set any more. */
  isOver = false
  /** See InProgress. */
  position = -1
  readonly response: SessionStart['response'] & object | null
  readonly #shared: Shared
  readonly #renewal: Renewal
  readonly #writes: Writes
  readonly #others: () => readonly string[]
  readonly #queue = new Queue()
  #presented = NOTHING_PRESENTED
  #session!: Session
  /** The session objects that were replaced, as they were then. */
  readonly #left: Array<[session: Session, json: string | null]> = []
  /** The browser may have been sent the cookie of a session that this request ended. */
  #wasTold = false

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
    return this.#presented.failure
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
    let token = this.token!
    this.#presented = await findPresented(token, this.#shared)
    if (this.#presented.refused !== null) token = await this.#findAmongOthers(token)
    const { id, isOld, found, failure } = this.#presented
    if (found === null) {
      this.begin()
      if (failure !== null) refuse(this.request, failure)
      return
    }
    const held = new Held(this.#shared, { id: id!, ...(isOld ? {} : { token }) })
    held.keep(found)
    this.#give(this.#make(held, found.fields))
    // So little is left that it might end while the request runs.
    const { vault } = this.#shared
    if (vault.now() - found.stored.touchedAt > vault.lifetimesOf(found.meta).idleTimeoutMs / 2) this.touch()
  }

  /** A dead cookie may stand before a living one: of another path or domain, or of a name of before. Returns the token that counts. */
  async #findAmongOthers (token: string): Promise<string> {
    for (const other of this.#others()) {
      const presented = await findPresented(other, this.#shared)
      if (presented.refused !== null) continue
      this.#presented = presented
      return other
    }
    const { refused } = this.#presented
    if (refused !== null) tellRefused(this.#shared.events, this.request as Asking, refused)
    return token
  }

  /** A session of a user, in place of the request's, which ends. What was in it is gone. */
  login (userId: string, fields: Fields, own: OwnLifetimes | undefined, made: (loaded: Loaded) => Promise<void>): Promise<void> {
    const meta = newMeta(this.request as Asking, userId, own)
    const held = new Held(this.#shared, { userId })
    return this.#replace(this.#session, held, fields, 'login', async () => {
      const created = await this.#writes.create(held, meta, toJson(fields))
      this.#shared.events.tell('login', eventOf(created))
      await made(created).catch((err) => this.#shared.log.warn({ err }, 'a user may have more sessions than maxSessionsPerUser until the next login'))
    })
  }

  regenerate (session: Session, fields: Fields): Promise<void> {
    const left = Session.heldBy(session)!
    const held = new Held(this.#shared, { userId: left.userId })
    return this.#replace(session, held, fields, null, (ended) => this.#writes.move(ended, held, fields))
  }

  /** Ends the session of the request, and that of its token where that is another. */
  logout (): Promise<void> {
    return this.#queue.add(async () => {
      const { held } = this
      const ids = new Set([this.#presented.id, held.loaded === null ? null : held.id])
      for (const id of ids) if (id !== null) await this.#writes.end(refOf(id), 'logout')
      this.#leave(held)
    })
  }

  destroy (session: Session): Promise<void> {
    return this.#queue.add(async () => {
      const held = Session.heldBy(session)!
      if (held.loaded !== null) await this.#writes.end(held.ref, 'destroy')
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
      else if (held.loaded !== null || held.isDropped) this.#writes.drop(next)
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
      if (held.loaded !== null) await this.#renewal.seen(held)
      if (held.loaded !== null && session === this.#session) this.#renewal.show(session, held.loaded)
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
    return this.#renewal.isTold(held, this.#renewal.isDue(held.loaded), this.#session) && isSame(held.base, this.#session)
  }

  /** Waits for the operations, saves, and says by the cookie what became of the session. */
  async finish (reply: FastifyReply): Promise<void> {
    const unseen = await this.#queue.settled()
    // What the application told the visitor as an error is none to tell again.
    if (unseen !== undefined && reply.statusCode < 400) throw unseen.error
    if (this.failure !== null) return
    this.#warnOfLost()
    const session: unknown = this.request.session
    const { held } = this
    // Who sets it to null means its end, not only that of the cookie.
    if (session === null && held.loaded !== null) await this.destroy(this.#session)
    if (session === null || session === undefined || held.isOut) {
      if (this.token !== undefined || this.#wasTold) this.#shared.cookies.clear(this.request, reply)
      return
    }
    if (session !== this.#session || isUpgrade(this.request)) return
    await this.#save(this.#session)
    if (held.loaded !== null) await this.#renewal.tell(reply, held, held.loaded, this)
  }

  /** What the request changed after its reply began, or without one: streams, and replies that the application took over. */
  async finishLate (): Promise<void> {
    const unseen = await this.#queue.settled()
    if (unseen !== undefined) throw unseen.error
    if (this.failure !== null || isUpgrade(this.request) || (this.request.session as unknown) !== this.#session) return
    const { held } = this
    if (held.loaded === null) {
      if (!held.isOut && !held.isDropped && !hasNoFields(this.#session)) this.#shared.log.warn({ reqId: this.request.id }, 'a request wrote to a new session after its reply began: without a cookie it cannot be kept')
      return
    }
    await this.#save(this.#session)
    if (!this.isOver && held.loaded !== null && this.#renewal.isDue(held.loaded)) await this.#renewal.seen(held)
  }

  /** Keeps the session of a request that takes long from timing out. */
  async keepAlive (): Promise<void> {
    const { loaded } = this.held
    const { vault } = this.#shared
    if (loaded === null || this.isOver || vault.now() - loaded.stored.touchedAt < Math.floor(vault.lifetimesOf(loaded.meta).idleTimeoutMs / 4)) return
    await this.#renewal.seen(this.held)
  }

  /** What goes to an object that is not, or not any more, the session of the request goes nowhere. */
  #warnOfLost (): void {
    const { session, id: reqId, routeOptions } = this.request
    if (session as unknown !== null && session !== undefined && Session.heldBy(session) === undefined) {
      this.#shared.log.warn({ reqId, url: routeOptions?.url }, 'request.session was replaced by an object that is no session, of which nothing is stored: set the fields of request.session, or use login or regenerate')
    }
    if (this.#left.some(([left, json]) => left !== session && json !== null && !isSame(json, left))) {
      this.#shared.log.warn({ reqId, url: routeOptions?.url }, 'a request wrote to the session object of before login or regenerate, which is not stored: take request.session anew after them')
    }
  }

  #save (session: Session): Promise<void> {
    return this.#writes.save(Session.heldBy(session)!, session, this.#presented)
  }

  #make (held: Held, fields: object): Session {
    const session = new Session(this, held, this.#renewal.attributes(), fields)
    this.#renewal.begin(session, held.loaded)
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
  #replace (previous: Session, held: Held, fields: Fields, reason: EndReason | null, make: (ended: Ended) => Promise<void>): Promise<void> {
    // A reply that was hijacked may have begun: the cookie of the new session would not leave any more.
    const isSent = this.isOver || (this.response?.headersSent === true && this.#shared.cookies.isUsed)
    if (isSent) return this.#queue.add(() => Promise.reject(new FST_ERR_REDIS_SESSIONS_REPLY_SENT()))
    const next = this.#make(held, fields)
    this.#left.push([previous, jsonOf(previous)])
    this.#give(next)
    return this.#queue.add(async () => {
      const left = Session.heldBy(previous)!
      try {
        await make(await this.#writes.endFor(left, reason))
        held.isNew = held.loaded !== null
        if (held.loaded !== null) this.#renewal.show(next, held.loaded)
      } catch (err) {
        held.isOut = true
        if (this.#session === next) this.#give(previous)
        throw err
      } finally {
        if (this.held.isOut) setSession(this.request, null)
      }
    })
  }

  /** The session was ended: whatever the request still does to it is not stored. */
  #leave (held: Held): void {
    this.#wasTold ||= held.isNew
    held.isOut = true
    held.loaded = null
    if (held === this.held) setSession(this.request, null)
  }
}
