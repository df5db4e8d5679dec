import type { FastifyInstance, HTTPMethods } from 'fastify'
import fp from 'fastify-plugin'
import { FST_ERR_RERUM_METHOD } from '../errors.ts'

const METHODS: readonly HTTPMethods[] = ['DELETE', 'GET', 'HEAD', 'OPTIONS', 'PATCH', 'POST', 'PUT', 'TRACE']

/**
 * Says with each answer, in `Allow`, which methods its address takes, and answers OPTIONS. A PATCH is taken as a POST too, of a client that
 * says so (`X-HTTP-Method-Override`). Decorates with `refuseOtherMethods`: call it
 * when all routes are there, and every address answers 405 to the methods that it does not take.
 */
export default fp(async (app: FastifyInstance) => {
  const taken = new Map<string, Set<string>>()
  let closed = false
  const allowed = (url: string | undefined): string | undefined => {
    const methods = url === undefined ? undefined : taken.get(url)
    return methods && [...new Set([...methods, ...methods.has('PATCH') ? ['POST'] : [], 'OPTIONS'])].sort().join(', ')
  }
  app.addHook('onRoute', ({ url, method }) => {
    if (closed) return
    const methods = taken.get(url) ?? new Set()
    for (const one of [method].flat()) methods.add(one)
    taken.set(url, methods)
  })
  app.addHook('onRequest', async (request, reply) => {
    const allow = allowed(request.routeOptions.url)
    if (allow !== undefined) reply.header('Allow', allow)
  })
  app.decorate('refuseOtherMethods', () => {
    closed = true
    for (const [url, methods] of taken) {
      app.route({ method: 'OPTIONS', url, schema: { hide: true } as object, handler: async (_request, reply) => reply.code(204).send() })
      app.route({
        method: METHODS.filter((one) => one !== 'OPTIONS' && !methods.has(one)),
        url,
        exposeHeadRoute: false,
        schema: { hide: true } as object,
        // Before a body is read.
        onRequest: async (request) => { throw new FST_ERR_RERUM_METHOD(request.method === 'POST' && methods.has('PATCH') ? 'POST without X-HTTP-Method-Override: PATCH' : request.method) },
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
