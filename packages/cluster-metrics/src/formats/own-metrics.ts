/** Every metric of the plugin itself: its type, what it says, and how instances add up at `scope=cluster`. */
export const OWN = {
  http_server_request_duration_seconds: ['histogram', 'Duration of HTTP requests; status 499: the client went away before the answer'],
  http_server_errors_total: ['counter', 'Requests that were answered with a server error'],
  http_server_active_requests: ['gauge', 'Requests that are being answered'],
  http_server_event_streams_total: ['counter', 'Event streams that ended: they last, so they are no durations'],
  websocket_server_connections: ['gauge', 'Open WebSockets'],
  process_memory_usage_bytes: ['gauge', 'Resident memory'],
  process_resident_memory_bytes: ['gauge', 'Resident memory'],
  nodejs_heap_used_bytes: ['gauge', 'Used memory of the heap'],
  process_cpu_utilization_ratio: ['gauge', 'Share of one core between the last two reports; the mean of all instances'],
  process_cpu_seconds_total: ['counter', 'CPU time'],
  process_start_time_seconds: ['gauge', 'Start of the process in seconds since 1970; of the youngest instance'],
  process_uptime_seconds: ['gauge', 'Seconds since the start; the shortest of all instances'],
  nodejs_eventloop_utilization_ratio: ['gauge', 'Share of time in which the event loop was busy; the mean of all instances'],
  nodejs_eventloop_delay_p99_seconds: ['gauge', '99th percentile of the event loop delay; the worst of all instances'],
  nodejs_eventloop_delay_max_seconds: ['gauge', 'Longest event loop delay of the last minute; the worst of all instances'],
  nodejs_eventloop_blocked_seconds_total: ['counter', 'Time for which the event loop stood still, in pieces of 100 ms or more'],
  health_check_up: ['gauge', '1 where a health check is up, 0 where it is down'],
  health_ready: ['gauge', '1 where the instance is ready, 0 where /health answers 503'],
  cluster_instances: ['gauge', 'Instances alive'],
  cluster_processes: ['gauge', 'Processes by state: online, stopping, and as PM2 tells stopped and errored'],
  cluster_instance_starts_total: ['counter', 'Instances that started'],
  cluster_instances_lost_total: ['counter', 'Instances that reported no longer and had not said that they leave, be it for a while'],
  cluster_instance_info: ['gauge', '1 for each living instance, with its server, version and release'],
  cluster_instance_start_time_seconds: ['gauge', 'Start of each instance in seconds since 1970'],
  cluster_instance_cpu_utilization_ratio: ['gauge', 'Share of one core, by instance'],
  cluster_instance_memory_usage_bytes: ['gauge', 'Resident memory, by instance'],
  cluster_instance_requests_total: ['counter', 'Requests, by instance'],
  cluster_instance_server_errors_total: ['counter', 'Requests that were answered with a server error, by instance'],
  cluster_instance_active_requests: ['gauge', 'Requests that are being answered, by instance'],
  cluster_instance_eventloop_delay_max_seconds: ['gauge', 'Longest event loop delay of the last minute, by instance'],
  cluster_metrics_errors_total: ['counter', 'Gauges, components, checks and metrics of the registry that could not be read'],
  cluster_metrics_left_out: ['gauge', 'Series of the application that are not shown, by reason: bound (beyond maxSeries), name (another metric has it, as the plugin has some of collectDefaultMetrics), buckets (not all instances have them), value (gauges that are no finite number), ended (of instances that ended, counted as __other__: the most of one of them)']
} as const satisfies Record<string, readonly ['counter' | 'gauge' | 'histogram', string]>

export type OwnName = keyof typeof OWN

/** Names of the labels of `http_server_request_duration_seconds`. */
export type AttributeNames = 'short' | 'opentelemetry'

/** The series of a counter of the application end in `_total`. */
export const counterName = (name: string): string => name.endsWith('_total') ? name : `${name}_total`

const taken = new Set(Object.entries(OWN).flatMap(([name, [type]]) => type === 'histogram' ? ['', '_bucket', '_sum', '_count'].map((suffix) => name + suffix) : [name]))

/** Whether a name of a series is one of the plugin's own. */
export const isOurs = (name: string): boolean => taken.has(name)
