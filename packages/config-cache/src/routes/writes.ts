import type { FastifyReply, FastifyRequest, RouteHandlerMethod } from 'fastify'
import { listOf } from '../names.ts'
import { asList, type Route } from './in-force.ts'
import { invalidatesOf, type CoherentWrites, type RouteInvalidates } from './options.ts'

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
export function wrapInWrite (route: Route, writes: CoherentWrites): void {
  const invalidates = invalidatesOf(route.config?.invalidates, route.url)
  if (invalidates === null) return
  const hold = async (request: FastifyRequest, _reply: FastifyReply, payload: unknown): Promise<unknown> => {
    const running = runningOf.get(request)
    runningOf.delete(request)
    running?.sent()
    await running?.over.catch(unlessUndecided)
    return payload
  }
  route.handler = wrap(route.handler, invalidates, writes)
  route.onSend = [hold, ...asList(route.onSend)]
}

function wrap (handler: RouteHandlerMethod, invalidates: RouteInvalidates, writes: CoherentWrites): RouteHandlerMethod {
  return async function (request, reply) {
    const tags = listOf('A tag', typeof invalidates === 'function' ? await invalidates(request) : invalidates)
    const work = new HandlerWork(() => handler.call(this, request, reply), reply)
    // A function may find that this request changes nothing.
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
