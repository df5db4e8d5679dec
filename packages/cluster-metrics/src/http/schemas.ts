import { Type } from 'typebox'
import { InstanceSchema, NamespaceSchema, ServerSchema } from '../formats/index.ts'

const Count = Type.Integer({ minimum: 0 })
const Iso = Type.String({ description: 'ISO 8601' })
const Anything = Type.Record(Type.String(), Type.Unknown())
const Percentiles = { p50: Type.Number(), p95: Type.Number(), p99: Type.Number() }
const Requests = Type.Object({ total: Count, errors: Count, active: Count })

const Instance = Type.Object({
  instanceId: Type.String(),
  bootId: Type.String(),
  ageMs: Type.Number({ description: 'Milliseconds since it reported' }),
  ...InstanceSchema.properties,
  requests: Requests,
  latency: Type.Object(Percentiles),
  components: Type.Record(Type.String(), Anything)
})

const Server = Type.Object({ serverId: Type.String(), ...ServerSchema.properties, instances: Type.Array(Instance) })

const NamespaceTotals = Type.Object({
  path: Type.String(),
  totalConnections: Count,
  totalMessages: Count,
  instanceCount: Count,
  serverCount: Count,
  status: Type.Enum(['green', 'yellow']),
  lastActivity: NamespaceSchema.properties.lastActivity
})

const Route = Type.Object({ method: Type.String(), route: Type.String(), requests: Count, errors: Count, ...Percentiles })

const Statistics = Type.Object({
  totalServers: Count,
  totalInstances: Count,
  totalProcesses: Count,
  runningProcesses: Count,
  stoppedProcesses: Count,
  erroredProcesses: Count,
  totalWebSocketConnections: Count,
  totalWebSocketMessages: Count,
  totalWebSocketNamespaces: Count,
  webSocketNamespaces: Type.Array(NamespaceTotals),
  requests: Requests,
  latency: Type.Object(Percentiles),
  routes: Type.Array(Route),
  components: Type.Record(Type.String(), Anything),
  gauges: Anything,
  counters: Type.Record(Type.String(), Type.Number()),
  duplicateInstanceIds: Type.Array(Type.String()),
  skippedReports: Count,
  lastUpdated: Iso
})

const Degraded = Type.Boolean({ description: 'Only the answering instance is known' })

export const Metrics = Type.Object({
  status: Type.Enum(['ok', 'degraded', 'error']),
  degraded: Degraded,
  timestamp: Iso,
  statistics: Statistics,
  servers: Type.Array(Server)
})

export const Servers = Type.Object({ degraded: Degraded, servers: Type.Array(Server) })

export const RequestCounts = Type.Object({
  degraded: Degraded,
  minutes: Count,
  requests: Type.Array(Type.Object({ route: Type.String(), status: Type.Integer(), count: Count }))
})

export const Errors = Type.Object({
  degraded: Degraded,
  errors: Type.Array(Type.Object({
    fingerprint: Type.String(),
    code: Type.String(),
    message: Type.String(),
    method: Type.String(),
    route: Type.String(),
    statusCode: Type.Integer(),
    instanceId: Type.String(),
    timestamp: Iso,
    count: Count,
    stack: Type.Optional(Type.String())
  }))
})

export const HistoryPoints = Type.Object({
  degraded: Degraded,
  minutes: Count,
  stepMs: Count,
  points: Type.Array(Type.Object({
    timestamp: Iso,
    instances: Count,
    requestsPerSecond: Type.Number(),
    errorsPerSecond: Type.Number(),
    active: Type.Number(),
    cpu: Type.Number(),
    memory: Type.Number(),
    eventLoopDelay: Type.Number(),
    webSocketConnections: Type.Number(),
    deployed: Type.Array(Type.String()),
    ...Percentiles
  }))
})

export const InstanceDetails = Type.Object({ degraded: Degraded, server: Type.Object({ serverId: Type.String(), ...ServerSchema.properties }), instance: Instance, routes: Type.Array(Route) })

const HealthInstance = Type.Object({
  instanceId: Type.String(),
  serverId: Type.String(),
  bootId: Type.String(),
  pid: Type.Integer(),
  status: Type.String(),
  uptime: Type.Number(),
  ageMs: Type.Number()
})

export const Health = Type.Object({
  status: Type.Enum(['ok', 'degraded', 'error']),
  checks: Type.Record(Type.String(), Type.Object({ status: Type.String() })),
  instances: Type.Optional(Type.Array(HealthInstance))
})

export const Live = Type.Object({ status: Type.Literal('ok') })

export const RedisState = Type.Object({
  status: Type.Enum(['ok', 'degraded', 'error']),
  mode: Type.Enum(['redis', 'memory', 'initializing']),
  stats: Type.Union([Type.Null(), Type.Object({
    mode: Type.String(),
    hits: Count,
    misses: Count,
    hitRate: Type.Number(),
    errors: Count,
    used_memory_human: Type.Optional(Type.String()),
    bytes: Type.Optional(Count),
    entries: Type.Optional(Count)
  })])
})
