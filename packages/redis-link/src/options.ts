import type { ConnectionOptions } from 'node:tls'
import { callback, checker, opaque, wantedOf } from '@jpulse/plugin-kit'
import type { Cluster, ClusterOptions, NatMap, Redis, RedisOptions } from 'ioredis'
import { Type } from 'typebox'
import { Value } from 'typebox/value'
import { invalid } from './check.ts'
import type { RedisClient } from './script/script.ts'
import { MemoryStore } from './testing/memory-store.ts'
import { parseUrl } from './url.ts'

export type { RedisClient } from './script/script.ts'

/** A Redis address. */
export interface RedisNode {
  /** @default '127.0.0.1' */
  host?: string
  /** @default 6379 (26379 for a Sentinel) */
  port?: number
}

/** Gives the password of the moment. `expiresInMs`, above 0, says for how long it is good: it is renewed before. */
export type PasswordSource = () => string | { password: string, expiresInMs?: number } | Promise<string | { password: string, expiresInMs?: number }>

/** How this process reaches Redis. */
export type RedisMode = 'none' | 'single' | 'sentinel' | 'cluster'

/** Options of the plugin. Without any of them there is no Redis: state `disabled`, everything within the process. */
export interface FastifyRedisLinkOptions {
  /** Topology. @default inferred from `cluster`, `sentinel`, `url`, `single` or `client`; `'none'` without any */
  mode?: RedisMode
  /** `redis://[user:password@]host:port[/db]`, `rediss://` for TLS; with mode `cluster` the first node to ask. An empty one is none. */
  url?: string | undefined
  /** Address of one Redis server; `path` is that of a socket file, in place of host and port. */
  single?: RedisNode & { path?: string }
  /** Some nodes of a Redis Cluster; the others are found through them. */
  cluster?: { nodes: RedisNode[] }
  /** Name of the primary and addresses of the Sentinels that watch it. `password` is the Sentinels' own. */
  sentinel?: { name: string, sentinels: RedisNode[], username?: string, password?: string }
  /** ACL user. @default Redis' `default` user */
  username?: string | undefined
  /**
   * Password of the user, or a function that gives it: called before the first connection, before a password expires, and
   * when Redis refuses one; open connections take the new one over. Within ten times `commandTimeoutMs`, else it is called
   * again. @default none
   */
  password?: string | PasswordSource | undefined
  /** Number of the database; a Redis Cluster has only 0. @default that of `url`, or 0 */
  db?: number | undefined
  /** 4 or 6 for addresses of that version of IP only, 0 for both. @default 0 */
  family?: 0 | 4 | 6 | undefined
  /** Idle milliseconds after which TCP looks whether the other side lives; keep it below what a load balancer cuts. @default 30000 */
  keepAliveMs?: number | undefined
  /** Name of the connections in CLIENT LIST. @default none */
  connectionName?: string | undefined
  /** Addresses as the servers tell them (`host:port`) to addresses that this process reaches, with `cluster` or `sentinel`. @default none */
  natMap?: NatMap | undefined
  /** Resolves the names of a Redis Cluster's nodes. `(address, callback) => callback(null, address)` leaves names as they are, for certificates that name hosts. @default `dns.lookup` */
  dnsLookup?: NonNullable<ClusterOptions['dnsLookup']> | undefined
  /** TLS: `true` for the system's authorities, or options of Node's `tls.connect`. @default false, true for `rediss://` */
  tls?: boolean | ConnectionOptions
  /** An ioredis client of the application. Neither configured, disconnected nor closed by the plugin. @default `fastify.redis` where the application registered @fastify/redis and no connection option is given */
  client?: RedisClient
  /** Whether `close()` also closes an injected client. @default false */
  closeClient?: boolean | undefined
  /** First part of every key and channel: letters, digits, `.`, `_`, `-`. Two sites on one Redis never meet. @default 'jpulse' */
  siteId?: string | undefined
  /** Second part of every key and channel. @default NODE_ENV, or 'development' */
  env?: string | undefined
  /** Whether the boot fails where Redis is not up within `connectTimeoutMs`. @default false */
  required?: boolean | undefined
  /** Longest wait for Redis at boot, in milliseconds; 0 does not wait. @default 2000 */
  connectTimeoutMs?: number | undefined
  /** Longest wait for the answer to one command, with an injected client for all of one `run`, in milliseconds, at least 1. @default 1000 */
  commandTimeoutMs?: number | undefined
  /** Longest time `close()` takes, in milliseconds; 0 cuts the connections at once. @default 1500 */
  closeTimeoutMs?: number | undefined
  /** How long nothing may be answered before Redis is probed, in milliseconds, at least 10; the subscriber proves every one and a half times as long that it hears. Finds a frozen Redis or a half-open connection. @default 2000 */
  probeIntervalMs?: number | undefined
  /** Bounds of the in-process fallback of `kv`. */
  memory?: {
    /** @default 10000 */
    maxEntries?: number
    /** Keys and values, in bytes. @default 33554432 (32 MiB) */
    maxBytes?: number
  }
  /** For tests, where Redis is not configured: links of one `memoryStore()`, from `@jpulse/redis-link/testing`, share `kv`, locks and limits. @default none */
  store?: MemoryStore | undefined
}

