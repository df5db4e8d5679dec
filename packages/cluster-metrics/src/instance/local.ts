import type { FastifyBaseLogger, FastifyInstance } from 'fastify'
import { addBuiltIns, Components, CustomMetrics, SessionCount } from '../application/index.ts'
import { toSparse, type Report, type Totals } from '../formats/index.ts'
import type { ResolvedOptions } from '../options.ts'
import { instanceFacts, localSockets, MongoWatch, Pm2Siblings, RuntimeSampler, serverFacts } from '../process/index.ts'
import { Recorder } from '../requests/index.ts'

/** PM2 measures all its processes for an answer, so it is asked at every third report only. */
const PM2_REPORTS = 3
const ROTATE_MS = 300_000

/** What this process knows of itself, without Redis. */
export class Local {
  readonly recorder: Recorder
  readonly custom: CustomMetrics
  readonly components: Components
  readonly mongo: MongoWatch
  readonly #fastify: FastifyInstance
  readonly #options: ResolvedOptions
  readonly #log: FastifyBaseLogger
  readonly #runtime = new RuntimeSampler()
  readonly #pm2: Pm2Siblings
  readonly #startedAt = Date.now() - Math.round(process.uptime() * 1000)
  #rotatedAt = performance.now()
  #closing = false

  constructor (fastify: FastifyInstance, options: ResolvedOptions, log: FastifyBaseLogger) {
    this.#fastify = fastify
    this.#options = options
    this.#log = log
    this.recorder = new Recorder(options.maxRoutes)
    this.custom = new CustomMetrics(log)
    this.components = new Components(options.checkTimeoutMs, log)
    this.mongo = new MongoWatch(fastify, options.mongo, options.checkTimeoutMs)
    this.#pm2 = new Pm2Siblings(options.pm2, PM2_REPORTS * options.reportIntervalMs)
    addBuiltIns(this.components, fastify, new SessionCount(fastify.redisLink, options.sessionCountIntervalMs))
  }

  /** Whether the process is being taken out of service. */
  get draining (): boolean {
    return this.#closing || this.#options.isDraining()
  }

  drain (): void {
    this.#closing = true
  }

  /** Asks what takes time, and ends the interval of what is measured over time. Bounded. */
  async refresh (): Promise<void> {
    this.#runtime.sample()
    if (performance.now() - this.#rotatedAt >= ROTATE_MS) {
      this.#rotatedAt = performance.now()
      this.recorder.rotate()
    }
    await Promise.all([this.mongo.refresh(), this.components.refresh(), this.#pm2.refresh()])
  }

  /** As of now. */
  report (): Report {
    const { recorder } = this
    const { bootId, instanceId, serverId } = this.#fastify.appCluster
    const runtime = this.#runtime.read()
    return {
      bootId,
      instanceId,
      serverId,
      startedAt: this.#startedAt,
      server: serverFacts(this.mongo.state),
      instance: instanceFacts(this.#fastify, this.#options, runtime, this.mongo.state, this.#sockets(), this.draining),
      siblings: this.#pm2.siblings,
      http: { requests: recorder.requests, errors: recorder.errors, active: recorder.active, latency: toSparse(recorder.recent()) },
      routes: Object.fromEntries(recorder.routes.map(({ method, route, requests, errors, recent, older }) => [`${method} ${route}`, [requests, errors, toSparse(recent, older)]])),
      components: this.components.read(),
      gauges: this.custom.readGauges(),
      counters: Object.fromEntries(this.custom.counters)
    }
  }

  totals (): Totals {
    return {
      instanceId: this.#fastify.appCluster.instanceId,
      counters: Object.fromEntries(this.custom.counters),
      series: this.recorder.series.map(({ method, route, status, sumMs, buckets }) => [method, route, status, Math.round(sumMs * 1000) / 1000, [...buckets]])
    }
  }

  close (): void {
    this.#runtime.close()
  }

  #sockets () {
    try {
      return localSockets(this.#fastify)
    } catch (err) {
      this.#log.warn({ err }, 'the WebSocket namespaces could not be read')
      return { localConnections: 0, localMessages: 0, namespaces: [] }
    }
  }
}
