import type { Redis } from 'ioredis'

/** What ioredis 6 says of a first byte that is none of Redis' protocol, and what its parser said before. */
const STRANGE = /Unknown RESP type (\d+)|Protocol error, got (".*?") as reply type byte/
/** Bytes of its first words that are kept. They may repeat a password, which is taken out before they are cut to what is quoted. */
const MOST_SAID = 1024
const MOST_QUOTED = 80

type Strange = Error & { said?: string }

/** Keeps what a server says first, of which ioredis tells the first byte only. */
export function noteFirstWords (redis: Redis): Redis {
  let said = ''
  redis.on('connect', () => {
    // Before ioredis reads it.
    redis.stream.prependOnceListener('data', (chunk: Buffer) => { said = chunk.toString('utf8', 0, MOST_SAID) })
  })
  redis.on('error', (err: Strange) => {
    if (STRANGE.test(err.message)) err.said ??= said
  })
  return redis
}

/**
 * Says what a server may be that does not speak Redis' protocol; undefined where the error says nothing of the kind.
 *
 * @param redact takes secrets out of what it said
 */
export function strangerOf ({ message, said = '' }: Strange, redact: (text: string) => string): string | undefined {
  const found = STRANGE.exec(message)
  if (found === null) return undefined
  const first = found[1] === undefined ? JSON.parse(found[2]!) as string : String.fromCharCode(Number(found[1]))
  // What came first may have been right, and what is strange came later.
  const text = said.startsWith(first) ? said : first
  const words = /^[ -~]*/.exec(redact(text))![0].slice(0, MOST_QUOTED).trim()
  const quoted = words === '' ? '' : `, it says "${words}"`
  if (first === '\u0015' || first === '\u0016') return 'the server speaks TLS on this port: rediss:// or the option tls is needed'
  if (first === 'H') return `an HTTP server or proxy answers there, no Redis${quoted}`
  if (first === '<') return `a web server or proxy answers there, no Redis${quoted}`
  if (/^(?:ERROR|E$)/.test(words)) return `what answers there is no Redis but perhaps memcached${quoted}`
  return `what answers there is no Redis${quoted}`
}
