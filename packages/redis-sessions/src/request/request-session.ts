import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Requester } from '../record/record.ts'
import type { Loaded, Opened } from '../record/session-records.ts'
import { KnownSession } from './known-session.ts'
import { Renewal, type SessionStart } from './renewal.ts'
import { isUpgrade, refuse } from './request-property.ts'
import { hasNoFields } from '../record/fields.ts'
import { Session } from './session.ts'
import { SessionWork } from './session-work.ts'
import type { Shared } from './shared.ts'
import type { Unsigned } from './signer.ts'
import { lookUpTokens, NO_TOKEN, type TokenLookup } from './token-lookup.ts'

/**
 * The session of one request, from the request's begin to its end: which object the request is given, and when it is made.
 *
 * Hot path: most requests change nothing, and many do not look. So what is done to a session is made with the first operation
 * (`work`), and its object when the request looks, from what was read when the request came
 * (benchmarks/redis-sessions/read.bench.js).
 */
export class RequestSession {
  readonly request: FastifyRequest
  readonly reply: FastifyReply | null
  /** Whether the reply has left, or is about to, so that no cookie can be set any more. */
  isOver = false
  /** Nothing was made of it yet: the request has not looked, and its end asks for nothing. */
  isWaiting = false
  /** See InFlight. */
  position = -1
  everyMs = Infinity
  readonly #shared: Shared
  readonly #start: SessionStart
  #lookup: TokenLookup = NO_TOKEN
  #session: Session | null = null
  #renewal: Renewal | null = null
  #work: SessionWork | null = null

  constructor (request: FastifyRequest, reply: FastifyReply | null, shared: Shared, start: SessionStart) {
    this.request = request
    this.reply = reply
    this.#shared = shared
    this.#start = start
  }

  get token (): string | undefined {
    return this.#start.token
  }

  /** What became of the token. */
  get lookup (): TokenLookup {
    return this.#lookup
  }

  /** Why the session could not be read: thrown where the request touches it. */
  get failure (): Error | null {
    return this.#lookup.failure
  }

  get session (): Session {
    return this.look()
  }

  get known (): KnownSession {
    return Session.knownOf(this.session)!
  }

  /** What is stored of it; null where nothing is. */
  get loaded (): Loaded | null {
    return this.isWaiting ? this.#lookup.found : this.known.loaded
  }

  get renewal (): Renewal {
    this.#renewal ??= new Renewal(this.request, this.#shared, this.#start)
    return this.#renewal
  }

  /** What is done to it, by a request that has looked at it. */
  get work (): SessionWork {
    this.look()
    this.#work ??= new SessionWork(this, this.#shared, this.#start.isActivity)
    return this.#work
  }

  /** The request has no session that is stored. */
  begin (): void {
    this.isWaiting = true
  }

