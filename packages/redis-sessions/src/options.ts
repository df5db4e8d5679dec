import { Type } from 'typebox'
import { Value } from 'typebox/value'
import type { SessionBackup } from './backup/backup.ts'
import { FST_ERR_REDIS_SESSIONS_INVALID_OPTION } from './errors.ts'

/** Attributes of the session cookie; `HttpOnly` is always set. */
export interface SessionCookieOptions {
  /** Paths that get the cookie. Requests elsewhere have no session. @default '/' */
  path?: string
  /** Domain that gets the cookie with its subdomains. @default none: only the host that set it */
  domain?: string
  /** @default 'lax' */
  sameSite?: 'lax' | 'strict' | 'none'
  /** `'auto'`: where the request came by https, also through a proxy that the application trusts (`trustProxy`). @default 'auto' */
  secure?: boolean | 'auto'
}

/** Options of the plugin. */
export interface FastifyRedisSessionsOptions {
  /** Signs the cookies: at least 32 characters. Of several the first signs and all verify, which rotates them without logging anybody out. */
  secret: string | string[]
  /** Name of the cookie. Where it is secure, has path `/` and no domain, `__Host-` is put before it, so that no subdomain can set it. @default 'sessionId' */
  cookieName?: string | undefined
  /** Attributes of the cookie. */
  cookie?: SessionCookieOptions
  /** A session ends when it was not seen for so long, in milliseconds, at least 100. @default SESSION_TTL (seconds) of the environment, or 86400000 (24 h) */
  idleTimeoutMs?: number | undefined
  /** A session ends this long after its login (or creation) however often it is seen, in milliseconds, at least 100. @default 2592000000 (30 days) */
  absoluteTimeoutMs?: number | undefined
  /** What happens while Redis is configured and away: `'error'` answers 503 where a request uses its session, `'memory'` keeps sessions in the process until Redis returns. @default 'error' */
  onUnavailable?: 'error' | 'memory'
  /** How often at most a session is noted as seen and its cookie renewed, in milliseconds; 0 at every request. The idle timeout is exact to this. Capped below half of `idleTimeoutMs`. @default a twentieth of `idleTimeoutMs`, at most 60000 */
  touchIntervalMs?: number | undefined
  /** Most bytes of a session's fields as JSON, at least 64. @default 16384 (16 KiB) */
  maxBytes?: number | undefined
  /** Encrypts what is stored with AES-256-GCM. Keys are 32 bytes, as Buffer, hex or base64; the first encrypts, all decrypt. `acceptPlain` reads sessions from before. @default off */
  encryption?: { keys: Array<string | Buffer>, acceptPlain?: boolean }
  /** Keeps a copy elsewhere, so that a Redis that lost its data loses nobody's session: see `mongoBackup`. @default none */
  backup?: SessionBackup
}

/** What the rest of the plugin works with. */
export interface ResolvedOptions {
  readonly secrets: readonly string[]
  readonly cookieName: string
  readonly cookie: { readonly path: string, readonly domain?: string, readonly sameSite: 'lax' | 'strict' | 'none', readonly secure: boolean | 'auto' }
  readonly idleTimeoutMs: number
  readonly absoluteTimeoutMs: number
  readonly onUnavailable: 'error' | 'memory'
  readonly touchIntervalMs: number
  readonly maxBytes: number
  readonly encryption?: { readonly keys: readonly Buffer[], readonly acceptPlain: boolean }
  readonly backup?: SessionBackup
}

const closed = { additionalProperties: false }
const Secret = Type.String({ minLength: 32 })
const Ms = (minimum: number) => Type.Integer({ minimum, maximum: 100 * 366 * 24 * 3600 * 1000 })

const Schema = Type.Object({
  secret: Type.Union([Secret, Type.Array(Secret, { minItems: 1 })]),
  cookieName: Type.Optional(Type.String({ pattern: "^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$" })),
  cookie: Type.Optional(Type.Object({
    path: Type.Optional(Type.String({ pattern: '^/[^;,\\s]*$' })),
    domain: Type.Optional(Type.String({ pattern: '^[A-Za-z0-9.-]+$' })),
    sameSite: Type.Optional(Type.Enum(['lax', 'strict', 'none'])),
    secure: Type.Optional(Type.Union([Type.Boolean(), Type.Literal('auto')]))
  }, closed)),
  idleTimeoutMs: Type.Optional(Ms(100)),
  absoluteTimeoutMs: Type.Optional(Ms(100)),
  onUnavailable: Type.Optional(Type.Enum(['error', 'memory'])),
  touchIntervalMs: Type.Optional(Ms(0)),
  maxBytes: Type.Optional(Type.Integer({ minimum: 64, maximum: 64 * 1024 * 1024 }))
}, closed)

