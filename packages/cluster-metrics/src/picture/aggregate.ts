import { addSparse, emptyHistogram, oldestFirst, percentiles, reduce, sumCounters, type InstanceFacts, type Percentiles, type Reduce, type Report, type ServerFacts, type Totals } from '../formats/index.ts'
import { mergeNamespaces, type NamespaceTotals } from './namespaces.ts'

/** Requests since the start of the instances, and those under way. */
export interface RequestTotals {
  total: number
  errors: number
  active: number
}

/** One method and route over all instances; percentiles of the last five to ten minutes, in milliseconds. */
export interface RouteTotals extends Percentiles {
  method: string
  route: string
  requests: number
  errors: number
}

export interface InstanceMetrics extends InstanceFacts {
  instanceId: string
  bootId: string
  /** Milliseconds since it reported, by Redis' clock; 0 for the instance that answers. */
  ageMs: number
  requests: RequestTotals
  latency: Percentiles
  components: Record<string, Record<string, unknown>>
}

export interface ServerMetrics extends ServerFacts {
  serverId: string
  instances: InstanceMetrics[]
}

export interface Statistics {
  totalServers: number
  totalInstances: number
  totalProcesses: number
  runningProcesses: number
  stoppedProcesses: number
  erroredProcesses: number
  totalWebSocketConnections: number
  totalWebSocketMessages: number
  totalWebSocketNamespaces: number
  webSocketNamespaces: NamespaceTotals[]
  requests: RequestTotals
  latency: Percentiles
  routes: RouteTotals[]
  components: Record<string, Record<string, unknown>>
  gauges: Record<string, unknown>
  /** Sums over all instances, those that ended included. */
  counters: Record<string, number>
  /** Instance ids that more than one living instance bears, those not counted that are being taken out of service. */
  duplicateInstanceIds: string[]
  /** Reports in Redis that could not be read. */
  skippedReports: number
  lastUpdated: string
}

/** `data` of `/api/1/metrics`. */
export interface ClusterData {
  /** `error` where no instance is ready, `degraded` where a check of one is down, as `/health` says, or only the answering one is known. */
  status: 'ok' | 'degraded' | 'error'
  /** Only the answering instance is known: Redis is away, or not configured. */
  degraded: boolean
  timestamp: string
  statistics: Statistics
  servers: ServerMetrics[]
}

export interface Aged {
  report: Report
  ageMs: number
}

/** What an answer is made of. */
export interface Parts {
  living: readonly Aged[]
  /** Of instances that ended. */
  ended: readonly Totals[]
  /** Values in Redis that could not be read. */
  skipped: number
  now: number
  degraded: boolean
  /** Redis is configured, and away. */
  away: boolean
}

const MOST_ROUTES = 500

/** For what is read before the next call: a typed array each would be more work than what it holds. */
const scratch = emptyHistogram()

/** Makes one picture of what the instances reported. */
export function aggregate ({ living, ended, skipped, now, degraded, away }: Parts): ClusterData {
  // The oldest first, so that `first` and the order of the answer do not change from call to call.
  const aged = living.toSorted((a, b) => oldestFirst(a.report, b.report))
  const servers = serversOf(aged)
  const timestamp = new Date(now).toISOString()
  const counters = sumCounters([...aged.map(({ report }) => report.counters), ...ended.flatMap(({ counters, sums = {} }) => [counters, sums])])
  return { status: statusOf(living.map(({ report }) => report), away), degraded, timestamp, statistics: { ...statisticsOf(aged, servers), counters, skippedReports: skipped, lastUpdated: timestamp }, servers }
}

/** The one truth about readiness: what each instance's `/health` says. One that is being taken out of service is no fault. */
function statusOf (reports: readonly Report[], away: boolean): ClusterData['status'] {
  const serving = reports.filter(({ instance }) => instance.status === 'online').map(({ instance }) => instance.health?.status ?? 'ok')
  if (serving.every((status) => status === 'error')) return 'error'
  return away || serving.some((status) => status !== 'ok') ? 'degraded' : 'ok'
}

function serversOf (aged: readonly Aged[]): ServerMetrics[] {
  const byId = new Map<string, { freshest: number, server: ServerMetrics }>()
  for (const { report, ageMs } of aged) {
    const known = byId.get(report.serverId) ?? { freshest: Infinity, server: { ...report.server, serverId: report.serverId, instances: [] } }
    if (ageMs < known.freshest) {
      known.freshest = ageMs
      Object.assign(known.server, report.server)
    }
    known.server.instances.push(instanceOf(report, ageMs))
    byId.set(report.serverId, known)
  }
  return [...byId.values()].map(({ server }) => server).sort((a, b) => a.serverId < b.serverId ? -1 : 1)
}

function instanceOf ({ instance, instanceId, bootId, http, components }: Report, ageMs: number): InstanceMetrics {
  const { requests, errors, active, latency } = http
  const counts = scratch.fill(0)
  addSparse(counts, latency)
  return {
    ...instance,
    instanceId,
    bootId,
    ageMs,
    requests: { total: requests, errors, active },
    latency: percentiles(counts),
    components: Object.fromEntries(Object.entries(components).map(([name, { fields }]) => [name, fields]))
  }
}

/** One instance by itself. */
export interface InstanceDetails {
  server: ServerFacts & { serverId: string }
  instance: InstanceMetrics
  routes: RouteTotals[]
}

