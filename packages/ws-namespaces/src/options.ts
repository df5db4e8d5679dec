import { callback, checker, type Authorize } from '@jpulse/plugin-kit'
import { Type } from 'typebox'
import { FST_ERR_WS_NAMESPACES_INVALID_OPTION } from './errors.ts'

/** Options of the plugin. */
export interface FastifyWsNamespacesOptions {
  /** Where the namespaces and the HTTP routes lie. @default '/api/1/ws' */
  routePrefix?: string | undefined
  /** Further paths below which the namespaces can be reached, without the HTTP routes. @default [] */
  aliases?: string[] | undefined
  /**
   * Path of the socket that carries several namespaces, each on a channel of its own; false for none. `aliases` have it too, where
   * it is the prefix. @default the routePrefix
   */
  multiplexPath?: string | false | undefined
  /** Namespaces that may be open on one socket, 1 to 1000. @default 64 */
  maxNamespacesPerSocket?: number | undefined
  /** Bytes that may wait for a slow client on a socket of several namespaces, of all of them together, 64 KiB to 1 GiB; each one's own limit holds as well. @default 4194304 (4 MiB) */
  maxBufferedBytesPerSocket?: number | undefined
  /** Who may use the HTTP routes; a thrown error with a 4xx statusCode is the answer. @default undefined: the routes do not exist */
  authorize?: Authorize | undefined
  /** Longest message from a client, in bytes, beyond which its connection is closed with 1009; 1024 to 16 MiB. @default 1048576 (1 MiB) */
  maxPayloadBytes?: number | undefined
  /** Longest message to clients, in bytes of JSON, 1024 to 16 MiB. Without history `maxMessageBytes` of cluster-broadcast holds as well. @default 262144 (256 KiB) */
  maxOutgoingBytes?: number | undefined
  /** Pause between two pings of a connection, in milliseconds, 100 to 3600000. The session is looked at with each. @default 30000 */
  pingIntervalMs?: number | undefined
  /** How long a connection may be silent after a ping before it is ended, in milliseconds, 50 to 60000. @default 5000 */
  pongTimeoutMs?: number | undefined
  /**
   * Clients whose connection broke come back at any time within so many milliseconds, 0 to 600000, so that those of a worker
   * that died do not come all at once. @default 2000
   */
  reconnectWindowMs?: number | undefined
  /** How long closing the connections may take when the process ends, in milliseconds, 0 to 60000; 0 cuts them. @default 1500 */
  drainMs?: number | undefined
  /** How long a message of a namespace with history waits for Redis to return before it reaches this process only, in milliseconds, 0 to 600000. @default 10000 */
  publishWaitMs?: number | undefined
  /** How long an instance that does not renew its presence, and what `maxConnectionsPerUser` counts, is taken for living, in milliseconds, 1000 to 60000. @default 15000 */
  presenceLeaseMs?: number | undefined
  /**
   * What keeps the session of a connection from timing out: `'messages'` of the client, heartbeats not among them; the open
   * `'connection'`; or `'none'`. The store is told as often as @jpulse/redis-sessions' `touchIntervalMs` says. @default 'messages'
   */
  sessionActivity?: 'messages' | 'connection' | 'none' | undefined
}

export type ResolvedOptions = Readonly<Required<Omit<FastifyWsNamespacesOptions, 'authorize'>> & Pick<FastifyWsNamespacesOptions, 'authorize'>>

/** What a connection may do. Each counts for one connection, but for the last two. */
export interface Limits {
  /** Longest message, in bytes; a longer one is answered with MESSAGE_TOO_LARGE. @default 65536 (64 KiB) */
  readonly maxMessageBytes: number
  /** Messages in a window; more are answered with RATE_LIMIT_EXCEEDED, four times as many end the connection with 4429. @default 50 */
  readonly messages: number
  /** Length of a window, in milliseconds. @default 1000 */
  readonly windowMs: number
  /** Bytes that may wait for a slow client. @default 1048576 (1 MiB) */
  readonly maxBufferedBytes: number
  /** Rooms that a connection may be in; who wants more is answered with TOO_MANY_ROOMS. @default 256 */
  readonly rooms: number
  /** Connections of the namespace in this process; `Infinity` for no limit. @default Infinity */
  readonly maxConnections: number
  /**
   * Connections of one user to the namespace, in all processes together; without Redis, and while it is away, in this process. A client
   * that comes back replaces its own. @default Infinity
   */
  readonly maxConnectionsPerUser: number
}

/** How a namespace's log is bounded. */
export interface History {
  /** Which one it is, of all that the namespace has had; '' where it is not said. */
  readonly id: string
  readonly maxLength: number
  readonly maxAgeMs: number
  /** How long the numbers go on without a message or a connection. */
  readonly stateMs: number
  /** Messages after which clients that got none are told where the log is. */
  readonly markEvery: number
}

const closed = { additionalProperties: false }
const Prefix = Type.String({ pattern: '^(?:/[A-Za-z0-9._~-]+)+$', wanted: 'a path such as /api/1/ws' })
const integer = (minimum: number, maximum: number) => Type.Optional(Type.Integer({ minimum, maximum }))
const MIB = 1024 * 1024

const Options = Type.Object({
  routePrefix: Type.Optional(Prefix),
  aliases: Type.Optional(Type.Array(Prefix, { maxItems: 20 })),
  multiplexPath: Type.Optional(Type.Union([Prefix, Type.Literal(false)])),
  maxNamespacesPerSocket: integer(1, 1000),
  maxBufferedBytesPerSocket: integer(64 * 1024, 1024 * MIB),
  authorize: Type.Optional(callback<Authorize>()),
  maxPayloadBytes: integer(1024, 16 * MIB),
  maxOutgoingBytes: integer(1024, 16 * MIB),
  pingIntervalMs: integer(100, 3_600_000),
  pongTimeoutMs: integer(50, 60_000),
  reconnectWindowMs: integer(0, 600_000),
  drainMs: integer(0, 60_000),
  publishWaitMs: integer(0, 600_000),
  presenceLeaseMs: integer(1000, 60_000),
  sessionActivity: Type.Optional(Type.Enum(['messages', 'connection', 'none']))
}, closed)

const DEFAULTS = Object.freeze({
  routePrefix: '/api/1/ws',
  aliases: Object.freeze([]) as unknown as string[],
  maxNamespacesPerSocket: 64,
  maxBufferedBytesPerSocket: 4 * MIB,
  maxPayloadBytes: MIB,
  maxOutgoingBytes: 256 * 1024,
  pingIntervalMs: 30_000,
  pongTimeoutMs: 5000,
  reconnectWindowMs: 2000,
  drainMs: 1500,
  publishWaitMs: 10_000,
  presenceLeaseMs: 15_000,
  sessionActivity: 'messages'
} as const)

const check = checker(Options, invalidOption)

/** @throws FST_ERR_WS_NAMESPACES_INVALID_OPTION naming the option */
export function resolveOptions (options: FastifyWsNamespacesOptions): ResolvedOptions {
  const given = check(options)
  return Object.freeze({ ...DEFAULTS, multiplexPath: given.routePrefix ?? DEFAULTS.routePrefix, ...given })
}

export function invalidOption (option: string, problem: string): Error {
  return new FST_ERR_WS_NAMESPACES_INVALID_OPTION(option, problem)
}
