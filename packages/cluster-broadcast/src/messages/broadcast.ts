import { checkCall, jsonOf } from '@jpulse/plugin-kit'
import type { AskResult } from './asks.ts'
import { FST_ERR_CLUSTER_BROADCAST_INVALID_ARGUMENT, FST_ERR_CLUSTER_BROADCAST_INVALID_DATA, FST_ERR_CLUSTER_BROADCAST_MESSAGE_TOO_LARGE } from '../errors.ts'
import type { Ack, EpochLog, EpochLogOptions, LogFrame } from '../log/epoch-log.ts'
import type { WireMessage } from './frame.ts'
import { invalid } from '../options.ts'
import type { Messenger } from './messenger.ts'
import { checkChannel, checkPattern, type ReservedPrefix } from './names.ts'
import { runOnce, type Claims, type OnceResult } from '../once/once.ts'
import type { BroadcastMessage, Handler, SubscribeOptions, Subscription } from './subscriptions.ts'
import type { StopListening } from './transport.ts'

/** What became of a message. */
export interface PublishResult {
  /** Unique in the cluster. */
  readonly id: string
  /** `local`: only this process is known to have got it, and it is not forwarded later. */
  readonly delivered: 'cluster' | 'local'
  /** As the handlers get it. */
  readonly timestamp: number
}

/** Ends a subscription: from the call on, its handler is not called any more. */
export type Unsubscribe = () => Promise<void>

export interface AskOptions {
  /** Longest wait for answers, in milliseconds, 1 to 3600000. @default 1000 */
  timeoutMs?: number
}

/** Of the handle for plugins. */
export interface InternalAskOptions extends AskOptions {
  /** Whether who reconnects just then reads it from the log; else it is `missing`. False for look-ups: they would push out of the log what nobody may miss. @default as configured */
  replay?: boolean
  /** What goes beside the data, as it is; the handlers get it as `bytes`. The release before ignores such a message. */
  bytes?: Uint8Array | undefined
}

/** Messages between the instances of a cluster. */
export class Broadcast {
  protected readonly messenger: Messenger
  readonly #claims: Claims
  readonly #owner: ReservedPrefix | null
  #checked: string | null = null

  /** @param owner the reserved prefix that this handle is for; null for the application's */
  constructor (messenger: Messenger, claims: Claims, owner: ReservedPrefix | null) {
    this.messenger = messenger
    this.#claims = claims
    this.#owner = owner
  }

  /**
   * Sends to every handler of the cluster that listens, this process' first. Rejects for bad input only: in an outage
   * the message reaches this process, and says so.
   *
   * @param data anything with a JSON form, or a Uint8Array (a Buffer too), which is sent as it is; `undefined` is sent as null
   * @throws FST_ERR_CLUSTER_BROADCAST_INVALID_CHANNEL, _RESERVED_CHANNEL, _INVALID_DATA, _MESSAGE_TOO_LARGE
   */
  async publish (channel: string, data?: unknown): Promise<PublishResult> {
    this.check(channel)
    const bytes = this.copyOf(data)
    const json = bytes === undefined ? this.encode(data) : ''
    const { message, ack } = this.messenger.publish(channel, json, this.messenger.isLogged(channel), bytes)
    return outcome(message, await ack)
  }

  /**
   * Calls the handler for each message of a channel, or with a trailing `*` of every channel below, beginning at once with
   * those of this process. An alone standing `*` means all channels of applications. Resolves with the function that ends it,
   * when every message that is published afterwards is heard.
   *
   * Handlers get messages in the order in which one publisher published them; a promise that a handler returns is not
   * waited for. What a handler throws or rejects with is logged.
   *
   * @throws FST_ERR_CLUSTER_BROADCAST_INVALID_CHANNEL, _RESERVED_CHANNEL, _INVALID_ARGUMENT, _INVALID_OPTION
   */
  async subscribe<T = unknown> (pattern: string, handler: Handler<T>, options: SubscribeOptions = {}): Promise<Unsubscribe> {
    checkCall(options, ['omitSelf'], invalid)
    return this.add(pattern, handler as Handler, options.omitSelf ?? false, false)
  }

  /**
   * Sends to every member of the cluster and gathers what their handlers return, this process' too.
   *
   * @throws FST_ERR_CLUSTER_BROADCAST_INVALID_CHANNEL, _RESERVED_CHANNEL, _INVALID_DATA, _MESSAGE_TOO_LARGE, _INVALID_ARGUMENT, _INVALID_OPTION
   */
  async ask (channel: string, data?: unknown, options: AskOptions = {}): Promise<AskResult> {
    checkCall(options, ['timeoutMs'], invalid)
    return this.gather(channel, data, options.timeoutMs)
  }

