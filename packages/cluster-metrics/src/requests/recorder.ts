import type { ServerResponse } from 'node:http'
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest, HookHandlerDoneFunction } from 'fastify'
import { bucketOf, emptyHistogram, fit, OTHER, UNMATCHED } from '../formats/index.ts'
import { RouteStats, Series } from './series.ts'

/** The status of requests whose client went away before the answer. */
const ABORTED = 499

const kRequest = Symbol('cluster-metrics.request')
const kStart = Symbol('cluster-metrics.start')
const kResponse = Symbol('cluster-metrics.response')
const kError = Symbol('cluster-metrics.error')
const kUncounted = Symbol('cluster-metrics.uncounted')

/** Lets the requests of a scope pass uncounted: a property of their prototype costs the others nothing. */
export function leaveOut (scope: FastifyInstance): void {
  scope.decorateRequest(kUncounted, true)
}

/** Streams and shorter answers are told apart from here on: below it, it makes no difference. */
const STREAM_MS = 100
const STREAM = /^(?:text\/event-stream|multipart\/x-mixed-replace)\b/i
const STREAM_HEADER = /^content-type: *(?:text\/event-stream|multipart\/x-mixed-replace)\b/im

interface Watched extends ServerResponse {
  [kRequest]: FastifyRequest | null
  [kStart]: number
  [kError]?: FastifyError
  /** The headers as Node sent them. */
  _header?: string
}

/** Gets an error that a visitor met, and the status of the answer. */
export type OnFailure = (error: FastifyError, request: FastifyRequest, status: number) => void

/** What is known of one method and route. */
interface Known {
  readonly stats: RouteStats
  readonly byStatus: Map<number, Series>
  last: Series | null
}

/**
 * Counts requests.
 *
 * Hot path, 2 to 3% of a trivial route (benchmarks/cluster-metrics/overhead.bench.js). So there is one hook with a
 * callback, one listener that all responses share, and no object of ours per request. The response's `close` comes
 * exactly once, whether the answer was sent or the client went away, which Fastify's onResponse does not.
 */
export class Recorder {
  /** Requests that are being answered; open WebSockets are not among them. */
  active = 0
  requests = 0
  errors = 0
  /** Event streams that ended. */
  streams = 0
  /** Latencies of all requests since the start of the process. */
  readonly latency = emptyHistogram()
  readonly series: Series[] = []
  readonly routes: RouteStats[] = []
  readonly onRequest: (request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction) => void
  readonly #maxRoutes: number
  readonly #maxSeries: number
  readonly #ignored: ReadonlySet<string>
  readonly #onFailure: OnFailure
  #ignores: boolean
  /** By the configuration object of the route, of which each route has its own. */
  readonly #known = new WeakMap<object, Map<string, Known>>()
  readonly #unmatched = new Map<string, Known>()
  #other: Known | null = null

