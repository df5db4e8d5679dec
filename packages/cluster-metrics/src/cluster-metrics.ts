import cluster from 'node:cluster'
import { EventEmitter } from 'node:events'
import { acceptOnly } from '@jpulse/plugin-kit'
import type { RedisLink } from '@jpulse/redis-link'
import type { FastifyBaseLogger } from 'fastify'
import type { HealthEvents } from './announce/index.ts'
import type { Check, CheckOptions, HistogramOptions, MetricLabels, Provider } from './application/index.ts'
import { FST_ERR_CLUSTER_METRICS_INVALID_ARGUMENT } from './errors.ts'
import type { ErrorLog } from './failures/index.ts'
import { distinctErrors, type ErrorEntry, type Reduce } from './formats/index.ts'
import type { Local, Reporter } from './instance/index.ts'
import type { ResolvedOptions } from './options.ts'
import { aggregate, DAY_STEP_MS, instanceDetails, mergeDay, mergeHistory, readDayPoint, type Aged, type ClusterData, type HistoryPoint, type InstanceDetails } from './picture/index.ts'
import { clusterText, instanceText, type Format } from './prometheus/index.ts'
import type { Counts } from './requests/index.ts'
import type { Found, Store } from './store/index.ts'

const SCOPES = ['instance', 'cluster']
const FORMATS = ['prometheus', 'openmetrics']
/** A day, and what is kept of requests and errors. */
export const MOST_MINUTES = 1440
export const MOST_REQUEST_MINUTES = 60
export const MOST_ERRORS = 100

/** Requests of one route and status. */
export interface RequestCount {
  route: string
  status: number
  count: number
}

/** An answer, and whether it is about this instance only. */
export type Seen<T> = T & { degraded: boolean }

/** What the answers are made from. */
export interface Parts {
  local: Local
  store: Store
  errors: ErrorLog
  reporter: Reporter
}

/**
 * Health and metrics of the cluster as this process sees it. Emits `down`, `degraded` and `up` for instances and checks, each in
 * one of the processes that listen: not in each of them.
 */
export class ClusterMetrics extends EventEmitter<HealthEvents> {
  readonly #link: RedisLink
  readonly #log: FastifyBaseLogger
  readonly #options: ResolvedOptions
  readonly #local: Local
  readonly #store: Store
  readonly #errors: ErrorLog
  readonly #reporter: Reporter
  #aggregating: Promise<ClusterData> | null = null

  constructor (link: RedisLink, { local, store, errors, reporter }: Parts, options: ResolvedOptions, log: FastifyBaseLogger) {
    super()
    this.setMaxListeners(0)
    acceptOnly<HealthEvents>(this, { down: true, degraded: true, up: true }, (wanted) => new FST_ERR_CLUSTER_METRICS_INVALID_ARGUMENT('The event', wanted))
    this.#link = link
    this.#log = log
    this.#options = options
    this.#local = local
    this.#store = store
    this.#errors = errors
    this.#reporter = reporter
  }

  /**
   * Adds to a counter of the application. Its sum over the cluster never falls, whichever instances end.
   *
   * @param by 0 or more. @default 1
   * @param labels at most 20; beyond 1000 sets of a name, or 20,000 values (a histogram has one for each bucket and two more) or a million characters of labels of all metrics together, theirs are `__other__`. The document has the sum over all of them
   * @throws FST_ERR_CLUSTER_METRICS_INVALID_NAME, _INVALID_ARGUMENT, _DUPLICATE, _TOO_MANY
   */
  increment (name: string, by = 1, labels?: MetricLabels): void {
    this.#local.custom.increment(name, by, labels)
  }

  /**
   * Registers a value that is read at each report and scrape.
   *
   * @param fn may be async. Where it throws or rejects there is no value; what does not answer within `checkTimeoutMs` is a fault, keeps its last value for `ttlMs`, and is asked again after pauses that grow to six reports
   * @param options `reduce` says how the values of the instances become one. @default { reduce: 'sum' }
   * @throws FST_ERR_CLUSTER_METRICS_INVALID_NAME, _INVALID_ARGUMENT, _DUPLICATE, _TOO_MANY
   */
  gauge (name: string, fn: () => unknown, { reduce = 'sum' }: { reduce?: Reduce } = {}): void {
    this.#local.custom.gauge(name, fn, reduce)
  }

  /**
   * Registers a histogram. Needed only for buckets or a help of its own.
   *
   * @throws FST_ERR_CLUSTER_METRICS_INVALID_NAME, _INVALID_ARGUMENT, _DUPLICATE, _TOO_MANY
   */
  histogram (name: string, options: HistogramOptions = {}): void {
    this.#local.custom.histogram(name, options)
  }

