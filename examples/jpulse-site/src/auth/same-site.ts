import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { CrossSiteError } from '../errors.ts'

const SAFE = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE'])

/**
 * Refuses what another site's page makes a visitor's browser send. Browsers name the relation of the two sites
 * (`Sec-Fetch-Site`, W3C Fetch Metadata) or the page's origin (`Origin`, RFC 6454); a page can forge neither. A request with
 * neither comes from no browser of today, so it is let through where a page could not have sent it without asking first
 * (CORS preflight): with a body of JSON. Forms need one of the two.
 */
export default fp(async (app: FastifyInstance) => {
  app.addHook('onRequest', async (request) => {
    if (!SAFE.has(request.method) && !isOwn(request)) throw new CrossSiteError()
  })
}, { name: 'site-same-site', fastify: '5.x' })

function isOwn ({ headers, host }: FastifyRequest): boolean {
  const site = headers['sec-fetch-site']
  if (site !== undefined) return site === 'same-origin' || site === 'none'
  const { origin } = headers
  if (origin !== undefined) return URL.canParse(origin) && new URL(origin).host === host
  return /^application\/json\b/i.test(headers['content-type'] ?? '') || headers.cookie === undefined
}