export function instanceDetails ({ report, ageMs }: Aged): InstanceDetails {
  return { server: { serverId: report.serverId, ...report.server }, instance: instanceOf(report, ageMs), routes: mergeRoutes([report]) }
}

function statisticsOf (aged: readonly Aged[], servers: ServerMetrics[]): Omit<Statistics, 'counters' | 'skippedReports' | 'lastUpdated'> {
  const reports = aged.map(({ report }) => report)
  const siblings = siblingsOf(aged)
  const running = reports.filter(({ instance }) => instance.status === 'online').length
  const namespaces = mergeNamespaces(reports.map(({ serverId, instance }) => ({ serverId, namespaces: instance.websockets.namespaces })))
  const latency = emptyHistogram()
  for (const { http } of reports) addSparse(latency, http.latency)
  return {
    totalServers: servers.length,
    totalInstances: reports.length,
    totalProcesses: reports.length + siblings.stopped + siblings.errored,
    runningProcesses: running,
    stoppedProcesses: siblings.stopped,
    erroredProcesses: siblings.errored,
    totalWebSocketConnections: sum(reports, ({ instance }) => instance.websockets.localConnections),
    totalWebSocketMessages: sum(reports, ({ instance }) => instance.websockets.localMessages),
    totalWebSocketNamespaces: namespaces.length,
    webSocketNamespaces: namespaces,
    requests: { total: sum(reports, ({ http }) => http.requests), errors: sum(reports, ({ http }) => http.errors), active: sum(reports, ({ http }) => http.active) },
    latency: percentiles(latency),
    routes: mergeRoutes(reports),
    components: mergeComponents(reports),
    gauges: mergeGauges(reports),
    // While one replaces another, the old one may still answer its last requests.
    duplicateInstanceIds: duplicatesOf(reports.filter(({ instance }) => instance.status === 'online').map(({ instanceId }) => instanceId))
  }
}

/** Each instance of a server was told the same by its PM2: the freshest answer counts. */
function siblingsOf (aged: readonly Aged[]): { stopped: number, errored: number } {
  const byServer = new Map<string, Aged>()
  for (const one of aged) {
    const known = byServer.get(one.report.serverId)
    if (one.report.siblings !== null && (known === undefined || one.ageMs < known.ageMs)) byServer.set(one.report.serverId, one)
  }
  const all = [...byServer.values()].map(({ report }) => report.siblings!)
  return { stopped: sum(all, ({ stopped }) => stopped), errored: sum(all, ({ errored }) => errored) }
}

/** Adds up requests and the buckets of latencies by method and route, the busiest first. */
function mergeRoutes (reports: readonly Report[]): RouteTotals[] {
  const byRoute = new Map<string, { name: string, requests: number, errors: number, counts: Float64Array }>()
  for (const { routes } of reports) {
    for (const name of Object.keys(routes)) {
      const route = routes[name]!
      let known = byRoute.get(name)
      if (known === undefined) byRoute.set(name, known = { name, requests: 0, errors: 0, counts: emptyHistogram() })
      known.requests += route[0]
      known.errors += route[1]
      addSparse(known.counts, route[2])
    }
  }
  return [...byRoute.values()].sort((a, b) => b.requests - a.requests).slice(0, MOST_ROUTES).map(({ name, requests, errors, counts }) => {
    const space = name.indexOf(' ')
    return { method: name.slice(0, space), route: name.slice(space + 1), requests, errors, ...percentiles(counts) }
  })
}

function mergeComponents (reports: readonly Report[]): Statistics['components'] {
  const ways = new Map<string, Record<string, Reduce>>()
  for (const { components } of reports) for (const [name, { reduce }] of Object.entries(components)) ways.set(name, { ...ways.get(name), ...reduce })
  const merged = [...ways].map(([name, way]) => {
    const fields = reports.map(({ components }) => components[name]?.fields)
    const reduced = Object.entries(way).map(([field, how]) => [field, reduce(how, fields.map((one) => one?.[field]))])
    return [name, { instances: fields.filter((one) => one !== undefined).length, ...Object.fromEntries(reduced) }] as const
  })
  return withHitRate(Object.fromEntries(merged))
}

/** A rate over all is the rate of the sums, not the mean of the rates. */
function withHitRate (components: Statistics['components']): Statistics['components'] {
  const { cache } = components
  if (typeof cache?.reads !== 'number' || typeof cache.loads !== 'number') return components
  return { ...components, cache: { ...cache, hitRate: cache.reads === 0 ? 0 : (cache.reads - cache.loads) / cache.reads } }
}

function mergeGauges (reports: readonly Report[]): Statistics['gauges'] {
  const ways = new Map<string, Reduce>()
  for (const { gauges } of reports) for (const [name, [how]] of Object.entries(gauges)) ways.set(name, how)
  return Object.fromEntries([...ways].map(([name, how]) => [name, reduce(how, reports.map(({ gauges }) => gauges[name]?.[1]))]))
}

function duplicatesOf (ids: string[]): string[] {
  const [known, twice] = [new Set<string>(), new Set<string>()]
  for (const id of ids) (known.has(id) ? twice : known).add(id)
  return [...twice]
}

function sum<T> (list: readonly T[], of: (one: T) => number): number {
  return list.reduce((total, one) => total + of(one), 0)
}