  /** @param onFailure gets the error of each request that was answered with a server error */
  constructor ({ maxRoutes, ignoreRoutes }: { maxRoutes: number, ignoreRoutes: ReadonlySet<string> }, onFailure: OnFailure) {
    this.#maxRoutes = maxRoutes
    this.#maxSeries = 10 * maxRoutes
    this.#ignored = ignoreRoutes
    this.#ignores = ignoreRoutes.size > 0
    this.#onFailure = onFailure
    const recorder = this
    function onClose (this: ServerResponse) { recorder.#settle(this as Watched) }
    function onRequestClose (this: { aborted: boolean, [kResponse]?: ServerResponse }) { if (this.aborted) recorder.#settle(this[kResponse] as Watched) }
    this.onRequest = (request, reply, done) => {
      const { raw } = reply
      if ((request as { [kUncounted]?: boolean })[kUncounted] === true || (recorder.#ignores && recorder.#isIgnored(request))) return done()
      ;(raw as Watched)[kRequest] = request
      ;(raw as Watched)[kStart] = performance.now()
      if ((request.raw as { upgrade?: boolean | null }).upgrade === true) {
        // An accepted upgrade is a connection, not a request: only a refusal finishes.
        raw.on('finish', onUpgradeRefused)
      } else {
        recorder.active++
        raw.on('close', onClose)
        // Node never closes a pipelined response whose turn did not come before the client went away.
        if (raw.socket === null) {
          (request.raw as unknown as Record<symbol, unknown>)[kResponse] = raw
          request.raw.on('close', onRequestClose)
        }
      }
      done()
    }
    function onUpgradeRefused (this: ServerResponse) {
      recorder.active++
      recorder.#settle(this as Watched)
    }
  }

  /** Sees a route: only where one is left out is each request asked for its route before it runs. */
  onRoute ({ config }: { config?: { metrics?: unknown } | undefined }): void {
    if (config?.metrics === false) this.#ignores = true
  }

  /** Remembers what was thrown until it is known what the answer was: a handler of errors decides that. */
  onError (request: FastifyRequest, { raw }: FastifyReply, error: FastifyError): void {
    // Null: the client went away before.
    if ((raw as Watched)[kRequest] === null) this.#failed(error, request, ABORTED)
    else (raw as Watched)[kError] = error
  }

  #isIgnored (request: FastifyRequest): boolean {
    const { config, url } = request.routeOptions
    return (config as { metrics?: unknown } | undefined)?.metrics === false || (url !== undefined && this.#ignored.has(url))
  }

  /** Latencies of all requests of the last five to ten minutes. */
  recent (): Float64Array {
    const sum = emptyHistogram()
    for (const { recent, older } of this.routes) for (let bucket = 0; bucket < sum.length; bucket++) sum[bucket]! += recent[bucket]! + older[bucket]!
    return sum
  }

  /** Lets the latencies of the last five to ten minutes begin anew. */
  rotate (): void {
    for (const route of this.routes) route.rotate()
  }

  #settle (response: Watched): void {
    const request = response[kRequest]
    if (request === null) return
    response[kRequest] = null
    this.active--
    const ms = performance.now() - response[kStart]
    const isStream = (ms >= STREAM_MS || !response.writableEnded) && isEventStream(response)
    const status = response.writableEnded || isStream ? response.statusCode : ABORTED
    const known = this.#knownOf(request)
    this.requests++
    if (status >= 500) this.errors++
    if (isStream) this.streams++
    else this.latency[bucketOf(ms)]!++
    const latency = isStream ? null : ms
    known.stats.add(latency, status)
    const { last } = known
    if (last !== null && last.status === status) last.add(latency)
    else (known.last = this.#seriesOf(known, status)).add(latency)
    if (response[kError] !== undefined) this.#failed(response[kError], request, status)
  }

  /** What was still to be answered when the client went away would have been what the error says. */
  #failed (error: FastifyError, request: FastifyRequest, status: number): void {
    const answered = status === ABORTED ? error?.statusCode ?? (error as { status?: number } | null)?.status ?? 500 : status
    if (answered >= 500) this.#onFailure(error, request, answered)
  }

  #knownOf (request: FastifyRequest): Known {
    const { method } = request
    const { config, url } = request.routeOptions
    if (url === undefined) return this.#of(this.#unmatched, method, UNMATCHED)
    let byMethod = this.#known.get(config)
    if (byMethod === undefined) this.#known.set(config, byMethod = new Map())
    return this.#of(byMethod, method, url)
  }

  #of (byMethod: Map<string, Known>, method: string, route: string): Known {
    const known = byMethod.get(method)
    if (known !== undefined) return known
    const full = this.routes.length >= this.#maxRoutes
    const made = full ? (this.#other ??= this.#make('*', OTHER)) : this.#make(method, fit(route))
    byMethod.set(method, made)
    return made
  }

  #make (method: string, route: string): Known {
    const stats = new RouteStats(method, route)
    this.routes.push(stats)
    return { stats, byStatus: new Map(), last: null }
  }

  #seriesOf ({ stats: { method, route }, byStatus }: Known, status: number): Series {
    const found = byStatus.get(status)
    if (found !== undefined) return found
    // A handler may make up any status: beyond the bound its class is counted.
    const full = this.series.length >= this.#maxSeries
    const kept = full ? Math.floor(status / 100) * 100 : status
    const series = (full ? byStatus.get(kept) : undefined) ?? new Series(method, route, kept)
    if (series.count === 0) this.series.push(series)
    byStatus.set(kept, series)
    if (byStatus.size < 600) byStatus.set(status, series)
    return series
  }
}

/** Whether an answer lasts as long as somebody listens: its end is no latency, and the client's leave no fault. */
function isEventStream (response: Watched): boolean {
  const type = response.getHeader('content-type')
  // What was given to writeHead is in the text of the headers only.
  return typeof type === 'string' ? STREAM.test(type) : STREAM_HEADER.test(response._header ?? '')
}
