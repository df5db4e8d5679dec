import { register, type Registry } from 'prom-client'
import { BOUNDS, reduce, TotalsSum, type Reduce, type Report, type Totals } from '../formats/index.ts'
import type { Local } from '../instance/index.ts'
import { exposition, type Family, type Sample } from './text.ts'

/** What one scrape is about: the living and what only grows, of one instance or of all. */
interface Scope {
  reports: Report[]
  totals: Totals[]
}

/** This instance, with the application's own metrics. */
export async function instanceText (local: Local, registry: Registry | false | undefined): Promise<string> {
  const families = distinct(familiesOf({ reports: [local.report()], totals: [local.totals()] }))
  return exposition(families) + await othersText(registry, new Set(families.map(({ name }) => name)))
}

/** All instances; their own registries stay with them. */
export function clusterText (scope: Scope): string {
  return exposition(distinct([gauge('cluster_instances', 'Instances alive', [[{}, scope.reports.length]]), ...familiesOf(scope)]))
}

/** The first family of each name: a counter of the application may bear the name of one of ours. */
function distinct (families: Family[]): Family[] {
  const names = families.map(({ name }) => name)
  return families.filter(({ name }, index) => names.indexOf(name) === index)
}

/** Metrics of a registry, but those whose name is taken: a name that comes twice makes the whole scrape invalid. */
async function othersText (registry: Registry | false | undefined, taken: ReadonlySet<string>): Promise<string> {
  if (registry === false) return ''
  const chosen = registry ?? register
  const names = chosen.getMetricsAsArray().map(({ name }) => name).filter((name) => !taken.has(name))
  const texts = await Promise.all(names.map((name) => chosen.getSingleMetricAsString(name)))
  return texts.map((text) => `${text}\n`).join('')
}

function familiesOf ({ reports, totals: parts }: Scope): Family[] {
  const totals = new TotalsSum(parts).read()
  const facts = reports.map(({ instance }) => instance)
  const all = (of: (one: Report['instance']) => number, how: Reduce): Array<[Record<string, string>, number]> => [[{}, Number(reduce(how, facts.map(of)) ?? 0)]]
  return [
    durations(totals),
    gauge('http_server_active_requests', 'Requests that are being answered', [[{}, reports.reduce((sum, { http }) => sum + http.active, 0)]]),
    gauge('websocket_server_connections', 'Open WebSockets', all((one) => one.websockets.localConnections, 'sum')),
    gauge('process_memory_usage_bytes', 'Resident memory', all((one) => one.processInfo.memoryUsage.rss, 'sum')),
    gauge('nodejs_heap_used_bytes', 'Used memory of the heap', all((one) => one.processInfo.memoryUsage.heapUsed, 'sum')),
    gauge('process_cpu_utilization_ratio', 'Share of one core between the last two reports; the mean of all instances', all((one) => one.cpu / 100, 'avg')),
    gauge('process_uptime_seconds', 'Seconds since the start; the shortest of all instances', all((one) => one.uptime, 'min')),
    gauge('nodejs_eventloop_utilization_ratio', 'Share of time in which the event loop was busy; the mean of all instances', all((one) => one.eventLoop.utilization, 'avg')),
    gauge('nodejs_eventloop_delay_p99_seconds', '99th percentile of the event loop delay; the worst of all instances', all((one) => one.eventLoop.delay.p99 / 1000, 'max')),
    ...counters(totals),
    ...gauges(reports)
  ]
}

/** OpenTelemetry's `http.server.request.duration`. */
function durations ({ series }: Totals): Family {
  return {
    name: 'http_server_request_duration_seconds',
    help: 'Duration of HTTP requests; status 499: the client went away before the answer',
    type: 'histogram',
    samples: series.flatMap(samplesOf)
  }
}

function samplesOf ([method, route, status, sumMs, buckets]: Totals['series'][number]): Sample[] {
  const labels = { method, route, status: String(status) }
  let count = 0
  const samples: Sample[] = buckets.map((one, index) => {
    count += one
    return ['_bucket', { ...labels, le: index < BOUNDS.length ? String(BOUNDS[index]) : '+Inf' }, count]
  })
  samples.push(['_sum', labels, sumMs / 1000], ['_count', labels, count])
  return samples
}

function counters (totals: Totals): Family[] {
  return Object.entries(totals.counters).map(([name, value]) => ({
    name: name.endsWith('_total') ? name : `${name}_total`,
    help: `Counter ${name} of the application`,
    type: 'counter',
    samples: [['', {}, value]]
  }))
}

/** Gauges that are numbers; the others are in the JSON document only. */
function gauges (reports: readonly Report[]): Family[] {
  const ways = new Map<string, Reduce>()
  for (const { gauges } of reports) for (const [name, [how]] of Object.entries(gauges)) ways.set(name, how)
  return [...ways].flatMap(([name, how]) => {
    const value = reduce(how, reports.map(({ gauges }) => gauges[name]?.[1]))
    return typeof value === 'number' ? [gauge(name, `Gauge ${name} of the application`, [[{}, value]])] : []
  })
}

function gauge (name: string, help: string, values: Array<[labels: Record<string, string>, value: number]>): Family {
  return { name, help, type: 'gauge', samples: values.map(([labels, value]) => ['', labels, value]) }
}