const WANTED: Record<string, string> = {
  secret: 'must be a string of at least 32 characters, or an array of such',
  cookieName: 'may hold letters, digits and !#$%&\'*+.^_`|~- only, at most 64',
  'cookie.secure': 'must be true, false or "auto"',
  'cookie.path': 'must begin with / and hold no space, comma or semicolon',
  'cookie.domain': 'must be a host name',
  'cookie.sameSite': 'must be "lax", "strict" or "none"',
  onUnavailable: 'must be "error" or "memory"'
}

const DAY_MS = 24 * 3600 * 1000
const invalid = (option: string, problem: string) => new FST_ERR_REDIS_SESSIONS_INVALID_OPTION(option, problem)

/**
 * Checks the options once and returns a frozen copy with every default.
 *
 * @throws FST_ERR_REDIS_SESSIONS_INVALID_OPTION naming the option, never the secret
 */
export function resolveOptions (options: FastifyRedisSessionsOptions): ResolvedOptions {
  const given = Object.fromEntries(Object.entries(options ?? {}).filter(([, value]) => value !== undefined)) as Partial<FastifyRedisSessionsOptions>
  const { encryption, backup, ...plain } = given
  checkSchema(plain)
  if (backup !== undefined && typeof backup?.put !== 'function') throw invalid('backup', 'must be a session backup, such as mongoBackup(collection)')
  const idleTimeoutMs = given.idleTimeoutMs ?? environmentTtlMs() ?? DAY_MS
  const wanted = given.touchIntervalMs ?? Math.min(60_000, Math.floor(idleTimeoutMs / 20))
  return Object.freeze({
    secrets: Object.freeze([given.secret!].flat()),
    cookieName: given.cookieName ?? 'sessionId',
    cookie: Object.freeze({ path: '/', sameSite: 'lax', secure: 'auto', ...given.cookie }),
    idleTimeoutMs,
    absoluteTimeoutMs: given.absoluteTimeoutMs ?? 30 * DAY_MS,
    onUnavailable: given.onUnavailable ?? 'error',
    touchIntervalMs: Math.min(wanted, Math.ceil(idleTimeoutMs / 2) - 1),
    maxBytes: given.maxBytes ?? 16 * 1024,
    ...(encryption === undefined ? {} : { encryption: resolveEncryption(encryption) }),
    ...(backup === undefined ? {} : { backup })
  })
}

function checkSchema (plain: object): void {
  if (Value.Check(Schema, plain)) return
  const [first] = Value.Errors(Schema, plain)
  // A union reports its branches; the first segment of the path, or the missing property, names the option.
  const path = first?.instancePath.slice(1).replaceAll('/', '.') ?? ''
  if (!('secret' in plain)) throw invalid('secret', `is missing: it ${WANTED.secret}`)
  const option = path.startsWith('secret') ? 'secret' : path || 'options'
  if (first?.keyword === 'boolean' || first?.keyword === 'additionalProperties') throw invalid(option, 'is unknown')
  throw invalid(option, WANTED[option] ?? first?.message ?? 'is invalid')
}

function environmentTtlMs (): number | undefined {
  const text = process.env.SESSION_TTL
  if (text === undefined || text === '') return undefined
  const seconds = Number(text)
  if (!Number.isSafeInteger(seconds) || seconds < 1 || seconds > 100 * 366 * 24 * 3600) throw invalid('idleTimeoutMs', 'has SESSION_TTL as its default, which must be a whole number of seconds')
  return seconds * 1000
}

function resolveEncryption ({ keys, acceptPlain = false, ...unknown }: NonNullable<FastifyRedisSessionsOptions['encryption']>) {
  const [stranger] = Object.keys(unknown)
  if (stranger !== undefined) throw invalid(`encryption.${stranger}`, 'is unknown')
  if (typeof acceptPlain !== 'boolean') throw invalid('encryption.acceptPlain', 'must be a boolean')
  if (!Array.isArray(keys) || keys.length === 0) throw invalid('encryption.keys', 'must be an array of at least one key')
  return Object.freeze({ keys: Object.freeze(keys.map(toKey)), acceptPlain })
}

function toKey (key: unknown): Buffer {
  const bytes = Buffer.isBuffer(key)
    ? key
    : Buffer.from(String(key), /^[0-9a-f]{64}$/i.test(String(key)) ? 'hex' : 'base64')
  if (bytes.length !== 32) throw invalid('encryption.keys', 'must hold keys of 32 bytes: Buffers, hex or base64')
  return Buffer.from(bytes)
}
