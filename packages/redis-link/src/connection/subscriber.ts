import { EventEmitter } from 'node:events'
import { acceptOnly, emitSafely } from '@jpulse/plugin-kit'
import type { Redis } from 'ioredis'
import { FST_ERR_REDIS_LINK_INVALID_ARGUMENT, FST_ERR_REDIS_LINK_SUBSCRIPTION_REFUSED } from '../errors.ts'
import type { Kind, Listener } from './listeners.ts'
import type { Receiver, SubscriberEvents } from './receiver.ts'

export type { Listener } from './listeners.ts'

/** Ends a subscription; the channel is left with its last listener. */
export type Unsubscribe = () => Promise<void>

/**
 * Hears channels of Redis, on a connection that reconnects and subscribes to all again by itself, and says when it had a gap.
 *
 * A listener may be added while there is no connection; it hears from the next one on.
 */
export class Subscriber extends EventEmitter<SubscriberEvents> {
  readonly #onFault: (err: unknown, event: string) => void
  #receiver: Receiver

  /** @param onFault hears what a listener of an event throws */
  constructor (receiver: Receiver, onFault: (err: unknown, event: string) => void) {
    super()
    this.#receiver = receiver
    this.#onFault = onFault
    // Every plugin and namespace of a process may listen to it.
    this.setMaxListeners(0)
    acceptOnly<SubscriberEvents>(this, { up: true, down: true, gap: true }, (wanted) => new FST_ERR_REDIS_LINK_INVALID_ARGUMENT('The event', wanted))
  }

  /** The present connection. */
  get connection (): Redis | null {
    return this.#receiver.connection
  }

  /** Why Redis refuses a channel or pattern that somebody listens to. */
  get refused (): ReadonlyMap<string, string> {
    return this.#receiver.refused
  }

  /** Whether every subscription is heard now, but for those that Redis refuses. */
  get isUp (): boolean {
    return this.#receiver.isUp
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
    if (instead !== undefined) this.#receiver.keepQuiet(pattern)
    return this.#add('psubscribe', pattern, listener).catch((err: unknown) => {
      if (instead === undefined || !(err instanceof FST_ERR_REDIS_LINK_SUBSCRIPTION_REFUSED)) throw err
      return this.#add('psubscribe', instead, listener)
    })
  }

  /** For the link: hears through another receiver from now on, which takes the listeners over. */
  moveTo (receiver: Receiver): void {
    receiver.adopt(this.#receiver)
    this.#receiver = receiver
  }

  /** For the link. */
  tell<E extends keyof SubscriberEvents> (event: E, ...args: SubscriberEvents[E]): void {
    emitSafely(this, (err) => this.#onFault(err, event), event, ...args)
  }

  async #add (kind: Kind, name: string, listener: Listener): Promise<Unsubscribe> {
    const reason = await this.#receiver.add(kind, name, listener)
    if (reason !== undefined) throw new FST_ERR_REDIS_LINK_SUBSCRIPTION_REFUSED(name, reason)
    let hasEnded = false
    return async () => {
      if (hasEnded) return
      hasEnded = true
      await this.#receiver.remove(kind, name, listener)
    }
  }
}

/** Several channels at once, as ioredis takes them, would be heard by nobody. */
function check (channel: unknown, listener: unknown): void {
  if (typeof channel !== 'string' || channel === '') throw new FST_ERR_REDIS_LINK_INVALID_ARGUMENT('The channel', 'a text that is not empty')
  if (typeof listener !== 'function') throw new FST_ERR_REDIS_LINK_INVALID_ARGUMENT('The listener', 'a function')
}
