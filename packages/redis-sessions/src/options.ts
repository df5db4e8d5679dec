import { checker, DAY_MS, opaque } from '@jpulse/plugin-kit'
import { Type } from 'typebox'
import type { SessionBackup } from './backup/backup.ts'
import { FST_ERR_REDIS_SESSIONS_INVALID_OPTION } from './errors.ts'
import { LONGEST_MS } from './stores/store.ts'
import { isRecord } from './record/fields.ts'

/** Attributes of the session cookie; `HttpOnly` is always set. */
export interface SessionCookieOptions {
  /** Paths that get the cookie, as the browser asks for them, before any `rewriteUrl`. Requests elsewhere have no session. @default '/' */
  path?: string | undefined
  /** Domain that gets the cookie with its subdomains. @default none: only the host that set it */
  domain?: string | undefined
  /** @default 'lax' */
  sameSite?: 'lax' | 'strict' | 'none' | undefined
  /** `'auto'`: where the request came by https, also through a proxy that the application trusts (`trustProxy`). @default 'auto' */
  secure?: boolean | 'auto' | undefined
  /** A cookie of its own below each site that embeds this one, where it is secure (CHIPS). @default false */
  partitioned?: boolean | undefined
  /** For the time in which a site changes to https: `'read'` reads the name with `__Host-` and the plain one and writes the plain one, `'write'` reads both and writes `__Host-`. @default 'only': where the cookie may have the prefix, it must */
  hostPrefix?: 'only' | 'write' | 'read' | undefined
}

/** Encryption of what is stored. */
export interface SessionEncryption {
  /** 32 bytes each, as Buffer, hex or base64; the first encrypts, all decrypt. */
  keys: Array<string | Buffer>
  /** Reads sessions that are not encrypted. @default false, true with `writePlain` */
  acceptPlain?: boolean | undefined
  /** Reads encrypted sessions and writes plain ones, as long as there are instances without the keys. @default false */
  writePlain?: boolean | undefined
}

/** Options of the plugin. */
export interface FastifyRedisSessionsOptions {
  /**
   * Signs the cookies: at least 32 characters. Of several the first signs and all verify, which rotates them without logging anybody out.
   * `undefined`, as of a variable of the environment that is not set, is FST_ERR_REDIS_SESSIONS_INVALID_OPTION at register.
   */
  secret: string | string[] | undefined
  /** Realm of this registration, where an application has several: part of signatures, keys and the index, so that a session of one is none of another. @default none, for one registration of an application */
  name?: string | undefined
  /** Name of the cookie. Where it is secure, has path `/` and no domain, `__Host-` is put before it, so that no subdomain can set it. @default 'sessionId' */
  cookieName?: string | undefined
  /** Further names under which the cookie is read, as it stands in the request, while the site changes from one to another: see "Deploys that lose nobody" in the README. @default none */
  formerCookieNames?: string[] | undefined
  /** Attributes of the cookie. */
  cookie?: SessionCookieOptions | undefined
  /** Header that carries the session in place of a cookie, for clients that are no browsers: `'authorization'` (scheme Bearer) or one of your own. @default none: a cookie */
  header?: string | undefined
  /** A session ends when it was not seen for so long, in milliseconds, at least 100. @default SESSION_TTL (seconds) of the environment, or 86400000 (24 h) */
  idleTimeoutMs?: number | undefined
  /** A session ends this long after its login (or creation) however often it is seen, in milliseconds, at least 100. @default 2592000000 (30 days) */
  absoluteTimeoutMs?: number | undefined
  /** Most sessions of one user; a login beyond them ends the one that was seen longest ago. 0 for no limit. @default 0 */
  maxSessionsPerUser?: number | undefined
  /** What happens while Redis is configured and away: `'error'` answers 503 where a request uses its session, `'memory'` keeps sessions in the process until Redis returns. @default 'error' */
  onUnavailable?: 'error' | 'memory' | undefined
  /** How often at most a session is noted as seen and its cookie renewed, in milliseconds; 0 at every request. The idle timeout is exact to this. Capped below half of `idleTimeoutMs`. @default a twentieth of `idleTimeoutMs`, at most 60000 */
  touchIntervalMs?: number | undefined
  /** Most bytes of a session's fields as JSON, at least 64. @default 16384 (16 KiB) */
  maxBytes?: number | undefined
  /** Encrypts what is stored with AES-256-GCM. @default off */
  encryption?: SessionEncryption | undefined
  /** Keeps a copy elsewhere, so that a Redis that lost its data loses nobody's session: see `mongoBackup`. @default none */
  backup?: SessionBackup | undefined
  /**
   * Keeps copies of sessions in the process and serves them without asking Redis, as long as a lease of @jpulse/config-cache,
   * registered before, proves them current: see docs/local-reads.md. `'prepare'` serves none and tells the instances that do of
   * what it changes: all instances of a site run with it before the first that has `true`. @default false
   */
  localReads?: boolean | 'prepare' | undefined
}

