import { FST_ERR_REDIS_SESSIONS_INVALID_COOKIE } from '../errors.ts'
import { CookiePath } from '../options.ts'
import { isRecord } from '../record/fields.ts'

/** Attributes that an application may set on a session's cookie, as @fastify/session takes them. */
export interface CookieAttributes {
  path?: string | null | undefined
  domain?: string | null | undefined
  sameSite?: boolean | 'lax' | 'strict' | 'none' | null | undefined
  secure?: boolean | 'auto' | null | undefined
  httpOnly?: boolean | undefined
  partitioned?: boolean | undefined
  /** Null for a cookie that goes with the browser. */
  expires?: Date | null | undefined
  /** Milliseconds, 0 or less for a cookie that the browser drops at once; it counts before `expires`. */
  maxAge?: number | undefined
}

const isBoolean = (value: unknown): boolean => typeof value === 'boolean'
const isText = (pattern: RegExp) => (value: unknown): boolean => typeof value === 'string' && pattern.test(value)

/** What each attribute may be, beside null and undefined. */
const ATTRIBUTES: Record<keyof CookieAttributes, readonly [wanted: string, isValid: (value: unknown) => boolean]> = {
  path: [CookiePath.wanted, isText(new RegExp(CookiePath.pattern))],
  domain: ['a host name', isText(/^[A-Za-z0-9.-]+$/)],
  sameSite: ['true, false, lax, strict or none', (value) => isBoolean(value) || isText(/^(?:lax|strict|none)$/i)(value)],
  secure: ['true, false or auto', (value) => isBoolean(value) || value === 'auto'],
  httpOnly: ['true or false', isBoolean],
  partitioned: ['true or false', isBoolean],
  expires: ['a valid Date or null', (value) => value instanceof Date && !Number.isNaN(value.getTime())],
  maxAge: ['a finite number of milliseconds', (value) => typeof value === 'number' && isTime(Date.now() + value)]
}

function isTime (ms: number): boolean {
  return !Number.isNaN(new Date(ms).getTime())
}

/** @throws FST_ERR_REDIS_SESSIONS_INVALID_COOKIE naming the attribute */
export function checkAttributes (attributes: CookieAttributes): void {
  if (!isRecord(attributes)) throw new FST_ERR_REDIS_SESSIONS_INVALID_COOKIE('options', 'an object of attributes')
  for (const [name, value] of Object.entries(attributes) as Array<[keyof CookieAttributes, unknown]>) {
    if (value === undefined || value === null || (name as string) === 'originalMaxAge') continue
    if (!Object.hasOwn(ATTRIBUTES, name)) throw new FST_ERR_REDIS_SESSIONS_INVALID_COOKIE(name, `one of ${Object.keys(ATTRIBUTES).join(', ')}`)
    const [wanted, isValid] = ATTRIBUTES[name]
    if (!isValid(value)) throw new FST_ERR_REDIS_SESSIONS_INVALID_COOKIE(name, wanted)
  }
}

/** `session.cookie`: what is set here holds for this response. */
export class SessionCookie {
  path = '/'
  domain: string | null = null
  sameSite: boolean | 'lax' | 'strict' | 'none' | null = null
  secure: boolean | 'auto' | null = null
  httpOnly = true
  partitioned = false
  originalMaxAge: number | null = null
  /** Not what was given, which may say less: what that made of the attributes. */
  readonly #given: Pick<SessionCookie, 'path' | 'domain' | 'sameSite' | 'secure' | 'httpOnly' | 'partitioned'>
  #expires: Date | null = null
  /** Says when the session expires; asked once, by who wants to know. */
  #expiry: (() => Date | null) | null = null
  #isExpirySet = false

  constructor ({ maxAge, expires, path, domain, sameSite, secure, httpOnly, partitioned }: CookieAttributes) {
    if (path !== undefined) this.path = path as string
    if (domain !== undefined) this.domain = domain
    if (sameSite !== undefined) this.sameSite = sameSite
    if (secure !== undefined) this.secure = secure
    if (httpOnly !== undefined) this.httpOnly = httpOnly
    if (partitioned !== undefined) this.partitioned = partitioned
    this.#given = { path: this.path, domain: this.domain, sameSite: this.sameSite, secure: this.secure, httpOnly: this.httpOnly, partitioned: this.partitioned }
    if (expires != null) this.expires = new Date(expires)
    if (maxAge !== undefined) this.maxAge = maxAge
  }

  /** Whether an attribute was set since, beside when it expires. */
  get isChanged (): boolean {
    const given = this.#given
    return this.path !== given.path || this.domain !== given.domain || this.sameSite !== given.sameSite ||
      this.secure !== given.secure || this.httpOnly !== given.httpOnly || this.partitioned !== given.partitioned
  }

  /** Whether when it expires was set by somebody else than `expireWith`. */
  get isExpirySet (): boolean {
    return this.#isExpirySet
  }

  get expires (): Date | null {
    if (this.#expiry !== null) {
      this.#expires = this.#expiry()
      this.#expiry = null
    }
    return this.#expires
  }

  /** Null for a cookie that goes with the browser. */
  set expires (expires: Date | null) {
    if (expires === this.expires) return
    this.#expires = expires
    this.#isExpirySet = true
  }

  get maxAge (): number | null {
    return this.expires instanceof Date ? this.expires.getTime() - Date.now() : null
  }

  /** Null for a cookie that goes with the browser. @throws FST_ERR_REDIS_SESSIONS_INVALID_COOKIE */
  set maxAge (ms: number | null) {
    checkAttributes({ maxAge: ms as number })
    this.expires = ms === null ? null : new Date(Date.now() + ms)
    this.originalMaxAge = ms
  }

  /** Lets it expire when the session does. */
  expireWith (expiry: () => Date | null): void {
    this.#expiry = expiry
    this.#isExpirySet = false
  }

  /** As another cookie of the same session. */
  expireAs (other: SessionCookie): void {
    this.#expires = other.expires
    this.#expiry = null
    this.#isExpirySet = other.#isExpirySet
  }

  toJSON (): object {
    const { path, domain, sameSite, secure, httpOnly, partitioned, expires, originalMaxAge } = this
    return { path, domain, sameSite, secure, httpOnly, partitioned, expires, originalMaxAge }
  }
}
