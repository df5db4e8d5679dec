import type { ServerResponse } from 'node:http'
import type { FastifyReply, FastifyRequest, HookHandlerDoneFunction } from 'fastify'
import { bucketOf, emptyHistogram, fit, OTHER, UNMATCHED } from '../formats/index.ts'
import { RouteStats, Series } from './series.ts'

/** The status of requests whose client went away before the answer. */
const ABORTED = 499

const kRequest = Symbol('cluster-metrics.request')
const kStart = Symbol('cluster-metrics.start')
const kResponse = Symbol('cluster-metrics.response')

interface Watched extends ServerResponse {
  [kRequest]: FastifyRequest | null
  [kStart]: number
}

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
  /** Latencies of all requests since the start of the process. */
  readonly latency = emptyHistogram()
  readonly series: Series[] = []
  readonly routes: RouteStats[] = []
  readonly onRequest: (request: FastifyRequest, reply: FastifyReply, done: HookHandlerDoneFunction) => void
  readonly #maxRoutes: number
  readonly #maxSeries: number
  /** By the configuration object of the route, of which each route has its own. */
  readonly #known = new WeakMap<object, Map<string, Known>>()
  readonly #unmatched = new Map<string, Known>()
  #other: Known | null = null

  constructor (maxRoutes: number) {
    this.#maxRoutes = maxRoutes
    this.#maxSeries = 10 * maxRoutes
    const recorder = this
    function onClose (this: ServerResponse) { recorder.#settle(this as Watched) }
    function onRequestClose (this: { aborted: boolean, [kResponse]?: ServerResponse }) { if (this.aborted) recorder.#settle(this[kResponse] as Watched) }
    this.onRequest = (request, reply, done) => {
      const { raw } = reply
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
    const status = response.writableEnded ? response.statusCode : ABORTED
    const known = this.#knownOf(request)
    this.requests++
    if (status >= 500) this.errors++
    this.latency[bucketOf(ms)]!++
    known.stats.add(ms, status)
    const { last } = known
    if (last !== null && last.status === status) last.add(ms)
    else (known.last = this.#seriesOf(known, status)).add(ms)
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
