import type { FeatureContext } from '@jpulse/config-cache'
import type {} from '@jpulse/redis-sessions'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { ForbiddenError, UnauthenticatedError } from '../errors.ts'
import type { Role } from '../users/users.ts'

declare module 'fastify' {
  interface Session {
    /** What `sessions.login` was given. */
    role?: Role
  }
}

/** Who looks at a page. */
export interface Viewer {
  username: string
  role: Role
  handle: string
}

/**
 * Who is signed in; null for nobody.
 * @throws FST_ERR_REDIS_SESSIONS_UNAVAILABLE while the sessions are out of reach
 */
export function viewer (app: FastifyInstance, request: FastifyRequest): Viewer | null {
  const current = app.sessions.current(request)
  return current === null ? null : { username: current.userId, handle: current.handle, role: request.session.role ?? 'user' }
}

/** Who is signed in; `unknown` while the sessions are out of reach, for pages that can do without. */
export function maybeViewer (app: FastifyInstance, request: FastifyRequest): Viewer | null | 'unknown' {
  try {
    return viewer(app, request)
  } catch (err) {
    if ((err as { statusCode?: number }).statusCode === 503) return 'unknown'
    throw err
  }
}

/** For whom a flag is asked; who is not signed in is told apart by address. */
export function audience (app: FastifyInstance, request: FastifyRequest): FeatureContext {
  const found = maybeViewer(app, request)
  const known = found === 'unknown' ? null : found
  return { targetingKey: known?.username ?? request.ip, signedIn: known !== null, ...(known !== null && { role: known.role }) }
}

/** @throws UnauthenticatedError */
export function mustViewer (app: FastifyInstance, request: FastifyRequest): Viewer {
  const found = viewer(app, request)
  if (found === null) throw new UnauthenticatedError()
  return found
}

const administering = new WeakSet<FastifyRequest>()

/** For the plugins' `authorize`: an error says which of the two it is. @throws UnauthenticatedError, ForbiddenError */
export function isAdmin (request: FastifyRequest): boolean {
  if (mustViewer(request.server, request).role !== 'admin') throw new ForbiddenError()
  administering.add(request)
  return true
}

/** Whether it was let in because an administrator sends it. */
export const isAdministering = (request: FastifyRequest): boolean => administering.has(request)

/** Anybody may ask whether a feature is on; all else of the configuration is for administrators. */
export function mayConfigure (request: FastifyRequest): boolean {
  const { method, url } = request.routeOptions
  return (['GET', 'HEAD'].includes(String(method)) && url === '/api/1/features/:name') || isAdmin(request)
}
