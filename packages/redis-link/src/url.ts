import { FST_ERR_REDIS_LINK_INVALID_OPTION } from './errors.ts'

export interface RedisUrl {
  host: string
  port: number
  db: number
  username: string | undefined
  password: string | undefined
  tls: boolean
}

/**
 * Reads `redis://[user[:password]@]host[:port][/db]`, `rediss://` for TLS (the scheme that IANA lists for Redis).
 * The messages never repeat the URL, because it may hold a password; of its parameters they name what looks like a name.
 *
 * @throws FST_ERR_REDIS_LINK_INVALID_OPTION
 */
export function parseUrl (url: string): RedisUrl {
  const invalid = (problem: string) => new FST_ERR_REDIS_LINK_INVALID_OPTION('url', problem)
  let parsed: URL
  try {
    parsed = new URL(url)
  } catch {
    throw invalid('is not a URL of the form redis://user:password@host:port/db')
  }
  if (parsed.protocol !== 'redis:' && parsed.protocol !== 'rediss:') throw invalid('must begin with redis:// or rediss://')
  if (parsed.hostname === '') throw invalid('names no host')
  refuseRest(parsed, invalid)
  if (parsed.port === '0') throw invalid('has the impossible port 0')
  const db = /^\/?(\d{0,5})$/.exec(parsed.pathname)?.[1]
  if (db === undefined) throw invalid('may hold after the host only the number of a database')
  return {
    host: parsed.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: parsed.port === '' ? 6379 : Number(parsed.port),
    db: Number(db),
    username: decode(parsed.username, invalid),
    password: decode(parsed.password, invalid),
    tls: parsed.protocol === 'rediss:'
  }
}

/** What follows the path: parameters, or the end of a password in which `?` or `#` stands as it is. */
function refuseRest ({ search, hash }: URL, invalid: (problem: string) => Error): void {
  if (search === '' && hash === '') return
  const name = /^\?([a-z_]{1,32})(=|$)/i.exec(search)?.[1]
  if (hash !== '' || name === undefined || search.includes('@')) throw invalid('holds a "?" or "#" as it is: in a password write %3F and %23')
  const instead = name === 'db' ? ': write the number of the database after the host, as in redis://host/3' : name === 'tls' || name === 'ssl' ? ': write rediss:// for TLS' : ''
  throw invalid(`has the parameter "${name}", which is unknown${instead}`)
}

function decode (part: string, invalid: (problem: string) => Error): string | undefined {
  if (part === '') return undefined
  try {
    return decodeURIComponent(part)
  } catch {
    throw invalid('has a username or password that is not percent-encoded')
  }
}
