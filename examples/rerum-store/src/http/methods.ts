import type { FastifyInstance, HTTPMethods } from 'fastify'
import fp from 'fastify-plugin'
import { FST_ERR_RERUM_METHOD } from '../errors.ts'

const METHODS: readonly HTTPMethods[] = ['DELETE', 'GET', 'HEAD', 'OPTIONS', 'PATCH', 'POST', 'PUT', 'TRACE']

/** Decorates with `refuseOtherMethods`: call it when all routes are there, and every address answers 405 with `Allow` to the methods it does not take. */
export default fp(async (app: FastifyInstance) => {
  const taken = new Map<string, Set<string>>()
  let closed = false
  app.addHook('onRoute', ({ url, method }) => {
    if (closed) return
    const methods = taken.get(url) ?? new Set()
    for (const one of [method].flat()) methods.add(one)
    taken.set(url, methods)
  })
  app.decorate('refuseOtherMethods', () => {
    closed = true
    for (const [url, methods] of taken) {
      const allow = [...methods].sort().join(', ')
      app.route({
        method: METHODS.filter((one) => !methods.has(one)),
        url,
        exposeHeadRoute: false,
        schema: { hide: true } as object,
        // Before a body is read.
        onRequest: async (request, reply) => {
          reply.header('Allow', allow)
          throw new FST_ERR_RERUM_METHOD(request.method)
        },
        handler: async () => undefined
      })
    }
  })
}, { name: 'rerum-methods', fastify: '5.x' })

declare module 'fastify' {
  interface FastifyInstance {
    refuseOtherMethods: () => void
  }
}
