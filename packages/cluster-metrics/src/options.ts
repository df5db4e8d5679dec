import { callback, checker, DAY_MS, opaque, type Authorize } from '@jpulse/plugin-kit'
import type { Registry } from 'prom-client'
import { Type } from 'typebox'
import { FST_ERR_CLUSTER_METRICS_INVALID_OPTION } from './errors.ts'

/** What we need of a MongoDB client: `fastify.mongo` of @fastify/mongodb has it. */
export interface MongoHandle {
  client: { db (name: string): { command (command: Record<string, unknown>): Promise<unknown> }, options?: unknown }
  db?: { databaseName: string } | undefined
}

/** Options of the plugin. */
export interface FastifyClusterMetricsOptions {
  /** Who may use the routes that reveal something, and sees everything in those that anybody may use. @default undefined: the former do not exist, and everybody sees masked values */
  authorize?: Authorize
  /** Where the JSON routes lie. @default '/api/1' */
  routePrefix?: string | undefined
  /** Where the dashboard lies; false for none. @default '/admin/cluster' */
  dashboardPath?: string | false
  /** Where Prometheus scrapes; false for nowhere. @default '/metrics' */
  prometheusPath?: string | false
  /** Pause between two reports, in milliseconds, 100 to 600000. @default 10000 */
  reportIntervalMs?: number | undefined
  /** How long after its last report an instance is counted as alive, in milliseconds; at least two reports. @default 30000, at least three times `reportIntervalMs` */
  ttlMs?: number | undefined
  /** How long the counters of an instance are kept after its end, in milliseconds, 1000 to 86400000; also the length of the history. @default 3600000 (an hour) */
  keepMs?: number | undefined
  /** Version of the application. @default npm_package_version, else null */
  version?: string | undefined
  /** Name or date of the release. @default RELEASE, else null */
  release?: string | undefined
  /** @default NODE_ENV, else 'development' */
  environment?: string | undefined
  /** MongoDB to look after; false for none. @default `fastify.mongo`, where there is one */
  mongo?: MongoHandle | false
  /** prom-client's registry with the application's own metrics, which `/metrics` shows too; false for none. @default prom-client's global one */
  registry?: Registry | false
  /** Method and route pairs that are told apart, 1 to 10000; those beyond are counted as `__other__`. @default 200 */
  maxRoutes?: number | undefined
  /** Longest wait for one health check, in milliseconds, 1 to 60000. @default 1000 */
  checkTimeoutMs?: number | undefined
  /** Whether the process is being taken out of service; readiness is 503 then, as it is from the start of `app.close()`. @default () => false */
  isDraining?: () => boolean
  /** Whether recent errors carry their stack, redacted as the message is. @default false */
  errorStacks?: boolean | undefined
  /** Whether PM2's daemon is asked for stopped and errored siblings, where the process runs under PM2. @default true */
  pm2?: boolean | undefined
  /** Pause between two counts of the sessions, by one instance for all, in milliseconds, 1000 to 86400000; 0 never counts. A count reads the names of all keys in the database. @default 60000 */
  sessionCountIntervalMs?: number | undefined
}

/** What the rest of the plugin works with. */
export type ResolvedOptions = Readonly<Required<Omit<FastifyClusterMetricsOptions, 'authorize' | 'version' | 'release' | 'mongo' | 'registry'>> & {
  authorize: Authorize | undefined
  version: string | null
  release: string | null
  mongo: MongoHandle | false | undefined
  registry: Registry | false | undefined
}>

const Text = Type.String({ minLength: 1, maxLength: 100 })
const Path = Type.String({ pattern: '^(?:/[^/?#]+)+$', wanted: 'a path that begins with / and does not end with it' })
const Ms = (minimum: number, maximum: number) => Type.Integer({ minimum, maximum })
const hasMethod = (name: string) => (value: unknown) => typeof (value as Record<string, unknown> | null)?.[name] === 'function'

const check = checker(Type.Object({
  authorize: Type.Optional(callback<Authorize>()),
  routePrefix: Type.Optional(Type.String({ pattern: '^(?:/[^/?#]+)*$', wanted: 'empty, or a path that begins with / and does not end with it' })),
  dashboardPath: Type.Optional(Type.Union([Type.Literal(false), Path])),
  prometheusPath: Type.Optional(Type.Union([Type.Literal(false), Path])),
  reportIntervalMs: Type.Optional(Ms(100, 600_000)),
  ttlMs: Type.Optional(Ms(200, 3_600_000)),
  keepMs: Type.Optional(Ms(1000, DAY_MS)),
  version: Type.Optional(Text),
  release: Type.Optional(Text),
  environment: Type.Optional(Text),
  mongo: Type.Optional(Type.Union([Type.Literal(false), opaque<MongoHandle>('an object with a client, as fastify.mongo is', (value) => hasMethod('db')((value as MongoHandle | null)?.client))])),
  registry: Type.Optional(Type.Union([Type.Literal(false), opaque<Registry>('a Registry of prom-client', hasMethod('getMetricsAsArray'))])),
  maxRoutes: Type.Optional(Type.Integer({ minimum: 1, maximum: 10_000 })),
  checkTimeoutMs: Type.Optional(Ms(1, 60_000)),
  isDraining: Type.Optional(callback<() => boolean>()),
  errorStacks: Type.Optional(Type.Boolean()),
  pm2: Type.Optional(Type.Boolean()),
  sessionCountIntervalMs: Type.Optional(Type.Union([Type.Literal(0), Ms(1000, DAY_MS)]))
}, { additionalProperties: false }), (option, problem) => new FST_ERR_CLUSTER_METRICS_INVALID_OPTION(option, problem))

/**
 * Checks the options once and returns a frozen copy with every default.
 *
 * @throws FST_ERR_CLUSTER_METRICS_INVALID_OPTION naming the option
 */
export function resolveOptions (options: FastifyClusterMetricsOptions = {}): ResolvedOptions {
  const given = check(options)
  const { reportIntervalMs = 10_000 } = given
  const ttlMs = given.ttlMs ?? Math.max(30_000, 3 * reportIntervalMs)
  const keepMs = given.keepMs ?? Math.max(3_600_000, ttlMs)
  if (ttlMs < 2 * reportIntervalMs) throw new FST_ERR_CLUSTER_METRICS_INVALID_OPTION('ttlMs', 'must be at least twice reportIntervalMs')
  if (keepMs < ttlMs) throw new FST_ERR_CLUSTER_METRICS_INVALID_OPTION('keepMs', 'must be at least ttlMs')
  return Object.freeze({
    authorize: given.authorize,
    isDraining: given.isDraining ?? (() => false),
    mongo: given.mongo,
    registry: given.registry,
    routePrefix: given.routePrefix ?? '/api/1',
    dashboardPath: given.dashboardPath ?? '/admin/cluster',
    prometheusPath: given.prometheusPath ?? '/metrics',
    reportIntervalMs,
    ttlMs,
    keepMs,
    version: given.version ?? text(process.env.npm_package_version),
    release: given.release ?? text(process.env.RELEASE),
    environment: given.environment ?? (text(process.env.NODE_ENV) || 'development'),
    maxRoutes: given.maxRoutes ?? 200,
    checkTimeoutMs: given.checkTimeoutMs ?? 1000,
    errorStacks: given.errorStacks ?? false,
    pm2: given.pm2 ?? true,
    sessionCountIntervalMs: given.sessionCountIntervalMs ?? 60_000
  })
}

function text (value: string | undefined): string | null {
  return value ? value.slice(0, 100) : null
}
