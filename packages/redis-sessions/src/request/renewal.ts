import type { FastifyReply, FastifyRequest } from 'fastify'
import { eventOf } from '../events.ts'
import type { Loaded } from '../vault/vault.ts'
import { headersOf, mayBeShared } from './caching.ts'
import type { Held } from './held.ts'
import type { CookieAttributes, SessionCookie } from './session-cookie.ts'
import type { Shared } from './shared.ts'

/** How a request comes to its session. */
export interface SessionStart {
  /** What came in place of a cookie; undefined where none did. */
  readonly token?: string | undefined
  /** Further tokens that came, tried where that one is none. */
  readonly others?: () => readonly string[]
  /** The reply on the wire. */
  readonly response?: { readonly headersSent: boolean }
  /** Attributes of the cookie beside those of the options. */
  readonly cookie?: CookieAttributes
  /** Whether the request counts as activity. @default true */
  readonly isActivity?: boolean
}

/** A session object, as far as it is looked at here. */
interface Shown { readonly cookie: SessionCookie }

/**
 * Notes a session as seen, and tells the browser. Its cookie expires when the session does, so that the one is renewed with
 * the other; where it cannot be, that is owed.
 */
export class Renewal {
  readonly #request: FastifyRequest
  readonly #shared: Pick<Shared, 'vault' | 'cookies' | 'events' | 'touchIntervalMs' | 'owed' | 'log'>
  readonly #token: string | undefined
  readonly #cookie: CookieAttributes
  readonly #isActivity: boolean
  /** The cookie of the session object, and when it expires, unless the application changed it. */
  #shown: SessionCookie | null = null
  #expires: Date | null = null
  /** It was noted as seen by this request, and the browser does not know. */
  #owesCookie = false

  constructor (request: FastifyRequest, shared: Shared, { token, cookie = {}, isActivity = true }: SessionStart) {
    this.#request = request
    this.#shared = shared
    this.#token = token
    this.#cookie = cookie
    this.#isActivity = isActivity
  }

  /** What the cookie of a new session object says. */
  attributes (): CookieAttributes {
    return { ...this.#shared.cookies.attributes(this.#request), ...this.#cookie }
  }

  /** Lets the cookie of a new session object say when the session expires, stored or not. */
  begin (session: Shown, loaded: Loaded | null): void {
    if (loaded !== null) return this.show(session, loaded)
    if (this.#cookie.maxAge === undefined && this.#cookie.expires === undefined) session.cookie.maxAge = this.#shared.vault.lifetimesOf().idleTimeoutMs
    this.#shown = session.cookie
    this.#expires = session.cookie.expires
  }

  /** Lets the cookie say when the session really expires. */
  show ({ cookie }: Shown, loaded: Loaded): void {
    cookie.expires = loaded.meta.own?.remember === false ? null : this.#expiresAt(loaded, this.isDue(loaded))
    if (this.#cookie.maxAge !== undefined) cookie.maxAge = this.#cookie.maxAge
    else if (this.#cookie.expires !== undefined) cookie.expires = this.#cookie.expires
    this.#shown = cookie
    this.#expires = cookie.expires
  }

  isDue ({ stored }: Loaded): boolean {
    const { vault, touchIntervalMs } = this.#shared
    // 0 is at every request, however exact the clock is known.
    return this.#isActivity && (touchIntervalMs === 0 || vault.now() - stored.touchedAt >= touchIntervalMs)
  }

  /** Whether the browser knows all of a stored session that is neither new nor changed, and of its cookie. */
  isTold (held: Held, isDue: boolean, { cookie }: Shown): boolean {
    return held.token === this.#token && !isDue && !this.#owesCookie && cookie === this.#shown && cookie.expires === this.#expires && !cookie.isChanged
  }

  /**
   * Notes a session as seen, now or so long ago. A page that was computed needs no more of the store: an outage now only leaves
   * the idle timeout as it was.
   *
   * @returns whether the store was told
   */
  async seen (held: Held, agoMs = 0): Promise<boolean> {
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

  /**
   * Sends the cookie where the session is new or changed, or is noted as seen now.
   *
   * @param given which session object is the request's when the cookie is written
   */
  async tell (reply: FastifyReply, held: Held, loaded: Loaded, given: { readonly session: Shown }): Promise<void> {
    const isRenewal = !held.isNew
    if (isRenewal) {
      const isDue = this.isDue(loaded)
      if (this.isTold(held, isDue, given.session)) return
      if (mayBeShared(replyHeaders(reply))) return this.#owe(held)
      if ((isDue || !this.#owesCookie) && !await this.seen(held)) return
    }
    const { cookie } = given.session
    const isAsShown = cookie.expires === this.#expires && loaded.meta.own?.remember !== false
    const expires = isAsShown ? this.#expiresAt(held.loaded ?? loaded, true) : cookie.expires
    const onWithheld = isRenewal ? () => { this.#owe(held) } : undefined
    this.#shared.cookies.set(this.#request, reply, held.token, { ...(cookie.toJSON() as CookieAttributes), expires }, onWithheld)
  }

  /** The session was seen, but its cookie could not be renewed: dated back, so that the next reply that may carry it does. */
  async #owe (held: Held): Promise<void> {
    const { owed, touchIntervalMs } = this.#shared
    if (owed.has(held.ref.hash)) return
    owed.add(held.ref.hash)
    await this.seen(held, touchIntervalMs)
  }

  /** In this process' clock, as headers have it. */
  #expiresAt (loaded: Loaded, isSeen: boolean): Date {
    const { vault } = this.#shared
    const now = vault.now()
    return new Date(Date.now() + vault.expiryOf(loaded, isSeen ? now : loaded.stored.touchedAt) - now)
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
