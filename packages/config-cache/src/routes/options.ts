import type { FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { callback, opaque } from '@jpulse/plugin-kit'
import { FST_ERR_CONFIG_CACHE_INVALID_OPTION, FST_ERR_CONFIG_CACHE_INVALID_SCOPE } from '../errors.ts'
import { listOf, type Names } from '../names.ts'
import { checkerOf, Ms } from '../checks.ts'
import { asList, type Route } from './in-force.ts'
import { isSafe } from './rules.ts'

/** What a route's responses depend on. */
export interface RouteCacheOptions {
  /** What tells equal requests apart, beside route, host and scope. @default method and the canonical JSON of params, query and body */
  key?: ((request: FastifyRequest) => string) | undefined
  /**
   * Whose response it is: a user or role, as a text or number; a promise, an object or nothing is an error. A route whose responses differ
   * by user must say so; `undefined` in its place is an error. @default shared by all, except for requests with `Authorization`
   */
  scope?: (request: FastifyRequest) => string | number | bigint
  /** What drops the response. A text is one tag. @default none */
  tags?: Names | ((request: FastifyRequest) => Names) | undefined
  /** Names of request headers that tell requests apart; each response names them in its `Vary`. One that the handler sets is obeyed without this. @default none */
  vary?: Names | undefined
  /**
   * Names of the headers that are kept, of those that the handler sets; those without which it would be another response (type, encoding, location,
   * validators, `Vary`, freshness) always are. @default all
   */
  headers?: Names | undefined
  /** Whether a response is kept, where nothing forbids it. @default those of status 200, 203 and 204; other successes, redirects, 404, 405, 410 and 414 where they say for how long */
  when?: ((reply: FastifyReply) => boolean) | undefined
  /** Longest life on both levels, in milliseconds, a whole number from 1; a shorter one in the response counts. @default the options `ttlMs` and `redisTtlMs` */
  ttlMs?: number | undefined
  /** Whether instances share it through Redis. @default true */
  l2?: boolean | undefined
}

/** Tags that the handler of a route changes; no request may be answered before the cluster has dropped them. */
export type RouteInvalidates = Names | ((request: FastifyRequest) => Names | Promise<Names>)

/** What routes need of the cache. */
export interface CoherentWrites {
  isCaching (): boolean
  /** Counts and publishes a response that is not kept though its route asks for that, and logs each cause once a minute. */
  unkept (key: string, reason: string, cause: string, err?: unknown): void
  /** Milliseconds since 1970 by the clock that all instances have: how old a response is must not depend on which one made it. */
  now (): number
  write<T> (touched: { tags: readonly string[] }, work: () => Promise<T>): Promise<T>
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Caches the responses of the route (@jpulse/config-cache); false and null do not. */
    cache?: RouteCacheOptions | false | null
    /**
     * Runs the handler as a coherent write: the reply leaves when no instance can serve the old responses. False and null do not.
     * Where a route says nothing, a method that changes something (POST, PUT, DELETE …) drops what is kept of its path.
     */
    invalidates?: RouteInvalidates | false | null
  }
}

const Headers = Type.Optional(opaque<Names>('a name of a header or an array of them', (value) => isNames(value) && listOf('A header', value as Names).every(isToken)))

const check = checkerOf(Type.Object({
  key: Type.Optional(callback<RouteCacheOptions['key']>()),
  scope: Type.Optional(callback<RouteCacheOptions['scope']>()),
  tags: Type.Optional(opaque<RouteCacheOptions['tags']>('a text, an array of texts, or a function that returns one', (value) => typeof value === 'function' || isNames(value))),
  vary: Headers,
  headers: Headers,
  when: Type.Optional(callback<RouteCacheOptions['when']>()),
  ttlMs: Ms(1),
  l2: Type.Optional(Type.Boolean())
}, { additionalProperties: false }))

/** A name as HTTP has it (RFC 9110, section 5.6.2); `*` would be one, and is no header. */
function isToken (name: string): boolean {
  return name !== '*' && /^[\w!#$%&'*+.^`|~-]+$/.test(name)
}

function isNames (value: unknown): boolean {
  return typeof value === 'string' || (Array.isArray(value) && value.every((name) => typeof name === 'string'))
}

/** The options of a route that is cached, checked; null for one that is not. @throws FST_ERR_CONFIG_CACHE_INVALID_OPTION */
export function cacheOf (given: unknown, url: string): RouteCacheOptions | null {
  if (given === undefined || given === null || given === false) return null
  const where = `config.cache of ${url}`
  if (typeof given !== 'object') throw new FST_ERR_CONFIG_CACHE_INVALID_OPTION(where, 'must be false or an object')
  // Meant to keep visitors apart, as by a function that was not found: without it all would share.
  if ('scope' in given && given.scope === undefined) throw new FST_ERR_CONFIG_CACHE_INVALID_OPTION(`${where}.scope`, 'is undefined: leave it out where all visitors share the responses')
  const options = check(given, where) as RouteCacheOptions
  if (typeof options.tags !== 'function') listOf('A tag', options.tags)
  return options
}

/**
 * The methods of a route whose responses are kept: the safe ones that ask for something, and POST where the route has no others that
 * change something, as a query with a body. @throws FST_ERR_CONFIG_CACHE_INVALID_OPTION where there is none
 */
export function cachedMethods ({ method, url }: Route): ReadonlySet<string> {
  const all = asList(method).map((name) => name.toUpperCase())
  const kept = all.filter((name) => ['GET', 'HEAD', 'QUERY'].includes(name) || (name === 'POST' && all.every((other) => other === 'POST' || isSafe(other))))
  if (kept.length === 0) throw new FST_ERR_CONFIG_CACHE_INVALID_OPTION(`config.cache of ${url}`, `is for GET, HEAD, QUERY and POST, not for ${all.join(', ')}`)
  return new Set(kept)
}

/** What a route invalidates, checked; null where nothing. @throws FST_ERR_CONFIG_CACHE_INVALID_OPTION */
export function invalidatesOf (given: unknown, url: string): RouteInvalidates | null {
  if (given === undefined || given === null || given === false) return null
  if (typeof given === 'function') return given as RouteInvalidates
  const where = `config.invalidates of ${url}`
  if (!isNames(given) || (given as Names).length === 0) throw new FST_ERR_CONFIG_CACHE_INVALID_OPTION(where, 'must be a tag, tags, or a function that returns them')
  listOf('A tag', given as Names)
  return given as Names
}

/** @throws FST_ERR_CONFIG_CACHE_INVALID_SCOPE: one scope for all would show everybody the response of the first */
export function scopeOf (cache: RouteCacheOptions, request: FastifyRequest): string | null {
  if (cache.scope === undefined) return null
  const scope: unknown = cache.scope(request)
  if (typeof scope === 'string' || typeof scope === 'bigint' || (typeof scope === 'number' && !Number.isNaN(scope))) return `${typeof scope} ${scope}`
  throw new FST_ERR_CONFIG_CACHE_INVALID_SCOPE(scope === null ? 'null' : typeof (scope as { then?: unknown })?.then === 'function' ? 'a promise' : typeof scope)
}
