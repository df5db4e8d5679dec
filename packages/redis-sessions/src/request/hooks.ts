import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { FST_ERR_REDIS_SESSIONS_NO_SESSION } from '../errors.ts'
import { RequestSession } from './request-session.ts'
import { checkAttributes, type CookieAttributes } from './session-cookie.ts'
import type { Shared } from './shared.ts'

type Callback = (err?: unknown) => void

const kState = Symbol('redis-sessions.request')
const kSession = Symbol('redis-sessions.session')

/** A request that has the property `session` of this plugin. */
interface Marked {
  [kState]?: RequestSession | null
  /** What `session` is, unless the request has one at which it has not looked. */
  [kSession]?: unknown
}

/** What is done to the session of a request; undefined where it has none. */
export function stateOf (request: object): RequestSession | undefined {
  return (request as Marked)[kState] ?? undefined
}

function refused (): never {
  throw new FST_ERR_REDIS_SESSIONS_NO_SESSION()
}

/** Plugins that look into the session of every request, such as @fastify/passport, find it empty. */
const READS = { get: () => undefined, isModified: () => false, isSaved: () => false, touch: () => {} }

/** `request.session` where there is none: what is written to it would be lost. */
const NO_SESSION = new Proxy(Object.create({ ...READS, set: refused, options: refused, save: refused, regenerate: refused, reload: refused, destroy: refused }) as object, { set: refused, defineProperty: refused })

/** The session object is made when somebody looks at it or puts something in its place. */
const SESSION = {
  getter (this: Marked): unknown {
    const state = this[kState]
    return state?.isWaiting === true ? state.look() : this[kSession]
  },
  setter (this: Marked, session: unknown): void {
    const state = this[kState]
    if (state?.isWaiting === true) state.look()
    this[kSession] = session
  }
}

const NO_TOKEN = Object.freeze({})
const NO_ACTIVITY = Object.freeze({ isActivity: false })

/** Gives each request its session, and saves it before the reply leaves. */
export function addHooks (fastify: FastifyInstance, shared: Shared): void {
  const { cookies } = shared
  fastify.decorateRequest('session', SESSION as never)
  // So that they are there when a request is made, and all requests have one shape.
  fastify.decorateRequest(kState as never, null as never)
  fastify.decorateRequest(kSession as never, null as never)
  fastify.addHook('onRequest', (request, reply, done) => {
    const config = request.routeOptions.config?.session
    if (config === false || !cookies.covers(request)) {
      request.session = NO_SESSION as FastifyRequest['session']
      return done()
    }
    const taken = cookies.take(request)
    const isActivity = config?.activity !== false
    const state = new RequestSession(request, reply, shared, taken === undefined ? isActivity ? NO_TOKEN : NO_ACTIVITY : { token: taken.token, isActivity })
    ;(request as Marked)[kState] = state
    // Hot path: no promise where there is no session, and for one that is at hand.
    if (taken === undefined) state.begin()
    else if (!state.beginNow(taken.unsigned)) {
      state.load().then(() => done(), done)
      return
    }
    done()
  })
  fastify.addHook('onSend', (request, reply, payload, done) => {
    const state = stateOf(request)
    if (state === undefined || state.isOver) return done(null, payload)
    const pending = pendingReplies.get(state)
    if (pending !== undefined) return pending.discard(payload)
    // Hot path: most requests change nothing, and are spared the promises.
    if (!state.canEndAtOnce()) return end(state, reply, payload, done)
    state.end()
    done(null, payload)
  })

  /** Requests whose session is being saved for the end of their reply. */
  const pendingReplies = new WeakMap<RequestSession, PendingReply>()

  function end (state: RequestSession, reply: FastifyReply, payload: unknown, done: (err: Error | null, payload?: unknown) => void): void {
    const pending = new PendingReply(reply)
    pendingReplies.set(state, pending)
    const over = () => {
      state.end()
      pending.restore()
    }
    state.work.finish(reply).then(() => {
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
    const state = new RequestSession(request as FastifyRequest, null, shared, { token, ...(typeof cookie === 'function' ? {} : { cookie }) })
    ;(request as Marked)[kState] = state
    state.load().then(() => {
      state.look()
      if (state.failure === null) state.work.call(done)
      else state.work.call(done, state.failure)
    }, done)
  }
}
