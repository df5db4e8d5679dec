import { tellOf } from '@jpulse/plugin-kit'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { DocumentsUnavailableError } from 'server-kit'
import { maybeViewer } from '../auth/viewer.ts'
import { EditedError, NotFoundError, TooLongError } from '../errors.ts'
import { errorPage } from '../pages/error.ts'

/**
 * Characters of an address. Redirects and links say it again, each of its bytes as six characters at worst, and have to fit into what a
 * proxy takes of headers (deploy/nginx.conf: proxy_buffer_size), which takes the site for dead where they do not.
 */
const ADDRESS_MAX = 2048

/** Answers errors and unknown addresses: with the API's envelope, or with a page where a person is reading. */
export default fp(async (app: FastifyInstance) => {
  app.setErrorHandler(sendError)
  app.addHook('onRequest', async ({ url }) => { if (url.length > ADDRESS_MAX) throw new TooLongError() })
  app.setNotFoundHandler(async (request, reply) => {
    const other = otherSlash(request)
    if (other !== null && app.hasRoute({ method: 'GET', url: other })) return reply.redirect(other + request.url.slice(pathOf(request).length), 308)
    throw new NotFoundError(request.url.slice(0, 200))
  })
}, { name: 'site-errors', fastify: '5.x' })

const RETRY_AFTER_SECONDS = '2'

export function sendError (thrown: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const { statusCode, code, error, headers } = tellOf(thrown, 'FST_ERR_SITE')
  // That MongoDB is away is in the log already, once.
  if (statusCode >= 500 && !(thrown instanceof DocumentsUnavailableError)) request.log.error({ err: thrown }, 'request failed')
  reply.code(statusCode).headers(statusCode === 503 ? { 'retry-after': RETRY_AFTER_SECONDS, ...headers } : headers)
  if (wantsPage(request)) return reply.header('cache-control', 'no-store').type('text/html; charset=utf-8').send(pageOf(request, statusCode, error))
  return reply.send({ success: false, error, code, statusCode, ...(thrown instanceof EditedError && currentOf(thrown)) })
}

function pageOf (request: FastifyRequest, statusCode: number, message: string): string {
  const viewer = lookerOn(request)
  const page = errorPage({ statusCode, message, viewer }).toString()
  return viewer === null || viewer === 'unknown' ? page : request.server.guardForms(request, page)
}

/** Who looks at an error; nobody where it came before the session was looked for. */
function lookerOn (request: FastifyRequest): ReturnType<typeof maybeViewer> {
  try {
    return maybeViewer(request.server, request)
  } catch {
    return null
  }
}

/** The same address with a slash at its end, or without the one that is there. */
function otherSlash (request: FastifyRequest): string | null {
  const path = pathOf(request)
  if (!['GET', 'HEAD'].includes(request.method) || path === '/') return null
  return path.endsWith('/') ? path.slice(0, -1) : `${path}/`
}

function pathOf ({ url }: FastifyRequest): string {
  return url.split('?', 1)[0]!
}

/** What an editor needs to go on. */
function currentOf (err: Error): { current?: unknown, version?: string } {
  const { current, version } = err as { current?: unknown, version?: string }
  return { current, ...(version !== undefined && { version }) }
}

function wantsPage (request: FastifyRequest): boolean {
  if (/^\/(?:api|health)(?:[/?]|$)/.test(request.url)) return false
  const { accept } = request.headers
  return accept === undefined || accept.includes('text/html') || accept.includes('*/*')
}
