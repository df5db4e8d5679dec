import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Reads } from '../levels/index.ts'
import type { ResolvedOptions } from '../options.ts'
import { cacheRoute, giveUp } from './cache.ts'
import { onEveryRoute } from './in-force.ts'
import type { CoherentWrites } from './options.ts'
import { Paths } from './paths.ts'
import { isSafe } from './rules.ts'
import { wrapInWrite } from './writes.ts'

export type { RouteCacheOptions, RouteInvalidates } from './options.ts'

/** Gives effect to what routes ask for in their config. */
export function addRouteConfig (fastify: FastifyInstance, reads: Reads, writes: CoherentWrites, options: ResolvedOptions): void {
  const paths = new Paths()
  const concerns = (request: FastifyRequest) => !isSafe(request.method) && paths.isCached(request)
  onEveryRoute(fastify, concerns, (route, isEarly) => {
    wrapInWrite(route, writes, paths)
    cacheRoute(route, isEarly, paths, reads, options, writes)
  })
  fastify.addHook('onReady', async () => {
    const routes = paths.undeclared
    if (routes.length > 0) fastify.log.warn({ plugin: '@jpulse/config-cache', routes }, 'these routes drop what is kept of their path: give them config.invalidates, or false where they change nothing')
  })
  // A request that ended without a response, or with an error before onSend, must not keep its load open.
  fastify.addHook('onResponse', async (request) => giveUp(reads, request))
  fastify.addHook('onRequestAbort', async (request) => giveUp(reads, request))
}
