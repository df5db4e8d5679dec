import type { Page } from '../page/types.ts'

/**
 * The value of a `Link` header (RFC 8288) with the first, previous and next page. Links are references relative to the
 * server, so no forged Host header gets into them, and keep the other parameters of the query. There is no `last`: it
 * would cost a count.
 */
export function linkHeader<T extends object> ({ pageInfo }: Page<T>, { originalUrl }: { originalUrl: string }): string {
  const { hasNext, hasPrev, nextCursor, prevCursor, limit, offset } = pageInfo
  const link = (rel: string, set: Record<string, string>) => `<${urlWith(originalUrl, set)}>; rel="${rel}"`
  if (offset !== undefined) {
    return [
      link('first', { offset: '0' }),
      ...(hasPrev ? [link('prev', { offset: String(Math.max(0, offset - limit)) })] : []),
      ...(hasNext ? [link('next', { offset: String(offset + limit) })] : [])
    ].join(', ')
  }
  return [
    link('first', {}),
    ...(prevCursor === null ? [] : [link('prev', { cursor: prevCursor })]),
    ...(nextCursor === null ? [] : [link('next', { cursor: nextCursor })])
  ].join(', ')
}

const PLACE = ['cursor', 'after', 'before', 'offset']

function urlWith (url: string, set: Record<string, string>): string {
  const [beforeFragment = ''] = url.split('#')
  const [path = '', ...query] = beforeFragment.split('?')
  const params = new URLSearchParams(query.join('?'))
  for (const name of PLACE) params.delete(name)
  for (const [name, value] of Object.entries(set)) params.set(name, value)
  const text = params.toString()
  // A path that begins with two slashes would be read as the name of a host.
  const safePath = path.replace(/^[/\\]+/, '/').replace(/[^\w\-./~%!$&'()*+,;=:@]/g, encodeURIComponent)
  return text === '' ? safePath : `${safePath}?${text}`
}
