import { Deadlines } from '@jpulse/plugin-kit'
import calculateSlot from 'cluster-key-slot'
import { Cluster, Redis, type ClusterOptions, type RedisOptions } from 'ioredis'
import { FST_ERR_REDIS_LINK_UNAVAILABLE } from '../errors.ts'
import type { RedisClient, ResolvedOptions } from '../options.ts'
import { isReadOnlyReply } from './refusals.ts'
import { noteFirstWords } from './strangers.ts'
import { backoff } from './time.ts'

type Command = Parameters<Redis['sendCommand']>[0]
type FlushQueue = (error: Error, queues?: { commandQueue?: boolean, offlineQueue?: boolean }) => void

/** How long ioredis keeps a socket that is being closed, and with it the process, where the server is silent. */
const DISCONNECT_MS = 100
/** Limit of opening a socket, TLS included. The boot does not wait for it. */
const SOCKET_MS = 3000
/** How often a Redis Cluster is asked for its nodes: nobody is told of one that left. */
const TOPOLOGY_MS = 5000

/**
 * Makes the client of a topology, or returns the injected one; null for mode `none`.
 *
 * Set against ioredis' defaults, with which a request waits more than a minute for a dead Redis: no offline queue, a
 * limit on every command, and nothing is sent again after a lost connection (an INCR could count twice).
 */
export function makeClient (options: ResolvedOptions): RedisClient | null {
  if (options.mode === 'none') return null
  if (options.client !== undefined) return options.client
  if (options.mode !== 'cluster') return noteFirstWords(boundByDeadline(new Redis({ ...commonOptions(options), ...standaloneOptions(options) })))
  const cluster = new Cluster(options.nodes.map((node) => ({ ...node })), clusterOptions(options))
  return cluster.on('+node', (node: Redis) => forwardErrors(rejectLostAnswers(noteFirstWords(boundByDeadline(node))), cluster))
}

/** ioredis asks for the slots on a copy of a node's connection, whose errors it drops: they say why no node can be reached. */
function forwardErrors (node: Redis, cluster: Cluster): Redis {
  const duplicate = node.duplicate.bind(node)
  node.duplicate = (override) => noteFirstWords(duplicate(override)).on('error', (err: Error) => { cluster.emit('node error', err, nodeName(node)) })
  return node
}

function commonOptions (options: ResolvedOptions): RedisOptions {
  return {
    ...(options.username === undefined ? {} : { username: options.username }),
    ...(options.password === undefined ? {} : { password: options.password }),
    ...(options.tls === undefined ? {} : { tls: options.tls }),
    ...options.socket,
    // CLIENT SETINFO at each connection, which a user of few commands may not send.
    disableClientInfo: true,
    lazyConnect: true,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    commandTimeout: options.commandTimeoutMs,
    disconnectTimeout: DISCONNECT_MS,
    connectTimeout: SOCKET_MS,
    // It asks INFO, which some servers do not have. The monitor looks itself.
    enableReadyCheck: false,
    // A primary that was demoted answers READONLY: only a new connection finds its successor.
    reconnectOnError: isReadOnlyReply
  }
}

function standaloneOptions (options: ResolvedOptions): RedisOptions {
  const { sentinel, nodes, db, path, natMap } = options
  if (sentinel === undefined) return { ...(path === undefined ? nodes[0] : { path }), db, retryStrategy: backoff }
  return {
    db,
    name: sentinel.name,
    ...(natMap === undefined ? {} : { natMap }),
    sentinels: nodes.map((node) => ({ ...node })),
    ...(sentinel.username === undefined ? {} : { sentinelUsername: sentinel.username }),
    ...(sentinel.password === undefined ? {} : { sentinelPassword: sentinel.password }),
    ...(options.tls === undefined ? {} : { enableTLSForSentinelMode: true, sentinelTLS: options.tls }),
    retryStrategy: backoff,
    sentinelRetryStrategy: backoff,
    sentinelCommandTimeout: options.commandTimeoutMs,
    // Listens to the Sentinels' announcements: 2.3 s instead of 3.8 s until the new primary is used.
    failoverDetector: true
  }
}

function clusterOptions (options: ResolvedOptions): ClusterOptions {
  return {
    redisOptions: commonOptions(options),
    ...(options.natMap === undefined ? {} : { natMap: options.natMap }),
    ...(options.dnsLookup === undefined ? {} : { dnsLookup: options.dnsLookup }),
    lazyConnect: true,
    enableOfflineQueue: false,
    clusterRetryStrategy: backoff,
    slotsRefreshTimeout: options.commandTimeoutMs,
    slotsRefreshInterval: TOPOLOGY_MS,
    // Each redirection to a node that is away waits 100 ms: this many fit into the limit of one command.
    maxRedirections: Math.min(16, Math.max(2, Math.floor(options.commandTimeoutMs / 125)))
  }
}