/** What the rest of the plugin works with. */
export interface ResolvedOptions {
  readonly mode: RedisMode
  readonly nodes: ReadonlyArray<Required<RedisNode>>
  readonly db: number
  readonly sentinel?: { readonly name: string, readonly username?: string, readonly password?: string }
  readonly username?: string
  readonly password?: string
  readonly passwordSource?: PasswordSource
  readonly path?: string
  /** What ioredis takes as it is, for every connection to a data server. */
  readonly socket: { readonly family?: number, readonly keepAlive?: number, readonly connectionName?: string }
  readonly natMap?: NatMap
  readonly dnsLookup?: NonNullable<ClusterOptions['dnsLookup']>
  readonly tls?: ConnectionOptions
  readonly client?: RedisClient
  readonly closeClient: boolean
  readonly siteId: string
  readonly env: string
  readonly required: boolean
  readonly connectTimeoutMs: number
  readonly commandTimeoutMs: number
  readonly closeTimeoutMs: number
  readonly probeIntervalMs: number
  readonly memory: { readonly maxEntries: number, readonly maxBytes: number }
  readonly store?: MemoryStore
}

const closed = { additionalProperties: false }
const Node = Type.Object({
  host: Type.Optional(Type.String({ minLength: 1 })),
  port: Type.Optional(Type.Integer({ minimum: 1, maximum: 65535 }))
}, closed)
const Name = Type.String({ pattern: '^[A-Za-z0-9._-]{1,64}$', wanted: 'a name of 1 to 64 letters, digits, ".", "_" and "-"' })
const Ms = (minimum: number) => Type.Integer({ minimum, maximum: 3_600_000 })

const Schema = Type.Object({
  mode: Type.Optional(Type.Enum(['none', 'single', 'sentinel', 'cluster'])),
  url: Type.Optional(Type.String()),
  single: Type.Optional(Type.Object({ ...Node.properties, path: Type.Optional(Type.String({ minLength: 1 })) }, closed)),
  cluster: Type.Optional(Type.Object({ nodes: Type.Array(Node, { minItems: 1 }) }, closed)),
  sentinel: Type.Optional(Type.Object({
    name: Type.String({ minLength: 1 }),
    sentinels: Type.Array(Node, { minItems: 1 }),
    username: Type.Optional(Type.String()),
    password: Type.Optional(Type.String())
  }, closed)),
  username: Type.Optional(Type.String()),
  password: Type.Optional(opaque<string | PasswordSource>('a string, or a function that gives one', (value) => typeof value === 'string' || typeof value === 'function')),
  db: Type.Optional(Type.Integer({ minimum: 0, maximum: 65535 })),
  family: Type.Optional(Type.Enum([0, 4, 6])),
  keepAliveMs: Type.Optional(Ms(0)),
  connectionName: Type.Optional(Type.String({ pattern: '^[!-~]{1,128}$', wanted: 'a name of 1 to 128 visible ASCII characters' })),
  natMap: Type.Optional(opaque<NatMap>('an object of addresses, or a function', (value) => typeof value === 'function' || (typeof value === 'object' && value !== null))),
  dnsLookup: Type.Optional(callback<NonNullable<ClusterOptions['dnsLookup']>>()),
  tls: Type.Optional(opaque<boolean | ConnectionOptions>('true, false or options of tls.connect', (value) => typeof value === 'boolean' || (typeof value === 'object' && value !== null))),
  client: Type.Optional(opaque<RedisClient>('an ioredis Redis or Cluster', (value) => typeof (value as RedisClient | null)?.duplicate === 'function')),
  closeClient: Type.Optional(Type.Boolean()),
  siteId: Type.Optional(Name),
  env: Type.Optional(Name),
  required: Type.Optional(Type.Boolean()),
  connectTimeoutMs: Type.Optional(Ms(0)),
  commandTimeoutMs: Type.Optional(Ms(1)),
  closeTimeoutMs: Type.Optional(Ms(0)),
  probeIntervalMs: Type.Optional(Ms(10)),
  memory: Type.Optional(Type.Object({
    maxEntries: Type.Optional(Type.Integer({ minimum: 1 })),
    maxBytes: Type.Optional(Type.Integer({ minimum: 1 }))
  }, closed)),
  store: Type.Optional(opaque<MemoryStore>('a memoryStore() of @jpulse/redis-link/testing', (value) => value instanceof MemoryStore))
}, closed)

