import { createHash } from 'node:crypto'
import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import { canonical } from '../values.ts'
import type { CoherentWrites, RouteCacheOptions } from './options.ts'
import { checkName, tagsOf } from '../names.ts'
import type { ResolvedOptions } from '../options.ts'
import type { Reads, Ticket, Wanted } from '../levels/index.ts'

/** A response as it is cached. */
interface Stored {
  readonly statusCode: number
  readonly contentType: string
  readonly etag: string
  readonly body: string
}

interface Pending { readonly wanted: Wanted, readonly ticket: Ticket }

const pendingOf = new WeakMap<FastifyRequest, Pending>()

/**
 * Caches the successful responses of routes with `config.cache`.
 *
 * The lookup is the route's last preHandler, so that what guards the route has run; the fill is its last onSend, so that
 * what is kept is what is sent.
 */
export function addRouteCache (fastify: FastifyInstance, reads: Reads, writes: CoherentWrites, options: ResolvedOptions): void {
  fastify.addHook('onRoute', (route) => {
    const cache = route.config?.cache
    if (cache === undefined || isHead(route)) return
    const look = (request: FastifyRequest, reply: FastifyReply) => lookup(reads, wantedOf(request, cache, options), request, reply, writes.isCaching)
    const keep = (request: FastifyRequest, reply: FastifyReply, payload: unknown) => fill(reads, options, request, reply, payload)
    route.preHandler = [...asList(route.preHandler), look]
    route.onSend = [...asList(route.onSend), keep]
  })
  // A request that ended without a response, or with an error before onSend, must not keep its load open.
  fastify.addHook('onResponse', async (request) => giveUp(reads, request))
  fastify.addHook('onRequestAbort', async (request) => giveUp(reads, request))
}

/** The HEAD route that Fastify adds beside a GET route runs the GET handler; its empty bodies must not be kept. */
const isHead = ({ method }: RouteOptions): boolean => asList(method).includes('HEAD')

async function lookup (reads: Reads, wanted: Wanted, request: FastifyRequest, reply: FastifyReply, isCaching: () => boolean): Promise<unknown> {
  if (!isCaching()) {
    reply.header('X-Cache', 'BYPASS')
    return undefined
  }
  const found = await reads.lookup(wanted)
  if ('ticket' in found) {
    reply.header('X-Cache', 'MISS')
    pendingOf.set(request, { wanted, ticket: found.ticket })
    return undefined
  }
  const { statusCode, contentType, etag, body } = found.value as Stored
  reply.header('X-Cache', 'HIT')
  return sendTagged(request, reply.code(statusCode).type(contentType), etag, body)
}

async function fill (reads: Reads, options: ResolvedOptions, request: FastifyRequest, reply: FastifyReply, payload: unknown): Promise<unknown> {
  const { statusCode } = reply
  if (statusCode < 200 || statusCode > 299 || typeof payload !== 'string' || reply.hasHeader('set-cookie')) {
    giveUp(reads, request)
    return payload
  }
  if (reply.getHeader('X-Cache') === 'HIT') return payload
  const etag = etagOf(payload)
  const pending = pendingOf.get(request)
  if (pending !== undefined) {
    pendingOf.delete(request)
    if (payload.length <= options.maxValueBytes / 4) {
      const contentType = String(reply.getHeader('content-type') ?? 'text/plain; charset=utf-8')
      reads.done(pending.wanted, pending.ticket, { statusCode, contentType, etag, body: payload } satisfies Stored)
    } else {
      reads.drop(pending.ticket)
    }
  }
  reply.header('ETag', etag).header('Cache-Control', 'no-cache')
  return isUnchanged(request, etag) ? notModified(reply) : payload
}

function giveUp (reads: Reads, request: FastifyRequest): void {
  const pending = pendingOf.get(request)
  if (pendingOf.delete(request)) reads.drop(pending!.ticket)
}

function sendTagged (request: FastifyRequest, reply: FastifyReply, etag: string, body: string): FastifyReply {
  reply.header('ETag', etag).header('Cache-Control', 'no-cache')
  return isUnchanged(request, etag) ? reply.code(304).send() : reply.send(body)
}

function notModified (reply: FastifyReply): string {
  reply.code(304).removeHeader('content-length')
  return ''
}

const isUnchanged = ({ method, headers }: FastifyRequest, etag: string): boolean =>
  method === 'GET' && (headers['if-none-match']?.split(',').some((one) => [etag, `W/${etag}`, '*'].includes(one.trim())) ?? false)

/** Strong: equal tags mean equal bytes (RFC 9110, section 8.8.1). */
const etagOf = (body: string): string => `"${createHash('sha256').update(body).digest('base64url').slice(0, 27)}"`

/** Equal requests have equal keys, whatever the order of their properties. */
function wantedOf (request: FastifyRequest, cache: RouteCacheOptions, options: ResolvedOptions): Wanted {
  const own = cache.key?.(request)
  if (own !== undefined) checkName('The key of a route', own)
  const scope = cache.scope?.(request) ?? ''
  const parts = own ?? canonical([request.params ?? null, request.query ?? null, request.body ?? null])
  const digest = createHash('sha256').update(canonical([scope, parts])).digest('base64url')
  const key = `route:${request.method}:${request.routeOptions.url ?? ''}`.slice(0, 300) + `:${digest}`
  const tags = typeof cache.tags === 'function' ? cache.tags(request) : cache.tags
  return { key, tags: tagsOf(key, tags), ttlMs: cache.ttlMs ?? options.ttlMs, l2TtlMs: cache.ttlMs ?? options.redisTtlMs, l2: cache.l2 ?? true }
}

function asList<T> (value: T | readonly T[] | undefined): T[] {
  if (value === undefined) return []
  return Array.isArray(value) ? [...value as T[]] : [value as T]
}
