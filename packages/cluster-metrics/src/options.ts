import { callback, checker, DAY_MS, opaque, type Authorize } from '@jpulse/plugin-kit'
import { areHeaders, type WebhookOptions } from './announce/index.ts'
import { globalRegistries, type GaugeRule, type MetricsRegistry } from './application/index.ts'
import type { AttributeNames } from './formats/index.ts'
import type { FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { FST_ERR_CLUSTER_METRICS_INVALID_OPTION } from './errors.ts'
import { versionOf, type MongoHandle } from './process/index.ts'

/** Returns a whole page, as text, that has both parts: `head` in its head, `body` where the dashboard is to be. Their addresses are relative to `dashboardPath`. */
export type DashboardFrame = (request: FastifyRequest, parts: { head: string, body: string }) => string | Promise<string>

/** Options of the plugin. */
export interface FastifyClusterMetricsOptions {
  /** Who may use the routes that reveal something, and sees everything in those that anybody may use. @default undefined: the former do not exist, and everybody sees masked values */
  authorize?: Authorize
  /** Where the JSON routes lie. @default '/api/1' */
  routePrefix?: string | undefined
  /** Where the dashboard lies; false for none. @default '/admin/cluster' */
  dashboardPath?: string | false
  /**
   * Puts the dashboard into a page of the application: it is given the markup for the head and for the body, and returns the page. That
   * goes out under the application's own content security policy, which has to allow scripts, styles and connections of `'self'`. It is
   * called for who is authorized. @default undefined: a page of its own, with a strict policy
   */
  dashboardFrame?: DashboardFrame | undefined
  /** Where Prometheus scrapes; false for nowhere. @default '/metrics' */
  prometheusPath?: string | false
  /** Pause between two reports, in milliseconds, 100 to 600000. @default 10000 */
  reportIntervalMs?: number | undefined
  /** How long after its last report an instance is counted as alive, in milliseconds; at least two reports. @default 30000, at least three times `reportIntervalMs` */
  ttlMs?: number | undefined
  /** Length of the history in detail, and how long what an instance wrote outlives it, in milliseconds, 1000 to 86400000. What it counted stays in the cluster's counters. @default 3600000 (an hour), at least `ttlMs` */
  keepMs?: number | undefined
  /** Version of the application. @default that of the `package.json` nearest to the script that was started, else null */
  version?: string | undefined
  /** Name or date of the release. @default RELEASE, else null */
  release?: string | undefined
  /** @default NODE_ENV, else 'development' */
  environment?: string | undefined
  /** MongoDB to look after; false for none. @default `fastify.mongo`, where there is one */
  mongo?: MongoHandle | false
  /**
   * Whether readiness includes MongoDB: where all instances share one, `/health` of all is 503 while it is away, and a load
   * balancer has nobody left. @default true
   */
  mongoCritical?: boolean | undefined
  /** prom-client's registry, or several, with the application's own metrics, which `/metrics` shows too; false for none. @default the global one of prom-client, where the application has it */
  registry?: MetricsRegistry | readonly MetricsRegistry[] | false
  /** How gauges of the registry add up at `scope=cluster`, by name. @default the metric's `aggregator`, else 'sum' */
  gaugeRules?: Readonly<Record<string, GaugeRule>> | undefined
  /** Series of the registry that an instance tells the cluster of, 0 to 50000, half of them at most of one metric; a histogram is one for each bucket. @default 2000 */
  maxSeries?: number | undefined
  /** What `/metrics` is about without `?scope`. @default 'cluster' where workers of node:cluster (PM2's cluster mode) share a port and Redis is configured, else 'instance' */
  prometheusScope?: 'instance' | 'cluster' | undefined
  /** Labels of `http_server_request_duration_seconds`: `method`, `route`, `status`, or OpenTelemetry's `http_request_method`, `http_route`, `http_response_status_code`. @default 'short' */
  attributeNames?: AttributeNames | undefined
  /** Templates of routes that are not counted, as `config: { metrics: false }` of a route does. @default [] */
  ignoreRoutes?: readonly string[] | undefined
  /** Method and route pairs that are told apart, 1 to 10000; those beyond are counted as `__other__`. @default 200 */
  maxRoutes?: number | undefined
  /** Longest wait for one health check, and for `authorize` in the routes that are open to all, in milliseconds, 1 to 60000. @default 1000 */
  checkTimeoutMs?: number | undefined
  /** Whether the process is being taken out of service; readiness is 503 then, as it is from the start of `app.close()`. @default () => false */
  isDraining?: () => boolean
  /** Whether recent errors carry their stack, redacted as the message is. @default false */
  errorStacks?: boolean | undefined
  /** Where to tell that instances and checks go down, degrade, and come up again: once per cluster. @default undefined: nowhere */
  webhook?: WebhookOptions | undefined
  /** Whether PM2's daemon is asked for stopped and errored siblings, where the process runs under PM2. @default true */
  pm2?: boolean | undefined
  /** Pause between two counts of the sessions, by one instance for all, in milliseconds, 1000 to 86400000; 0 never counts. A count reads the names of all keys in the database. @default 60000 */
  sessionCountIntervalMs?: number | undefined
}

/** What the rest of the plugin works with. */
export type ResolvedOptions = Readonly<Required<Omit<FastifyClusterMetricsOptions, 'authorize' | 'dashboardFrame' | 'version' | 'release' | 'mongo' | 'registry' | 'prometheusScope' | 'ignoreRoutes' | 'webhook'>> & {
  authorize: Authorize | undefined
  dashboardFrame: DashboardFrame | undefined
  version: string | null
  release: string | null
  mongo: MongoHandle | false | undefined
  /** At the time of use: an application may load prom-client later. */
  registries: () => readonly MetricsRegistry[]
  prometheusScope: 'instance' | 'cluster' | undefined
  ignoreRoutes: ReadonlySet<string>
  webhook: WebhookOptions & { url: string } | undefined
}>

const Text = Type.String({ minLength: 1, maxLength: 100 })
const Path = Type.String({ pattern: '^(?:/[^/?#]+)+$', wanted: 'a path that begins with / and does not end with it' })
const Ms = (minimum: number, maximum: number) => Type.Integer({ minimum, maximum })
const hasMethod = (name: string) => (value: unknown) => typeof (value as Record<string, unknown> | null)?.[name] === 'function'

const check = checker(Type.Object({
  authorize: Type.Optional(callback<Authorize>()),
  routePrefix: Type.Optional(Type.String({ pattern: '^(?:/[^/?#]+)*$', wanted: 'empty, or a path that begins with / and does not end with it' })),
  dashboardPath: Type.Optional(Type.Union([Type.Literal(false), Path])),
  dashboardFrame: Type.Optional(callback<DashboardFrame>()),
  prometheusPath: Type.Optional(Type.Union([Type.Literal(false), Path])),
  reportIntervalMs: Type.Optional(Ms(100, 600_000)),
  ttlMs: Type.Optional(Ms(200, 3_600_000)),
  keepMs: Type.Optional(Ms(1000, DAY_MS)),
  version: Type.Optional(Text),
  release: Type.Optional(Text),
  environment: Type.Optional(Text),
  mongo: Type.Optional(Type.Union([Type.Literal(false), opaque<MongoHandle>('an object with a client, as fastify.mongo is', (value) => hasMethod('db')((value as MongoHandle | null)?.client))])),
  mongoCritical: Type.Optional(Type.Boolean()),
  registry: Type.Optional(Type.Union([Type.Literal(false), opaque<MetricsRegistry | readonly MetricsRegistry[]>('a Registry of prom-client or an array of them', (value) => [value].flat().every(hasMethod('getMetricsAsArray')))])),
  gaugeRules: Type.Optional(Type.Record(Type.String(), Type.Enum(['sum', 'avg', 'min', 'max', 'first', 'last', 'instance', 'omit']))),
  maxSeries: Type.Optional(Type.Integer({ minimum: 0, maximum: 50_000 })),
  prometheusScope: Type.Optional(Type.Enum(['instance', 'cluster'])),
  attributeNames: Type.Optional(Type.Enum(['short', 'opentelemetry'])),
  ignoreRoutes: Type.Optional(Type.Array(Type.String({ pattern: '^[/*]', wanted: 'the template of a route' }), { maxItems: 1000 })),
  maxRoutes: Type.Optional(Type.Integer({ minimum: 1, maximum: 10_000 })),
  checkTimeoutMs: Type.Optional(Ms(1, 60_000)),
  isDraining: Type.Optional(callback<() => boolean>()),
  errorStacks: Type.Optional(Type.Boolean()),
  webhook: Type.Optional(Type.Object({
    url: Type.Optional(opaque<string>('an address of http or https without credentials', isWebAddress)),
    headers: Type.Optional(opaque<Record<string, string | undefined>>('at most 20 texts by names that HTTP takes, and that the messages do not have themselves', areHeaders)),
    secret: Type.Optional(opaque<string>('whsec_ and base64, or a text of 16 characters or more', isSigningSecret)),
    events: Type.Optional(Type.Array(Type.Enum(['down', 'up', 'degraded']))),
    timeoutMs: Type.Optional(Ms(100, 30_000)),
    attempts: Type.Optional(Type.Integer({ minimum: 1, maximum: 20 }))
  }, { additionalProperties: false })),
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
  if (given.webhook !== undefined && !('url' in options.webhook!)) throw new FST_ERR_CLUSTER_METRICS_INVALID_OPTION('webhook.url', 'is missing: it must be an address of http or https without credentials')
  const { reportIntervalMs = 10_000 } = given
  const ttlMs = given.ttlMs ?? Math.max(30_000, 3 * reportIntervalMs)
  const keepMs = given.keepMs ?? Math.max(3_600_000, ttlMs)
  if (ttlMs < 2 * reportIntervalMs) throw new FST_ERR_CLUSTER_METRICS_INVALID_OPTION('ttlMs', 'must be at least twice reportIntervalMs')
  if (keepMs < ttlMs) throw new FST_ERR_CLUSTER_METRICS_INVALID_OPTION('keepMs', 'must be at least ttlMs')
  return Object.freeze({
    authorize: given.authorize,
    isDraining: given.isDraining ?? (() => false),
    mongo: given.mongo,
    mongoCritical: given.mongoCritical ?? true,
    gaugeRules: given.gaugeRules ?? {},
    maxSeries: given.maxSeries ?? 2000,
    prometheusScope: given.prometheusScope,
    attributeNames: given.attributeNames ?? 'short',
    ignoreRoutes: new Set(given.ignoreRoutes),
    registries: registriesOf(given.registry),
    routePrefix: given.routePrefix ?? '/api/1',
    dashboardPath: given.dashboardPath ?? '/admin/cluster',
    dashboardFrame: given.dashboardFrame,
    prometheusPath: given.prometheusPath ?? '/metrics',
    reportIntervalMs,
    ttlMs,
    keepMs,
    version: given.version ?? versionOf(process.env),
    release: given.release ?? text(process.env.RELEASE),
    environment: given.environment ?? (text(process.env.NODE_ENV) || 'development'),
    maxRoutes: given.maxRoutes ?? 200,
    checkTimeoutMs: given.checkTimeoutMs ?? 1000,
    errorStacks: given.errorStacks ?? false,
    webhook: given.webhook?.url ? { ...given.webhook, url: given.webhook.url } : undefined,
    pm2: given.pm2 ?? true,
    sessionCountIntervalMs: given.sessionCountIntervalMs ?? 60_000
  })
}

function isWebAddress (value: unknown): boolean {
  if (value === '') return true
  const url = typeof value === 'string' && URL.canParse(value) ? new URL(value) : null
  return url !== null && /^https?:$/.test(url.protocol) && url.username === '' && url.password === ''
}

function isSigningSecret (value: unknown): boolean {
  return typeof value === 'string' && value.length >= 16 && (!value.startsWith('whsec_') || /^whsec_[A-Za-z0-9+/]{16,}={0,2}$/.test(value))
}

function registriesOf (given: FastifyClusterMetricsOptions['registry']): () => readonly MetricsRegistry[] {
  if (given === false) return () => []
  if (given === undefined) return globalRegistries
  const registries = [given].flat()
  return () => registries
}

function text (value: string | undefined): string | null {
  return value ? value.slice(0, 100) : null
}