const check = checker(Schema, invalid)

/**
 * Checks the options once and returns a frozen copy with every default.
 *
 * @throws FST_ERR_REDIS_LINK_INVALID_OPTION naming the option
 */
export function resolveOptions (options: FastifyRedisLinkOptions = {}): ResolvedOptions {
  const { url, ...rest } = check(options)
  // A variable that is set to nothing, as in REDIS_URL=, is one that is not set.
  const given: FastifyRedisLinkOptions = url === undefined || url === '' ? rest : { ...rest, url }
  const mode = inferMode(given)
  checkWay(given, mode)
  const { tls, ...address } = resolveAddress(given, mode)
  const username = given.username ?? address.username
  const password = given.password ?? address.password
  return Object.freeze({
    mode,
    nodes: Object.freeze(address.nodes),
    db: given.client === undefined ? address.db : databaseOf(given.client),
    ...(mode === 'sentinel' && given.sentinel !== undefined ? { sentinel: Object.freeze({ ...given.sentinel }) } : {}),
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : typeof password === 'string' ? { password } : { passwordSource: password }),
    ...(mode === 'single' && given.single?.path !== undefined ? { path: given.single.path } : {}),
    socket: Object.freeze({
      ...(given.family === undefined ? {} : { family: given.family }),
      ...(given.keepAliveMs === undefined ? {} : { keepAlive: given.keepAliveMs }),
      ...(given.connectionName === undefined ? {} : { connectionName: given.connectionName })
    }),
    ...(given.natMap === undefined ? {} : { natMap: given.natMap }),
    ...(given.dnsLookup === undefined ? {} : { dnsLookup: given.dnsLookup }),
    ...(tls === undefined ? {} : { tls }),
    ...(given.client === undefined ? {} : { client: given.client }),
    closeClient: given.closeClient ?? false,
    siteId: given.siteId ?? 'jpulse',
    env: given.env ?? envName(),
    required: given.required ?? false,
    connectTimeoutMs: given.connectTimeoutMs ?? 2000,
    commandTimeoutMs: given.commandTimeoutMs ?? 1000,
    closeTimeoutMs: given.closeTimeoutMs ?? 1500,
    probeIntervalMs: given.probeIntervalMs ?? 2000,
    memory: Object.freeze({
      maxEntries: given.memory?.maxEntries ?? 10_000,
      maxBytes: given.memory?.maxBytes ?? 32 * 1024 * 1024
    }),
    ...(given.store === undefined ? {} : { store: given.store })
  })
}

function inferMode (given: FastifyRedisLinkOptions): RedisMode {
  const ways = (['client', 'cluster', 'sentinel', 'single', 'url'] as const).filter((name) => given[name] !== undefined)
  if (ways.length > 1) throw invalid(ways[1]!, `cannot be combined with ${ways[0]}`)
  const [way] = ways
  const inferred = way === undefined ? 'none' : way === 'url' ? 'single' : way === 'client' ? modeOf(given.client!) : way
  const mode = given.mode ?? inferred
  if (mode === 'none' || mode === inferred || way === 'client') return way === 'client' && mode !== 'none' ? inferred : mode
  if (mode === 'cluster' && way !== 'url') throw invalid('cluster.nodes', 'is needed with mode cluster')
  if (mode === 'sentinel') throw invalid('sentinel', 'is needed with mode sentinel')
  if (mode === 'single' && way !== undefined) throw invalid(way, 'does not go with mode single')
  return mode
}

