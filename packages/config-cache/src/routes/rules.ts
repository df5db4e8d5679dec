/** What the rules look at. Names of headers are in lower case. */
export interface Exchange {
  readonly statusCode: number
  readonly requestHeaders: Readonly<Record<string, unknown>>
  readonly headers: Readonly<Record<string, unknown>>
  /** Whether the route says whose responses it has. */
  readonly isScoped: boolean
}

/**
 * How long a response may be kept by a cache that answers more than one user, in milliseconds: Infinity where it does not say,
 * 0 where it must not be kept (RFC 9111, sections 3, 4.2 and 5.2). A response that has to be asked for anew each time
 * (`no-cache`) is not kept either.
 */
export function lifeOf ({ requestHeaders, headers, isScoped }: Exchange): number {
  const says = directives(headers['cache-control'])
  if (['no-store', 'private', 'no-cache'].some((name) => says.has(name)) || directives(requestHeaders['cache-control']).has('no-store')) return 0
  if (headers['set-cookie'] !== undefined || headers['content-range'] !== undefined || namesOf(headers.vary).includes('*')) return 0
  const isForAll = isScoped || ['public', 's-maxage', 'must-revalidate'].some((name) => says.has(name))
  if (requestHeaders.authorization !== undefined && !isForAll) return 0
  return freshness(says, headers)
}

/** Whether responses of a status are kept where the route does not say: successes that are whole. */
export const isKept = (statusCode: number): boolean => statusCode >= 200 && statusCode < 300 && statusCode !== 206

/** What no route can ask for: parts, and answers that refer to what the client has. */
export const isNeverKept = (statusCode: number): boolean => statusCode < 200 || statusCode === 206 || statusCode === 304

function freshness (says: ReadonlyMap<string, string>, headers: Exchange['headers']): number {
  const seconds = says.get('s-maxage') ?? says.get('max-age')
  if (seconds !== undefined) return /^\d+$/.test(seconds) ? Math.max(0, Number(seconds) - ageOf(headers.age)) * 1000 : 0
  if (headers.expires === undefined) return Infinity
  const at = Date.parse(String(headers.expires))
  return Number.isNaN(at) ? 0 : Math.max(0, at - Date.now())
}

const ageOf = (age: unknown): number => age === undefined ? 0 : /^\d+$/.test(String(age)) ? Number(age) : Infinity

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

const textOf = (header: unknown): string => header === undefined || header === null ? '' : Array.isArray(header) ? header.join(', ') : String(header)

/** Whether a client has the present representation already (RFC 9110, section 13.2.2). */
export function isUnchanged (method: string, requestHeaders: Exchange['requestHeaders'], { etag, 'last-modified': modified }: Exchange['headers']): boolean {
  if (method !== 'GET' && method !== 'HEAD') return false
  const known = requestHeaders['if-none-match']
  if (known !== undefined) {
    if (etag === undefined) return false
    const tags = textOf(known).match(/(?:W\/)?"[^"]*"|\*/g) ?? []
    return tags.some((tag) => tag === '*' || strong(tag) === strong(String(etag)))
  }
  const since = requestHeaders['if-modified-since']
  if (since === undefined || modified === undefined) return false
  return Date.parse(textOf(modified)) <= Date.parse(textOf(since))
}

const strong = (tag: string): string => tag.replace(/^W\//, '')
