import { type Env, integer, oneOf, secretUrl, text, wrong } from './env.ts'
import { ConfigError } from './errors.ts'

interface Node { host: string, port: number }

/** What the variables say of Redis, as options of @jpulse/redis-link. */
export interface RedisSettings {
  mode?: 'none' | 'single' | 'sentinel' | 'cluster'
  url?: string
  single?: Node
  cluster?: { nodes: Node[] }
  sentinel?: { name: string, sentinels: Node[] }
  username?: string
  password?: string
  tls?: boolean
}

const MODES = ['none', 'single', 'sentinel', 'cluster', ''] as const

/**
 * How Redis is reached: `REDIS_URL`, or `REDIS_MODE` (none, single, sentinel, cluster) with `REDIS_HOST` and `REDIS_PORT`,
 * `REDIS_SENTINELS` and `REDIS_SENTINEL_NAME`, or `REDIS_NODES`; `REDIS_USERNAME`, `REDIS_PASSWORD`, `REDIS_TLS` for each.
 */
export function redisOptions (env: Env): RedisSettings {
  const url = secretUrl(env, 'REDIS_URL', ['redis', 'rediss'], 'redis://127.0.0.1:6379')
  const mode = oneOf(env, 'REDIS_MODE', MODES, text(env, 'REDIS_HOST') === undefined ? '' : 'single')
  if (url !== undefined && !['', 'single', 'cluster'].includes(mode)) throw new ConfigError(`REDIS_URL and REDIS_MODE=${mode} contradict each other`)
  if (url !== undefined && text(env, 'REDIS_HOST') !== undefined) throw new ConfigError('REDIS_URL and REDIS_HOST contradict each other')
  if (url !== undefined) return { ...(mode !== '' && { mode }), url: checked(url), ...access(env) }
  if (mode === '' || mode === 'none') return { mode: 'none' }
  return { mode, ...addresses(env, mode), ...access(env) }
}

/** What redis-link would refuse when it boots, by the name of the variable and before: a configuration is looked at before workers are replaced. */
function checked (url: string): string {
  try {
    const { hostname, hash, password, pathname, port, search, username } = new URL(url)
    decodeURIComponent(`${username}${password}`)
    if (hostname !== '' && port !== '0' && `${search}${hash}` === '' && /^\/?\d{0,5}$/.test(pathname)) return url
  } catch {
    // It may hold a password, which the error quotes.
  }
  throw new ConfigError('REDIS_URL must be of the form redis://user:password@host:port/db; in a password write %25 %2F %3A %40 %23 %3F for % / : @ # ?')
}

function addresses (env: Env, mode: 'single' | 'sentinel' | 'cluster'): RedisSettings {
  if (mode === 'cluster') return { cluster: { nodes: nodes(env, 'REDIS_NODES', 6379) } }
  if (mode === 'sentinel') return { sentinel: { name: text(env, 'REDIS_SENTINEL_NAME') ?? 'mymaster', sentinels: nodes(env, 'REDIS_SENTINELS', 26_379) } }
  return { single: { host: text(env, 'REDIS_HOST') ?? '127.0.0.1', port: integer(env, 'REDIS_PORT', { min: 1, max: 65_535, fallback: 6379 }) } }
}

function access (env: Env): RedisSettings {
  const [username, password] = [text(env, 'REDIS_USERNAME'), text(env, 'REDIS_PASSWORD')]
  return {
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(oneOf(env, 'REDIS_TLS', ['true', 'false'], 'false') === 'true' && { tls: true })
  }
}

/** `host:port,host:port` */
function nodes (env: Env, name: string, port: number): Node[] {
  const value = text(env, name)
  if (value === undefined) throw new ConfigError(`${name} must be set: a list of host:port, comma-separated`)
  return value.split(',').map((node) => {
    const [, host, digits] = /^\s*([\w.-]+|\[[\da-f:]+\])(?::(\d{1,5}))?\s*$/i.exec(node) ?? []
    if (host === undefined || Number(digits ?? port) > 65_535) throw wrong(name, 'a list of host:port, comma-separated', value)
    return { host: host.replace(/^\[|\]$/g, ''), port: Number(digits ?? port) }
  })
}
