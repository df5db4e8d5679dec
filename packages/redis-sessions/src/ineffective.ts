import type { FastifyBaseLogger, RouteOptions } from 'fastify'
import { isRecord } from './record/fields.ts'
import type { FastifyRedisSessionsOptions, ResolvedOptions } from './options.ts'

/** Names that browsers take with certain attributes only (RFC 6265bis, section 4.1.3). */
export const PREFIXED = /^__(?:Host|Secure)-/i

/** Warns once of each option that is accepted and not in force, and says what would put it in force. */
export function warnOfIneffective (given: FastifyRedisSessionsOptions, resolved: ResolvedOptions, log: FastifyBaseLogger): void {
  for (const text of ineffective(given, resolved)) log.warn(text)
}

function ineffective (given: FastifyRedisSessionsOptions, { idleTimeoutMs, absoluteTimeoutMs, touchIntervalMs, cookie, cookieName }: ResolvedOptions): string[] {
  const canHaveHost = cookie.path === '/' && cookie.domain === undefined && cookie.secure !== false
  const ofCookies = (['cookieName', 'formerCookieNames', 'cookie'] as const).filter((name) => given[name] !== undefined)
  const found: Array<[isSo: boolean, text: string]> = [
    // Whoever only bounds the whole life has said nothing of the other.
    [(given.idleTimeoutMs !== undefined || Boolean(process.env.SESSION_TTL)) && idleTimeoutMs > absoluteTimeoutMs, `sessions end after absoluteTimeoutMs (${absoluteTimeoutMs}), which is before the idle timeout (${idleTimeoutMs}, by idleTimeoutMs or SESSION_TTL): make the idle timeout the shorter one`],
    [(given.touchIntervalMs ?? 0) > touchIntervalMs, `touchIntervalMs is cut to ${touchIntervalMs}, because a session is noted as seen at least twice within its idle timeout: make it less than half of idleTimeoutMs (${idleTimeoutMs})`],
    [cookie.sameSite === 'none' && cookie.secure === false, 'cookie.sameSite "none" is sent as "lax", because browsers refuse it without Secure: serve by https, and set cookie.secure to "auto" or true'],
    [cookie.partitioned && cookie.secure === false, 'cookie.partitioned has no effect without Secure: serve by https, and set cookie.secure to "auto" or true'],
    [PREFIXED.test(cookieName) && cookie.secure === false, `browsers refuse a cookie named ${cookieName} without Secure: serve by https, and set cookie.secure to "auto" or true`],
    [/^__Host-/i.test(cookieName) && (cookie.path !== '/' || cookie.domain !== undefined), `browsers refuse a cookie named ${cookieName} with a domain, or with another path than "/": leave these out, or take another name`],
    [cookie.hostPrefix !== 'only' && !canHaveHost, `cookie.hostPrefix "${cookie.hostPrefix}" has no effect: browsers take the prefix __Host- only with the path "/", no domain, and cookie.secure "auto" or true. For the change to another name there is formerCookieNames`],
    [given.header !== undefined && ofCookies.length > 0, `${ofCookies.join(', ')} ${ofCookies.length === 1 ? 'has' : 'have'} no effect beside header, which carries the session in place of a cookie: leave out the one or the other`]
  ]
  return found.filter(([isSo]) => isSo).map(([, text]) => text)
}

/** An `onRoute` hook that warns of a `config.session` of a route that says nothing to sessions, such as a misspelt one. */
export function warnOfRoutes (log: FastifyBaseLogger): (route: Pick<RouteOptions, 'url' | 'config'>) => void {
  const warned = new Set<string>()
  return ({ url, config }) => {
    const session: unknown = config?.session
    if (session === undefined || typeof session === 'boolean' || warned.has(url)) return
    if (isRecord(session) && Object.keys(session).every((name) => name === 'activity' && typeof session[name] === 'boolean')) return
    warned.add(url)
    log.warn({ url }, 'config.session of a route is neither false nor { activity: false }, so its sessions are kept alive like those of any other')
  }
}
