import type { FastifyRequest } from 'fastify'
import { callWithin } from '../calls.ts'

/**
 * Who may. Exactly `true` lets a request pass. An error that it throws with a 4xx `statusCode` is the answer, so an application
 * that knows better than the rule of `guard` says itself which of 401 and 403 it is.
 */
export type Authorize = (request: FastifyRequest) => boolean | Promise<boolean>

/** A plugin's own two errors: 401 `FST_ERR_<PLUGIN>_UNAUTHORIZED` and 403 `FST_ERR_<PLUGIN>_FORBIDDEN`. */
export interface Refusals {
  readonly Unauthorized: new () => Error
  readonly Forbidden: new () => Error
}

/**
 * A hook `onRequest` that lets nobody through but whom `authorize` lets in: before the body is read, so that an unauthorized request
 * costs little. Whom it does not, is answered 401 where nobody is logged in (`isSomebody`), else 403.
 */
export function guard (authorize: Authorize, { Unauthorized, Forbidden }: Refusals): (request: FastifyRequest) => Promise<void> {
  return async (request) => {
    if (await authorize(request) === true) return
    throw isSomebody(request) ? new Forbidden() : new Unauthorized()
  }
}

/**
 * Whether the caller may see everything in a route that anybody may use. What `authorize` throws makes nobody of the caller;
 * what is no refusal is logged as a warning.
 *
 * @param timeoutMs how long it may take: a route that anybody may use waits for nobody's answer about one
 */
export async function isAuthorized (authorize: Authorize | undefined, request: FastifyRequest, timeoutMs = 1000): Promise<boolean> {
  if (authorize === undefined) return false
  try {
    return await callWithin(timeoutMs, () => authorize(request), () => new Error(`no answer within ${timeoutMs} ms`)) === true
  } catch (err) {
    if (!isRefusal(err)) request.log.warn({ err }, 'authorize failed, so the caller is treated as anonymous')
    return false
  }
}

/** Whether an error says that the caller is at fault. */
export function isRefusal (err: unknown): boolean {
  const statusCode = (err as { statusCode?: unknown } | null | undefined)?.statusCode
  return Number.isInteger(statusCode) && Number(statusCode) >= 400 && Number(statusCode) < 500
}

interface Known {
  readonly user?: unknown
  readonly session?: Record<string, unknown> | null
  readonly server: { readonly sessions?: { current?: (request: FastifyRequest) => unknown } }
}

/**
 * Whether a request is of somebody whom the application knows. The rule, in this order: `fastify.sessions.current(request)`
 * names a session (@jpulse/redis-sessions); `request.user` is set (@fastify/jwt, @fastify/passport and what follows their
 * custom); `request.session` has a `user`, a `userId` or a `passport.user` (@fastify/session, @fastify/secure-session). An
 * `Authorization` header alone makes nobody known: one that was not let in was wrong. Sessions that are out of reach know nobody.
 */
export function isSomebody (request: FastifyRequest): boolean {
  const { user, server, session } = request as unknown as Known
  try {
    if (isSet(server.sessions?.current?.(request)) || isSet(user)) return true
    return isSet(fieldOf(session, 'user')) || isSet(fieldOf(session, 'userId')) || isSet((fieldOf(session, 'passport') as Known | undefined)?.user)
  } catch {
    return false
  }
}

/** Sessions in a cookie have methods in place of properties. */
function fieldOf (session: Known['session'], name: string): unknown {
  if (typeof session !== 'object' || session === null) return undefined
  return session[name] ?? (typeof session.get === 'function' ? session.get(name) : undefined)
}

function isSet (value: unknown): boolean {
  return value !== undefined && value !== null && value !== false && value !== ''
}
