// The door of what a route can ask for in its config.
export { addRouteCache } from './cache.ts'
export type { CoherentWrites, RouteCacheOptions, RouteInvalidates } from './options.ts'
export { addRouteWrites } from './writes.ts'
