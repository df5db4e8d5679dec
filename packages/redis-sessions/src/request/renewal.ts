import type { FastifyReply, FastifyRequest } from 'fastify'
import { FST_ERR_REDIS_SESSIONS_INVALID_COOKIE } from '../errors.ts'
import { eventOf } from '../events.ts'
import type { Loaded } from '../record/session-records.ts'
import { headersOf, mayBeShared, type CookieReply } from './caching.ts'
import type { KnownSession } from './known-session.ts'
import { SessionCookie, type CookieAttributes } from './session-cookie.ts'
import type { Shared } from './shared.ts'

/** How a request comes to its session. */
export interface SessionStart {
  /** What came in place of a cookie; undefined where none did. */
  readonly token?: string | undefined
  /** Attributes of the cookie beside those of the options. */
  readonly cookie?: CookieAttributes
  /** Whether the request counts as activity. @default true */
  readonly isActivity?: boolean
}

/** What is used of a session object. */
export interface WithCookie { readonly cookie: SessionCookie }

const NONE: CookieAttributes = Object.freeze({})

/**
 * Notes a session as seen and renews its cookie, which expires when the session does. Where the reply may not carry the
 * cookie, the renewal is postponed to the next one.
 */
export class Renewal {
  readonly #request: FastifyRequest
  readonly #shared: Pick<Shared, 'records' | 'cookies' | 'events' | 'touchIntervalMs' | 'postponed' | 'log' | 'warnings'>
  readonly #token: string | undefined
  readonly #cookie: CookieAttributes
  readonly #isActivity: boolean
  /** The cookie of the session object, unless the application changed it. */
  #ownCookie: SessionCookie | null = null
  /** It was noted as seen by this request, and the browser does not know. */
  #isCookieDue = false
  /** `keepAlive` waits for the store, which may be slower than the pace at which it is asked. */
  #isTouching = false

  constructor (request: FastifyRequest, shared: Shared, { token, cookie = NONE, isActivity = true }: SessionStart) {
    this.#request = request
    this.#shared = shared
    this.#token = token
    this.#cookie = cookie
    this.#isActivity = isActivity
  }

  /** What the cookie of a new session object says. */
  attributes (): CookieAttributes {
    const given = this.#shared.cookies.attributes(this.#request)
    return this.#cookie === NONE ? given : { ...given, ...this.#cookie }
  }

  /** Lets the cookie of a new session object say when the session expires, stored or not. */
  begin (session: WithCookie, loaded: Loaded | null): void {
    if (loaded !== null) return this.setExpiry(session, loaded)
    const { cookie } = session
    if (this.#cookie.maxAge === undefined && this.#cookie.expires === undefined) cookie.maxAge = this.#shared.records.lifetimesOf().idleTimeoutMs
    this.#own(cookie)
  }

  /** Lets the cookie say when the session really expires. */
  setExpiry ({ cookie }: WithCookie, loaded: Loaded): void {
    // What the application put in its place is refused when it is sent.
    if (!(cookie instanceof SessionCookie)) return
    const { maxAge, expires } = this.#cookie
    if (maxAge !== undefined) cookie.maxAge = maxAge
    else if (expires !== undefined) cookie.expires = expires
    else return this.#own(cookie, () => loaded.meta.own?.remember === false ? null : this.#expiresAt(loaded, this.isDue(loaded)))
    this.#own(cookie)
  }

  isDue ({ stored }: Loaded): boolean {
    const { records, touchIntervalMs } = this.#shared
    // 0 is at every request, however exact the clock is known.
    return this.#isActivity && (touchIntervalMs === 0 || records.now() - stored.touchedAt >= touchIntervalMs)
  }

  /** Whether this part of a session's idle timeout is over. */
  isPast ({ stored, meta }: Loaded, part: number): boolean {
    const { records } = this.#shared
    return records.now() - stored.touchedAt >= Math.floor(records.lifetimesOf(meta).idleTimeoutMs * part)
  }

  /** Whether the browser knows all of a stored session that is neither new nor changed, and of its cookie. */
  isCookieCurrent (known: KnownSession, isDue: boolean, { cookie }: WithCookie): boolean {
    return known.token === this.#token && !isDue && !this.#isCookieDue && this.#isUnchanged({ cookie })
  }

  #isUnchanged ({ cookie }: WithCookie): boolean {
    return cookie === this.#ownCookie && !cookie.isExpirySet && !cookie.isChanged
  }

