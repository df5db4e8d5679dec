import type { FastifyReply, FastifyRequest, onSendHookHandler, RouteHandlerMethod } from 'fastify'
import { FST_ERR_CONFIG_CACHE_INVALID_OPTION } from '../errors.ts'
import { listOf } from '../names.ts'
import { asList, type Route } from './in-force.ts'
import { cachedMethods, cacheOf, invalidatesOf, type CoherentWrites, type RouteInvalidates } from './options.ts'
import type { Paths } from './paths.ts'
import { isSafe } from './rules.ts'

/** A handler under way inside a write. */
interface Running {
  /** Says that the handler answered by itself. */
  sent: () => void
  /** Settles with the write. */
  over: Promise<unknown>
}

const runningOf = new WeakMap<FastifyRequest, Running>()

/**
 * Runs the handler of a route with `config.invalidates` inside a coherent write.
 *
 * The work of the write ends when the handler's promise does, also where it answered before; that of a handler without a promise
 * when it has answered. The response waits: a returned value is handed on when the write has resolved, a sent one is held
 * in onSend.
 */
export function wrapInWrite (route: Route, writes: CoherentWrites, paths: Paths): void {
  const given = route.config?.invalidates
  const invalidates = invalidatesOf(given, route.url)
  if (invalidates === null && (given !== undefined || !changes(route))) return
  if (invalidates !== null && cacheOf(route.config?.cache, route.url) !== null) {
    throw new FST_ERR_CONFIG_CACHE_INVALID_OPTION(`config.invalidates of ${route.url}`, 'stands beside config.cache: a hit would not run the handler')
  }
  if (invalidates === null) paths.noteUndeclared(route)
  const { handler } = route
  const wrapped = wrap(handler, (request) => touchedBy(request, invalidates, paths), writes)
  route.handler = function (request, reply) {
    return (invalidates === null && !paths.isCached(request) ? handler : wrapped).call(this, request, reply)
  }
  route.onSend = [hold, ...asList(route.onSend)]
}

/** Holds a response that was sent until the write has resolved. Most routes that change something have none. */
const hold: onSendHookHandler = (request, _reply, payload, done) => {
  const running = runningOf.get(request)
  if (running === undefined) return done(null, payload)
  runningOf.delete(request)
  running.sent()
  running.over.catch(unlessUndecided).then(() => done(null, payload), done)
}

/** Whether a route has a method that changes something; POST of a route that is cached asks for something. */
function changes (route: Route): boolean {
  const kept = cacheOf(route.config?.cache, route.url) === null ? null : cachedMethods(route)
  return asList(route.method).some((method) => !isSafe(method) && kept?.has(method) !== true)
}

/** What a request changes: what its route says, and what is kept of its path. A function may find that a request changes nothing. */
async function touchedBy (request: FastifyRequest, invalidates: RouteInvalidates | null, paths: Paths): Promise<readonly string[]> {
  const tags = listOf('A tag', typeof invalidates === 'function' ? await invalidates(request) : invalidates)
  if (isSafe(request.method) || (invalidates !== null && tags.length === 0)) return tags
  return paths.isCached(request) ? [...tags, paths.tagOf(request)] : tags
}

function wrap (handler: RouteHandlerMethod, touched: (request: FastifyRequest) => Promise<readonly string[]>, writes: CoherentWrites): RouteHandlerMethod {
  return async function (request, reply) {
    const tags = await touched(request)
    const work = new HandlerWork(() => handler.call(this, request, reply), reply)
    if (tags.length === 0) return work.alone()
    const over = writes.write({ tags }, async () => {
      // Without Redis the work begins before its write has a promise, which the handler's reply waits for.
      await undefined
      runningOf.set(request, { sent: () => work.sent(), over })
      return work.run()
    })
    try {
      const value = await over
      return work.isAnswered ? reply : value
    } catch (err) {
      runningOf.delete(request)
      // Sent already: the hook that holds the response got the error, and answers with it.
      if (work.isAnswered) return reply
      return unlessUndecided(err)
    }
  }
}

/** The outcome of a handler that answered with a 5xx: its operation may yet reach the database, whatever the client is told. */
class Undecided extends Error {
  readonly value: unknown

  constructor (value: unknown) {
    super('the handler answered with a 5xx')
    this.value = value
  }
}

function unlessUndecided (err: unknown): unknown {
  if (err instanceof Undecided) return err.value
  throw err
}

/** The handler as the work of a write. */
class HandlerWork {
  isAnswered = false
  readonly #handler: () => unknown
  readonly #reply: FastifyReply
  #answered: () => void = () => {}

  constructor (handler: () => unknown, reply: FastifyReply) {
    this.#handler = handler
    this.#reply = reply
  }

  /** Runs it outside of a write. */
  async alone (): Promise<unknown> {
    const result = this.#handler()
    return result === undefined ? this.#reply : result
  }

  /** @throws Undecided, and what the handler throws */
  async run (): Promise<unknown> {
    const reply = this.#reply
    const answer = this.#answer()
    // A reply is a promise of the end of the response, which waits for the write: who returns or awaits it waits for his answer only.
    Object.defineProperty(reply, 'then', {
      configurable: true,
      value: (fulfilled: () => void, rejected: (err: unknown) => void) => { answer.then(() => fulfilled(), rejected) }
    })
    try {
      const result = this.#handler()
      const isPromise = result !== reply && typeof (result as PromiseLike<unknown> | undefined)?.then === 'function'
      // Who calls back returns nothing; an async handler may fulfil with nothing, and is over then.
      const value = isPromise ? await result : result === undefined || result === reply ? await answer : result
      if (value instanceof Error) throw value
      if (this.#statusCode >= 500) throw new Undecided(value)
      return value
    } finally {
      delete (reply as { then?: unknown }).then
    }
  }

  sent (): void {
    this.isAnswered = true
    this.#answered()
  }

  get #statusCode (): number {
    const { raw, sent, statusCode } = this.#reply
    return sent ? raw.statusCode : statusCode
  }

  /** Resolves when the handler has answered, through Fastify or by itself; rejects where the connection ended before. */
  #answer (): Promise<undefined> {
    const { raw } = this.#reply
    const answer = new Promise<undefined>((resolve, reject) => {
      this.#answered = () => resolve(undefined)
      raw.once('finish', () => this.sent())
      raw.once('close', () => reject(new Error('the connection was closed before the handler had answered')))
    })
    answer.catch(() => {})
    return answer
  }
}
