import { type Env, type Identity, identify, integer, logFile, matching, mongoUri, oneOf, redisOptions, type RedisSettings, text, withFiles, ConfigError } from 'server-kit'

export interface StoreConfig {
  /** `NODE_ENV`. @default 'development' */
  environment: 'development' | 'test' | 'production'
  /** `PORT`; 0 takes a free one. @default 3001 */
  port: number
  /** `HOST`: the address to listen on. @default '127.0.0.1' */
  host: string
  /** `SITE_ID`: keeps this store's Redis keys and database apart from another's. @default 'rerum' */
  siteId: string
  /** `LOG_LEVEL`. @default 'info' */
  logLevel: typeof LOG_LEVELS[number]
  /** `LOG_FILE`: where the log goes instead of the standard output; opened anew at SIGUSR2. */
  logFile: string | undefined
  /** `PUBLIC_URL`: what every `@id` begins with, for good. @default 'http://HOST:PORT' */
  publicUrl: string
  /** `REDIS_URL`, or `REDIS_MODE` and its companions; without them a worker of many caches nothing. */
  redis: RedisSettings
  /** `MONGODB_URI`. */
  mongoUri: string
  /** `JWT_SECRET`: key of the tokens, HS256, at least 32 characters. */
  jwtSecret: string
  /** `READONLY`: whether writes are refused. @default false */
  readonly: boolean
  /** `CACHE_TTL` in milliseconds. @default 300000 */
  cacheTtlMs: number
  /** `CACHE_BLOCK_TTL_MS`: `blockTtlMs` of config-cache; longer than the longest database operation. @default 10000 */
  blockTtlMs: number
  identity: Identity
}

const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const
/** No secret: production refuses it. */
export const DEVELOPMENT_SECRET = 'for development only: not a secret at all'

/**
 * The store's configuration from environment variables and the files that they name.
 * @throws {ConfigError} naming the variable that makes no sense
 */
export function loadConfig (given: Env = process.env): Readonly<StoreConfig> {
  const env = withFiles(given)
  const environment = oneOf(env, 'NODE_ENV', ['development', 'test', 'production'], 'development')
  const host = matching(env, 'HOST', /^[\w.:%-]{1,255}$/, 'an address or a host name') ?? '127.0.0.1'
  const port = integer(env, 'PORT', { min: 0, max: 65_535, fallback: 3001 })
  const uri = mongoUri(env)
  if (uri === undefined) throw new ConfigError('MONGODB_URI must be set: the store keeps its objects there')
  return Object.freeze({
    environment,
    port,
    host,
    siteId: matching(env, 'SITE_ID', /^[a-z0-9][a-z0-9_-]{0,31}$/, 'up to 32 lower-case letters, digits, dashes and underscores') ?? 'rerum',
    logLevel: oneOf(env, 'LOG_LEVEL', LOG_LEVELS, 'info'),
    logFile: logFile(env),
    publicUrl: publicUrl(env, `http://${host.includes(':') ? `[${host}]` : host}:${port}`),
    redis: redisOptions(env),
    mongoUri: uri,
    jwtSecret: jwtSecret(env, environment, host),
    readonly: oneOf(env, 'READONLY', ['true', 'false'], 'false') === 'true',
    cacheTtlMs: integer(env, 'CACHE_TTL', { min: 1000, max: 86_400_000, fallback: 300_000 }),
    blockTtlMs: integer(env, 'CACHE_BLOCK_TTL_MS', { min: 500, max: 600_000, fallback: 10_000 }),
    identity: identify(env)
  })
}

/** @param host where it listens: the secret of development is in the source, so whoever reaches the store could sign for anybody */
export function jwtSecret (env: Env, environment: StoreConfig['environment'], host = '127.0.0.1'): string {
  const secret = text(env, 'JWT_SECRET')
  if (secret === undefined && !/^(?:127\.|::1$|localhost$)/.test(host)) throw new ConfigError(`JWT_SECRET must be set where others can reach the store: HOST is ${host}`)
  if (secret === undefined && environment !== 'production') return DEVELOPMENT_SECRET
  if (secret === undefined || secret.length < 32) throw new ConfigError('JWT_SECRET must have at least 32 characters')
  return secret
}

function publicUrl (env: Env, fallback: string): string {
  const url = matching(env, 'PUBLIC_URL', /^https?:\/\/[^\s?#]+$/, 'an address such as https://store.example.org') ?? fallback
  return url.replace(/\/+$/, '')
}
