import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { isAdministering, mustViewer } from '../auth/viewer.ts'
import { UnauthenticatedError } from '../errors.ts'

/** What an administrator does: whose account it concerns, the administrator's own where none is named, and what, as a person reads it. */
interface Act { user?: string, what: string }

declare module 'fastify' {
  interface FastifyContextConfig {
    /** What a request to this route does, of one that is an administrator's; null where the route writes it down itself. @default method and address */
    act?: (request: FastifyRequest<any>) => Act | null
  }
  interface FastifyRequest {
    act: (Act & { by: string }) | null
  }
}

const READING = new Set(['GET', 'HEAD', 'OPTIONS'])
const WHAT_MAX = 200

/**
 * Writes down what administrators do, on pages and by the API, those of the plugins included: before it is done, so that nothing is done
 * of which nobody can read, and once more where it was refused, or failed on the way, so that nobody knows how far it came.
 */
export default fp(async (app: FastifyInstance) => {
  const write = ({ user, what, by }: Act & { by: string }, { ip, headers }: FastifyRequest): Promise<void> =>
    app.documents.audit.add({ what: what.slice(0, WHAT_MAX), user: user ?? by, ...(user !== undefined && { by }), ip, userAgent: headers['user-agent'] ?? '' })

  app.decorateRequest('act', null)
  app.addHook('preHandler', async (request) => {
    const { method, url, routeOptions: { config } } = request
    if (READING.has(method) || !isAdministering(request)) return
    // A body may take its time, and whoever sends it have been locked or signed out meanwhile.
    if (!await app.sessions.isAlive(request)) throw new UnauthenticatedError()
    const act = config.act === undefined ? { what: `${method} ${url}` } : config.act(request)
    if (act === null) return
    const known = { ...act, by: mustViewer(app, request).username }
    await write(known, request)
    request.act = known
  })
  app.addHook('onResponse', async (request, { statusCode }) => {
    const { act } = request
    if (act === null || statusCode < 400) return
    await write({ ...act, what: `${act.what}: ${statusCode < 500 ? 'refused' : 'not confirmed'} (${statusCode})` }, request).catch((err: unknown) => request.log.error({ err, ...act }, 'not written to the audit log'))
  })
}, { name: 'site-acts', fastify: '5.x' })
