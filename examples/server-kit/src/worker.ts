import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { Identity } from './identity.ts'

declare module 'fastify' {
  interface FastifyInstance {
    identity: Identity
  }
}

/** Every response says which worker gave it. */
export default fp(async (app: FastifyInstance, { identity }: { identity: Identity }) => {
  app.decorate('identity', identity)
  app.addHook('onRequest', async (_request, reply) => {
    reply.header('x-worker', identity.instanceId)
  })
}, { name: 'site-worker', fastify: '5.x' })
