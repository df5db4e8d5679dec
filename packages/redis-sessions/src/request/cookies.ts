import type { FastifyReply, FastifyRequest } from 'fastify'
import type { ResolvedOptions } from '../options.ts'

/** Longer ones are not ours: id 54, dot, signature 43. Not even their signature is looked at. */
const MOST = 128

/** What `setCookie` needs to know of a session. */
export interface CookieState {
  readonly encryptedSessionId: string
  readonly cookie: object
}

/** The names and attributes of the session cookie. */
export class Cookies {
  readonly #name: string
  readonly #options: ResolvedOptions['cookie']
  readonly #hostPrefix: string

  constructor ({ cookieName, cookie }: ResolvedOptions) {
    this.#name = cookieName
    this.#options = cookie
    // RFC 6265bis, section 4.1.3.2: browsers take __Host- only with Secure, Path=/ and no Domain.
    const possible = cookie.path === '/' && cookie.domain === undefined && !cookieName.startsWith('__')
    this.#hostPrefix = possible ? '__Host-' : ''
  }

  /**
   * Puts the cookie where @fastify/session looks for it, and returns its value. A plain cookie on a secure request is
   * dropped: a subdomain or an attacker on http may have set it.
   */
  take (request: FastifyRequest): string | undefined {
    request.cookies ??= request.server.parseCookie(request.headers.cookie ?? '') as typeof request.cookies
    const { cookies } = request
    const value = cookies[this.#nameFor(request)]
    if (value === undefined || value.length > MOST) {
      if (cookies[this.#name] !== undefined) delete cookies[this.#name]
      return undefined
    }
    cookies[this.#name] = value
    return value
  }

  /** Sends the session's cookie, unless it must be secure and the connection is not. */
  set (request: FastifyRequest, reply: FastifyReply, session: CookieState, expires: Date | undefined): void {
    const secure = this.#isSecure(request)
    if (secure && request.protocol !== 'https') return
    reply.setCookie(this.#nameFor(request), session.encryptedSessionId, { ...attributesOf(session.cookie), secure, httpOnly: true, expires })
  }

  clear (request: FastifyRequest, reply: FastifyReply): void {
    const { path, domain, sameSite } = this.#options
    reply.clearCookie(this.#nameFor(request), { path, sameSite, secure: this.#isSecure(request), httpOnly: true, ...(domain === undefined ? {} : { domain }) })
  }

  #nameFor (request: FastifyRequest): string {
    return this.#isSecure(request) ? this.#hostPrefix + this.#name : this.#name
  }

  #isSecure ({ protocol }: FastifyRequest): boolean {
    return this.#options.secure === 'auto' ? protocol === 'https' : this.#options.secure
  }
}

/** The attributes that @fastify/session gives the cookie, as plain properties. */
function attributesOf (cookie: object): object {
  return 'toJSON' in cookie && typeof cookie.toJSON === 'function' ? cookie.toJSON() as object : cookie
}