  /**
   * Notes a session as seen, now or so long ago. A page that was computed needs no more of the store: an outage now only leaves
   * the idle timeout as it was.
   *
   * @returns whether the store was told
   */
  async touch (known: KnownSession, agoMs = 0): Promise<boolean> {
    const { loaded } = known
    if (loaded === null || !this.#isActivity) return false
    const { records, events, log, warnings } = this.#shared
    try {
      if (!await records.touch(loaded, agoMs)) return false
      if (agoMs === 0) this.#isCookieDue = true
      if (known.loaded === loaded) known.loaded = { ...loaded, stored: { ...loaded.stored, touchedAt: records.now() - agoMs } }
      if (events.hasListener('renewed')) events.emit('renewed', eventOf(loaded))
      return true
    } catch (err) {
      const left = warnings.pass('touch')
      if (left !== null) log.warn({ err, ...(left > 0 && { suppressed: left }) }, 'a session could not be noted as seen: where that lasts, who is active is logged out after the idle timeout')
      return false
    }
  }

  /** Notes a session as seen where a quarter of its idle timeout is over. */
  async keepAlive (known: KnownSession): Promise<void> {
    if (known.loaded === null || this.#isTouching || !this.isPast(known.loaded, 1 / 4)) return
    this.#isTouching = true
    await this.touch(known)
    this.#isTouching = false
  }

  /**
   * Sends the cookie where the session is new or changed, or is noted as seen now.
   *
   * @param given which session object is the request's when the cookie is written
   */
  async sendCookie (reply: FastifyReply, known: KnownSession, loaded: Loaded, given: { readonly session: WithCookie }): Promise<void> {
    let onWithheld: (() => void) | undefined
    if (!known.isNew) {
      const isDue = this.isDue(loaded)
      if (this.isCookieCurrent(known, isDue, given.session)) return
      // What the application changed for this reply is not in the next one.
      if (this.#isUnchanged(given.session)) onWithheld = () => { this.#postpone(known) }
      if (onWithheld !== undefined && mayBeShared(replyHeaders(reply))) return onWithheld()
      if ((isDue || !this.#isCookieDue) && !await this.touch(known)) return
    }
    this.setCookie(reply, known, loaded, given.session, onWithheld)
  }

  /**
   * Puts the cookie of a session into a reply.
   *
   * @param onWithheld it only renews the one that the browser has, and did not leave, because others may keep the reply
   * @throws FST_ERR_REDIS_SESSIONS_INVALID_COOKIE
   */
  setCookie (reply: CookieReply, known: KnownSession, loaded: Loaded, { cookie }: WithCookie, onWithheld?: () => void): void {
    if (!(cookie instanceof SessionCookie)) throw new FST_ERR_REDIS_SESSIONS_INVALID_COOKIE('session.cookie', 'the object that it was: set the attributes of that, or call session.options')
    const isUnchanged = cookie.isExpirySet === false && loaded.meta.own?.remember !== false
    const expires = isUnchanged ? this.#expiresAt(known.loaded ?? loaded, this.#isActivity) : cookie.expires
    this.#shared.cookies.set(this.#request, reply, known.token, { ...(cookie.toJSON() as CookieAttributes), expires }, onWithheld)
  }

  /** The session was seen, but its cookie could not be renewed: dated back, so that the next reply that may carry it does. */
  async #postpone (known: KnownSession): Promise<void> {
    const { postponed, touchIntervalMs } = this.#shared
    if (postponed.has(known.ref.hash)) return
    postponed.add(known.ref.hash)
    if (!await this.touch(known, touchIntervalMs)) postponed.delete(known.ref.hash)
  }

  /** What it says from here on was not set by the application. */
  #own (cookie: SessionCookie, expiry?: () => Date | null): void {
    this.#ownCookie = cookie
    const { expires } = cookie
    cookie.expireWith(expiry ?? (() => expires))
  }

  /** In this process' clock, as headers have it. */
  #expiresAt (loaded: Loaded, isSeen: boolean): Date {
    const { records } = this.#shared
    const now = records.now()
    return new Date(Date.now() + records.expiryOf(loaded, isSeen ? now : loaded.stored.touchedAt) - now)
  }
}

/** The headers of a reply as the application wrote them so far. */
function replyHeaders (reply: FastifyReply) {
  const raw = headersOf(reply.raw)
  return {
    get: (name: string) => reply.hasHeader(name) ? String(reply.getHeader(name)) : raw.get(name),
    names: () => [...Object.keys(reply.getHeaders()), ...raw.names()]
  }
}
