import { httpDate } from './http-date.ts'
import { textOf, type Exchange } from './rules.ts'

/**
 * Whether a client has the present representation already (RFC 9110, section 13.2.2): `If-None-Match`, a list of entity tags that are
 * compared weakly, goes before `If-Modified-Since`.
 */
export function isUnchanged (method: string, requestHeaders: Exchange['requestHeaders'], { etag, 'last-modified': modified }: Exchange['headers']): boolean {
  if (method !== 'GET' && method !== 'HEAD') return false
  const known = requestHeaders['if-none-match']
  if (known !== undefined) return textOf(known).trim() === '*' || isAmong(textOf(known), etag)
  const since = requestHeaders['if-modified-since']
  return since !== undefined && modified !== undefined && httpDate(modified) <= httpDate(since)
}

/** Conditions on what the origin has now, be it newer than what is kept: they are its handler's to judge (RFC 9111, section 4.3.2). */
export const isForOrigin = (requestHeaders: Exchange['requestHeaders']): boolean =>
  requestHeaders['if-match'] !== undefined || requestHeaders['if-unmodified-since'] !== undefined

function isAmong (list: string, etag: unknown): boolean {
  if (etag === undefined) return false
  const mine = opaqueTag(String(etag))
  return (list.match(/(?:W\/)?"[^"]*"/g) ?? []).some((tag) => opaqueTag(tag) === mine)
}

const opaqueTag = (tag: string): string => tag.replace(/^W\//, '')