/** What the rest of the plugin works with. */
export interface ResolvedOptions {
  readonly secrets: readonly string[]
  /** '' for none. */
  readonly name: string
  readonly cookieName: string
  readonly formerCookieNames: readonly string[]
  readonly cookie: { readonly path: string, readonly domain?: string, readonly sameSite: 'lax' | 'strict' | 'none', readonly secure: boolean | 'auto', readonly partitioned: boolean, readonly hostPrefix: 'only' | 'write' | 'read' }
  readonly header?: string
  readonly idleTimeoutMs: number
  readonly absoluteTimeoutMs: number
  readonly maxSessionsPerUser: number
  readonly onUnavailable: 'error' | 'memory'
  readonly touchIntervalMs: number
  readonly maxBytes: number
  readonly encryption?: { readonly keys: readonly Buffer[], readonly acceptPlain: boolean, readonly writePlain: boolean }
  readonly backup?: SessionBackup
  readonly localReads: boolean | 'prepare'
}

/** Lifetimes of one login. */
export interface LoginOptions {
  /** False for a cookie that the browser drops when it is closed, and that stays so. @default true */
  remember?: boolean | undefined
  /** In place of the option, in milliseconds, at least 100. @default the option */
  idleTimeoutMs?: number | undefined
  /** In place of the option, in milliseconds, at least 100 and at most 400 days. @default the option */
  absoluteTimeoutMs?: number | undefined
}

const closed = { additionalProperties: false }
const secretWords = 'a string of at least 32 characters, or an array of such'
const Secret = Type.String({ minLength: 32 })
const Ms = (minimum: number, maximum = 100 * 366 * DAY_MS) => Type.Integer({ minimum, maximum })

/** Browsers compare it with what they ask for, which is percent-encoded. */
export const CookiePath = { pattern: '^/[!-+\\--:<-~]*$', wanted: 'a path that begins with /, percent-encoded, without space, comma or semicolon' }
const CookieName = Type.String({ pattern: "^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$", wanted: 'a name of at most 64 letters, digits and !#$%&\'*+.^_`|~-' })

