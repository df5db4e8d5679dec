import type { ResolvedOptions } from '../options.ts'
import { strangerOf } from './strangers.ts'

type Detailed = Error & { code?: string, lastNodeError?: Error, reason?: unknown }

/**
 * Says in one sentence why Redis cannot be used: which address, and what to look at. Never holds the password.
 *
 * @param error the last error seen; undefined where the server closed the connection without a word
 * @param hasAnswered whether the server has answered this link before, and so is what the options say
 */
export function diagnose (error: Error | undefined, options: ResolvedOptions, hasAnswered = false): string {
  const cause = deepest(error)
  const problem = cause === undefined || cause.code === 'ECONNRESET' ? closed(hasAnswered) : explain(cause, options)
  const where = options.path ?? options.nodes.map(({ host, port }) => `${host}:${port}`).join(', ')
  return where === '' ? problem : `${where}: ${problem}`
}

function closed (hasAnswered: boolean): string {
  return hasAnswered
    ? 'the server closed the connection'
    : 'the server closed the connection before it answered; a port that speaks TLS needs rediss:// or the option tls'
}

/** ioredis wraps what a node of a cluster said. */
function deepest (error: Detailed | undefined): Detailed | undefined {
  return error?.lastNodeError === undefined ? error : deepest(error.lastNodeError)
}

function explain (error: Detailed, options: ResolvedOptions): string {
  const { code = '' } = error
  const message = redact(error.message, options)
  if (message.startsWith('All sentinels are unreachable')) return unknownPrimary(error, options)
  const stranger = strangerOf(error, (text) => redact(text, options))
  if (stranger !== undefined) return stranger
  if (/^(WRONGPASS|NOAUTH)|invalid password|invalid username/i.test(message)) return 'wrong or missing username or password'
  if (/^NOPERM/.test(message)) return `the user may not run what is needed (${message})`
  if (code === 'ECONNREFUSED') return 'nothing listens there (ECONNREFUSED)'
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return `the host name cannot be resolved (${code})`
  if (/certificate/i.test(message) || /CERT/.test(code)) return `the TLS certificate is not accepted (${code || message})`
  if (code === 'EPROTO' || /^ERR_(SSL|TLS)/.test(code)) return `TLS failed (${code}); does the server speak TLS on this port?`
  if (code === 'ETIMEDOUT' || /timed? ?out/i.test(message)) {
    return options.tls === undefined ? 'no answer in time' : 'no answer in time; does the server speak TLS on this port?'
  }
  if (/cluster support disabled/i.test(message)) return 'the server is not a node of a Redis Cluster (mode cluster)'
  if (options.mode !== 'single' && /unknown command/i.test(message)) return `the server knows no ${options.mode === 'cluster' ? 'CLUSTER' : 'SENTINEL'} command (${message})`
  if (/^LOADING/.test(message)) return 'the server is still loading its data'
  return code === '' ? message : `${message} (${code})`
}

function unknownPrimary ({ message }: Error, options: ResolvedOptions): string {
  const last = / Last error: (.*)/.exec(message)?.[1]
  return `no Sentinel names a primary "${options.sentinel?.name}"${last === undefined ? '' : `: ${explain(new Error(last), options)}`}`
}

function redact (text: string, options: ResolvedOptions): string {
  return [options.password, options.sentinel?.password]
    .filter((secret) => secret !== undefined && secret !== '')
    .reduce((clean: string, secret) => clean.replaceAll(secret!, '***'), text)
}
