import { createHmac, timingSafeEqual } from 'node:crypto'
import type {} from '@jpulse/redis-sessions'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { CrossSiteError } from '../errors.ts'

const SAFE = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE'])
const FIELD = '_csrf'

declare module 'fastify' {
  interface FastifyInstance {
    /** Puts the token of the visitor's session into each form of a page. */
    guardForms (request: FastifyRequest, page: string): string
  }
}

/**
 * Refuses what another site's page makes a visitor's browser send. Browsers name the relation of the two sites
 * (`Sec-Fetch-Site`, W3C Fetch Metadata) or the page's origin (`Origin`, RFC 6454); a page can forge neither. What says
 * neither comes from no browser of today. It is let through where a page could not have sent it without asking first (CORS
 * preflight), without a cookie there is nothing to abuse, and a form is let through with the token of its session.
 */
export default fp(async (app: FastifyInstance, { secrets }: { secrets: readonly string[] }) => {
  /** By each secret: the first is for new pages, the others for those that were open before it changed. */
  const tokensOf = (request: FastifyRequest): string[] => {
    const handle = app.sessions.current(request)?.handle
    return handle === undefined ? [] : secrets.map((secret) => createHmac('sha256', secret).update(`csrf ${handle}`).digest('base64url'))
  }

  app.addHook('onRequest', async (request) => {
    if (!SAFE.has(request.method) && origin(request) === 'foreign') throw new CrossSiteError()
  })
  app.addHook('preValidation', async (request) => {
    const body = request.body as Record<string, unknown> | null | undefined
    if (SAFE.has(request.method) || !isForm(request) || typeof body !== 'object' || body === null) return
    const { [FIELD]: given, ...fields } = body
    request.body = fields
    if (origin(request) === 'own' || request.headers.cookie === undefined) return
    const tokens = tokensOf(request)
    if (tokens.length > 0 && !(typeof given === 'string' && tokens.some((token) => equal(given, token)))) throw new CrossSiteError()
  })
  app.decorate('guardForms', (request: FastifyRequest, page: string) => {
    if (!page.includes('method="post"')) return page
    const [token] = tokensOf(request)
    return token === undefined ? page : page.replaceAll(/<form [^<>]*method="post"[^<>]*>/g, (form) => `${form}<input type="hidden" name="${FIELD}" value="${token}">`)
  })
}, { name: 'site-same-site', fastify: '5.x', dependencies: ['@jpulse/redis-sessions'] })

function origin (request: FastifyRequest): 'own' | 'unsaid' | 'foreign' {
  const { headers, host } = request
  const site = headers['sec-fetch-site']
  if (site !== undefined && site !== '') return site === 'same-origin' || site === 'none' ? 'own' : 'foreign'
  if (headers.origin !== undefined) return URL.canParse(headers.origin) && new URL(headers.origin).host === host ? 'own' : 'foreign'
  const type = headers['content-type']
  return type === undefined || headers.cookie === undefined || isForm(request) || /^application\/json\b/i.test(type) ? 'unsaid' : 'foreign'
}

const isForm = ({ headers }: FastifyRequest) => /^application\/x-www-form-urlencoded\b/i.test(headers['content-type'] ?? '')

function equal (a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)]
  return left.length === right.length && timingSafeEqual(left, right)
}