  /**
   * The request has the session of its token, if that is at hand and neither is to be noted as seen nor its cookie to be renewed.
   * What was read now is what the request gets when it looks, as if it had waited for it: who changes the session meanwhile did
   * not have his answer when this request came.
   */
  beginNow ({ id, ref, isOld }: Unsigned): boolean {
    if (ref === null || isOld) return false
    const { records } = this.#shared
    const now = records.now()
    const found = records.openNow(ref, now)
    if (found === undefined || !this.#isQuiet(found, now)) return false
    this.#lookup = { ...NO_TOKEN, id, token: this.#start.token!, found }
    this.isWaiting = true
    this.stay(found)
    return true
  }

  /** The request has the session of its token. Never rejects. */
  async load (): Promise<void> {
    this.#lookup = await lookUpTokens(this.token!, this.#shared, this.request as Requester, this.reply === null ? noOthers : () => this.#shared.cookies.others(this.request, this.token!))
    const { found, failure, token, isOld } = this.#lookup
    this.isWaiting = true
    if (failure !== null) {
      this.look()
      return refuse(this.request, failure)
    }
    if (found === null) return
    this.stay(found)
    // Another token than that of the request, such as of a name of before, is renewed as its own.
    if (token === this.token && !isOld && this.#isQuiet(found, this.#shared.records.now())) return
    this.look()
    // With less than half of the idle timeout left it might end while the request runs.
    if (this.renewal.isPast(found, 1 / 2)) this.work.touch()
  }

  /** Gives the request the session that it has, as it was when the request came. */
  look (): Session {
    if (!this.isWaiting) return this.#session!
    this.isWaiting = false
    const { id, isOld, found, token } = this.#lookup
    const session = found === null
      ? this.make(new KnownSession(this.#shared))
      : this.make(new KnownSession(this.#shared, null, id!, isOld ? undefined : token!), found)
    this.give(session)
    this.#finishLate()
    return session
  }

  /** A session object of this request. */
  make (known: KnownSession, opened: Opened | null = null): Session {
    const { renewal } = this
    const session = new Session(this, known, renewal.attributes())
    if (opened !== null) known.open(opened, session)
    renewal.begin(session, known.loaded)
    return session
  }

  give (session: Session): void {
    this.#session = session
    this.request.session = session as unknown as FastifyRequest['session']
  }

  /** From here on its session does not time out before the reply begins. A socket may be open for days: of that the application tells, by `watch`. */
  stay ({ meta }: Loaded): void {
    if (this.reply !== null && !this.isOver && !isUpgrade(this.request)) this.#shared.inFlight.add(this, meta.own?.idleTimeoutMs)
  }

  /** Keeps the session of a request that takes long from timing out. */
  async keepAlive (): Promise<void> {
    if (this.isOver) return
    // Nobody has looked: a session is made only where there is something to do.
    const { found } = this.#lookup
    if (this.isWaiting && (found === null || !this.renewal.isPast(found, 1 / 4))) return
    await this.renewal.keepAlive(this.known)
  }

  /** The reply is about to leave, or has left, and nothing more is done to it. */
  end (): void {
    this.isOver = true
    this.#shared.inFlight.delete(this)
  }

  /** Whether the end of the request has nothing to wait for. */
  canEndAtOnce (): boolean {
    const session = this.#session
    // Nobody has looked, or the reply left before the session was read.
    if (session === null) return true
    if (this.#work !== null && !this.#work.isIdle) return false
    if (this.failure !== null) return true
    if ((this.request.session as unknown) !== session) return false
    const { known } = this
    if (known.isEnded || known.isNew) return false
    if (known.loaded === null) return hasNoFields(session)
    return this.renewal.isCookieCurrent(known, this.renewal.isDue(known.loaded), session) && known.isSame(session)
  }

  /**
   * What is changed after the reply began, or without one, is stored when it has left, or its client has. Not by a hook: those
   * would be run for the requests that do not look, too, which costs them more than all the rest.
   */
  #finishLate (): void {
    const { reply } = this
    if (reply === null) return
    const { raw } = reply
    let isStored = false
    const store = () => {
      if (isStored) return
      isStored = true
      this.#shared.inFlight.delete(this)
      this.#storeLate().catch((err) => this.#shared.log.error({ err, reqId: this.request.id }, 'what a request wrote to its session was not stored'))
    }
    raw.on('finish', store)
    raw.on('error', store)
    // Whoever hears of it may write a last time. A handler that has not replied yet goes on, and its reply is its end.
    const storeAtEnd = () => { if (!isStored && (this.isOver || reply.sent)) setImmediate(store) }
    // Who looks for the first time when the client has left has missed it.
    if (raw.closed) storeAtEnd()
    else raw.on('close', storeAtEnd)
  }

  /** Async, so that what a getter of the application throws ends no process. */
  async #storeLate (): Promise<void> {
    if (!this.isOver || !this.canEndAtOnce()) await this.work.finishLate()
  }

  #isQuiet ({ stored, lifetimes }: Opened, now: number): boolean {
    const { touchIntervalMs } = this.#shared
    if (this.#start.isActivity === false) return true
    return touchIntervalMs !== 0 && now - stored.touchedAt < Math.min(touchIntervalMs, Math.floor(lifetimes.idleTimeoutMs / 2))
  }
}

const noOthers = (): readonly string[] => []
