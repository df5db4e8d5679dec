import type { FastifyInstance, FastifyReply, FastifyRequest, RouteHandlerMethod } from 'fastify'
import type { CoherentWrites, RouteInvalidates } from './options.ts'

/** A handler under way inside a write. */
interface Running {
  /** Says that the handler answered by itself. */
  sent: () => void
  /** Settles with the write. */
  over: Promise<unknown>
}

const runningOf = new WeakMap<FastifyRequest, Running>()

/**
 * Runs the handlers of routes with `config.invalidates` inside a coherent write.
 *
 * A handler ends by returning a value or by `reply.send()`. Either way the work of the write is over then, and the response
 * waits: a returned value is handed on when the write has resolved, a sent one is held in onSend.
 */
export function addRouteWrites (fastify: FastifyInstance, writes: CoherentWrites): void {
  fastify.addHook('onRoute', (route) => {
    const invalidates = route.config?.invalidates
    if (invalidates === undefined) return
    route.handler = wrap(route.handler, invalidates, writes)
    const hold = async (request: FastifyRequest, _reply: FastifyReply, payload: unknown): Promise<unknown> => {
      const running = runningOf.get(request)
      runningOf.delete(request)
      running?.sent()
      await running?.over
      return payload
    }
    route.onSend = [hold, ...(route.onSend === undefined ? [] : [route.onSend].flat())]
  })
}

function wrap (handler: RouteHandlerMethod, invalidates: RouteInvalidates, writes: CoherentWrites): RouteHandlerMethod {
  return async function (request, reply) {
    const tags = typeof invalidates === 'function' ? await invalidates(request) : invalidates
    const work = new HandlerWork(() => handler.call(this, request, reply), reply)
    const over = writes.write({ tags }, async () => {
      // Without Redis the work begins before its write has a promise, which the handler's reply waits for.
      await undefined
      runningOf.set(request, { sent: () => work.sent(), over })
      return work.run()
    })
    try {
      const value = await over
      return work.isSent ? reply : value
    } catch (err) {
      runningOf.delete(request)
      // Sent already: the hook that holds the response got the error, and answers with it.
      if (work.isSent) return reply
      throw err
    }
  }
}

/** The handler as the work of a write: over when it returned a value, threw, or sent a reply by itself. */
class HandlerWork {
  isSent = false
  readonly #handler: () => unknown
  readonly #reply: FastifyReply
  #resolve: (value: unknown) => void = () => {}

  constructor (handler: () => unknown, reply: FastifyReply) {
    this.#handler = handler
    this.#reply = reply
  }

  run (): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve
      const result = this.#handler()
      // Hijacked: no response comes by that the write could hold.
      if (this.#reply.sent) resolve(undefined)
      // A reply is a promise of the end of the response, which waits for the write: it must not be waited for.
      if (result === this.#reply) return
      // Who calls back returns nothing; an async handler may fulfil with nothing, and is over then.
      if (isThenable(result)) result.then(resolve, reject)
      else if (result !== undefined) resolve(result)
    })
  }

  sent (): void {
    this.isSent = true
    this.#resolve(undefined)
  }
}

const isThenable = (value: unknown): value is PromiseLike<unknown> => typeof (value as PromiseLike<unknown> | undefined)?.then === 'function'
