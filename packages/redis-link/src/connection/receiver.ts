import { callSafely } from '@jpulse/plugin-kit'
import type { Redis } from 'ioredis'
import type { RedisClient, ResolvedOptions } from '../options.ts'
import { hasLeft } from './client.ts'
import { DeliveryProbe } from './delivery-probe.ts'
import { Ear } from './ear.ts'
import { Listeners, type Kind, type Listener } from './listeners.ts'
import { Overlap } from './overlap.ts'
import { Place } from './place.ts'
import { backoff } from './time.ts'

/** What a receiver tells its link, for the log. */
export interface ReceiverFaults {
  /** A listener threw or rejected. */
  onFault (err: unknown, channel: string): void
  /** Redis refuses a channel; once, until it accepts it. */
  onRefusal (channel: string, reason: string): void
  /** Nothing arrived on the open connection, its server left the Cluster, or has the key no more that it is to be near; it was replaced, or will be. */
  onReplaced (reason: string): void
  /** No connection can be made although the link has one; once, until there is one. `undefined`: the server closed it without a word. */
  onAway (err: Error | undefined): void
}

/** What happens to the subscriber's connection. */
export interface SubscriberEvents {
  /** Every subscription is heard that Redis does not refuse. `gap` says that the connection was lost before: messages may be missing. */
  up: [{ gap: boolean }]
  /** The connection is lost: nothing is heard. */
  down: []
  /** All subscriptions are heard again after a loss; what was published meanwhile was missed. */
  gap: []
}

type Tell = <E extends keyof SubscriberEvents>(event: E, ...args: SubscriberEvents[E]) => void

/** One connection takes over from another. */
interface Move {
  readonly to: Ear
  /** While both may hear. */
  overlap: Overlap | null
  /** Settled when it has taken over, or will not: what is subscribed to meanwhile is so on the new one. */
  readonly done: Promise<void>
  readonly end: () => void
}

/** Pause between two proofs, in intervals of the probes. */
const CHECK_EVERY = 1.5
/** Attempts to connect that fail in a row before it is logged, while the link has its connection. */
const REPORT_AFTER = 4
/** A connection that lasted less long was no success: who is cut off again and again comes back less and less often. */
const STEADY_MS = 5000

/**
 * Hears for the subscribers near one server, on one connection, which it makes anew and subscribes to all again where it is lost. An open
 * connection is no proof of delivery: the server may have left the Cluster, so a message to itself proves it at intervals. One that hears, and
 * is at the wrong server, is ended when its successor is proved to hear as much.
 */
export class Receiver {
  readonly near: string
  readonly #client: RedisClient
  readonly #options: ResolvedOptions
  readonly #faults: ReceiverFaults
  readonly #tell: Tell
  readonly #listeners = new Listeners()
  readonly #delivery: DeliveryProbe
  readonly #place: Place
  #probe: NodeJS.Timeout | undefined
  #ear: Ear | null = null
  #move: Move | null = null
  #checking = false
  #heard = false
  #retry: NodeJS.Timeout | undefined
  #attempt = 0
  #failures = 0
  /** What the last attempt that failed with words failed with. */
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
   * @param channel a channel of this receiver alone, for messages to itself
   */
  constructor (client: RedisClient, options: ResolvedOptions, near: string, channel: string, faults: ReceiverFaults, tell: Tell) {
    this.near = near
    this.#client = client
    this.#options = options
    this.#faults = faults
    this.#tell = tell
    this.#place = new Place(client, near)
    this.#delivery = new DeliveryProbe(client, channel, options.commandTimeoutMs)
    this.#listeners.add('subscribe', channel, () => {})
  }

  /** The present connection. */
  get connection (): Redis | null {
    return this.#ear?.redis ?? null
  }

  get refused (): ReadonlyMap<string, string> {
    return this.#listeners.refused
  }

  get isUp (): boolean {
    return this.#up
  }