  /**
   * Runs `fn` on one of the instances that call this with the same name. In `ttlMs` from the start of `fn` nobody runs it
   * again, also when it is over. The others wait until it is over; where the claim lapses without that, because its
   * process died, one of them runs its own `fn`. So `ttlMs` has to be longer than `fn` takes.
   *
   * @param name 1 to 1024 characters
   * @param ttlMs 1 to a year
   * @throws FST_ERR_CLUSTER_BROADCAST_INVALID_ARGUMENT; what `fn` throws, on the instance that ran it
   */
  async once<T> (name: string, ttlMs: number, fn: () => T | Promise<T>): Promise<OnceResult<T>> {
    return runOnce(this.#claims, this.#owner ?? 'app', name, ttlMs, fn)
  }

  protected async gather (channel: string, data: unknown, timeoutMs = 1000, replay?: boolean, bytes?: Uint8Array): Promise<AskResult> {
    this.check(channel)
    if (!Number.isSafeInteger(timeoutMs) || timeoutMs < 1 || timeoutMs > 3_600_000) {
      throw new FST_ERR_CLUSTER_BROADCAST_INVALID_ARGUMENT('timeoutMs', 'a whole number from 1 to 3600000')
    }
    const own = this.copyOf(data)
    const json = own === undefined ? this.encode(data, bytes?.length) : ''
    return this.messenger.ask(channel, json, replay ?? this.messenger.isLogged(channel), timeoutMs, own ?? bytes)
  }

  /** The same name again, as most are, was checked already. */
  protected check (channel: string): void {
    if (channel === this.#checked) return
    checkChannel(channel, this.#owner)
    this.#checked = channel
  }

  protected async add (pattern: string, handler: Handler, omitSelf: boolean, raw: boolean): Promise<Unsubscribe> {
    checkPattern(pattern, this.#owner)
    if (typeof handler !== 'function') throw new FST_ERR_CLUSTER_BROADCAST_INVALID_ARGUMENT('handler', 'a function')
    const { subscriptions, transport } = this.messenger
    const subscription: Subscription = { pattern, handler, omitSelf, raw, internal: this.#owner !== null }
    subscriptions.add(subscription)
    let stop: StopListening
    try {
      stop = await transport.listen(pattern)
    } catch (err) {
      subscriptions.remove(subscription)
      throw err
    }
    let ended: Promise<void> | undefined
    return () => {
      subscriptions.remove(subscription)
      ended ??= stop()
      return ended
    }
  }

  /** Data that are bytes: a copy, because the caller may change them while they wait. */
  protected copyOf (data: unknown): Uint8Array | undefined {
    if (!(data instanceof Uint8Array)) return undefined
    this.measure('', data.byteLength)
    return new Uint8Array(data)
  }

  /** The JSON of the data. */
  protected encode (data: unknown, beside = 0): string {
    const json = jsonOf(data ?? null, (reason) => new FST_ERR_CLUSTER_BROADCAST_INVALID_DATA(reason))
    this.measure(json, beside)
    return json
  }

  protected measure (json: string, beside = 0): void {
    const { maxMessageBytes } = this.messenger.options
    // One character of UTF-16 makes 3 bytes of UTF-8 at most.
    if (json.length * 3 + beside <= maxMessageBytes) return
    const bytes = Buffer.byteLength(json) + beside
    if (bytes > maxMessageBytes) throw new FST_ERR_CLUSTER_BROADCAST_MESSAGE_TOO_LARGE(bytes, maxMessageBytes)
  }
}

/** The handle of a plugin of the suite for the channels below its reserved prefix. */
export class InternalBroadcast extends Broadcast {
  /** Longest data of one message, bytes beside them included. */
  get maxMessageBytes (): number {
    return this.messenger.options.maxMessageBytes
  }

  /**
   * As `publish`, with data that are JSON already, in one line; they are handed to the others as they are.
   *
   * @param replay whether who reconnects reads it from the log. @default as configured
   * @param bytes what goes beside the data, as it is; the handlers get it as `bytes`. The release before ignores such a message
   */
  async publishJson (channel: string, json: string, { replay = this.messenger.isLogged(channel), bytes }: { replay?: boolean, bytes?: Uint8Array | undefined } = {}): Promise<PublishResult> {
    this.check(channel)
    if (typeof json !== 'string' || json === '' || json.includes('\n')) throw new FST_ERR_CLUSTER_BROADCAST_INVALID_DATA('it is not JSON in one line')
    this.measure(json, bytes?.length)
    const { message, ack } = this.messenger.publish(channel, json, replay, bytes)
    return outcome(message, await ack)
  }

  override async ask (channel: string, data?: unknown, { timeoutMs, replay, bytes }: InternalAskOptions = {}): Promise<AskResult> {
    return this.gather(channel, data, timeoutMs, replay, bytes)
  }

  /**
   * Opens a log of the plugin's own, on which this process publishes under its boot id: the same engine that carries the
   * broadcast. Null where no Redis is configured.
   */
  openLog<Frame extends LogFrame, Message> (options: EpochLogOptions<Frame, Message>): EpochLog<Frame, Message> | null {
    return this.messenger.transport.openLog(options)
  }

  /** As `subscribe`; the handler gets the data as JSON text. */
  async subscribeJson (pattern: string, handler: (message: BroadcastMessage<string>) => unknown, { omitSelf = false }: SubscribeOptions = {}): Promise<Unsubscribe> {
    return this.add(pattern, handler as Handler, omitSelf, true)
  }
}

function outcome ({ id, timestamp }: WireMessage, { delivered }: Ack): PublishResult {
  return { id, delivered: delivered ? 'cluster' : 'local', timestamp }
}
