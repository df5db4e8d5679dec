import { createHash } from 'node:crypto'
import { callSafely, isPlain, textOf } from '@jpulse/plugin-kit'
import type { FastifyReply, FastifyRequest, RouteHandlerMethod } from 'fastify'
import { LRUCache } from 'lru-cache'
import type { Reads, Fill, Wanted } from '../levels/index.ts'
import { checkName, listOf, tagsOf } from '../names.ts'
import type { ResolvedOptions } from '../options.ts'
import { canonical } from '../values.ts'
import { asList, type Route } from './in-force.ts'
import { cachedMethods, cacheOf, scopeOf, type CoherentWrites, type RouteCacheOptions } from './options.ts'
import { madeBy, serialized, type Answer, type Body, type Made } from './made.ts'
import { isForOrigin, isUnchanged } from './conditions.ts'
import type { Paths } from './paths.ts'
import { told } from './told.ts'
import { ageOf, hiddenObstacle, isKept, isNeverKept, lifeOf, namesOf } from './rules.ts'
import { addVary, bodyOf, etagInTurns, etagOf, headersOf, isFor, isOpenTo, sendStored, varied, withoutRenewal, type Stored } from './stored.ts'

/** A response under way that may be kept. */
interface Pending {
  readonly wanted: Wanted
  /** What the key was made of, without the headers. */
  readonly parts: string
  readonly fill: Fill
  /** How many headers responses were known to vary by. */
  readonly varies: number
  /** Headers from before the handler. */
  readonly before: ReturnType<FastifyReply['getHeaders']>
  readonly made: Made
}

/** What a request is about: a response to be kept, or one that was. */
const pendingOf = new WeakMap<FastifyRequest, Pending>()
const hitOf = new WeakMap<FastifyRequest, Stored>()

const MOST_NAMES = 8

/**
 * A route whose responses are cached as a shared cache does it (RFC 9111): what a response says of itself is obeyed.
 *
 * The lookup stands in place of the handler, so that whatever guards the route has run, whenever it was added. Kept is what the
 * handler made, so that hooks of the application see each response once.
 */
class CachedRoute {
  readonly #cache: RouteCacheOptions
  readonly #reads: Reads
  readonly #options: ResolvedOptions
  readonly #writes: CoherentWrites
  readonly #paths: Paths
  /** What tells the route from others of its path. */
  readonly #identity: string
  /** Methods whose responses are kept; HEAD is answered by what GET got. */
  readonly #methods: ReadonlySet<string>
  readonly #only: readonly string[] | null
  readonly #vary: readonly string[]
  /** Names of request headers that responses turned out to vary by. */
  readonly #varies: Set<string>
  /** Keys whose last response was not kept: nobody waits for the next one. */
  readonly #unkept = new LRUCache<string, true>({ max: 1000 })
  #hasKept = false

  constructor (cache: RouteCacheOptions, methods: ReadonlySet<string>, identity: string, paths: Paths, reads: Reads, options: ResolvedOptions, writes: CoherentWrites) {
    this.#cache = cache
    this.#methods = methods
    this.#identity = identity
    this.#paths = paths
    this.#reads = reads
    this.#options = options
    this.#writes = writes
    this.#only = cache.headers === undefined ? null : listOf('A header', cache.headers).map((name) => name.toLowerCase())
    this.#vary = listOf('A header', cache.vary)
    this.#varies = new Set(this.#vary.map((name) => name.toLowerCase()))
  }

