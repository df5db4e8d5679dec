import type { SerializeOptions } from '@fastify/cookie'
import type { FastifyReply } from 'fastify'

/**
 * Headers by which a reply speaks to the caches of its own site only, whatever `Cache-Control` says to all (RFC 9213, and
 * what came before it).
 */
const TARGETED = /(?:^|-)cdn-cache-control$|^surrogate-control$|^edge-control$|^x-accel-expires$/
/** What lets a shared cache keep a reply (RFC 9111, 3). `no-cache` and `max-age=0` do not name others; a reply that has them is made private. */
const SHARES = new Set(['public', 's-maxage', 'proxy-revalidate'])
/** What a reply that is private must not say. */
const PUBLIC_ONLY = new Set([...SHARES, 'private'])

/** By it @jpulse/config-cache knows, at `reply.raw`, the cookie that a reply only renews: the reply may be kept without it. */
const RENEWED = Symbol.for('jpulse.renewed-cookie')

export interface Headers {
  get (name: string): string | undefined
  names (): string[]
}

type Directives = Map<string, string>

/** Whether the application lets caches that serve others keep a reply. One that says nothing does not. */
export function mayBeShared (headers: Headers): boolean {
  const targeted = headers.names().filter((name) => TARGETED.test(name))
  if (targeted.some((name) => isKept(name, headers.get(name)!))) return true
  const control = parse(headers.get('cache-control') ?? '')
  if (isPrivate(control)) return false
  if ([...SHARES].some((name) => control.has(name)) || Number(control.get('max-age')) > 0) return true
  const expires = headers.get('expires')
  return control.size === 0 && expires !== undefined && Date.parse(expires) > Date.now()
}

/** The `Cache-Control` of a reply that only its visitor may keep. */
export function privateControl (text: string | undefined): string {
  const control = parse(text ?? '')
  if (isPrivate(control)) return text!
  const kept = [...control].filter(([name]) => !PUBLIC_ONLY.has(name)).map(([name, value]) => value === '' ? name : `${name}=${value}`)
  return ['private', ...kept].join(', ')
}

/**
 * Watches the headers of a reply that carries the session's cookie until they leave, because the application may write its own
 * at any time before: in a hook that runs later, in a Response, in `reply.raw`. A cookie that leaves takes with it the right
 * of others to keep the reply, since a shared cache would hand it to the next visitor. A cookie that only is renewed does not
 * leave with a reply that is for all.
 *
 * @param onWithheld the cookie did not leave; undefined where it must
 */
export function guardCookie ({ raw }: Pick<FastifyReply, 'raw'>, cookieName: string, onWithheld: (() => void) | undefined): void {
  ;(raw as { [RENEWED]?: string | null })[RENEWED] = onWithheld === undefined ? null : cookieName
  beforeHead(raw, () => {
    if (onWithheld === undefined || !mayBeShared(headersOf(raw))) return makePrivate(raw)
    withhold(raw, cookieName)
    onWithheld()
  })
}

/** Calls `act` once, when the headers of a reply are about to leave, whoever sends them; they are in `raw` by then. */
export function beforeHead (raw: FastifyReply['raw'], act: () => void): void {
  const { writeHead } = raw
  raw.writeHead = ((status: number, ...rest: unknown[]) => {
    raw.writeHead = writeHead
    const given = rest.at(-1)
    const isGiven = typeof given === 'object' && given !== null
    if (isGiven) takeOver(raw, given)
    act()
    // Not the one of before: `act` may have asked to be called in its turn.
    return (raw.writeHead as (...args: unknown[]) => unknown)(status, ...(isGiven ? rest.slice(0, -1) : rest))
  }) as typeof writeHead
}

/** A reply whose headers are sent by the application: `reply.raw` is all that leaves of it. */
export function rawReply ({ raw, server }: FastifyReply): CookieReply {
  const add = (cookie: string) => setCookies(raw, [...cookiesOf(raw), cookie])
  const target: CookieReply = {
    raw,
    setCookie (name, value, options) { add(server.serializeCookie(name, value, options)) },
    clearCookie (name, options) { add(server.serializeCookie(name, '', { ...options, expires: new Date(0), maxAge: 0 })) }
  }
  return target
}

/** What carries cookies to the browser. */
export interface CookieReply {
  readonly raw: FastifyReply['raw']
  setCookie (name: string, value: string, options: SerializeOptions): unknown
  clearCookie (name: string, options: SerializeOptions): unknown
}

type Raw = Pick<FastifyReply['raw'], 'getHeader' | 'setHeader' | 'removeHeader' | 'getHeaderNames'>

/** The headers as they are now. */
export function headersOf (raw: Pick<Raw, 'getHeader' | 'getHeaderNames'>): Headers {
  return {
    get (name) {
      const value = raw.getHeader(name)
      return value === undefined ? undefined : String(value)
    },
    names: () => raw.getHeaderNames()
  }
}

/** The headers handed to `writeHead`, as it would take them, but for cookies, which add up. */
function takeOver (raw: Raw, given: object): void {
  const entries = Array.isArray(given) ? pairsOf(given) : Object.entries(given)
  for (const [name, value] of entries) {
    if (value === undefined) continue
    if (name.toLowerCase() === 'set-cookie') setCookies(raw, [...new Set([...cookiesOf(raw), ...[value as string | string[]].flat()])])
    else raw.setHeader(name, value as string)
  }
}

function pairsOf (list: unknown[]): Array<[string, unknown]> {
  if (list.every(Array.isArray)) return list as Array<[string, unknown]>
  return Array.from({ length: list.length / 2 }, (_, index) => [String(list[2 * index]), list[2 * index + 1]])
}

function cookiesOf (raw: Raw): string[] {
  return [raw.getHeader('set-cookie') ?? []].flat().map(String)
}

/** One cookie is a text, as @fastify/cookie writes it. */
function setCookies (raw: Raw, cookies: string[]): void {
  if (cookies.length === 0) raw.removeHeader('set-cookie')
  else raw.setHeader('set-cookie', cookies.length === 1 ? cookies[0]! : cookies)
}

function withhold (raw: Raw, cookieName: string): void {
  setCookies(raw, cookiesOf(raw).filter((cookie) => !cookie.startsWith(`${cookieName}=`)))
}

function makePrivate (raw: Raw): void {
  for (const name of raw.getHeaderNames()) if (TARGETED.test(name)) raw.removeHeader(name)
  const control = raw.getHeader('cache-control')
  raw.setHeader('cache-control', privateControl(control === undefined ? undefined : String(control)))
}

/** Names of directives in lower case with their values; one without a value has ''. */
function parse (text: string): Directives {
  const directives = text.matchAll(/([\w!#$%&'*+.^`|~-]+)\s*(?:=\s*("(?:[^"\\]|\\.)*"|[^\s,]*))?/g)
  return new Map([...directives].map(([, name, value = '']) => [name!.toLowerCase(), value]))
}

/** `private="field"` speaks of that field only. */
function isPrivate (control: Directives): boolean {
  return control.has('no-store') || control.get('private') === ''
}

function isKept (name: string, text: string): boolean {
  if (name === 'x-accel-expires') return text !== '0'
  return !isPrivate(parse(text))
}
