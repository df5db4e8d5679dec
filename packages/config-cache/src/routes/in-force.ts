import type { FastifyInstance, FastifyRequest, RouteOptions } from 'fastify'
import { FST_ERR_CONFIG_CACHE_NOT_IN_FORCE } from '../errors.ts'

/** What is changed of a route: of its options before it exists, or of what Fastify made of them. */
export type Route = Pick<RouteOptions, 'config' | 'handler' | 'onSend' | 'preSerialization' | 'url' | 'method' | 'constraints'>

const IN_FORCE = Symbol('in force')

interface Context { config: Record<PropertyKey, unknown>, handler: Route['handler'], onSend: unknown[] | null, preSerialization: unknown[] | null }

/**
 * Has `apply` called for every route, also for those that were declared beside a registration that nobody awaited:
 * they exist before this plugin runs, and Fastify tells nobody of them. They are found at their first request, before any
 * handler has run, and refused where they cannot be changed.
 *
 * @param concerns whether a request is about a route that matters, though it asks for nothing
 */
export function onEveryRoute (fastify: FastifyInstance, concerns: (request: FastifyRequest) => boolean, apply: (route: Route, isEarly: boolean) => void): void {
  const seen: Array<{ route: Route, cache: unknown, invalidates: unknown }> = []
  fastify.addHook('onRoute', (route) => {
    seen.push({ route, cache: route.config?.cache, invalidates: route.config?.invalidates })
    apply(route, false)
    route.config = { ...route.config, [IN_FORCE]: true } as NonNullable<typeof route.config>
  })
  // Another plugin may have changed what a route asks for after it was read.
  fastify.addHook('onReady', async () => {
    for (const { route: { config, url }, cache, invalidates } of seen.splice(0)) {
      if (config?.cache !== cache || config?.invalidates !== invalidates) throw new FST_ERR_CONFIG_CACHE_NOT_IN_FORCE(url, CHANGED_LATER)
    }
  })
  fastify.addHook('onRequest', (request, _reply, done) => {
    const config = request.routeOptions.config as unknown as Context['config']
    if (config[IN_FORCE] === true || !(isAsked(config.cache) || isAsked(config.invalidates) || concerns(request))) return done()
    try {
      applyLate(request, apply)
      done()
    } catch (err) {
      done(err as Error)
    }
  })
}

const DECLARED_BEFORE = 'was declared before the cache was there: await app.register(configCache)'
const CHANGED_LATER = 'got its config.cache or config.invalidates from an onRoute hook that was added after the cache'

const isAsked = (option: unknown): boolean => option !== undefined && option !== null && option !== false

function applyLate (request: FastifyRequest, apply: (route: Route, isEarly: boolean) => void): void {
  const symbol = Object.getOwnPropertySymbols(request).find(({ description }) => description === 'fastify.context')
  const context = symbol === undefined ? undefined : (request as unknown as Record<symbol, Context>)[symbol]
  const url = String(request.routeOptions.url)
  if (context?.handler !== request.routeOptions.handler) throw new FST_ERR_CONFIG_CACHE_NOT_IN_FORCE(url, DECLARED_BEFORE)
  const { config, handler, onSend, preSerialization } = context
  const route = { config, handler, url, method: config.method, onSend: onSend ?? [], preSerialization: preSerialization ?? [] } as unknown as Route
  apply(route, true)
  context.handler = route.handler
  context.onSend = asList<unknown>(route.onSend)
  context.preSerialization = asList<unknown>(route.preSerialization)
  // What Fastify will run, not what was written.
  if (request.routeOptions.handler !== route.handler) throw new FST_ERR_CONFIG_CACHE_NOT_IN_FORCE(url, DECLARED_BEFORE)
  config[IN_FORCE] = true
  request.log.warn({ url }, `this route ${DECLARED_BEFORE}`)
}

export function asList<T> (value: T | readonly T[] | undefined | null): T[] {
  if (value === undefined || value === null) return []
  return Array.isArray(value) ? [...value as T[]] : [value as T]
}
