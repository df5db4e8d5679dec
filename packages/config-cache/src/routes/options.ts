import type { FastifyRequest } from 'fastify'

/** What a route's responses depend on. */
export interface RouteCacheOptions {
  /** What tells equal requests apart. @default method, route, and the canonical JSON of params, query and body */
  key?: (request: FastifyRequest) => string
  /** Whose response it is: a user or role. A route whose responses differ by user must say so. @default shared by all */
  scope?: (request: FastifyRequest) => string
  /** What drops the response. @default none */
  tags?: readonly string[] | ((request: FastifyRequest) => readonly string[])
  /** Longest life on both levels, in milliseconds. @default the options `ttlMs` and `redisTtlMs` */
  ttlMs?: number
  /** Whether instances share it through Redis. @default true */
  l2?: boolean
}

/** Tags that the handler of a route changes; no request may be answered before the cluster has dropped them. */
export type RouteInvalidates = readonly string[] | ((request: FastifyRequest) => readonly string[] | Promise<readonly string[]>)

/** What routes need of the cache. */
export interface CoherentWrites {
  isCaching (): boolean
  write<T> (touched: { tags: readonly string[] }, work: () => Promise<T>): Promise<T>
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Caches the successful responses of the route (@jpulse/config-cache). */
    cache?: RouteCacheOptions
    /** Runs the handler as a coherent write: the reply leaves when no instance can serve the old responses. */
    invalidates?: RouteInvalidates
  }
}
