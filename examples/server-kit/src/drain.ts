import { once } from 'node:events'
import { Server } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'

declare module 'fastify' {
  interface FastifyInstance {
    drain: Drain
  }
}

/** Longest wait for clients to leave, in milliseconds. */
const MAX_WAIT_MS = 3000

/**
 * Ends this process's service without failing a request.
 *
 * A plain `app.close()` closes idle keep-alive connections, and a client that sends its next request at that moment
 * sees a reset. So the worker first stops accepting only, answers what still comes on open connections with
 * `connection: close`, and closes once the clients have left.
 */
class Drain {
  readonly #app: FastifyInstance
  readonly #first: Array<() => Promise<unknown>> = []
  #done: Promise<void> | undefined

  constructor (app: FastifyInstance) {
    this.#app = app
  }

  get active (): boolean {
    return this.#done !== undefined
  }

  /** Adds what is to begin at once, such as the end of long-lived connections, for which the drain would wait in vain. */
  first (fn: () => Promise<unknown>): void {
    this.#first.push(fn)
  }

  start (): Promise<void> {
    this.#done ??= this.#run()
    return this.#done
  }

  async #run (): Promise<void> {
    const { server, log } = this.#app
    for (const fn of this.#first) fn().catch((err: unknown) => log.error({ err }, 'a part of the drain failed'))
    if (server.listening) {
      const empty = once(server, 'close')
      // http.Server's own close() would also end the idle connections.
      Server.prototype.close.call(server)
      await Promise.race([empty, sleep(MAX_WAIT_MS, undefined, { ref: false })])
    }
    await this.#app.close()
  }
}

export default fp(async (app: FastifyInstance) => {
  const drain = new Drain(app)
  app.decorate('drain', drain)
  // Not async: where a handler does not return its reply, Fastify would send another, empty one meanwhile.
  app.addHook('onSend', (_request, reply, payload, done) => {
    if (drain.active) reply.header('connection', 'close')
    done(null, payload)
  })
}, { name: 'site-drain', fastify: '5.x' })
