import type { Page } from '../page/index.ts'

/**
 * The value of a `Link` header (RFC 8288) with the first, previous and next page. Links are references of a query alone:
 * they lead to the path that the client asked for, whatever prefix a proxy has stripped, no forged Host header gets into
 * them, and they keep the other parameters. There is no `last`: it would cost a count.
 */
export function linkHeader<T> ({ pageInfo }: Page<T>, { originalUrl }: { originalUrl: string }): string {
  const { hasNext, hasPrev, nextCursor, prevCursor, limit, offset } = pageInfo
  const link = (rel: string, set: Record<string, string>) => `<${referenceOf(originalUrl, set)}>; rel="${rel}"`
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

const PLACE = ['cursor', 'after', 'before', 'first', 'last', 'offset']

function referenceOf (url: string, set: Record<string, string>): string {
  const [beforeFragment = ''] = url.split('#')
  const [, ...query] = beforeFragment.split('?')
  const params = new URLSearchParams(query.join('?'))
  for (const name of PLACE) params.delete(name)
  for (const [name, value] of Object.entries(set)) params.set(name, value)
  return `?${params.toString()}`
}
