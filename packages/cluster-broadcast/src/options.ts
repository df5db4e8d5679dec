import { callback, checker, opaque, type Authorize } from '@jpulse/plugin-kit'
import { Type } from 'typebox'
import { FST_ERR_CLUSTER_BROADCAST_INVALID_OPTION } from './errors.ts'
import { ReplayRules, type Replay } from './messages/replay-rules.ts'
import { MemoryCluster } from './testing/memory-cluster.ts'

/** Options of the plugin. */
export interface FastifyClusterBroadcastOptions {
  /** Name of the server in instance ids: 1 to 64 letters, digits, `.`, `_`, `-`. @default SERVER_ID; in Kubernetes NODE_NAME, else the pod's name; the id of a Docker container; else the trailing digits of the hostname padded to 3, else its first 12 characters */
  serverId?: string | undefined
  /** Name of the process on its server, by the same rule. @default NODE_APP_INSTANCE, else pm_id; the pod's name beside NODE_NAME, and where serverId is another name than the pod's; the instance of a systemd template; else '0' */
  pmId?: string | undefined
  /** Longest data of one message, in bytes of JSON, 1 to 16 MiB. @default 262144 (256 KiB) */
  maxMessageBytes?: number | undefined
  /** The log from which a subscriber reads what it missed; false logs nothing, and what is sent while a subscriber reconnects is lost to it. */
  replay?: false | {
    /** Messages that the log holds, 1 to 1000000. @default 1000 */
    maxLength?: number
  }
  /**
   * Exceptions by channel prefix, of whole segments: `{ 'cursor:moves': { replay: false } }` logs nothing of `cursor:moves` and
   * `cursor:moves:…`. With `replay: 'own'` the prefix has a log of its own, which only processes follow that listen below it: the
   * others get nothing of it. Of several prefixes that a channel lies under the longest counts: `{ a: { replay: false }, 'a:b': { replay: true } }`
   * logs `a:b` and what is below it. All processes have to be configured alike; the release before does not hear what has a log of its own. @default {}
   */
  channels?: Record<string, { replay: Replay }>
  /** Pause between two renewals of the membership, in milliseconds, 100 to 60000. @default 1600 */
  heartbeatMs?: number | undefined
  /** How long a process that does not renew stays a member, in milliseconds; at least three times `heartbeatMs`. @default 5000 */
  leaseMs?: number | undefined
  /** For tests, where Redis is not configured: applications of one `memoryCluster()`, from `@jpulse/cluster-broadcast/testing`, meet in the process. @default none */
  cluster?: MemoryCluster | undefined
  /** Who may use the HTTP routes; a thrown error with a 4xx statusCode is the answer. @default undefined: the routes do not exist */
  authorize?: Authorize
  /** Where the HTTP routes lie. @default '/api/1/app-cluster' */
  routePrefix?: string | undefined
}

/** What the rest of the plugin works with. */
export interface ResolvedOptions {
  readonly serverId?: string
  readonly pmId?: string
  readonly maxMessageBytes: number
  /** What is logged. */
  readonly replay: ReplayRules
  readonly maxLength: number
  readonly heartbeatMs: number
  readonly leaseMs: number
  readonly cluster?: MemoryCluster
  readonly authorize?: Authorize
  readonly routePrefix: string
}

const closed = { additionalProperties: false }
const Name = Type.String({ pattern: '^[A-Za-z0-9._-]{1,64}$', wanted: 'a name of 1 to 64 letters, digits, ".", "_", "-"' })

const Options = Type.Object({
  serverId: Type.Optional(Name),
  pmId: Type.Optional(Name),
  maxMessageBytes: Type.Optional(Type.Integer({ minimum: 1, maximum: 16 * 1024 * 1024 })),
  replay: Type.Optional(Type.Union([
    Type.Literal(false),
    Type.Object({ maxLength: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000_000 })) }, closed)
  ])),
  channels: Type.Optional(Type.Record(
    Type.String({ pattern: '^[A-Za-z0-9._@%-]{1,100}(?::[A-Za-z0-9._@%-]{1,100}){0,15}$' }),
    Type.Object({ replay: Type.Union([Type.Boolean(), Type.Literal('own')]) }, closed), closed)),
  heartbeatMs: Type.Optional(Type.Integer({ minimum: 100, maximum: 60_000 })),
  leaseMs: Type.Optional(Type.Integer({ minimum: 300, maximum: 600_000 })),
  cluster: Type.Optional(opaque<MemoryCluster>('a memoryCluster() of @jpulse/cluster-broadcast/testing', (value) => value instanceof MemoryCluster)),
  authorize: Type.Optional(callback<Authorize>()),
  routePrefix: Type.Optional(Type.String({ pattern: '^(?:/[^/]+)*$', wanted: 'a path such as /api/1/app-cluster' }))
}, closed)

/** The error of an option of the plugin or of a call. */
export const invalid = (option: string, problem: string): Error => new FST_ERR_CLUSTER_BROADCAST_INVALID_OPTION(option, problem)
const check = checker(Options, invalid)

/**
 * Checks the options once and returns a frozen copy with every default.
 *
 * @throws FST_ERR_CLUSTER_BROADCAST_INVALID_OPTION naming the option
 */
export function resolveOptions (options: FastifyClusterBroadcastOptions = {}): ResolvedOptions {
  const { replay, channels = {}, heartbeatMs = 1600, ...given } = check(options)
  const leaseMs = given.leaseMs ?? Math.max(5000, 3 * heartbeatMs)
  if (leaseMs < 3 * heartbeatMs) throw invalid('leaseMs', 'must be at least three times heartbeatMs')
  return Object.freeze({
    maxMessageBytes: 256 * 1024,
    routePrefix: '/api/1/app-cluster',
    ...given,
    replay: new ReplayRules(replay !== false, channels),
    maxLength: (replay || {}).maxLength ?? 1000,
    heartbeatMs,
    leaseMs
  })
}
