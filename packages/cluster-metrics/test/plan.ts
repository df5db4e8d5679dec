import { Type, type TSchema } from 'typebox'

// The document of the plan (shared/plan/002, from line 15), field by field, written from the plan and not from src/schemas.ts.

const N = Type.Number()
const S = Type.String({ minLength: 1 })
const Iso = Type.String({ pattern: '^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{3}Z$' })
const maybe = (schema: TSchema) => Type.Union([schema, Type.Null()])
const P = { p50: N, p95: N, p99: N }

const Instance = Type.Object({
  pid: N,
  pm2Available: Type.Boolean(),
  pm2ProcessName: maybe(S),
  status: S,
  version: maybe(S),
  release: maybe(S),
  environment: S,
  database: Type.Object({ status: S, name: maybe(S) }),
  deployment: Type.Object({ mode: S, config: Type.Object({ port: maybe(N), db: maybe(S) }) }),
  uptime: N,
  uptimeFormatted: S,
  memory: Type.Object({ used: N, total: N }),
  cpu: N,
  restarts: N,
  websockets: Type.Object({ uptime: N, localConnections: N, localMessages: N, namespaces: Type.Array(Type.Object({ path: S, lastActivity: maybe(Iso) })) }),
  processInfo: Type.Object({ ppid: N, memoryUsage: Type.Object({ rss: N, heapTotal: N, heapUsed: N, external: N, arrayBuffers: N }) }),
  eventLoop: Type.Object({ delay: Type.Object({ p50: N, p99: N }), utilization: N })
})

const Server = Type.Object({
  serverName: S,
  serverId: S,
  platform: S,
  arch: S,
  nodeVersion: S,
  cpus: N,
  loadAverage: Type.Array(N, { minItems: 3, maxItems: 3 }),
  freeMemory: N,
  totalMemory: N,
  mongodb: Type.Object({ status: S, version: maybe(S), connections: maybe(Type.Object({ current: maybe(N), available: maybe(N) })), uptime: maybe(N), host: maybe(S) }),
  instances: Type.Array(Instance, { minItems: 1 })
})

export const PLAN = Type.Object({
  success: Type.Literal(true),
  data: Type.Object({
    status: Type.Literal('ok'),
    degraded: Type.Boolean(),
    timestamp: Iso,
    statistics: Type.Object({
      totalServers: N,
      totalInstances: N,
      totalProcesses: N,
      runningProcesses: N,
      stoppedProcesses: N,
      erroredProcesses: N,
      totalWebSocketConnections: N,
      totalWebSocketMessages: N,
      totalWebSocketNamespaces: N,
      webSocketNamespaces: Type.Array(Type.Object({
        path: S, totalConnections: N, totalMessages: N, instanceCount: N, serverCount: N, status: S, lastActivity: maybe(Iso)
      })),
      lastUpdated: Iso,
      routes: Type.Array(Type.Object({ method: S, route: S, requests: N, ...P }))
    }),
    servers: Type.Array(Server, { minItems: 1 })
  })
})
