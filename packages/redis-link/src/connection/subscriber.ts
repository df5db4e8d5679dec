import { EventEmitter } from 'node:events'
import { acceptOnly, callSafely, emitSafely } from '@jpulse/plugin-kit'
import type { Redis } from 'ioredis'
import { FST_ERR_REDIS_LINK_INVALID_ARGUMENT, FST_ERR_REDIS_LINK_SUBSCRIPTION_REFUSED } from '../errors.ts'
import type { RedisClient, ResolvedOptions } from '../options.ts'
import { hasLeft } from './client.ts'
import { DeliveryProbe } from './delivery-probe.ts'
import { Listeners, type Kind, type Listener } from './listeners.ts'
import { Place } from './place.ts'
import { isOutage, isReply } from './refusals.ts'
import { backoff, bounded } from './time.ts'

export type { Listener } from './listeners.ts'

/** Ends a subscription; the channel is left with its last listener. */
export type Unsubscribe = () => Promise<void>

/** What happens to the subscriber's connection. */
export interface SubscriberEvents {
  /** Every subscription is heard that Redis does not refuse. `gap` says that the connection was lost before: messages may be missing. */
  up: [{ gap: boolean }]
  /** The connection is lost: nothing is heard. */
  down: []
  /** All subscriptions are heard again after a loss; what was published meanwhile was missed. */
  gap: []
}

/** What a subscriber tells its link, for the log. */
export interface SubscriberFaults {
  /** A listener threw or rejected. */
  onFault (err: unknown, channel: string): void
  /** Redis refuses a channel; once, until it accepts it. */
  onRefusal (channel: string, reason: string): void
  /** Nothing arrived on the open connection, its server left the Cluster, or has the key no more that it is to be near; it is replaced. */
  onReplaced (reason: string): void
  /** No connection can be made although the link has one; once, until there is one. `undefined`: the server closed it without a word. */
  onAway (err: Error | undefined): void
}

type Command = Kind | 'unsubscribe' | 'punsubscribe'

const SLICE = 500
/** Pause between two proofs, in intervals of the probes. */
const CHECK_EVERY = 1.5
/** Attempts to connect that fail in a row before it is logged, while the link has its connection. */
const REPORT_AFTER = 4
/** A connection that lasted less long was no success: who is cut off again and again comes back less and less often. */
const STEADY_MS = 5000

/**
 * A subscriber connection of a process. It reconnects and resubscribes by itself, and says when it had a gap.
 *
 * A listener may be added while there is no connection; it hears from the next one on. An open connection is no proof of
 * delivery: the server may have left the Cluster, so a message to itself proves it at intervals.
 */
export class Subscriber extends EventEmitter<SubscriberEvents> {
  readonly #client: RedisClient
  readonly #options: ResolvedOptions
  readonly #faults: SubscriberFaults
  readonly #listeners = new Listeners()
  readonly #delivery: DeliveryProbe
  readonly #probe: NodeJS.Timeout
  #connection: Redis | null = null
  readonly #place: Place
  #checking = false
  /** The connection ends because its successor is to be elsewhere, and not because anything is wrong. */
  #isMoving = false
  #heard = false
  #retry: NodeJS.Timeout | undefined
  #attempt = 0
  #failures = 0
  /** What the last attempt that failed with words failed with: a server's last words may be lost with its connection. */
  #error: Error | undefined
  /** Settled when the attempt to connect under way has succeeded, with every subscription, or failed. */
  #attempted: Promise<void> = Promise.resolve()
  #endAttempt = () => {}
  #up = false
  #upAt = 0
  #wasUp = false
  #closed = false

  /**
   * @param near on a Redis Cluster it connects to the primary of this key, and to any server where that cannot be had
   * @param channel a channel of this subscriber alone, for messages to itself
   */
  constructor (client: RedisClient, options: ResolvedOptions, near: string, channel: string, faults: SubscriberFaults) {
    super()
    this.#place = new Place(client, near)
    this.#faults = faults
    // Every plugin and namespace of a process may listen to this one connection.
    this.setMaxListeners(0)
    acceptOnly<SubscriberEvents>(this, { up: true, down: true, gap: true }, (wanted) => new FST_ERR_REDIS_LINK_INVALID_ARGUMENT('The event', wanted))
    this.#client = client
    this.#options = options
    this.#delivery = new DeliveryProbe(client, channel, options.commandTimeoutMs)
    this.#listeners.add('subscribe', channel, this.#delivery.hear)
    this.#probe = setInterval(() => { this.#check().catch(() => {}) }, CHECK_EVERY * options.probeIntervalMs).unref()
    this.#connect()
  }