function modeOf (client: RedisClient): RedisMode {
  if (client.isCluster) return 'cluster'
  return 'sentinels' in client.options && client.options.sentinels ? 'sentinel' : 'single'
}

/** What is given must have an effect: an option that nobody reads is a misunderstanding. */
function checkWay (given: FastifyRedisLinkOptions, mode: RedisMode): void {
  if (mode === 'none') return
  if (given.store !== undefined) throw invalid('store', 'stands in place of Redis, which is configured')
  if (given.client !== undefined) {
    const other = (['username', 'password', 'tls', 'db', 'family', 'keepAliveMs', 'connectionName', 'natMap', 'dnsLookup'] as const).find((name) => given[name] !== undefined)
    if (other !== undefined) throw invalid(other, 'does not go with client: give it to the client itself')
    const reader = readerOf(given.client)
    if (reader !== null) throw invalid('client', `must not have ${reader}, with which it reads from replicas: a session that has ended, or a lock that is held, may look as before. Leave that out, and read from replicas with a client of your own`)
    if (clientOption(given.client, 'stringNumbers') === true) throw invalid('client', 'must not have stringNumbers, with which a lock that is released reads as lost: leave that out, or give an address (url) in place of the client')
  }
  if (mode === 'cluster' && (given.db ?? 0) !== 0) throw invalid('db', 'must be 0, because a Redis Cluster has no other database')
  if (given.dnsLookup !== undefined && mode !== 'cluster') throw invalid('dnsLookup', 'goes with a Redis Cluster only')
  if (given.natMap !== undefined && mode === 'single') throw invalid('natMap', 'goes with cluster and sentinel only')
  if (given.single?.path !== undefined && (given.single.host !== undefined || given.single.port !== undefined)) throw invalid('single.path', 'stands in place of host and port')
}

/** The option by which an injected client is given replicas to read from; null where there is none. */
function readerOf (client: RedisClient): string | null {
  if (client.isCluster) return ['master', undefined].includes((client as Cluster).options.scaleReads as string | undefined) ? null : 'scaleReads'
  return (client as Redis).options.role === 'slave' ? 'role: "slave"' : null
}

/** An option of an injected client. */
export function clientOption (client: RedisClient, name: 'keyPrefix' | 'stringNumbers' | 'username'): unknown {
  return client.isCluster ? (client as Cluster).options.redisOptions?.[name as never] ?? (client.options as RedisOptions)[name] : (client as Redis).options[name]
}

function databaseOf (client: RedisClient): number {
  return client.isCluster ? 0 : (client as Redis).options.db ?? 0
}

function resolveAddress (given: FastifyRedisLinkOptions, mode: RedisMode) {
  const tls = given.tls === true ? {} : given.tls === false ? undefined : given.tls
  if (given.url !== undefined && mode !== 'none') {
    const parsed = parseUrl(given.url)
    if (mode === 'cluster' && parsed.db !== 0) throw invalid('url', 'names a database, but a Redis Cluster has only 0')
    if (parsed.db !== 0 && given.db !== undefined && given.db !== parsed.db) throw invalid('db', 'is not the database that url names')
    return { ...parsed, db: given.db ?? parsed.db, nodes: [Object.freeze({ host: parsed.host, port: parsed.port })], tls: tls ?? (parsed.tls && given.tls !== false ? {} : undefined) }
  }
  const nodes = mode === 'cluster'
    ? given.cluster?.nodes
    : mode === 'sentinel' ? given.sentinel?.sentinels : mode === 'single' && given.client === undefined ? [given.single ?? {}] : []
  const port = mode === 'sentinel' ? 26379 : 6379
  return {
    nodes: (nodes ?? []).map((node) => Object.freeze({ host: node.host ?? '127.0.0.1', port: node.port ?? port })),
    db: given.db ?? 0,
    tls,
    username: undefined,
    password: undefined
  }
}

function envName (): string {
  const name = process.env.NODE_ENV || 'development'
  if (!Value.Check(Name, name)) throw invalid('env', `must be ${wantedOf(Name)} (NODE_ENV is taken as its default)`)
  return name
}
