import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'

/** The address of a request as the site knows it. Health checks come to an app server itself, without the path. */
export function withoutBase (base: string, url: string): string {
  if (base === '' || !url.startsWith(base)) return url
  const rest = url.slice(base.length)
  if (rest.startsWith('/')) return rest
  return rest === '' || rest.startsWith('?') ? `/${rest}` : url
}

/**
 * Puts the path below which the site is before the addresses that leave it: those of pages, whose quoted attributes hold nothing that
 * somebody typed unescaped, and those that it sends browsers on to.
 */
export default fp(async (app: FastifyInstance, { base }: { base: string }) => {
  if (base === '') return
  app.addHook('onSend', async (_request, reply, payload) => {
    const location = reply.getHeader('location')
    if (typeof location === 'string' && location.startsWith('/')) reply.header('location', base + location)
    const isPage = typeof payload === 'string' && String(reply.getHeader('content-type')).startsWith('text/html')
    return isPage ? payload.replaceAll(/\b(href|src|action)="(?=\/)/g, `$1="${base}`) : payload
  })
}, { name: 'site-base-path', fastify: '5.x' })