  /** The present connection. */
  get connection (): Redis | null {
    return this.#connection
  }

  /** Why Redis refuses a channel or pattern that somebody listens to. */
  get refused (): ReadonlyMap<string, string> {
    return this.#listeners.refused
  }

  /** Whether every subscription is heard now, but for those that Redis refuses. */
  get isUp (): boolean {
    return this.#up
  }

  /**
   * Hears a channel, as `redisLink.channel()` builds it. Resolves when Redis confirmed it, or, while Redis is away, when the attempt
   * to connect has failed. Who subscribes twice with one listener hears each message once, until both subscriptions are ended.
   *
   * @throws FST_ERR_REDIS_LINK_SUBSCRIPTION_REFUSED where Redis answers with an error; the other subscriptions stay;
   *   FST_ERR_REDIS_LINK_INVALID_ARGUMENT
   */
  async subscribe (channel: string, listener: Listener): Promise<Unsubscribe> {
    check(channel, listener)
    return this.#add('subscribe', channel, listener)
  }

  /**
   * Hears all channels that match a glob of Redis (`*`, `?`, `[…]`, `\` to escape); otherwise as `subscribe`.
   *
   * @param instead heard where Redis refuses the pattern, without a line in the log: an ACL allows only patterns that it names
   */
  async psubscribe (pattern: string, listener: Listener, instead?: string): Promise<Unsubscribe> {
    check(pattern, listener)
    if (instead !== undefined) this.#listeners.keepQuiet(pattern)
    return this.#add('psubscribe', pattern, listener).catch((err: unknown) => {
      if (instead === undefined || !(err instanceof FST_ERR_REDIS_LINK_SUBSCRIPTION_REFUSED)) throw err
      return this.#add('psubscribe', instead, listener)
    })
  }

  /** Cuts the connection. Listeners are dropped. */
  close (): void {
    this.#closed = true
    clearInterval(this.#probe)
    clearTimeout(this.#retry)
    this.#connection?.disconnect()
    this.#endAttempt()
    this.#listeners.clear()
    this.removeAllListeners()
  }

  async #add (kind: Kind, name: string, listener: Listener): Promise<Unsubscribe> {
    this.#listeners.add(kind, name, listener)
    // Sent for a known name too: its first SUBSCRIBE may still be on its way, and the caller wants to hear now.
    if (this.#connection?.status === 'ready') await this.#send(kind, [name])
    else await this.#attempted
    const reason = this.#listeners.reasonOf(kind, name)
    if (reason !== undefined) {
      this.#listeners.remove(kind, name, listener)
      throw new FST_ERR_REDIS_LINK_SUBSCRIPTION_REFUSED(name, reason)
    }
    let hasEnded = false
    return async () => {
      if (hasEnded) return
      hasEnded = true
      if (this.#listeners.remove(kind, name, listener)) await this.#send(kind === 'subscribe' ? 'unsubscribe' : 'punsubscribe', [name])
    }
  }

  /** Sends on the present connection. Where that fails the connection is replaced, and its successor subscribes to all. */
  async #send (command: Command, names: string[]): Promise<void> {
    const connection = this.#connection
    if (connection?.status !== 'ready' || names.length === 0) return
    try {
      await bounded(connection[command](...names) as Promise<unknown>, this.#options.commandTimeoutMs)
      if (command === 'subscribe' || command === 'psubscribe') this.#listeners.accept(command, names)
    } catch (err) {
      if (!isReply(err) || isOutage(err)) connection.disconnect()
      else if (names.length > 1) for (const name of names) await this.#send(command, [name])
      else if (command === 'subscribe' || command === 'psubscribe') this.#refuse(command, names[0]!, err.message)
    }
  }

  #refuse (kind: Kind, name: string, reason: string): void {
    if (this.#listeners.refuse(kind, name, reason) && name !== this.#delivery.channel) this.#faults.onRefusal(name, reason)
  }

  #connect (): void {
    if (this.#closed) return
    this.#isMoving = false
    const connection = this.#place.connection()
    if (connection === null) return this.#reconnectLater()
    this.#connection = connection
    this.#attempted = new Promise((resolve) => { this.#endAttempt = resolve })
    connection.on('error', (err: Error) => { this.#error = err })
    connection.on('messageBuffer', (channel: Buffer, message: Buffer) => this.#hear('subscribe', String(channel), message))
    connection.on('pmessageBuffer', (pattern: string | Buffer, channel: Buffer, message: Buffer) => this.#hear('psubscribe', String(pattern), message, String(channel)))
    connection.once('ready', () => this.#resubscribe(connection))
    connection.once('end', () => this.#lost(connection))
    connection.connect().catch(() => {})
  }

  async #resubscribe (connection: Redis): Promise<void> {
    for (const kind of ['subscribe', 'psubscribe'] as const) {
      const names = this.#listeners.names(kind)
      for (let first = 0; first < names.length; first += SLICE) await this.#send(kind, names.slice(first, first + SLICE))
    }
    if (this.#closed || connection !== this.#connection || connection.status !== 'ready') return
    const gap = this.#wasUp
    this.#failures = 0
    this.#error = undefined
    this.#upAt = performance.now()
    this.#up = this.#wasUp = true
    this.#endAttempt()
    if (gap) this.#tell('gap')
    this.#tell('up', { gap })
  }

  #lost (connection: Redis): void {
    if (connection !== this.#connection) return
    this.#connection = null
    this.#endAttempt()
    if (!this.#up) {
      this.#place.avoid(connection)
    } else {
      this.#up = false
      if (performance.now() - this.#upAt >= STEADY_MS) this.#attempt = 0
      this.#tell('down')
    }
    if (this.#isMoving) this.#connect()
    else this.#reconnectLater()
  }

  #reconnectLater (): void {
    if (this.#closed) return
    this.#failures = this.#client.status === 'ready' ? this.#failures + 1 : 0
    if (this.#failures === REPORT_AFTER) this.#faults.onAway(this.#error)
    this.#retry = setTimeout(() => this.#connect(), backoff(++this.#attempt)).unref()
  }

  /**
   * Finds a connection that is silent for ever: half open, or to a server that the Cluster knows no more. What was heard is
   * proof enough, but on a Cluster, where one server may still be heard and the others not.
   */
  async #check (): Promise<void> {
    const connection = this.#connection
    if (connection?.status !== 'ready' || !this.#up || this.#checking) return
    const heard = this.#heard && !this.#client.isCluster
    this.#heard = false
    if (heard) return
    this.#checking = true
    try {
      if (hasLeft(this.#client, connection)) return this.#replace(connection, 'its server left the Cluster')
      if (this.#place.isLeft(connection)) {
        this.#isMoving = true
        return this.#replace(connection, `the primary of ${this.#place.near} is another server`)
      }
      const isBroken = this.#listeners.reasonOf('subscribe', this.#delivery.channel) !== undefined ? null : await this.#delivery.isBroken()
      if (isBroken === true) {
        this.#place.avoid(connection)
        this.#replace(connection, 'it did not hear a message to itself')
      } else if (isBroken === null) {
        // Where that cannot be proved, at least the connection lives.
        await bounded(connection.ping().catch((err) => { if (!isReply(err)) throw err }), this.#options.commandTimeoutMs)
      }
    } catch {
      this.#place.avoid(connection)
      connection.disconnect()
    } finally {
      this.#checking = false
    }
  }

  #replace (connection: Redis, reason: string): void {
    if (connection !== this.#connection || connection.status !== 'ready') return
    this.#faults.onReplaced(reason)
    connection.disconnect()
  }

  #hear (kind: Kind, name: string, message: Buffer, channel = name): void {
    if (name !== this.#delivery.channel) this.#heard = true
    // One listener's fault must not keep the message from the others, nor end the process.
    const onFault = (err: unknown): void => this.#faults.onFault(err, channel)
    for (const listener of this.#listeners.of(kind, name)) callSafely(onFault, listener, message, channel)
  }

  #tell (event: keyof SubscriberEvents, ...args: unknown[]): void {
    emitSafely(this, (err) => this.#faults.onFault(err, event), event, ...args)
  }
}

/** Several channels at once, as ioredis takes them, would be heard by nobody. */
function check (channel: unknown, listener: unknown): void {
  if (typeof channel !== 'string' || channel === '') throw new FST_ERR_REDIS_LINK_INVALID_ARGUMENT('The channel', 'a text that is not empty')
  if (typeof listener !== 'function') throw new FST_ERR_REDIS_LINK_INVALID_ARGUMENT('The listener', 'a function')
}
