import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { FST_ERR_REDIS_SESSIONS_NO_SESSION } from '../errors.ts'
import { RequestSession } from './request-session.ts'
import { checkAttributes, type CookieAttributes } from './session-cookie.ts'
import type { Shared } from './shared.ts'

type Callback = (err?: unknown) => void

const kState = Symbol('redis-sessions.request')

interface Marked { [kState]?: RequestSession }

/** What is done to the session of a request; undefined where it has none. */
export function stateOf (request: object): RequestSession | undefined {
  return (request as Marked)[kState]
}

function refused (): never {
  throw new FST_ERR_REDIS_SESSIONS_NO_SESSION()
}

/** Plugins that look into the session of every request, such as @fastify/passport, find it empty. */
const READS = { get: () => undefined, isModified: () => false, isSaved: () => false, touch: () => {} }

/** `request.session` where there is none: what is written to it would be lost. */
const NO_SESSION = new Proxy(Object.create({ ...READS, set: refused, options: refused, save: refused, regenerate: refused, reload: refused, destroy: refused }) as object, { set: refused, defineProperty: refused })

/** Gives each request its session, and saves it before the reply leaves. */
export function addHooks (fastify: FastifyInstance, shared: Shared): void {
  const { inFlight } = shared
  const isOurs = (token: string) => shared.signer.unsign(token).id !== null
  fastify.decorateRequest('session', null as never)
  fastify.addHook('onRequest', (request, reply, done) => {
    const config = request.routeOptions.config?.session
    if (config === false || !shared.cookies.covers(request)) {
      request.session = NO_SESSION as FastifyRequest['session']
      return done()
    }
    const token = shared.cookies.take(request, isOurs)
    const state = new RequestSession(request, shared, { token, others: () => shared.cookies.others(request, token!, isOurs), isActivity: config?.activity ?? true, reply })
    ;(request as Marked)[kState] = state
    if (state.token === undefined) {
      state.begin()
      return done()
    }
    state.load().then(() => done(), done)
  })
  fastify.addHook('onSend', (request, reply, payload, done) => {
    const state = stateOf(request)
    if (state === undefined || state.isOver) return done(null, payload)
    const pending = pendingReplies.get(state)
    if (pending !== undefined) return pending.discard(payload)
    // Hot path: most requests change nothing, and are spared the promises (benchmarks/redis-sessions/read.bench.js).
    if (!state.canEndAtOnce()) return end(state, reply, payload, done)
    state.isOver = true
    inFlight.delete(state)
    done(null, payload)
  })
  fastify.addHook('onResponse', (request, _reply, done) => {
    const state = stateOf(request)
    if (state === undefined) return done()
    inFlight.delete(state)
    if (state.isOver && state.canEndAtOnce()) return done()
    state.finishLate().catch((err) => shared.log.error({ err, reqId: request.id }, 'what a request wrote to its session was not stored')).then(() => done())
  })

  /** Requests whose session is being saved for the end of their reply. */
  const pendingReplies = new WeakMap<RequestSession, PendingReply>()

  function end (state: RequestSession, reply: FastifyReply, payload: unknown, done: (err: Error | null, payload?: unknown) => void): void {
    const pending = new PendingReply(reply)
    pendingReplies.set(state, pending)
    const over = () => {
      state.isOver = true
      inFlight.delete(state)
      pending.restore()
    }
    state.finish(reply).then(() => {
      over()
      done(null, payload)
    }, (err) => {
      over()
      done(err)
    })
  }
}

/**
 * The reply of a request while the end of its session is under way. Fastify sends a second one, empty, where an async
 * handler sends its reply and does not return it, since it cannot see yet that the first is on its way. As without this
 * plugin, the first is the reply.
 */
class PendingReply {
  readonly #reply: FastifyReply
  readonly #statusCode: number
  readonly #headers: ReturnType<FastifyReply['getHeaders']>
  #isDisturbed = false

  constructor (reply: FastifyReply) {
    this.#reply = reply
    this.#statusCode = reply.statusCode
    this.#headers = { ...reply.getHeaders() }
  }

  /** The payload of a second reply. */
  discard (payload: unknown): void {
    this.#isDisturbed = true
    const { destroy } = (payload ?? {}) as { destroy?: () => void }
    if (typeof destroy === 'function') destroy.call(payload)
  }

  /** Undoes what came with a second reply, such as the status of an error. */
  restore (): void {
    if (!this.#isDisturbed) return
    const now = this.#reply.getHeaders()
    for (const name of Object.keys(now)) if (!(name in this.#headers) && name !== 'set-cookie') this.#reply.removeHeader(name)
    for (const [name, value] of Object.entries(this.#headers)) if (name !== 'set-cookie' && value !== now[name]) this.#reply.header(name, value)
    this.#reply.code(this.#statusCode)
  }
}

/** `fastify.decryptSession` as @fastify/session has it: gives any object the session of a token. */
export function decryptSession (shared: Shared) {
  return (token: string, request: object, cookie: CookieAttributes | Callback, callback?: Callback): void => {
    const done = typeof cookie === 'function' ? cookie : callback!
    if (typeof cookie !== 'function') checkAttributes(cookie)
    const state = new RequestSession(request as FastifyRequest, shared, { token, ...(typeof cookie === 'function' ? {} : { cookie }) })
    ;(request as Marked)[kState] = state
    state.load().then(() => state.failure === null ? state.call(done) : state.call(done, state.failure), done)
  }
}