  /**
   * Adds a value to a histogram of the application.
   *
   * @param value in the unit of the buckets: seconds, without buckets of one's own
   * @throws FST_ERR_CLUSTER_METRICS_INVALID_NAME, _INVALID_ARGUMENT, _DUPLICATE, _TOO_MANY
   */
  observe (name: string, value: number, labels?: MetricLabels): void {
    this.#local.custom.observe(name, value, labels)
  }

  /**
   * Registers a part of the application that says something about itself at each report.
   *
   * @param fn returns fields of JSON, null where the part is not there; bounded by `checkTimeoutMs`
   * @param options `reduce` by field; other fields are shown per instance only
   * @throws FST_ERR_CLUSTER_METRICS_INVALID_NAME, _INVALID_ARGUMENT, _DUPLICATE, _TOO_MANY
   */
  provider (component: string, fn: Provider, { reduce = {} }: { reduce?: Record<string, Reduce> } = {}): void {
    this.#local.components.add(component, fn, reduce)
  }

  /**
   * Registers a check that `/health` makes.
   *
   * @param fn resolves with anything but false where all is well
   * @throws FST_ERR_CLUSTER_METRICS_INVALID_NAME, _INVALID_ARGUMENT, _DUPLICATE, _TOO_MANY
   */
  check (name: string, fn: Check, options: CheckOptions = {}): void {
    this.#local.health.add(name, fn, options)
  }

  /** The whole cluster, as it is known now; this instance alone, and `degraded`, while Redis is away. Never rejects. */
  aggregate (): Promise<ClusterData> {
    // Whoever asks at the same time gets the same answer.
    this.#aggregating ??= this.#aggregate().finally(() => { this.#aggregating = null })
    return this.#aggregating
  }

