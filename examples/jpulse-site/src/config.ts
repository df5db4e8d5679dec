import { BlockList, isIP } from 'node:net'
import { ConfigError, type Env, type Identity, identify, integer, logFile, matching, mongoUri, oneOf, redisOptions, type RedisSettings, text, withFiles, wrong } from 'server-kit'

export interface SiteConfig {
  /** `NODE_ENV`. @default 'development' */
  environment: 'development' | 'test' | 'production'
  /** `PORT`; 0 takes a free one. @default 3000 */
  port: number
  /** `HOST`: the address to listen on. @default '127.0.0.1' */
  host: string
  /** `BASE_PATH`: where the site is on its host, for a proxy that hands paths on as they are. @default '' */
  basePath: string
  /** `SITE_ID`: keeps this site's Redis keys and database apart from another's. @default 'jpulse' */
  siteId: string
  /** `LOG_LEVEL`. @default 'info' */
  logLevel: typeof LOG_LEVELS[number]
  /** `LOG_FILE`: where the log goes instead of the standard output; opened anew at SIGUSR2. */
  logFile: string | undefined
  /** `TRUST_PROXY`: true, false, or the proxies' addresses and networks, comma-separated. @default false */
  trustProxy: boolean | readonly string[]
  /** `REDIS_URL`, or `REDIS_MODE` and its companions; without them everything lives in the process. */
  redis: RedisSettings
  /** `MONGODB_URI`; without it documents live in the process. */
  mongoUri: string | undefined
  /** `SESSION_SECRET`, of several (comma-separated) the first signs and all verify. Required in production, 32 characters or more. */
  secrets: string[]
  /** `SESSION_TTL` in seconds. @default 86400 */
  sessionTtlMs: number
  /** `CACHE_ENABLED`. @default true */
  cacheEnabled: boolean
  /** `CACHE_TTL` in seconds. @default 300 */
  cacheTtlMs: number
  /**
   * `PASSWORD_COST`: log2 of scrypt's N, with r = 8 and p = 3. OWASP's Password Storage Cheat Sheet names 15 (32 MiB a password)
   * among its equal settings. @default 15
   */
  passwordCost: number
  /** `SEED_PEOPLE`: how many people the listing gets where it is empty; 0 leaves it so. @default 10000 */
  seedPeople: number
  /** `ADMIN_USERNAME`, `ADMIN_EMAIL`, `ADMIN_PASSWORD`: an account that the boot makes where it is missing. */
  admin: { username: string, email: string, password: string } | undefined
  /** `METRICS_TOKEN`: with it, as a Bearer token, Prometheus may scrape `/metrics`; without it administrators alone may. */
  metricsToken: string | undefined
  identity: Identity
}

const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const
const SECRET_MIN = 32

/**
 * The site's configuration from environment variables and the files that they name.
 * @throws {ConfigError} naming the variable that makes no sense
 */
export function loadConfig (given: Env = process.env): Readonly<SiteConfig> {
  const env = withFiles(given)
  const environment = oneOf(env, 'NODE_ENV', ['development', 'test', 'production'], 'development')
  return Object.freeze({
    environment,
    port: integer(env, 'PORT', { min: 0, max: 65_535, fallback: 3000 }),
    host: host(env),
    basePath: matching(env, 'BASE_PATH', /^(?:\/[a-z0-9][\w.-]*)+$/i, 'a path such as /shop, without a slash at its end') ?? '',
    siteId: matching(env, 'SITE_ID', /^[a-z0-9][a-z0-9_-]{0,31}$/, 'up to 32 lower-case letters, digits, dashes and underscores') ?? 'jpulse',
    logLevel: oneOf(env, 'LOG_LEVEL', LOG_LEVELS, 'info'),
    logFile: logFile(env),
    trustProxy: trustProxy(env),
    redis: redisOptions(env),
    mongoUri: mongoUri(env),
    secrets: secrets(env, environment),
    sessionTtlMs: integer(env, 'SESSION_TTL', { min: 60, max: 365 * 86_400, fallback: 86_400 }) * 1000,
    cacheEnabled: oneOf(env, 'CACHE_ENABLED', ['true', 'false'], 'true') === 'true',
    cacheTtlMs: integer(env, 'CACHE_TTL', { min: 1, max: 86_400, fallback: 300 }) * 1000,
    passwordCost: integer(env, 'PASSWORD_COST', { min: 10, max: 20, fallback: 15 }),
    seedPeople: integer(env, 'SEED_PEOPLE', { min: 0, max: 1_000_000, fallback: 10_000 }),
    admin: admin(env),
    metricsToken: metricsToken(env),
    identity: identify(env)
  })
}

