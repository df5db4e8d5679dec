import type { Redis } from 'ioredis'
import type { Kind, Listeners } from './listeners.ts'
import { isOutage, isReply } from './refusals.ts'
import { bounded } from './time.ts'

export interface EarEvents {
  /** @param name the channel or pattern that was subscribed to */
  onHeard (ear: Ear, kind: Kind, name: string, message: Buffer, channel: string): void
  onRefusal (kind: Kind, name: string, reason: string): void
  onEnd (ear: Ear): void
}

type Command = Kind | 'unsubscribe' | 'punsubscribe'

const SLICE = 500

/** One connection that hears: it is made once, and where a command fails on it without an answer, it ends. */
export class Ear {
  readonly redis: Redis
  /** Whether it was opened, or ended before that. */
  readonly opened: Promise<boolean>
  /** What it failed with last: a server's last words may be lost with the connection. */
  error: Error | undefined
  readonly #listeners: Listeners
  readonly #timeoutMs: number
  readonly #events: EarEvents
  /** What waits for a mark to be heard. */
  readonly #marks = new Map<number, () => void>()

  /** @param redis not connected yet */
  constructor (redis: Redis, listeners: Listeners, timeoutMs: number, events: EarEvents) {
    this.redis = redis
    this.#listeners = listeners
    this.#timeoutMs = timeoutMs
    this.#events = events
    redis.on('error', (err: Error) => { this.error = err })
    redis.on('messageBuffer', (bytes: Buffer, message: Buffer) => {
      const channel = String(bytes)
      events.onHeard(this, 'subscribe', channel, message, channel)
    })
    redis.on('pmessageBuffer', (pattern: string | Buffer, channel: Buffer, message: Buffer) => events.onHeard(this, 'psubscribe', String(pattern), message, String(channel)))
    this.opened = new Promise((resolve) => {
      redis.once('ready', () => resolve(true))
      redis.once('end', () => {
        resolve(false)
        events.onEnd(this)
      })
    })
    redis.connect().catch(() => {})
  }

  get isOpen (): boolean {
    return this.redis.status === 'ready'
  }

  /** Subscribes to all that somebody listens to, but for what Redis refuses. Returns whether it is open then. */
  async subscribeAll (): Promise<boolean> {
    for (const kind of ['subscribe', 'psubscribe'] as const) {
      const names = this.#listeners.names(kind)
      for (let first = 0; first < names.length; first += SLICE) await this.send(kind, names.slice(first, first + SLICE))
    }
    return this.isOpen
  }

  /** Where it fails without an answer the connection ends, and its successor subscribes to all. */
  async send (command: Command, names: readonly string[]): Promise<void> {
    if (!this.isOpen || names.length === 0) return
    try {
      await bounded(this.redis[command](...names) as Promise<unknown>, this.#timeoutMs)
      if (command === 'subscribe' || command === 'psubscribe') this.#listeners.accept(command, names)
    } catch (err) {
      if (!isReply(err) || isOutage(err)) this.end()
      else if (names.length > 1) for (const name of names) await this.send(command, [name])
      else if (command === 'subscribe' || command === 'psubscribe') this.#events.onRefusal(command, names[0]!, err.message)
    }
  }

  /** Whether the server lives, as far as it may be asked. Rejects where it does not. */
  async ping (): Promise<void> {
    await bounded(this.redis.ping().catch((err) => { if (!isReply(err)) throw err }), this.#timeoutMs)
  }

  /** Resolves when a mark is heard, which is sent after this call; forgotten with `forget`. */
  heard (mark: number): Promise<void> {
    return new Promise((resolve) => { this.#marks.set(mark, resolve) })
  }

  forget (mark: number): void {
    this.#marks.delete(mark)
  }

  mark (mark: number): void {
    this.#marks.get(mark)?.()
  }

  end (): void {
    this.redis.disconnect()
  }
}