/** Ends the time of commands by `Deadlines`: ioredis' own timer takes an answer that this process was too busy to read for none. */
function boundByDeadline (redis: Redis): Redis {
  const deadlines = new Deadlines<Sent>(redis.options.commandTimeout!, ({ command }) => command.reject(new Error('Command timed out')))
  const send = redis.sendCommand.bind(redis)
  redis.sendCommand = (command: Command & { [AWAITED]?: unknown }, stream) => {
    // Its time ended between two tries: TRYAGAIN is followed by a pause. Who was told so must not have it carried out later.
    if (command.isSettled) return command.promise
    command.setTimeout = setNone
    // A command that is redirected is sent again, in the same time.
    if (command[AWAITED] !== command.promise) {
      command[AWAITED] = command.promise
      deadlines.add(new Sent(command))
    }
    return send(command, stream)
  }
  return redis
}

const AWAITED = Symbol('awaited')

/** A command on its way. What a pipeline of a Redis Cluster sends once more has another promise, and so another time. */
class Sent {
  readonly command: Command
  readonly #promise: unknown

  constructor (command: Command) {
    this.command = command
    this.#promise = command.promise
  }

  get isSettled (): boolean {
    return this.command.isSettled || this.command.promise !== this.#promise
  }
}

/** What ioredis calls as it sends a command. */
function setNone (): void {}

/**
 * Makes a Redis Cluster reject what waits for an answer when the connection to its node closes.
 *
 * ioredis gives that the same error as what was never sent, and sends both again, even what has timed out long ago: an
 * INCR counts twice. `retryDelayOnFailover: 0` stops it for both, but what was never sent must go on: right after a
 * failover or a move of slots every command but the first finds the connection to the new node not open yet. So the
 * commands that were sent get an error of their own. ioredis tells the two apart in `flushQueue` only, which is not part
 * of its documented interface: cluster-commands.test.ts fails where that changes.
 */
function rejectLostAnswers (node: Redis): Redis {
  const inner = node as unknown as { flushQueue: FlushQueue }
  const flush = inner.flushQueue.bind(node)
  inner.flushQueue = (error, queues) => {
    if (error.message !== 'Connection is closed.') return flush(error, queues)
    const lost = new FST_ERR_REDIS_LINK_UNAVAILABLE('the connection closed before the answer came; whether the command was carried out is unknown')
    flush(lost, { ...queues, offlineQueue: false })
    flush(error, { ...queues, commandQueue: false })
  }
  return node
}

/** The servers that hold data: the client itself, or each primary of a Redis Cluster. */
export function primaries (client: RedisClient): Redis[] {
  return client.isCluster ? (client as Cluster).nodes('master') : [client as Redis]
}

/** Name of the primary of a Redis Cluster that has a key; undefined where there is no Cluster, or none is known yet. */
export function primaryOf (client: RedisClient, key: string): string | undefined {
  return client.isCluster ? (client as Cluster).slots[calculateSlot(key)]?.[0] : undefined
}

/** Whether it can be told which server has a key: a Redis Cluster has to be asked first. */
export function knowsSlots (client: RedisClient): boolean {
  return !client.isCluster || (client as Cluster).slots.length > 0
}

/** Name of a node of a Redis Cluster. */
export function nodeName ({ options: { host, port } }: Redis): string {
  return `${host}:${port}`
}

/** Whether the server of a connection is none of the Redis Cluster any more. */
export function hasLeft (client: RedisClient, connection: Redis): boolean {
  if (!client.isCluster) return false
  const nodes = (client as Cluster).nodes('all')
  return nodes.length > 0 && !nodes.some((node) => nodeName(node) === nodeName(connection))
}

/**
 * A connection of its own for subscriptions, which its maker reconnects. Null while a Redis Cluster knows no node.
 *
 * Any node of a Redis Cluster will do, since its bus hands PUBLISH to all of them, but late: see Subscribers.
 *
 * @param near a key whose primary is taken if it may be
 * @param avoid the node that is taken only where there is no other
 */
export function makeSubscriberConnection (client: RedisClient, near: string, avoid: string): Redis | null {
  const known = client.isCluster ? (client as Cluster).nodes('all') : [client as Redis]
  const others = known.filter((node) => nodeName(node) !== avoid)
  const nodes = others.length > 0 ? others : known
  const home = primaryOf(client, near)
  const node = nodes.find((one) => nodeName(one) === home) ?? nodes[Math.floor(Math.random() * nodes.length)]
  if (node === undefined) return null
  return node.duplicate({
    lazyConnect: true,
    readOnly: false,
    autoResubscribe: false,
    enableOfflineQueue: false,
    enableReadyCheck: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    disconnectTimeout: DISCONNECT_MS,
    retryStrategy: () => null,
    sentinelRetryStrategy: () => null,
    // The probe and the closed connection tell of a failover; three more connections to Sentinels would tell it again.
    failoverDetector: false
  })
}

/** Cuts a client that we made, for good. */
export function cutClient (client: RedisClient): void {
  // With ioredis 6.0.0 a socket that connects after disconnect() still starts a failover detector, whose connections
  // to the Sentinels nobody ends: they would keep the process alive.
  if (!client.isCluster) (client as Redis).options.failoverDetector = false
  client.disconnect()
}