  /** Connects, and keeps connected. Until then listeners are only noted. */
  start (): void {
    this.#probe = setInterval(() => { this.#check().catch(() => {}) }, CHECK_EVERY * this.#options.probeIntervalMs).unref()
    this.#connect()
  }

  /** Takes over the listeners of one that was not started. */
  adopt (other: Receiver): void {
    this.#listeners.adopt(other.#listeners, other.#delivery.channel)
  }

  /** See `Subscriber.subscribe`. Returns why Redis refuses it, where it does. */
  async add (kind: Kind, name: string, listener: Listener): Promise<string | undefined> {
    this.#listeners.add(kind, name, listener)
    if (this.#move !== null && this.#move.overlap !== null) await this.#move.done
    // Sent for a known name too: its first SUBSCRIBE may still be on its way, and the caller wants to hear now.
    if (this.#ear?.isOpen === true) await this.#ear.send(kind, [name])
    else await this.#attempted
    const reason = this.#listeners.reasonOf(kind, name)
    if (reason !== undefined) this.#listeners.remove(kind, name, listener)
    return reason
  }

  async remove (kind: Kind, name: string, listener: Listener): Promise<void> {
    if (!this.#listeners.remove(kind, name, listener)) return
    if (this.#move !== null && this.#move.overlap !== null) await this.#move.done
    await this.#ear?.send(kind === 'subscribe' ? 'unsubscribe' : 'punsubscribe', [name])
  }

  /** A refusal of this name is not logged. */
  keepQuiet (name: string): void {
    this.#listeners.keepQuiet(name)
  }

  /** Cuts the connection. Listeners are dropped. */
  close (): void {
    this.#closed = true
    clearInterval(this.#probe)
    clearTimeout(this.#retry)
    this.#move?.to.end()
    this.#ear?.end()
    this.#move?.end()
    this.#endAttempt()
    this.#listeners.clear()
  }

  #open (redis: Redis): Ear {
    return new Ear(redis, this.#listeners, this.#options.commandTimeoutMs, {
      onHeard: (ear, kind, name, message, channel) => this.#hear(ear, kind, name, message, channel),
      onRefusal: (kind, name, reason) => {
        if (this.#listeners.refuse(kind, name, reason) && name !== this.#delivery.channel) this.#faults.onRefusal(name, reason)
      },
      onEnd: (ear) => this.#lost(ear)
    })
  }

  async #connect (): Promise<void> {
    if (this.#closed) return
    const redis = this.#place.connection()
    if (redis === null) return this.#reconnectLater()
    this.#attempted = new Promise((resolve) => { this.#endAttempt = resolve })
    const ear = this.#ear = this.#open(redis)
    if (await ear.opened && await ear.subscribeAll() && ear === this.#ear && !this.#closed) this.#turnUp()
  }

  #turnUp (): void {
    const gap = this.#wasUp
    this.#failures = 0
    this.#error = undefined
    this.#upAt = performance.now()
    this.#up = this.#wasUp = true
    this.#endAttempt()
    if (gap) this.#tell('gap')
    this.#tell('up', { gap })
  }

  #turnDown (): void {
    this.#up = false
    this.#tell('down')
  }

  #lost (ear: Ear): void {
    if (ear !== this.#ear) return
    this.#error = ear.error ?? this.#error
    this.#ear = null
    // What its successor has heard so far is not all, and the next one hears for it.
    if (this.#move !== null && this.#move.to !== ear) this.#move.to.end()
    this.#move?.end()
    this.#move = null
    this.#endAttempt()
    if (this.#up) {
      if (performance.now() - this.#upAt >= STEADY_MS) this.#attempt = 0
      this.#turnDown()
    } else this.#place.avoid(ear.redis)
    this.#reconnectLater()
  }

  #reconnectLater (): void {
    if (this.#closed) return
    this.#failures = this.#client.status === 'ready' ? this.#failures + 1 : 0
    if (this.#failures === REPORT_AFTER) this.#faults.onAway(this.#error)
    this.#retry = setTimeout(() => { this.#connect() }, backoff(++this.#attempt)).unref()
  }

  /**
   * Finds a connection that is silent for ever: half open, or to a server that the Cluster knows no more. What was heard is
   * proof enough, but on a Cluster, where one server may still be heard and the others not.
   */
  async #check (): Promise<void> {
    const ear = this.#ear
    if (ear?.isOpen !== true || !this.#up || this.#checking) return
    const heard = this.#heard && !this.#client.isCluster
    this.#heard = false
    if (heard) return
    this.#checking = true
    try {
      if (hasLeft(this.#client, ear.redis)) return this.#giveUp(ear, 'its server left the Cluster')
      if (this.#place.isLeft(ear.redis)) return await this.#follow(ear)
      const isBroken = this.#isUnproved ? null : await this.#delivery.isBroken(ear)
      if (isBroken === true) {
        this.#place.avoid(ear.redis)
        this.#giveUp(ear, 'it did not hear a message to itself')
      } else if (isBroken === null) await ear.ping()
    } catch {
      this.#place.avoid(ear.redis)
      ear.end()
    } finally {
      this.#checking = false
    }
  }

  /** Whether Redis refuses the channel of the messages to itself. */
  get #isUnproved (): boolean {
    return this.#listeners.reasonOf('subscribe', this.#delivery.channel) !== undefined
  }

  /** It may have missed something: `down` says so at once, and `gap` when another hears. */
  #giveUp (ear: Ear, reason: string): void {
    if (ear !== this.#ear) return
    this.#faults.onReplaced(reason)
    ear.end()
  }

  /** Goes where the key is. It hears here until it hears there. */
  async #follow (from: Ear): Promise<void> {
    const reason = `the primary of ${this.near} is another server`
    // Nobody can say then what the one there hears.
    if (this.#isUnproved) return this.#giveUp(from, reason)
    const redis = this.#place.connection()
    if (redis === null || from !== this.#ear) return
    const to = this.#open(redis)
    let end = (): void => {}
    const done = new Promise<void>((resolve) => { end = resolve })
    const move: Move = this.#move = { to, overlap: null, done, end }
    const canMove = (): boolean => move === this.#move && to.isOpen && !this.#closed
    if (!await to.opened || !canMove()) return this.#stay(move)
    const overlap = move.overlap = new Overlap(({ kind, name, message, channel }) => this.#pass(kind, name, message, channel))
    // What was heard before the overlap began may still be on its way to the other server.
    await to.send('subscribe', [this.#delivery.channel])
    let hears = await this.#delivery.passed(to)
    await to.subscribeAll()
    overlap.both()
    hears = await this.#delivery.passed(from, to) && hears
    if (!hears || !canMove()) return this.#stay(move)
    this.#faults.onReplaced(reason)
    this.#ear = to
    this.#upAt = performance.now()
    overlap.turn()
    from.end()
    end()
    await this.#delivery.passed(to)
    if (move === this.#move) this.#move = null
  }

  /** The successor cannot be had, or does not hear everything. */
  #stay (move: Move): void {
    move.to.end()
    move.end()
    if (move !== this.#move) return
    this.#move = null
    this.#place.avoid(move.to.redis)
  }

  #hear (ear: Ear, kind: Kind, name: string, message: Buffer, channel: string): void {
    if (name === this.#delivery.channel) return ear.mark(Number(message))
    this.#heard = true
    const move = this.#move
    if (move === null || move.overlap === null) {
      if (ear === this.#ear) this.#pass(kind, name, message, channel)
    } else if (ear === move.to) move.overlap.second({ kind, name, message, channel })
    else move.overlap.first({ kind, name, message, channel })
  }

  /** One listener's fault must not keep the message from the others, nor end the process. */
  #pass (kind: Kind, name: string, message: Buffer, channel: string): void {
    const onFault = (err: unknown): void => this.#faults.onFault(err, channel)
    for (const listener of this.#listeners.of(kind, name)) callSafely(onFault, listener, message, channel)
  }
}
