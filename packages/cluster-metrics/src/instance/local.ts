import type { FastifyBaseLogger, FastifyInstance } from 'fastify'
import { addBuiltIns, BoundedRegistry, Components, CustomMetrics, HealthChecks, Incidents, Registries, SessionCount, sourceTimes, type Collected, type Reported } from '../application/index.ts'
import { Faults, type ErrorLog } from '../failures/index.ts'
import { OWN, sumCounters, toSparse, type Family, type Report, type Totals } from '../formats/index.ts'
import type { ResolvedOptions } from '../options.ts'
import { instanceFacts, localSockets, MongoWatch, Pm2Siblings, RuntimeSampler, serverFacts } from '../process/index.ts'
import { Recorder } from '../requests/index.ts'

/** PM2 measures all its processes for an answer, so it is asked at every third report only. */
const PM2_REPORTS = 3
const ROTATE_MS = 300_000
/** Metrics that are named where the registry has too many series. */
const MOST_TOLD = 10

const PROCESS_STARTED_AT = Date.now() - Math.round(process.uptime() * 1000)
let made = 0

const uptimeMs = (): number => Math.round(process.uptime() * 1000)

/** What this process knows of itself, without Redis. */
export class Local {
  readonly recorder: Recorder
  readonly custom: CustomMetrics
  readonly components: Components
  readonly health: HealthChecks
  readonly #incidents: Incidents
  readonly #registries: Registries
  readonly #bounded: BoundedRegistry
  readonly #mongo: MongoWatch
  readonly #fastify: FastifyInstance
  readonly #options: ResolvedOptions
  readonly #log: FastifyBaseLogger
  readonly #faults: Faults
  readonly #runtime = new RuntimeSampler()
  readonly #pm2: Pm2Siblings
  /** Of two applications in one process the one that was made first is the older one. */
  readonly #startedAt = PROCESS_STARTED_AT + made++ / 1000
  #registry: Reported & { taken: number } = { families: [], labelled: [], exemplars: [], cut: new Map(), endless: 0, taken: 0 }
  #rotatedAt = performance.now()
  #closing = false
  #toldCut = false

