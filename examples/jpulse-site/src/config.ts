import { BlockList, isIP } from 'node:net'
import { type Env, type Identity, identify, integer, matching, oneOf, secretUrl, text, wrong } from 'server-kit'

export interface SiteConfig {
  /** `NODE_ENV`. @default 'development' */
  environment: 'development' | 'test' | 'production'
  /** `PORT`; 0 takes a free one. @default 3000 */
  port: number
  /** `HOST`: the address to listen on. @default '127.0.0.1' */
  host: string
  /** `SITE_ID`: keeps this site's Redis keys and database apart from another's. @default 'jpulse' */
  siteId: string
  /** `LOG_LEVEL`. @default 'info' */
  logLevel: typeof LOG_LEVELS[number]
  /** `TRUST_PROXY`: true, false, or the proxies' addresses and networks, comma-separated. @default false */
  trustProxy: boolean | readonly string[]
  /** `REDIS_URL`; without it the site counts in its own process. */
  redisUrl: string | undefined
  /** `MONGODB_URI`; without it documents live in the process. */
  mongoUri: string | undefined
  identity: Identity
}

const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const

/**
 * The site's configuration from environment variables.
 * @throws {ConfigError} naming the variable that makes no sense
 */
export function loadConfig (env: Env = process.env): Readonly<SiteConfig> {
  return Object.freeze({
    environment: oneOf(env, 'NODE_ENV', ['development', 'test', 'production'], 'development'),
    port: integer(env, 'PORT', { min: 0, max: 65_535, fallback: 3000 }),
    host: host(env),
    siteId: matching(env, 'SITE_ID', /^[a-z0-9][a-z0-9_-]{0,31}$/, 'up to 32 lower-case letters, digits, dashes and underscores') ?? 'jpulse',
    logLevel: oneOf(env, 'LOG_LEVEL', LOG_LEVELS, 'info'),
    trustProxy: trustProxy(env),
    redisUrl: secretUrl(env, 'REDIS_URL', ['redis', 'rediss'], 'redis://127.0.0.1:6379'),
    mongoUri: secretUrl(env, 'MONGODB_URI', ['mongodb', 'mongodb+srv'], 'mongodb://127.0.0.1:27017'),
    identity: identify(env)
  })
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
  if (!/^\d{1,3}$/.test(bits)) return false
  try {
    new BlockList().addSubnet(address, Number(bits), family === 4 ? 'ipv4' : 'ipv6')
    return true
  } catch {
    return false
  }
}
