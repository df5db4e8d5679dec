import { Type, type Static } from 'typebox'
import Compile from 'typebox/compile'
import { GaugesSchema } from './families.ts'
import { LONGEST_TEXT, MOST_EXEMPLARS, MOST_FAMILIES, MOST_NAMESPACES, parse } from './limits.ts'

const Num = Type.Number()
const Str = Type.String({ maxLength: LONGEST_TEXT })
const MaybeStr = Type.Union([Str, Type.Null()])
const MaybeNum = Type.Union([Num, Type.Null()])
const Sparse = Type.String({ maxLength: 10_000 })
const Reduce = Type.Enum(['sum', 'avg', 'max', 'min', 'first', 'count', 'concat'])

/** MongoDB as a server; what could not be found out is null. */
const MongoServerSchema = Type.Object({
  status: Type.Enum(['running', 'down', 'unknown', 'disabled']),
  version: MaybeStr,
  connections: Type.Union([Type.Object({ current: MaybeNum, available: MaybeNum }), Type.Null()]),
  uptime: MaybeNum,
  host: MaybeStr
})

/** The machine. Memory in MiB. */
const ServerSchema = Type.Object({
  serverName: Str,
  platform: Str,
  arch: Str,
  nodeVersion: Str,
  cpus: Num,
  loadAverage: Type.Array(Num, { minItems: 3, maxItems: 3 }),
  freeMemory: Num,
  totalMemory: Num,
  mongodb: MongoServerSchema
})

/** One namespace of one instance. */
const NamespaceSchema = Type.Object({
  path: Str,
  users: Num,
  connections: Num,
  messages: Num,
  rooms: Num,
  drops: Type.Object({ oversize: Num, rateLimit: Num, invalid: Num, slow: Num }),
  lastActivity: MaybeStr
})

const HealthStatus = Type.Enum(['ok', 'degraded', 'error'])

/** Readiness, as `/health` of the instance told it last. */
const HealthSchema = Type.Object({
  status: HealthStatus,
  checks: Type.Record(Type.String(), Type.Object({ status: Str, critical: Type.Optional(Type.Boolean()) }))
})

const Severity = Type.Enum(['up', 'degraded', 'down'])

/** What went wrong with an instance or a check since the start of the process: how often, how it is now, and how bad and how long the last time was. */
const IncidentSchema = Type.Object({ count: Num, now: Severity, worst: Severity, ms: Num })

/** The process. Memory in MiB, times in seconds or as text. What is optional was added later. */
const InstanceSchema = Type.Object({
  pid: Num,
  pm2Available: Type.Boolean(),
  pm2ProcessName: MaybeStr,
  status: Type.Enum(['online', 'stopping']),
  version: MaybeStr,
  release: MaybeStr,
  environment: Str,
  database: Type.Object({ status: Type.Enum(['connected', 'disconnected', 'disabled']), name: MaybeStr }),
  deployment: Type.Object({ mode: Str, config: Type.Object({ port: MaybeNum, db: MaybeStr }) }),
  uptime: Num,
  uptimeFormatted: Str,
  memory: Type.Object({ used: Num, total: Num }),
  cpu: Num,
  restarts: Num,
  eventLoop: Type.Object({ delay: Type.Object({ p50: Num, p99: Num, max: Num }), utilization: Num, maxOfMinute: Type.Optional(Num) }),
  health: Type.Optional(HealthSchema),
  websockets: Type.Object({ uptime: Num, localConnections: Num, localMessages: Num, namespaces: Type.Array(NamespaceSchema, { maxItems: MOST_NAMESPACES }) }),
  processInfo: Type.Object({
    ppid: Num,
    memoryUsage: Type.Object({ rss: Num, heapTotal: Num, heapUsed: Num, external: Num, arrayBuffers: Num })
  })
})

/** Siblings that PM2 does not run at the moment; null where it was not asked. */
const SiblingsSchema = Type.Union([Type.Object({ stopped: Num, errored: Num }), Type.Null()])

/** What an instance tells the others, at intervals. */
const ReportSchema = Type.Object({
  bootId: Str,
  instanceId: Str,
  serverId: Str,
  startedAt: Num,
  /** Whether the process says so when it leaves: one that is gone without a word has failed. */
  announcesLeaving: Type.Optional(Type.Boolean()),
  /** Milliseconds since the start, of the process' own clock. */
  uptimeMs: Type.Optional(Num),
  /** By check; `instance` is the instance as a whole. */
  incidents: Type.Optional(Type.Record(Type.String(), IncidentSchema)),
  server: ServerSchema,
  instance: InstanceSchema,
  siblings: SiblingsSchema,
  http: Type.Object({ requests: Num, errors: Num, active: Num, latency: Sparse }),
  /** By `<method> <route>`: requests, errors, latencies of the last minutes. */
  routes: Type.Record(Type.String(), Type.Tuple([Num, Num, Sparse])),
  components: Type.Record(Type.String(), Type.Object({
    fields: Type.Record(Type.String(), Type.Unknown()),
    reduce: Type.Record(Type.String(), Reduce)
  })),
  gauges: Type.Record(Type.String(), Type.Tuple([Reduce, Type.Unknown()])),
  counters: Type.Record(Type.String(), Num),
  /** Gauges of the application's registry, with labels. */
  labelled: Type.Optional(Type.Array(GaugesSchema, { maxItems: MOST_FAMILIES })),
  /** The latest exemplars of the registry: series with its labels, as `keyOf` writes them, labels, value, seconds since 1970. */
  exemplars: Type.Optional(Type.Array(Type.Tuple([Str, Type.Record(Type.String(), Str), Num, MaybeNum]), { maxItems: MOST_EXEMPLARS })),
  /** Series of the registry that are not in here, by reason. */
  leftOut: Type.Optional(Type.Record(Type.String(), Num))
})

export type Report = Static<typeof ReportSchema>
export type InstanceFacts = Static<typeof InstanceSchema>
export type ServerFacts = Static<typeof ServerSchema>
export type MongoServer = Static<typeof MongoServerSchema>
export type Namespace = Static<typeof NamespaceSchema>
export type Health = Static<typeof HealthSchema>
export type Incident = Static<typeof IncidentSchema>
export type Siblings = Static<typeof SiblingsSchema>
export { InstanceSchema, NamespaceSchema, ServerSchema }

const reportCheck = Compile(ReportSchema)

/** Null where the text is not a report: another version wrote it, or somebody else did. */
export function readReport (text: string): Report | null {
  const value = parse(text)
  return reportCheck.Check(value) ? value : null
}

/** The order of instances, the same whoever answers: `first` is that of the oldest one. */
export const oldestFirst = (a: Report, b: Report): number => a.startedAt - b.startedAt || (a.bootId < b.bootId ? -1 : 1)
