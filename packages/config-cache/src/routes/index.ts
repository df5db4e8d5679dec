import type { FastifyInstance } from 'fastify'
import type { Reads } from '../levels/index.ts'
import type { ResolvedOptions } from '../options.ts'
import { cacheRoute, giveUp } from './cache.ts'
import { onEveryRoute } from './in-force.ts'
import type { CoherentWrites } from './options.ts'
import { wrapInWrite } from './writes.ts'

export type { RouteCacheOptions, RouteInvalidates } from './options.ts'

/** Gives effect to what routes ask for in their config. */
export function addRouteConfig (fastify: FastifyInstance, reads: Reads, writes: CoherentWrites, options: ResolvedOptions): void {
  onEveryRoute(fastify, (route, isEarly) => {
    wrapInWrite(route, writes)
    cacheRoute(route, isEarly, reads, options, writes.isCaching)
  })
  // A request that ended without a response, or with an error before onSend, must not keep its load open.
  fastify.addHook('onResponse', async (request) => giveUp(reads, request))
  fastify.addHook('onRequestAbort', async (request) => giveUp(reads, request))
}
