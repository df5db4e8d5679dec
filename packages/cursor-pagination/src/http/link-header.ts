import { QueryTooLongError } from '../errors.ts'
import type { Page } from '../page/index.ts'

/** nginx takes 4 KB of an answer's headers (`proxy_buffer_size`), of which the others have a quarter here; for more it says 502, and thinks the server dead. */
const LONGEST = 3000

/**
 * The value of a `Link` header (RFC 8288) with the first, previous and next page. Links are references of a query alone:
 * they lead to the path that the client asked for, whatever prefix a proxy has stripped, no forged Host header gets into
 * them, and they keep the other parameters. There is no `last`: it would cost a count. Where many or long parameters would make the
 * value longer than 3000 characters it has no first page, and then no previous one. Without the next one a client would take this
 * page for the last.
 *
 * @throws FST_ERR_CURSOR_PAGINATION_QUERY_TOO_LONG (414) where the next page alone is too long
 */
export function linkHeader<T> ({ pageInfo }: Page<T>, { originalUrl }: { originalUrl: string }): string {
  const { hasNext, hasPrev, nextCursor, prevCursor, limit, offset } = pageInfo
  const places = offset !== undefined
    ? { first: { offset: '0' }, prev: hasPrev && { offset: String(Math.max(0, offset - limit)) }, next: hasNext && { offset: String(offset + limit) } }
    : { first: {}, prev: prevCursor !== null && { cursor: prevCursor }, next: nextCursor !== null && { cursor: nextCursor } }
  const links = Object.entries(places).flatMap(([rel, set]) => set === false ? [] : [`<${referenceOf(originalUrl, set)}>; rel="${rel}"`])
  while (links.length > 1 && links.join(', ').length > LONGEST) links.shift()
  const value = links.join(', ')
  if (value.length <= LONGEST) return value
  if (hasNext) throw new QueryTooLongError()
  return ''
}

const PLACE = ['cursor', 'after', 'before', 'first', 'last', 'offset']

function referenceOf (url: string, set: Record<string, string>): string {
  const [beforeFragment = ''] = url.split('#')
  const [, ...query] = beforeFragment.split('?')
  const params = new URLSearchParams(query.join('?'))
  for (const name of PLACE) params.delete(name)
  for (const [name, value] of Object.entries(set)) params.set(name, value)
  return `?${params.toString()}`
}
