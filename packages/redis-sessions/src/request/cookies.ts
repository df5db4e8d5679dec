import type { FastifyBaseLogger, FastifyRequest } from 'fastify'
import { PREFIXED } from '../ineffective.ts'
import type { ResolvedOptions } from '../options.ts'
import { guardCookie, type CookieReply } from './caching.ts'
import { checkAttributes, type CookieAttributes } from './session-cookie.ts'
import type { Signer, Unsigned } from './signer.ts'

/** Longer ones are not ours: id 54, dot, signature 43. Not even their signature is looked at. */
const MOST = 128
/** Cookies of one name that are looked at. */
const MOST_OF_A_NAME = 8

/** The application may have given @fastify/cookie attributes for its own cookies (`parseOptions`), such as a signature or a domain. */
const NOTHING_ELSE = { signed: false, domain: undefined, expires: undefined, maxAge: undefined } as unknown as { signed: false }

/** The token of a request, and what it is. */
interface Taken { readonly token: string, readonly unsigned: Unsigned }

/** How a session's token, `<id>.<signature>`, comes with a request and leaves with its reply. */
export class Cookies {
  readonly #name: string
  readonly #options: ResolvedOptions['cookie']
  readonly #attributes: { readonly http: CookieAttributes, readonly https: CookieAttributes }
  readonly #header: string | undefined
  readonly #hostPrefix: string
  readonly #former: readonly string[]
  readonly #signer: Signer
  readonly #log: FastifyBaseLogger
  readonly #warned = new Set<string>()

  constructor ({ cookieName, formerCookieNames, cookie, header }: ResolvedOptions, signer: Signer, log: FastifyBaseLogger) {
    this.#name = cookieName
    this.#former = formerCookieNames
    this.#options = cookie
    this.#header = header
    this.#signer = signer
    this.#log = log
    // RFC 6265bis, section 4.1.3.2: browsers take __Host- only with Secure, Path=/ and no Domain.
    const possible = cookie.path === '/' && cookie.domain === undefined && !cookieName.startsWith('__')
    this.#hostPrefix = possible ? '__Host-' : ''
    this.#attributes = { http: attributesOf(cookie, false), https: attributesOf(cookie, true) }
  }

  /** Whether sessions come by a cookie, which leaves with the headers of a reply. */
  get isUsed (): boolean {
    return this.#header === undefined
  }