  /** This instance alone. */
  local (): ClusterData {
    return aggregate({ living: [this.#own()], ended: [], skipped: 0, now: this.#store.now(), degraded: false, away: false })
  }

  /**
   * Requests of the last minutes by route and status, the most frequent first.
   *
   * @param minutes 1 to 60
   * @throws FST_ERR_CLUSTER_METRICS_INVALID_ARGUMENT as rejection
   */
  async requests (minutes: number): Promise<Seen<{ minutes: number, requests: RequestCount[] }>> {
    checkNumber('minutes', minutes, MOST_REQUEST_MINUTES)
    this.#reporter.collect()
    const own = this.#reporter.minutes.last(minutes, this.#store.now())
    const { value, degraded } = await this.#orNothing(() => this.#store.requests(minutes))
    return { minutes, degraded, requests: sumRequests(own, value ?? []) }
  }

  /**
   * The last server errors, the newest first.
   *
   * @param count 1 to 100
   * @throws FST_ERR_CLUSTER_METRICS_INVALID_ARGUMENT as rejection
   */
  async recentErrors (count: number): Promise<Seen<{ errors: ErrorEntry[] }>> {
    checkNumber('count', count, MOST_ERRORS)
    const { value, degraded } = await this.#orNothing(() => this.#store.errors())
    const errors = value === null ? this.#errors.recent() : [...this.#errors.unsaved, ...value]
    return { degraded, errors: distinctErrors(errors).slice(0, count) }
  }

  /** One instance by its boot id: what it says of itself, its server, and its routes. Null where nobody knows it. */
  async instance (bootId: string): Promise<Seen<InstanceDetails> | null> {
    const { value, degraded } = await this.#orNothing(() => this.#store.found())
    const one = this.#withOwn(value).find(({ report }) => report.bootId === bootId)
    return one === undefined ? null : { degraded, ...instanceDetails(one) }
  }

  /**
   * The last minutes in steps of time. Beyond `keepMs`, and up to a day, in steps of four minutes.
   *
   * @param minutes 1 to 1440
   * @param bootId of one instance alone, for `keepMs` @default all of them
   * @throws FST_ERR_CLUSTER_METRICS_INVALID_ARGUMENT as rejection
   */
  async history (minutes: number, bootId?: string): Promise<Seen<{ minutes: number, stepMs: number, points: HistoryPoint[] }>> {
    checkNumber('minutes', minutes, MOST_MINUTES)
    const now = this.#store.now()
    const since = now - minutes * 60_000
    const own = this.#reporter.history.points.filter(([at]) => at >= since)
    const { value, degraded } = await this.#orNothing(() => this.#pointsOf(minutes, bootId))
    const isOwn = bootId === undefined || bootId === this.#local.bootId
    const all = [...isOwn ? [own] : [], ...value ?? []]
    // What all have reported that still do.
    const reported = all.map((points) => points.at(-1)?.[0] ?? 0).filter((at) => now - at < 3 * this.#options.reportIntervalMs)
    const until = Math.min(now, ...reported)
    if (bootId === undefined && minutes * 60_000 > this.#options.keepMs) {
      const { value: texts } = await this.#orNothing(() => this.#store.days(since))
      const kept = texts === null ? this.#reporter.days.own : texts.map(readDayPoint).filter((point) => point !== null)
      return { minutes, stepMs: DAY_STEP_MS, degraded, points: mergeDay(kept, all, { since, until }) }
    }
    const stepMs = Math.max(this.#options.reportIntervalMs, Math.ceil(minutes * 60_000 / 360 / 1000) * 1000)
    return { minutes, stepMs, degraded, points: mergeHistory(all, stepMs, until) }
  }

  /** The others' points in Redis. */
  async #pointsOf (minutes: number, bootId: string | undefined) {
    if (bootId === undefined) return this.#store.history(minutes)
    return bootId === this.#local.bootId ? [] : [await this.#store.historyOf(bootId, minutes)]
  }

  /**
   * What Prometheus scrapes, of this instance or of all.
   *
   * @param scope @default the option `prometheusScope`
   * @param format @default 'prometheus', which is text 0.0.4
   * @throws FST_ERR_CLUSTER_METRICS_INVALID_ARGUMENT as rejection
   */
  async prometheus (scope: 'instance' | 'cluster' = this.#scope(), format: Format = 'prometheus'): Promise<string> {
    if (!SCOPES.includes(scope)) throw new FST_ERR_CLUSTER_METRICS_INVALID_ARGUMENT('scope', `one of ${SCOPES.join(', ')}`)
    if (!FORMATS.includes(format)) throw new FST_ERR_CLUSTER_METRICS_INVALID_ARGUMENT('format', `one of ${FORMATS.join(', ')}`)
    const options = { format, attributeNames: this.#options.attributeNames }
    await this.#local.custom.first()
    if (scope === 'instance') return instanceText(this.#local, options)
    const { value } = await this.#orNothing(() => Promise.all([this.#store.found(), this.#store.totals()]))
    // What only grows is as reported, of this instance too: with the own present counts, the next answer, which another
    // instance gives through the load balancer, would be lower, and Prometheus takes that for a restart.
    // While Redis is away the sums are unknown: those of one instance would be a fall, and a rise when it is back.
    const [found, totals] = value ?? [null, { living: this.#link.mode === 'none' ? [{ ...this.#local.totals(), bootId: this.#local.bootId }] : [], ended: null, folded: 0 }]
    return clusterText(this.#withOwn(found).map(({ report }) => report), totals, options)
  }

  /** Workers that share a port answer in turn: of one of them Prometheus would see counters that rise and fall. */
  #scope (): 'instance' | 'cluster' {
    return this.#options.prometheusScope ?? (cluster.isWorker && this.#link.mode !== 'none' ? 'cluster' : 'instance')
  }

  async #aggregate (): Promise<ClusterData> {
    await this.#local.custom.first()
    const { value, degraded } = await this.#orNothing(() => this.#store.found())
    const away = degraded && this.#link.mode !== 'none'
    const { ended, skipped } = value ?? { ended: [], skipped: 0 }
    return aggregate({ living: this.#withOwn(value), ended, skipped, now: this.#store.now(), degraded, away })
  }

  /**
   * This instance speaks for itself: it knows more than it last reported. What it counted is in the sum of those that ended
   * where it stood still for so long that it was taken for one, until its next report takes that back.
   */
  #withOwn (found: Found | null): Aged[] {
    const { report, ageMs } = this.#own()
    const own = { report: found?.hasOwn === true ? { ...report, counters: {} } : report, ageMs }
    return [own, ...(found?.reports ?? []).filter(({ report }) => report.bootId !== own.report.bootId)]
  }

  #own (): Aged {
    return { report: this.#local.report(), ageMs: 0 }
  }

  /** Asks Redis; null at once while it is away, and where it fails. */
  async #orNothing<T> (ask: () => Promise<T>): Promise<{ value: T | null, degraded: boolean }> {
    if (!this.#link.isUp) return { value: null, degraded: true }
    try {
      return { value: await ask(), degraded: false }
    } catch (err) {
      this.#log.debug({ err }, 'the others could not be read')
      return { value: null, degraded: true }
    }
  }
}

function checkNumber (name: string, value: number, most: number): void {
  if (!(Number.isInteger(value) && value >= 1 && value <= most)) throw new FST_ERR_CLUSTER_METRICS_INVALID_ARGUMENT(name, `a whole number from 1 to ${most}`)
}

function sumRequests (own: Counts[], others: Array<Record<string, string>>): RequestCount[] {
  const sums = new Map<string, number>()
  const add = (field: string, count: number) => { if (Number.isFinite(count)) sums.set(field, (sums.get(field) ?? 0) + count) }
  for (const counts of own) for (const [field, count] of counts) add(field, count)
  for (const counts of others) for (const [field, count] of Object.entries(counts)) add(field, Number(count))
  return [...sums].map(([field, count]) => {
    const colon = field.lastIndexOf(':')
    return { route: field.slice(0, colon), status: Number(field.slice(colon + 1)), count }
  }).filter(({ status }) => Number.isFinite(status)).sort((a, b) => b.count - a.count)
}
