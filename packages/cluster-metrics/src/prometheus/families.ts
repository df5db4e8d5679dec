import { BOUNDS, OWN, reduce, type AttributeNames, type OwnName, type Reduce, type Report, type Totals, type TotalsOfOne } from '../formats/index.ts'
import { histogramSamples } from './application.ts'
import type { Sample, TextFamily } from './text.ts'

type Samples = Array<[labels: Record<string, string>, value: number]>

/**
 * The plugin's own metrics of one instance, or of all: `totals` are their sum.
 *
 * @param hidden series that are not shown, by reason
 */
export function ownFamilies (reports: readonly Report[], totals: Totals, names: AttributeNames, hidden: Readonly<Record<string, number>> = {}): TextFamily[] {
  const facts = reports.map(({ instance }) => instance)
  const all = (of: (one: Report['instance']) => number, how: Reduce): Samples => [[{}, Number(reduce(how, facts.map(of)) ?? 0)]]
  const maxDelay = ({ eventLoop }: Report['instance']) => (eventLoop.maxOfMinute ?? eventLoop.delay.max) / 1000
  return [
    durations(totals, names),
    own('http_server_active_requests', [[{}, reports.reduce((sum, { http }) => sum + http.active, 0)]]),
    own('websocket_server_connections', all((one) => one.websockets.localConnections, 'sum')),
    own('process_memory_usage_bytes', all((one) => one.processInfo.memoryUsage.rss, 'sum')),
    own('process_resident_memory_bytes', all((one) => one.processInfo.memoryUsage.rss, 'sum')),
    own('nodejs_heap_used_bytes', all((one) => one.processInfo.memoryUsage.heapUsed, 'sum')),
    own('process_cpu_utilization_ratio', all((one) => one.cpu / 100, 'avg')),
    own('process_start_time_seconds', [[{}, Math.max(0, ...reports.map(({ startedAt }) => startedAt)) / 1000]]),
    own('process_uptime_seconds', all((one) => one.uptime, 'min')),
    own('nodejs_eventloop_utilization_ratio', all((one) => one.eventLoop.utilization, 'avg')),
    own('nodejs_eventloop_delay_p99_seconds', all((one) => one.eventLoop.delay.p99 / 1000, 'max')),
    own('nodejs_eventloop_delay_max_seconds', all(maxDelay, 'max')),
    ...Object.entries(totals.process ?? {}).filter(([name]) => Object.hasOwn(OWN, name)).map(([name, value]) => own(name as OwnName, [[{}, value]])),
    own('cluster_metrics_left_out', leftOut(reports, hidden))
  ]
}

/** What only `scope=cluster` has: each instance by itself. */
export function instanceFamilies (reports: readonly Report[]): TextFamily[] {
  const each = (of: (report: Report) => number): Samples => reports.map((report) => [{ instance: report.instanceId, boot: report.bootId }, of(report)])
  const states = new Map<string, number>([['online', 0], ['stopping', 0]])
  for (const { instance } of reports) states.set(instance.status, (states.get(instance.status) ?? 0) + 1)
  const byServer = new Map(reports.filter(({ siblings }) => siblings !== null).map(({ serverId, siblings }) => [serverId, siblings!]))
  for (const { stopped, errored } of byServer.values()) {
    states.set('stopped', (states.get('stopped') ?? 0) + stopped)
    states.set('errored', (states.get('errored') ?? 0) + errored)
  }
  return [
    own('cluster_instances', [[{}, reports.length]]),
    own('cluster_processes', [...states].map(([state, count]) => [{ state }, count])),
    own('cluster_instance_info', reports.map(({ instanceId, bootId, serverId, instance }) => [{ instance: instanceId, boot: bootId, server: serverId, version: instance.version ?? '', release: instance.release ?? '' }, 1])),
    own('cluster_instance_start_time_seconds', each(({ startedAt }) => startedAt / 1000)),
    own('cluster_instance_cpu_utilization_ratio', each(({ instance }) => instance.cpu / 100)),
    own('cluster_instance_memory_usage_bytes', each(({ instance }) => instance.processInfo.memoryUsage.rss)),
    own('cluster_instance_active_requests', each(({ http }) => http.active)),
    own('cluster_instance_eventloop_delay_max_seconds', each(({ instance: { eventLoop } }) => (eventLoop.maxOfMinute ?? eventLoop.delay.max) / 1000)),
    ...healthFamilies(reports, true)
  ]
}

/** Counts of each instance by itself, as it reported them last, whoever answers. */
export function instanceCounters (living: readonly TotalsOfOne[]): TextFamily[] {
  const each = (isCounted: (status: number) => boolean): Samples => living.map(({ instanceId, bootId, series }) => [
    { instance: instanceId, boot: bootId },
    series.reduce((sum, [, , status, , buckets]) => isCounted(status) ? sum + buckets.reduce((a, b) => a + b) : sum, 0)
  ])
  return [own('cluster_instance_requests_total', each(() => true)), own('cluster_instance_server_errors_total', each((status) => status >= 500))]
}

/** What `/health` says, of one instance or of each. */
export function healthFamilies (reports: readonly Report[], byInstance: boolean): TextFamily[] {
  const known = reports.filter(({ instance }) => instance.health !== undefined)
  const whose = ({ instanceId, bootId }: Report): Record<string, string> => byInstance ? { instance: instanceId, boot: bootId } : {}
  return [
    own('health_ready', known.map((report) => [whose(report), report.instance.health!.status === 'error' ? 0 : 1])),
    own('health_check_up', known.flatMap((report) => Object.entries(report.instance.health!.checks)
      .filter(([, { status }]) => status !== 'disabled')
      .map(([check, { status, critical = false }]): [Record<string, string>, number] => [{ ...whose(report), check, critical: String(critical) }, status === 'up' ? 1 : 0])))
  ]
}

function own (name: OwnName, values: Samples): TextFamily {
  const [type, help] = OWN[name]
  return { name, help, type, samples: values.map(([labels, value]): Sample => ['', labels, value]) }
}

/** OpenTelemetry's `http.server.request.duration`. */
function durations ({ series }: Totals, names: AttributeNames): TextFamily {
  const labels = (method: string, route: string, status: number): Record<string, string> => names === 'short'
    ? { method, route, status: String(status) }
    : { http_request_method: method, http_route: route, http_response_status_code: String(status) }
  return { ...own('http_server_request_duration_seconds', []), samples: series.flatMap(([method, route, status, sumMs, buckets]) => histogramSamples(labels(method, route, status), sumMs / 1000, buckets, BOUNDS)) }
}

function leftOut (reports: readonly Report[], hidden: Readonly<Record<string, number>>): Samples {
  const reasons = new Map<string, number>(Object.entries(hidden))
  for (const { leftOut = {} } of reports) for (const [reason, count] of Object.entries(leftOut)) reasons.set(reason, (reasons.get(reason) ?? 0) + count)
  return [...reasons].filter(([, count]) => count > 0).map(([reason, count]) => [{ reason }, count])
}