  /** Whether a request has a session: what the browser asked for, before any `rewriteUrl`, is the path of the cookie or lies below it. */
  covers (request: Pick<FastifyRequest, 'originalUrl'>): boolean {
    const { path } = this.#options
    if (path === '/' || this.#header !== undefined) return true
    const asked = (request.originalUrl ?? '/').split('?', 1)[0]!
    return asked === path || asked.startsWith(path.endsWith('/') ? path : `${path}/`)
  }

  /** The token of a request. A plain cookie on a secure request is none: a subdomain or an attacker on http may have set it. */
  take (request: FastifyRequest): Taken | undefined {
    const token = this.#header === undefined ? this.#cookieOf(request) : bearerOf(request.headers[this.#header])
    return token === undefined || token.length > MOST ? undefined : { token, unsigned: this.#signer.unsign(token) }
  }

  /** Further tokens of a request that may be ours: of cookies that another path or domain left, or a name of before. */
  others (request: FastifyRequest, token: string): string[] {
    if (this.#header !== undefined) return []
    const found = this.#names(request).flatMap((name) => {
      const all = valuesOf(request, name)
      return all.length > 0 ? all : [unquoted(request.cookies[name] ?? '')]
    })
    return [...new Set(found)].filter((other) => other !== token && other.length <= MOST && this.#isOurs(other)).slice(0, MOST_OF_A_NAME)
  }

  /** The attributes that the options give. */
  attributes ({ protocol }: { protocol?: string }): CookieAttributes {
    return protocol === 'https' ? this.#attributes.https : this.#attributes.http
  }

  /**
   * Sends the session's cookie, unless it must be secure and the connection is not.
   *
   * @param onWithheld a renewal was taken back, because others may keep the reply; undefined where the cookie must leave
   */
  set (request: FastifyRequest, reply: CookieReply, token: string, cookie: CookieAttributes, onWithheld?: () => void): void {
    if (this.#header !== undefined) return
    const name = this.#nameFor(request)
    const isHost = name !== this.#name
    const secure = isHost || cookie.secure === true || (cookie.secure === 'auto' && request.protocol === 'https')
    if (secure && request.protocol !== 'https') {
      return this.#warnOnce('the session cookie must be secure and the request came by http, so no cookie was sent: behind a proxy that ends TLS, set trustProxy of Fastify and let the proxy send X-Forwarded-Proto; without https, set cookie.secure to "auto"')
    }
    if (!secure && saysHttps(request)) {
      this.#warnOnce('a proxy says that the visitor came by https, but Fastify does not trust it, so the session cookie is sent without Secure: set trustProxy of Fastify')
    }
    if (!secure && request.protocol !== 'https' && PREFIXED.test(name) && this.#options.secure === 'auto') {
      this.#warnOnce(`browsers refuse a cookie named ${name} without Secure, and the request came by http: serve by https (behind a proxy that ends TLS, with trustProxy of Fastify), or leave out the prefix, which is added on https where it can be`)
    }
    checkAttributes(cookie)
    const { path, domain, sameSite, httpOnly, expires } = cookie
    const left = expires == null ? undefined : Math.max(0, Math.ceil((expires.getTime() - Date.now()) / 1000))
    reply.setCookie(name, token, {
      ...NOTHING_ELSE,
      path: isHost ? '/' : path ?? '/',
      secure,
      httpOnly: httpOnly ?? true,
      sameSite: sameSite ?? 'lax',
      partitioned: cookie.partitioned === true && secure,
      ...(domain == null || isHost ? {} : { domain }),
      ...(expires == null ? {} : { expires, maxAge: left! })
    })
    guardCookie(reply, name, onWithheld)
    if (onWithheld === undefined) this.#clearOther(request, reply, name)
  }

  clear (request: FastifyRequest, reply: CookieReply): void {
    if (this.#header !== undefined) return
    const name = this.#nameFor(request)
    this.#clear(request, reply, name)
    this.#clearOther(request, reply, name)
    guardCookie(reply, name, undefined)
  }

  #clear (request: FastifyRequest, reply: CookieReply, name: string): void {
    const isHost = name.startsWith('__Host-')
    const { path, domain, sameSite, secure, partitioned } = { ...this.attributes(request), ...(isHost ? { path: '/', domain: undefined, secure: true } : {}) }
    reply.clearCookie(name, {
      ...NOTHING_ELSE, path: path!, sameSite: sameSite!, secure: secure as boolean, httpOnly: true, partitioned: partitioned === true, ...(domain == null ? {} : { domain })
    })
  }

  /** A browser may have several names while a site changes from one to another: those that were not written are dead. */
  #clearOther (request: FastifyRequest, reply: CookieReply, name: string): void {
    if (this.#options.hostPrefix === 'only' && this.#former.length === 0) return
    for (const other of this.#names(request)) {
      if (other !== name && request.cookies[other] !== undefined) this.#clear(request, reply, other)
    }
  }

  /** The names that are read, the first first. */
  #names (request: FastifyRequest): string[] {
    const isOnly = this.#options.hostPrefix === 'only' || !this.#isSecure(request)
    return [...(isOnly ? [this.#nameFor(request)] : [this.#hostPrefix + this.#name, this.#name]), ...this.#former]
  }

  #isOurs (token: string): boolean {
    return this.#signer.unsign(token).id !== null
  }

  /** Where several cookies have the name: one of another application on a parent domain, or of an older path, may come first (RFC 6265, section 5.4). */
  #cookieOf (request: FastifyRequest): string | undefined {
    // Where @fastify/cookie parses later than this.
    request.cookies ??= request.server.parseCookie(request.headers.cookie ?? '') as typeof request.cookies
    const { cookies } = request
    let name: string | undefined = this.#nameFor(request)
    if (cookies[name] === undefined) name = this.#names(request).find((one) => cookies[one] !== undefined)
    if (name === undefined) return undefined
    const all = valuesOf(request, name)
    return (all.length < 2 ? undefined : all.find((token) => token.length <= MOST && this.#isOurs(token))) ?? unquoted(cookies[name]!)
  }

  /** The name that is written. */
  #nameFor (request: FastifyRequest): string {
    return this.#isSecure(request) && this.#options.hostPrefix !== 'read' ? this.#hostPrefix + this.#name : this.#name
  }

  #isSecure ({ protocol }: FastifyRequest): boolean {
    return this.#options.secure === 'auto' ? protocol === 'https' : this.#options.secure
  }

  #warnOnce (text: string): void {
    if (this.#warned.has(text)) return
    this.#warned.add(text)
    this.#log.warn(text)
  }
}

function attributesOf ({ sameSite, hostPrefix: _, ...attributes }: ResolvedOptions['cookie'], isHttps: boolean): CookieAttributes {
  const secure = attributes.secure === 'auto' ? isHttps : attributes.secure
  // Browsers refuse SameSite=None without Secure.
  return Object.freeze({ ...attributes, secure, sameSite: sameSite === 'none' && !secure ? 'lax' : sameSite })
}

/** The values of the cookies of a name; none where it can be seen at once that there is but one. */
function valuesOf ({ headers: { cookie = '' }, server }: FastifyRequest, name: string): string[] {
  if (cookie.indexOf(`${name}=`) === cookie.lastIndexOf(`${name}=`)) return []
  const values = cookie.split(';').map((one) => server.parseCookie(one)[name])
  return values.filter((value) => value !== undefined).slice(0, MOST_OF_A_NAME).map(unquoted)
}

/** A value may stand in quotes (RFC 6265, section 4.1.1), in which some clients and proxies put it. */
function unquoted (value: string): string {
  return value.length > 1 && value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value
}

/** What a proxy says that Fastify does not trust. */
function saysHttps ({ protocol, headers }: FastifyRequest): boolean {
  if (protocol === 'https') return false
  return /^https\b/i.test(String(headers['x-forwarded-proto'] ?? '')) || /\bproto="?https\b/i.test(String(headers.forwarded ?? ''))
}

/** The token of a header, with or without the scheme `Bearer`. */
function bearerOf (header: string | string[] | undefined): string | undefined {
  return header === undefined ? undefined : /^(?:Bearer +)?([^\s,]+)$/i.exec(String(header))?.[1]
}
