import type { Page } from '../page/index.ts'

/** nginx takes 4 KB of an answer's headers in all (`proxy_buffer_size`); for more it says 502, and thinks the server dead. */
const LONGEST = 3600

/**
 * The value of a `Link` header (RFC 8288) with the first, previous and next page. Links are references of a query alone:
 * they lead to the path that the client asked for, whatever prefix a proxy has stripped, no forged Host header gets into
 * them, and they keep the other parameters. There is no `last`: it would cost a count. What would make the value longer than
 * 3600 characters, as many or long parameters do, is left out, the next page last: the value may be empty. The page
 * itself has the cursors.
 */
export function linkHeader<T> ({ pageInfo }: Page<T>, { originalUrl }: { originalUrl: string }): string {
  const { hasNext, hasPrev, nextCursor, prevCursor, limit, offset } = pageInfo
  const places = offset !== undefined
    ? { first: { offset: '0' }, prev: hasPrev && { offset: String(Math.max(0, offset - limit)) }, next: hasNext && { offset: String(offset + limit) } }
    : { first: {}, prev: prevCursor !== null && { cursor: prevCursor }, next: nextCursor !== null && { cursor: nextCursor } }
  const links = Object.entries(places).flatMap(([rel, set]) => set === false ? [] : [`<${referenceOf(originalUrl, set)}>; rel="${rel}"`])
  const kept: string[] = []
  for (const link of links.reverse()) if ([link, ...kept].join(', ').length <= LONGEST) kept.unshift(link)
  return kept.join(', ')
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
