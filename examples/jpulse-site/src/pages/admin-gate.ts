import type {} from '@jpulse/redis-sessions'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { isAdmin, viewer } from '../auth/viewer.ts'
import { sendError } from '../plugins/errors.ts'
import { toSignIn } from './page.ts'

/**
 * Lets administrators alone through to the pages below /admin/. Whoever is not signed in goes there first and then on to where they
 * wanted, also to the dashboard, which a plugin serves that would answer people as it answers programs.
 */
export default fp(async (app: FastifyInstance) => {
  app.addHook('onRequest', async (request, reply) => {
    if (!/^\/admin(?:\/|$)/.test(request.routeOptions.url ?? '')) return
    try {
      if (['GET', 'HEAD'].includes(request.method) && viewer(app, request) === null) return toSignIn(reply, request.url)
      isAdmin(request)
    } catch (err) {
      return sendError(err, request, reply)
    }
  })
}, { name: 'site-admin-gate', fastify: '5.x', dependencies: ['@jpulse/redis-sessions'] })