  constructor (fastify: FastifyInstance, options: ResolvedOptions, errors: ErrorLog, log: FastifyBaseLogger) {
    this.#fastify = fastify
    this.#options = options
    this.#log = log
    this.#faults = new Faults(log)
    this.recorder = new Recorder(options, (error, request, status) => { errors.add(error, request, status) })
    const times = sourceTimes(options)
    this.custom = new CustomMetrics(times, this.#faults)
    this.components = new Components(times, this.#faults)
    this.#bounded = new BoundedRegistry(options.maxSeries)
    this.#registries = new Registries(options.registries, options.gaugeRules, times, this.#faults)
    this.#mongo = new MongoWatch(fastify, options.mongo, options.checkTimeoutMs)
    this.health = new HealthChecks(fastify.redisLink, { draining: () => this.draining, pingMongo: () => this.#mongo.ping() }, options, this.#faults)
    this.#incidents = new Incidents(options.ttlMs)
    this.#pm2 = new Pm2Siblings(options.pm2, PM2_REPORTS * options.reportIntervalMs)
    addBuiltIns(this.components, fastify, new SessionCount(fastify.redisLink, options.sessionCountIntervalMs))
  }

  get bootId (): string {
    return this.#fastify.appCluster.bootId
  }

  /** Whether the process is being taken out of service. */
  get draining (): boolean {
    if (this.#closing) return true
    try {
      return this.#options.isDraining() === true
    } catch (err) {
      this.#faults.note('check', 'isDraining', err)
      return false
    }
  }

  /** The application is ready. */
  start (): void {
    this.#runtime.start()
  }

  drain (): void {
    this.#closing = true
  }

  /** Asks what takes time, and ends the interval of what is measured over time. Bounded. */
  async refresh (): Promise<void> {
    const { checkTimeoutMs } = this.#options
    this.#runtime.sample()
    if (performance.now() - this.#rotatedAt >= ROTATE_MS) {
      this.#rotatedAt = performance.now()
      this.recorder.rotate()
    }
    await Promise.all([this.#mongo.refresh(), this.components.refresh(), this.custom.refresh(), this.health.refresh(checkTimeoutMs), this.#pm2.refresh(), this.readRegistry()])
    if (this.health.last !== null) this.#incidents.take(this.health.last, uptimeMs())
  }

  /** The application's registry as it is now. */
  collectRegistry (timeoutMs?: number): Promise<{ collected: Collected, leftOut: number }> {
    return this.#registries.collect(this.custom.names(), timeoutMs)
  }

  /** Takes what the registry says now into the totals. @param timeoutMs @default `checkTimeoutMs` */
  async readRegistry (timeoutMs?: number): Promise<void> {
    const { collected, leftOut } = await this.collectRegistry(timeoutMs)
    this.#registry = { ...this.#bounded.take(collected), taken: leftOut }
    if (this.#registry.cut.size === 0 || this.#toldCut) return
    this.#toldCut = true
    const metrics = [...this.#registry.cut].sort(([, a], [, b]) => b - a).slice(0, MOST_TOLD).map(([name, count]) => `${name} (${count})`)
    this.#log.warn({ metrics, maxSeries: this.#options.maxSeries }, 'the registry has more series than the cluster is told of: raise maxSeries, or use fewer labels')
  }

  /** As of now. */
  report (): Report {
    const { recorder } = this
    const { bootId, instanceId, serverId } = this.#fastify.appCluster
    const { cut, endless, taken, labelled, exemplars } = this.#registry
    return {
      bootId,
      instanceId,
      serverId,
      startedAt: this.#startedAt,
      announcesLeaving: true,
      uptimeMs: uptimeMs(),
      incidents: this.#incidents.read(),
      server: serverFacts(this.#mongo.state),
      instance: { ...instanceFacts(this.#fastify, this.#options, this.#runtime.read(), this.#mongo.state, this.#sockets(), this.draining), ...(this.health.last === null ? {} : { health: this.health.last }) },
      siblings: this.#pm2.siblings,
      http: { requests: recorder.requests, errors: recorder.errors, active: recorder.active, latency: toSparse(recorder.recent()) },
      routes: Object.fromEntries(recorder.routes.map(({ method, route, requests, errors, recent, older }) => [`${method} ${route}`, [requests, errors, toSparse(recent, older)]])),
      components: this.components.read(),
      gauges: this.custom.readGauges(),
      counters: sumCounters([Object.fromEntries(this.custom.counters), Object.fromEntries(this.custom.labelledSums)]),
      labelled,
      exemplars,
      leftOut: { bound: [...cut.values()].reduce((sum, count) => sum + count, 0), name: taken, value: endless }
    }
  }

  totals (): Totals {
    const { user, system } = process.cpuUsage()
    return {
      instanceId: this.#fastify.appCluster.instanceId,
      counters: Object.fromEntries(this.custom.counters),
      sums: Object.fromEntries(this.custom.labelledSums),
      series: this.recorder.series.map(({ method, route, status, sumMs, buckets }) => [method, route, status, Math.round(sumMs * 1000) / 1000, [...buckets]]),
      process: {
        process_cpu_seconds_total: (user + system) / 1e6,
        nodejs_eventloop_blocked_seconds_total: Math.round(this.#runtime.stalls.blockedMs) / 1000,
        http_server_errors_total: this.recorder.errors,
        http_server_event_streams_total: this.recorder.streams,
        cluster_instance_starts_total: 1,
        // Counted where it is noticed: by who adds those that ended.
        cluster_instances_lost_total: 0
      },
      families: [...this.customFamilies(), ...this.#registry.families]
    }
  }

  /** What only grows and is not the registry's. */
  customFamilies (): Family[] {
    const faults = Object.entries(this.#faults.counts).map(([what, count]): Family['samples'][number] => [{ what }, [count]])
    return [{ name: 'cluster_metrics_errors_total', help: OWN.cluster_metrics_errors_total[1], type: 'counter', samples: faults }, ...this.custom.families()]
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