const Schema = Type.Object({
  secret: Type.Union([Secret, Type.Array(Secret, { minItems: 1 })], { wanted: secretWords }),
  name: Type.Optional(Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$', wanted: 'a name of 1 to 32 letters, digits, - and _' })),
  cookieName: Type.Optional(CookieName),
  formerCookieNames: Type.Optional(Type.Array(CookieName, { maxItems: 8, wanted: 'an array of at most 8 names of cookies' })),
  cookie: Type.Optional(Type.Object({
    path: Type.Optional(Type.String(CookiePath)),
    domain: Type.Optional(Type.String({ pattern: '^[A-Za-z0-9.-]+$', wanted: 'a host name' })),
    sameSite: Type.Optional(Type.Enum(['lax', 'strict', 'none'])),
    secure: Type.Optional(Type.Union([Type.Boolean(), Type.Literal('auto')])),
    partitioned: Type.Optional(Type.Boolean()),
    hostPrefix: Type.Optional(Type.Enum(['only', 'write', 'read']))
  }, closed)),
  header: Type.Optional(Type.String({ pattern: '^[A-Za-z0-9-]{1,64}$', wanted: 'the name of a header' })),
  idleTimeoutMs: Type.Optional(Ms(100)),
  absoluteTimeoutMs: Type.Optional(Ms(100)),
  maxSessionsPerUser: Type.Optional(Type.Integer({ minimum: 0, maximum: 10_000 })),
  onUnavailable: Type.Optional(Type.Enum(['error', 'memory'])),
  touchIntervalMs: Type.Optional(Ms(0)),
  maxBytes: Type.Optional(Type.Integer({ minimum: 64, maximum: 64 * 1024 * 1024 })),
  encryption: Type.Optional(Type.Object({
    keys: Type.Array(opaque<string | Buffer>('a key of 32 bytes: a Buffer, hex or base64', (key) => toKey(key).length === 32), { minItems: 1 }),
    acceptPlain: Type.Optional(Type.Boolean()),
    writePlain: Type.Optional(Type.Boolean())
  }, closed)),
  backup: Type.Optional(opaque<SessionBackup>('a session backup, such as mongoBackup(collection)', (backup) => typeof (backup as SessionBackup | undefined)?.put === 'function')),
  localReads: Type.Optional(Type.Union([Type.Boolean(), Type.Literal('prepare')], { wanted: "true, false or 'prepare'" }))
}, closed)

const Login = Type.Object({
  remember: Type.Optional(Type.Boolean()),
  idleTimeoutMs: Type.Optional(Ms(100)),
  absoluteTimeoutMs: Type.Optional(Ms(100, LONGEST_MS))
}, closed)

const invalid = (option: string, problem: string) => new FST_ERR_REDIS_SESSIONS_INVALID_OPTION(option, problem)
const check = checker(Schema, invalid)
const checkLoginOptions = checker(Login, invalid)

/**
 * Checks the options once and returns a frozen copy with every default.
 *
 * @throws FST_ERR_REDIS_SESSIONS_INVALID_OPTION naming the option, never the secret
 */
export function resolveOptions (options: FastifyRedisSessionsOptions): ResolvedOptions {
  const { secret, cookie, encryption, backup, header, ...given } = check(options)
  const idleTimeoutMs = given.idleTimeoutMs ?? environmentTtlMs() ?? DAY_MS
  const wanted = given.touchIntervalMs ?? Math.min(60_000, Math.floor(idleTimeoutMs / 20))
  return Object.freeze({
    secrets: Object.freeze([secret].flat()),
    name: given.name ?? '',
    cookieName: given.cookieName ?? 'sessionId',
    formerCookieNames: Object.freeze([...given.formerCookieNames ?? []]),
    cookie: Object.freeze({ path: '/', sameSite: 'lax', secure: 'auto', partitioned: false, hostPrefix: 'only', ...cookie }),
    idleTimeoutMs,
    absoluteTimeoutMs: given.absoluteTimeoutMs ?? 30 * DAY_MS,
    maxSessionsPerUser: given.maxSessionsPerUser ?? 0,
    onUnavailable: given.onUnavailable ?? 'error',
    touchIntervalMs: Math.min(wanted, Math.ceil(idleTimeoutMs / 2) - 1),
    maxBytes: given.maxBytes ?? 16 * 1024,
    localReads: given.localReads ?? false,
    ...(header === undefined ? {} : { header: header.toLowerCase() }),
    ...(encryption === undefined ? {} : { encryption: resolveEncryption(encryption as SessionEncryption) }),
    ...(backup === undefined ? {} : { backup })
  })
}

/** @throws FST_ERR_REDIS_SESSIONS_INVALID_OPTION */
export function resolveLogin (options: LoginOptions): LoginOptions | undefined {
  if (!isRecord(options)) throw invalid('login', 'must be an object')
  const own = checkLoginOptions(options, 'login')
  return Object.keys(own).length === 0 ? undefined : own
}

function environmentTtlMs (): number | undefined {
  const text = process.env.SESSION_TTL
  if (text === undefined || text === '') return undefined
  const seconds = Number(text)
  if (!Number.isSafeInteger(seconds) || seconds < 1 || seconds > 100 * 366 * 24 * 3600) throw invalid('idleTimeoutMs', 'has SESSION_TTL as its default, which must be a whole number of seconds')
  return seconds * 1000
}

function resolveEncryption ({ keys, acceptPlain, writePlain = false }: SessionEncryption) {
  if (writePlain && acceptPlain === false) throw invalid('encryption.acceptPlain', 'cannot be false beside writePlain: what is written could not be read')
  return Object.freeze({ keys: Object.freeze(keys.map(toKey)), acceptPlain: acceptPlain ?? writePlain, writePlain })
}

function toKey (key: unknown): Buffer {
  if (Buffer.isBuffer(key)) return Buffer.from(key)
  return Buffer.from(String(key), /^[0-9a-f]{64}$/i.test(String(key)) ? 'hex' : 'base64')
}
