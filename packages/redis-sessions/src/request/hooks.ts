import type { FastifyInstance, FastifyRequest } from 'fastify'
import { stateOf, type Bridge } from './bridge.ts'
import { RequestSession, type Context, type SessionObject } from './request-session.ts'

/**
 * Puts our hooks around those of @fastify/session: before and after it loads, and before and after it would save, which
 * it is kept from, since it writes whole sessions whatever happened to them meanwhile.
 *
 * @param registerSession registers @fastify/session
 */
export async function addHooks (fastify: FastifyInstance, bridge: Bridge, context: Context, registerSession: () => Promise<void>): Promise<void> {
  // Not async: between this hook and the load by @fastify/session no other request may come.
  fastify.addHook('onRequest', (request, _reply, done) => {
    bridge.enter(new RequestSession(request, context.cookies.take(request), context))
    done()
  })
  // Hot path: most requests change nothing, and are spared the promises (benchmarks/redis-sessions/read.bench.js).
  fastify.addHook('onSend', (request, reply, payload, done) => {
    const state = stateOf(request)
    if (state === undefined) return done(null, payload)
    const session = state.failure === null ? request.session : state.session
    const hide = () => {
      state.hidden = { session }
      request.session = null as never
      done(null, payload)
    }
    // Where it cannot be saved, @fastify/session is not reached, and the error handler sees the session.
    if (state.isUnchanged(session)) hide()
    else state.finish(reply, session).then(hide, done)
  })
  await registerSession()
  fastify.addHook('onRequest', (request, _reply, done) => {
    const state = stateOf(request)!
    bridge.entered(state)
    if (state.failure !== null) refuse(request, state.failure)
    done()
  })
  fastify.addHook('onSend', (request, _reply, payload, done) => {
    const state = stateOf(request)
    if (state !== undefined && state.hidden !== null) {
      request.session = state.hidden.session as SessionObject
      state.hidden = null
      if (state.failure !== null) refuse(request, state.failure)
    }
    done(null, payload)
  })
}

/** Touching the session throws; a page that does not is served. */
function refuse (request: FastifyRequest, failure: Error): void {
  Object.defineProperty(request, 'session', {
    get () { throw failure },
    set (session: SessionObject) { setSession(request, session) },
    configurable: true,
    enumerable: true
  })
}

export function setSession (request: FastifyRequest, value: SessionObject | null | undefined): void {
  Object.defineProperty(request, 'session', { value, writable: true, configurable: true, enumerable: true })
}
