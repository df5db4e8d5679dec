import { EventEmitter } from 'node:events'
import type { Redis } from 'ioredis'
import type { RedisClient, ResolvedOptions } from '../options.ts'
import { makeSubscriberConnection } from './client.ts'
import { backoff, bounded } from './time.ts'

/** Receives one message as it came over the wire, and the channel it came on. */
export type Listener = (message: Buffer, channel: string) => void

/** Ends a subscription; the channel is left with its last listener. */
export type Unsubscribe = () => Promise<void>

/** What happens to the subscriber's connection. */
export interface SubscriberEvents {
  /** Every subscription is heard. `gap` says that the connection was lost before: messages may be missing. */
  up: [{ gap: boolean }]
  /** The connection is lost: nothing is heard. */
  down: []
  /** All subscriptions are heard again after a loss; what was published meanwhile was missed. */
  gap: []
}

type Kind = 'subscribe' | 'psubscribe'

const SLICE = 500

/**
 * The one subscriber connection of a process. It reconnects and resubscribes by itself, and says when it had a gap.
 *
 * A listener may be added while there is no connection; it hears from the next one on.
 */
export class Subscriber extends EventEmitter<SubscriberEvents> {
  readonly #client: RedisClient
  readonly #options: ResolvedOptions
  readonly #onFault: (err: unknown, channel: string) => void
  readonly #listeners: Record<Kind, Map<string, Set<Listener>>> = { subscribe: new Map(), psubscribe: new Map() }
  readonly #probe: NodeJS.Timeout
  #connection: Redis | null = null
  #retry: NodeJS.Timeout | undefined
  #attempt = 0
  /** Settled when the attempt to connect under way has succeeded, with every subscription, or failed. */
  #attempted: Promise<void> = Promise.resolve()
  #endAttempt = () => {}
  #up = false
  #wasUp = false
  #closed = false

  /** @param onFault gets what a listener threw */
  constructor (client: RedisClient, options: ResolvedOptions, onFault: (err: unknown, channel: string) => void) {
    super()
    this.#onFault = onFault
    // Every plugin and namespace of a process may listen to this one connection.
    this.setMaxListeners(0)
    this.#client = client
    this.#options = options
    this.#probe = setInterval(() => this.#look(), options.probeIntervalMs).unref()
    this.#connect()
  }

  /** Whether every subscription is heard now. */
  get isUp (): boolean {
    return this.#up
  }

  /**
   * Hears a channel. Resolves when Redis confirmed it, or, while Redis is away, when the attempt to connect has failed.
   *
   * @param channel the whole name, as `redisLink.channel()` builds it
   */
  async subscribe (channel: string, listener: Listener): Promise<Unsubscribe> {
    return this.#add('subscribe', channel, listener)
  }

  /** Hears all channels that match a glob of Redis (`*`, `?`, `[…]`, `\` to escape); otherwise as `subscribe`. */
  async psubscribe (pattern: string, listener: Listener): Promise<Unsubscribe> {
    return this.#add('psubscribe', pattern, listener)
  }

  /** Cuts the connection. Listeners are dropped. */
  close (): void {
    this.#closed = true
    clearInterval(this.#probe)
    clearTimeout(this.#retry)
    this.#connection?.disconnect()
    this.#endAttempt()
    this.#listeners.subscribe.clear()
    this.#listeners.psubscribe.clear()
    this.removeAllListeners()
  }

  async #add (kind: Kind, name: string, listener: Listener): Promise<Unsubscribe> {
    const names = this.#listeners[kind]
    const listeners = names.get(name)
    if (listeners === undefined) names.set(name, new Set([listener]))
    else listeners.add(listener)
    // Sent for a known name too: its first SUBSCRIBE may still be on its way, and the caller wants to hear now.
    if (this.#connection?.status === 'ready') await this.#send(kind, [name])
    else await this.#attempted
    return () => this.#remove(kind, name, listener)
  }

  async #remove (kind: Kind, name: string, listener: Listener): Promise<void> {
    const listeners = this.#listeners[kind].get(name)
    if (listeners?.delete(listener) !== true || listeners.size > 0) return
    this.#listeners[kind].delete(name)
    await this.#send(kind === 'subscribe' ? 'unsubscribe' : 'punsubscribe', [name])
  }

  /** Sends on the present connection. Where that fails the connection is replaced, and its successor subscribes to all. */
  async #send (command: Kind | 'unsubscribe' | 'punsubscribe', names: string[]): Promise<void> {
    const connection = this.#connection
    if (connection?.status !== 'ready' || names.length === 0) return
    try {
      await bounded(connection[command](...names) as Promise<unknown>, this.#options.commandTimeoutMs)
    } catch {
      connection.disconnect()
    }
  }

  #connect (): void {
    if (this.#closed) return
    const connection = makeSubscriberConnection(this.#client, this.#options)
    if (connection === null) return this.#reconnectLater()
    this.#connection = connection
    this.#attempted = new Promise((resolve) => { this.#endAttempt = resolve })
    connection.on('error', () => {})
    connection.on('messageBuffer', (channel: Buffer, message: Buffer) => this.#hear('subscribe', String(channel), message, String(channel)))
    connection.on('pmessageBuffer', (pattern: string | Buffer, channel: Buffer, message: Buffer) => this.#hear('psubscribe', String(pattern), message, String(channel)))
    connection.once('ready', () => this.#resubscribe(connection))
    connection.once('end', () => this.#lost(connection))
    connection.connect().catch(() => {})
  }

  async #resubscribe (connection: Redis): Promise<void> {
    for (const kind of ['subscribe', 'psubscribe'] as const) {
      const names = [...this.#listeners[kind].keys()]
      for (let first = 0; first < names.length; first += SLICE) await this.#send(kind, names.slice(first, first + SLICE))
    }
    if (this.#closed || connection !== this.#connection || connection.status !== 'ready') return
    const gap = this.#wasUp
    this.#attempt = 0
    this.#up = this.#wasUp = true
    this.#endAttempt()
    if (gap) this.emit('gap')
    this.emit('up', { gap })
  }

  #lost (connection: Redis): void {
    if (connection !== this.#connection) return
    this.#connection = null
    this.#endAttempt()
    if (this.#up) {
      this.#up = false
      this.emit('down')
    }
    this.#reconnectLater()
  }

  #reconnectLater (): void {
    if (this.#closed) return
    this.#retry = setTimeout(() => this.#connect(), backoff(++this.#attempt)).unref()
  }

  /** Finds a half-open connection, which would stay silent for ever. */
  #look (): void {
    const connection = this.#connection
    if (connection?.status !== 'ready') return
    bounded(connection.ping(), this.#options.commandTimeoutMs).catch(() => connection.disconnect())
  }

  #hear (kind: Kind, name: string, message: Buffer, channel: string): void {
    for (const listener of this.#listeners[kind].get(name) ?? []) {
      // One listener's fault must not keep the message from the others, nor end the process.
      try {
        listener(message, channel)
      } catch (err) {
        this.#onFault(err, channel)
      }
    }
  }
}
