import { httpDate } from './http-date.ts'

/** What the rules look at. Names of headers are in lower case. */
export interface Exchange {
  readonly statusCode: number
  readonly requestHeaders: Readonly<Record<string, unknown>>
  readonly headers: Readonly<Record<string, unknown>>
  /** Whether the route says whose responses it has. */
  readonly isScoped: boolean
}

/** Methods that change nothing (RFC 9110, section 9.2.1). */
const SAFE = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'QUERY', 'PROPFIND', 'REPORT', 'SEARCH'])

export const isSafe = (method: string): boolean => SAFE.has(method)

/** Statuses whose responses are kept where neither route nor response say more: what was asked for, whole and final. */
const KEPT = new Set([200, 203, 204])
/** Statuses whose responses are kept where they say for how long. */
const KEPT_WITH_LIFE = new Set([...KEPT, 300, 301, 302, 303, 307, 308, 404, 405, 410, 414])

/**
 * How long a response may be kept by a cache that answers more than one user, in milliseconds: Infinity where it does not say,
 * 0 where it must not be kept (RFC 9111, sections 3, 4.2 and 5.2). A response that has to be asked for anew each time
 * (`no-cache`) is not kept either.
 */
export function lifeOf ({ statusCode, requestHeaders, headers, isScoped }: Exchange, time = Date.now()): number {
  const says = directives(headers['cache-control'])
  if (['no-store', 'private', 'no-cache'].some((name) => says.has(name)) || directives(requestHeaders['cache-control']).has('no-store')) return 0
  if (says.has('must-understand') && !KEPT_WITH_LIFE.has(statusCode)) return 0
  if (['set-cookie', 'set-cookie2', 'content-range'].some((name) => headers[name] !== undefined) || namesOf(headers.vary).includes('*')) return 0
  if (requestHeaders.authorization !== undefined && !isForAll(says, isScoped)) return 0
  const lifetime = lifetimeOf(says, headers, time)
  return lifetime === Infinity ? Infinity : Math.max(0, lifetime - ageOf(headers, time))
}

/** Whether a response is kept where the route does not say. An error of the server says nothing about the next request. */
export function isKept (statusCode: number, headers: Exchange['headers']): boolean {
  if (KEPT.has(statusCode)) return true
  const says = directives(headers['cache-control'])
  const hasLife = headers.expires !== undefined || ['max-age', 's-maxage', 'public'].some((name) => says.has(name))
  return hasLife && ((statusCode >= 200 && statusCode < 300) || KEPT_WITH_LIFE.has(statusCode))
}

/** What no route can ask for: parts, and answers that refer to what the client has. */
export const isNeverKept = (statusCode: number): boolean => statusCode < 200 || statusCode === 206 || statusCode === 304

/**
 * Why a response that does not say so itself is not kept: something that its handler may not know of, a hook that sets a cookie say. Null where there is
 * no such thing.
 */
export function hiddenObstacle ({ requestHeaders, headers, isScoped }: Exchange): string | null {
  const says = directives(headers['cache-control'])
  if (['no-store', 'private', 'no-cache'].some((name) => says.has(name)) || directives(requestHeaders['cache-control']).has('no-store')) return null
  if (headers['set-cookie'] !== undefined) return 'it sets a cookie'
  if (namesOf(headers.vary).includes('*')) return 'it varies by everything: Vary is *'
  if (requestHeaders.authorization === undefined || isForAll(says, isScoped)) return null
  return 'its request has Authorization: give the route a scope, or let the response say that it is public'
}

const isForAll = (says: ReadonlyMap<string, string>, isScoped: boolean): boolean => isScoped || ['public', 's-maxage', 'must-revalidate'].some((name) => says.has(name))

function lifetimeOf (says: ReadonlyMap<string, string>, headers: Exchange['headers'], time: number): number {
  const seconds = says.get('s-maxage') ?? says.get('max-age')
  if (seconds !== undefined) return /^\d+$/.test(seconds) ? Number(seconds) * 1000 : 0
  if (headers.expires === undefined) return Infinity
  const expires = httpDate(headers.expires)
  const date = httpDate(headers.date)
  return Number.isNaN(expires) ? 0 : expires - (Number.isNaN(date) ? time : date)
}

/** How old a response was when the handler gave it, in milliseconds: it may have it from elsewhere (RFC 9111, section 4.2.3). */
export function ageOf ({ age, date }: Exchange['headers'], time = Date.now()): number {
  const [stated] = textOf(age).split(',', 1) as [string]
  const apparent = time - httpDate(date)
  return Math.max(0, /^\s*\d+\s*$/.test(stated) ? Number(stated) * 1000 : 0, Number.isNaN(apparent) ? 0 : apparent)
}

/** Names of a list such as that of Vary, in lower case. */
export function namesOf (header: unknown): string[] {
  return textOf(header).toLowerCase().split(',').map((name) => name.trim()).filter((name) => name !== '')
}

/** Directives and their values, of which the first of a name counts; quoted values lose their quotes. */
function directives (header: unknown): Map<string, string> {
  const found = new Map<string, string>()
  for (const [, name, quoted, plain] of textOf(header).matchAll(/([^\s,;="]+)\s*(?:=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,;"]*)))?/g)) {
    const key = name!.toLowerCase()
    if (!found.has(key)) found.set(key, quoted ?? plain ?? '')
  }
  return found
}

export const textOf = (header: unknown): string => header === undefined || header === null ? '' : Array.isArray(header) ? header.join(', ') : String(header)