function secrets (env: Env, environment: SiteConfig['environment']): string[] {
  const given = text(env, 'SESSION_SECRET')?.split(',').map((secret) => secret.trim())
  // Nothing but a development machine may run on a secret that everybody knows.
  if (given === undefined && environment !== 'production') return ['the development secret of jpulse-site, known to everybody']
  if (given === undefined || given.some((secret) => secret.length < SECRET_MIN)) {
    throw new ConfigError(`SESSION_SECRET must be ${SECRET_MIN} characters or more (in production it has to be set)`)
  }
  return given
}

function admin (env: Env): SiteConfig['admin'] {
  const username = matching(env, 'ADMIN_USERNAME', /^[a-z0-9][a-z0-9._-]{1,31}$/, '2 to 32 lower-case letters, digits, dots, dashes and underscores')
  const email = matching(env, 'ADMIN_EMAIL', /^[^\s@]{1,64}@[^\s@]{1,190}$/, 'an e-mail address')
  const password = text(env, 'ADMIN_PASSWORD')
  if (username === undefined && email === undefined && password === undefined) return undefined
  if (username === undefined || email === undefined || password === undefined) throw new ConfigError('ADMIN_USERNAME, ADMIN_EMAIL and ADMIN_PASSWORD belong together')
  if (password.length < 12) throw new ConfigError('ADMIN_PASSWORD must be 12 characters or more')
  return { username, email, password }
}

function metricsToken (env: Env): string | undefined {
  const token = text(env, 'METRICS_TOKEN')
  // What a header can hold, and no more of it than fits.
  if (token !== undefined && !/^[\x21-\x7e]{16,500}$/.test(token)) throw new ConfigError('METRICS_TOKEN must be 16 to 500 letters, digits and signs without blanks')
  return token
}

function host (env: Env): string {
  const value = matching(env, 'HOST', /^[\w.:%-]{1,255}$/, 'an address or a host name') ?? '127.0.0.1'
  // Fastify answers `localhost` with one server per address family, and only the first would be drained gracefully.
  return value === 'localhost' ? '127.0.0.1' : value
}

function trustProxy (env: Env): SiteConfig['trustProxy'] {
  const value = text(env, 'TRUST_PROXY')
  if (value === undefined || value === 'false') return false
  if (value === 'true') return true
  const networks = value.split(',').map((part) => part.trim())
  // A number of hops is no answer: Fastify refuses it, because any client could then name its own address.
  if (!networks.every(isNetwork)) throw wrong('TRUST_PROXY', 'true, false, or a list of addresses and networks (10.0.0.0/8, loopback)', value)
  return Object.freeze(networks)
}

function isNetwork (part: string): boolean {
  if (['loopback', 'linklocal', 'uniquelocal'].includes(part)) return true
  const [address = '', bits, ...rest] = part.split('/')
  const family = isIP(address)
  if (family === 0 || rest.length > 0) return false
  if (bits === undefined) return true
  // Fastify refuses /0 at its start: that is `true`.
  if (!/^[1-9]\d{0,2}$/.test(bits)) return false
  try {
    new BlockList().addSubnet(address, Number(bits), family === 4 ? 'ipv4' : 'ipv6')
    return true
  } catch {
    return false
  }
}