  wrap (handler: RouteHandlerMethod): RouteHandlerMethod {
    const route = this
    return async function (request, reply) {
      const hit = await route.#look(request, reply)
      if (hit !== null) {
        hitOf.set(request, hit)
        return sendStored(hit, reply, route.#writes.now())
      }
      const result: unknown = handler.call(this, request, reply)
      // Who calls back returns nothing.
      return result === undefined ? reply : result
    }
  }

  /** Takes what is about to be serialized. */
  async serialize (request: FastifyRequest, reply: FastifyReply, payload: unknown): Promise<unknown> {
    const pending = pendingOf.get(request)
    if (pending === undefined) return payload
    const text = serialized(request, reply, payload)
    if (typeof text === 'string' || Buffer.isBuffer(text)) pending.made.answer = { body: text, headers: { ...reply.getHeaders() } }
    reply.serializer((same: unknown) => same as string)
    return text
  }

  /** The last hook of a response: keeps it, tags it, and tells who has it already. */
  async finish (request: FastifyRequest, reply: FastifyReply, payload: unknown): Promise<unknown> {
    const pending = pendingOf.get(request)
    const hit = hitOf.get(request)
    const kept = pending === undefined ? null : this.#keep(pending, request, reply, payload)
    addVary(reply, this.#vary)
    if (reply.statusCode < 200 || reply.statusCode > 299 || reply.statusCode === 206) return payload
    const made = pending?.made.answer?.body ?? (hit === undefined ? null : bodyOf(hit))
    if (!reply.hasHeader('etag')) {
      const known = hit?.etag ?? kept?.etag ?? (made === null || made === undefined ? null : await etagInTurns(made))
      // A hook made another body of it: the same in meaning, not in bytes.
      if (known !== null) reply.header('ETag', isSame(payload, made) || payload === null || request.method === 'HEAD' ? known : `W/${known}`)
      else if (typeof payload === 'string' || Buffer.isBuffer(payload)) reply.header('ETag', await etagInTurns(payload))
    }
    if (!reply.hasHeader('cache-control')) reply.header('Cache-Control', 'no-cache')
    if (!isUnchanged(request.method, request.headers, reply.getHeaders())) return payload
    ;(payload as { destroy?: () => void } | null | undefined)?.destroy?.()
    reply.code(304).removeHeader('content-length')
    return ''
  }

  /** The kept response for a request, or null; then what the handler makes may be kept. */
  async #look (request: FastifyRequest, reply: FastifyReply): Promise<Stored | null> {
    if (!this.#methods.has(request.method)) return null
    const isScoped = this.#cache.scope !== undefined
    const parts = this.#partsOf(request)
    if (parts === null || !this.#writes.isCaching() || isForHandler(request)) {
      reply.header('X-Cache', 'BYPASS')
      return null
    }
    let wanted = this.#wanted(request, parts)
    // The second look is for a response that varies by more than was known.
    for (let looks = 0; looks < 2; looks++) {
      // Where the last response was not kept, no round trip to Redis is spent, nor does anybody wait.
      const isUnkept = this.#unkept.has(wanted.key)
      const found = await this.#reads.lookup(isUnkept ? { ...wanted, l2: false } : wanted, this.#hasKept && !isUnkept)
      if ('fill' in found) {
        reply.header('X-Cache', 'MISS')
        if (request.method === 'HEAD') this.#reads.drop(found.fill)
        else pendingOf.set(request, { wanted, parts, fill: found.fill, varies: this.#varies.size, before: { ...reply.getHeaders() }, made: madeBy(reply) })
        return null
      }
      const stored = found.value as Stored
      if (!isScoped && !isOpenTo(stored, request)) break
      if (isFor(stored, request)) {
        reply.header('X-Cache', 'HIT')
        return stored
      }
      if (!this.#learn(wanted.key, request, Object.keys(stored.vary))) break
      wanted = this.#wanted(request, parts)
    }
    reply.header('X-Cache', 'BYPASS')
    return null
  }

  /** What was made of the response to be kept, if anything. */
  #keep (pending: Pending, request: FastifyRequest, reply: FastifyReply, payload: unknown): Stored | null {
    pendingOf.delete(request)
    const stored = this.#storedOf(pending, request, reply, payload)
    if (stored === null) {
      this.#unkept.set(pending.wanted.key, true)
      this.#reads.drop(pending.fill)
      return null
    }
    const { response, lifeMs } = stored
    // Where it varies by more than was known, the next request asks for another key. Redis was asked for the generations of the one before.
    const isKnown = pending.varies === this.#varies.size
    const wanted = isKnown ? pending.wanted : this.#renamed(pending, request)
    const fill = isKnown ? pending.fill : { ...pending.fill, generations: null }
    const isShort = this.#reads.done({ ...wanted, ttlMs: Math.min(wanted.ttlMs, lifeMs), l2TtlMs: Math.min(wanted.l2TtlMs, lifeMs) }, fill, response)
    this.#hasKept ||= isShort
    if (isShort) this.#unkept.delete(pending.wanted.key)
    else this.#unkept.set(pending.wanted.key, true)
    return response
  }

  #storedOf ({ wanted: { key }, before, made: { answer: made } }: Pending, request: FastifyRequest, reply: FastifyReply, payload: unknown): { response: Stored, lifeMs: number } | null {
    const { statusCode } = reply
    const headers = withoutRenewal(reply)
    if (isNeverKept(statusCode) || !(this.#cache.when === undefined ? isKept(statusCode, headers) : this.#isWanted(key, this.#cache.when, request, reply))) return null
    const exchange = { statusCode, requestHeaders: request.headers, headers, isScoped: this.#cache.scope !== undefined }
    const lifeMs = Math.floor(Math.min(lifeOf(exchange), Number.MAX_SAFE_INTEGER))
    const obstacle = made === undefined
      ? 'it is a stream, or a text that its own serializer made'
      : lifeMs === 0 ? hiddenObstacle(exchange) : Buffer.byteLength(made.body ?? '') > this.#options.maxValueBytes ? 'its body is longer than maxValueBytes' : null
    if (obstacle !== null) this.#notKept(key, request, obstacle)
    if (made === undefined || lifeMs === 0 || obstacle !== null) return null
    const time = Date.now()
    const kept: Stored['headers'] = { date: new Date(time).toUTCString(), ...headersOf(before, made.headers, this.#only) }
    const varies = this.#variesOf(headers.vary, made, payload, kept)
    if (!this.#learn(key, request, varies)) return null
    const isBinary = Buffer.isBuffer(made.body)
    const response = {
      statusCode,
      headers: kept,
      body: made.body === null ? null : Buffer.isBuffer(made.body) ? made.body.toString('base64') : made.body,
      isBinary,
      etag: made.body === null || kept.etag !== undefined ? null : etagOf(made.body),
      vary: varied(request, varies),
      at: this.#writes.now() - ageOf(headers, time),
      isForAll: lifeOf({ ...exchange, isScoped: false, requestHeaders: { authorization: '' } }) > 0
    }
    return { response, lifeMs }
  }

  /** The response is made: a fault of `when`, or a promise of it, which would read as yes, costs it its place and not the client its answer. */
  #isWanted (key: string, when: NonNullable<RouteCacheOptions['when']>, request: FastifyRequest, reply: FastifyReply): boolean {
    try {
      const told: unknown = when(reply)
      if (typeof (told as { then?: unknown } | null | undefined)?.then !== 'function') return Boolean(told)
      callSafely(() => {}, () => told)
      throw new TypeError('it returned a promise: it must answer at once')
    } catch (err) {
      // Its message may differ at each request.
      this.#notKept(key, request, `its when failed (${textOf((err as Error | null | undefined)?.message ?? err)})`, 'when', err)
      return false
    }
  }

  #notKept (key: string, request: FastifyRequest, reason: string, cause = reason, err?: unknown): void {
    this.#writes.unkept(key, `a response of ${request.routeOptions.url}: ${reason}`, `${request.routeOptions.url} ${cause}`, err)
  }

  /** What the response says that it varies by. A hook that compresses says so of what it made, and makes it anew for each response. */
  #variesOf (vary: unknown, made: Answer, payload: unknown, kept: Readonly<Record<string, unknown>>): string[] {
    const ofHandler = namesOf(made.headers.vary)
    const names = namesOf(vary).filter((name) => name !== 'accept-encoding' || ofHandler.includes(name))
    // An encoding that the handler chose without a word was chosen for this client.
    if (kept['content-encoding'] !== undefined && !names.includes('accept-encoding')) names.push('accept-encoding')
    return names
  }

  /** Takes note of what responses vary by, so that each kind gets a key of its own; whether that is still a number of names. */
  #learn (key: string, request: FastifyRequest, names: readonly string[]): boolean {
    for (const name of names) if (this.#varies.size < MOST_NAMES) this.#varies.add(name)
    const isKnown = names.every((name) => this.#varies.has(name))
    if (!isKnown) this.#notKept(key, request, `responses of the route vary by more than ${MOST_NAMES} request headers`)
    return isKnown
  }

  /** Equal requests have equal keys, whatever the order of their properties. */
  #wanted (request: FastifyRequest, parts: string): Wanted {
    const { tags, ttlMs: given, l2 = true } = this.#cache
    const key = this.#keyOf(request, parts)
    const { ttlMs, redisTtlMs, loaderTimeoutMs } = this.#options
    const all = [...listOf('A tag', typeof tags === 'function' ? tags(request) : tags), this.#paths.tagOf(request)]
    // Who reads it in Redis does not know yet how long it may live.
    return { key, tags: tagsOf(key, all), ttlMs: given ?? ttlMs, l2TtlMs: given ?? redisTtlMs, isOwn: true, l2, timeoutMs: loaderTimeoutMs }
  }

  /** What a request asks for, and for whom; null where that cannot be told. */
  #partsOf (request: FastifyRequest): string | null {
    const own = this.#cache.key?.(request)
    if (own !== undefined) checkName('The key of a route', own)
    const scope = scopeOf(this.#cache, request)
    const parts = own ?? told([request.params ?? null, request.query ?? null, request.body ?? null])
    return parts === null ? null : canonical([this.#identity, request.routeOptions.url ?? null, request.protocol, request.hostname, scope, parts])
  }

  #keyOf (request: FastifyRequest, parts: string): string {
    const method = request.method === 'HEAD' ? 'GET' : request.method
    const digest = createHash('sha256').update(canonical([parts, varied(request, this.#varies)])).digest('base64url')
    return `route:${method}:${request.routeOptions.url ?? ''}`.slice(0, 300) + `:${digest}`
  }

  /** The handler may have changed what is known of the request, but for its headers. */
  #renamed ({ wanted, parts }: Pending, request: FastifyRequest): Wanted {
    const key = this.#keyOf(request, parts)
    return { ...wanted, key, tags: [key, ...wanted.tags.slice(1)] }
  }
}

/** Ends the load of a request that got no response. */
export function giveUp (reads: Reads, request: FastifyRequest): void {
  const pending = pendingOf.get(request)
  if (pendingOf.delete(request)) reads.drop(pending!.fill)
}

/** Caches the responses of a route with `config.cache`. @param isEarly whether nobody knows which other routes have its path */
export function cacheRoute (route: Route, isEarly: boolean, paths: Paths, reads: Reads, options: ResolvedOptions, writes: CoherentWrites): void {
  const cache = cacheOf(route.config?.cache, route.url)
  if (cache === null) return
  paths.noteCached(route.url)
  const cached = new CachedRoute(isEarly ? { ...cache, l2: false } : cache, cachedMethods(route), identityOf(route, isEarly), paths, reads, options, writes)
  route.handler = cached.wrap(route.handler)
  route.preSerialization = [...asList(route.preSerialization), (request, reply, payload) => cached.serialize(request, reply, payload)]
  route.onSend = [...asList(route.onSend), (request, reply, payload) => cached.finish(request, reply, payload)]
}

/** Whether a request asks for more than what may be kept. */
const isForHandler = ({ headers }: FastifyRequest): boolean =>
  headers.range !== undefined || isForOrigin(headers) || /no-store/i.test(headers['cache-control'] ?? '')

const isSame = (payload: unknown, made: Body | null | undefined): boolean =>
  payload === made || (Buffer.isBuffer(payload) && Buffer.isBuffer(made) && payload.equals(made))

let early = 0

/** Routes of one path differ by their constraints. */
function identityOf ({ constraints }: Route, isEarly: boolean): string {
  if (isEarly) return `early ${++early}`
  return canonical(Object.entries(constraints ?? {}).map(([name, value]) => [name, typeof value === 'object' && value !== null && isPlain(value) ? canonical(value) : String(value)]).sort())
}
