import { channel as diagnostics } from 'node:diagnostics_channel'
import type { EventEmitter } from 'node:events'
import { emitSafely, isThenable, jsonOf, textOf } from '@jpulse/plugin-kit'
import type { FastifyBaseLogger } from 'fastify'
import type { Ack } from '../log/epoch-log.ts'
import type { Identity } from '../membership/identity.ts'
import type { Member } from '../membership/members.ts'
import type { ResolvedOptions } from '../options.ts'
import { Asks, type AskResult, type Outcome } from './asks.ts'
import { messageId, type Kind, type WireMessage, type WireReply } from './frame.ts'
import { Subscriptions, type BroadcastMessage, type Subscription } from './subscriptions.ts'
import type { ClusterMode, Gap, Outgoing, Transport } from './transport.ts'

/** What a cluster tells. */
export interface ClusterEvents {
  join: [member: Member]
  leave: [member: Member]
  mode: [mode: ClusterMode]
  gap: [gap: Gap]
  heartbeat: []
}

const publishChannel = diagnostics('jpulse:cluster-broadcast:publish')
const gapChannel = diagnostics('jpulse:cluster-broadcast:gap')

/** Delivers messages to the handlers of this process and hands them to the transport: what all handles share. */
export class Messenger {
  readonly subscriptions = new Subscriptions()
  readonly transport: Transport
  readonly options: ResolvedOptions
  readonly #events: EventEmitter<ClusterEvents>
  readonly #identity: Identity
  readonly #log: FastifyBaseLogger
  readonly #asks = new Asks((bootIds) => this.#namesOf(bootIds), () => this.#known())
  readonly #counters = { logged: 0, direct: 0 }
  /** Own messages that their handlers have not got yet, each followed by who wants the answer. */
  #local: Array<[message: Outgoing, done: ((outcome: Outcome) => void) | undefined]> = []
  #delivering = false
  #left = new Map<string, string>()

  /** @param events gets what the cluster tells */
  constructor (events: EventEmitter<ClusterEvents>, identity: Identity, transport: Transport, options: ResolvedOptions, log: FastifyBaseLogger) {
    this.#events = events
    this.#identity = identity
    this.transport = transport
    this.options = options
    this.#log = log
  }

  async open (): Promise<void> {
    await this.transport.open({
      onMessage: (message) => this.#receive(message),
      onReply: (reply) => this.#takeReply(reply),
      onJoin: (member) => this.#tell('join', member),
      onLeave: (member) => this.#onLeave(member),
      onMode: (mode) => this.#tell('mode', mode),
      onGap: (gap) => this.#onGap(gap),
      onHeartbeat: () => this.#tell('heartbeat')
    })
  }

  async close (): Promise<void> {
    await this.transport.close()
    this.#asks.close()
    this.subscriptions.clear()
  }

  /** Sends JSON to the handlers here, then to the others. */
  publish (channel: string, json: string, logged: boolean, bytes?: Uint8Array): { message: WireMessage, ack: Promise<Ack> } {
    const message = this.#compose(channel, 'tell', json, logged, bytes)
    if (this.subscriptions.match(channel, true).length > 0) this.#deliverHere(message)
    return { message, ack: this.transport.send(message) }
  }

  /** Sends JSON to every member and waits for what their handlers return. */
  async ask (channel: string, json: string, logged: boolean, timeoutMs: number, bytes?: Uint8Array): Promise<AskResult> {
    const message = this.#compose(channel, 'ask', json, logged, bytes)
    const { id, bootId } = message
    const members = this.transport.send(message).then(({ delivered, living }) => {
      const others = (living ?? this.#known()).filter((other) => other !== bootId)
      // Nobody else can have heard it.
      if (!delivered && this.transport.mode === 'local') for (const other of others) this.#asks.leave(other)
      return [bootId, ...others]
    })
    const result = this.#asks.wait(id, members, timeoutMs)
    this.#deliverHere(message, (outcome) => this.#takeReply(this.#reply(id, outcome)))
    return result
  }

  /** Whether messages of a channel go to the log. */
  isLogged (channel: string): boolean {
    return this.options.replay.of(channel).replay !== false
  }

  #compose (channel: string, kind: Kind, json: string, logged: boolean, bytes: Uint8Array | undefined): Outgoing {
    const { bootId, instanceId } = this.#identity
    const counter = logged ? ++this.#counters.logged : ++this.#counters.direct
    const id = messageId(bootId, logged, counter)
    if (publishChannel.hasSubscribers) publishChannel.publish({ id, channel, kind })
    const message: Outgoing = { id, bootId, instanceId, timestamp: Date.now(), kind, channel, json, logged, counter }
    return bytes === undefined ? message : { ...message, bytes }
  }

  /** Not within the caller's own stack, so that a handler that publishes cannot overflow it, and in order. */
  #deliverHere (message: Outgoing, done?: (outcome: Outcome) => void): void {
    this.#local.push([message, done])
    if (this.#delivering) return
    this.#delivering = true
    queueMicrotask(() => this.#deliver())
  }

  #deliver (): void {
    const batch = this.#local
    this.#local = []
    for (const [message, done] of batch) this.#dispatch(message, true, done)
    // What handlers published meanwhile gets a turn of its own: two that answer each other must not starve the process.
    if (this.#local.length > 0) setImmediate(() => this.#deliver())
    else this.#delivering = false
  }

  #receive (message: WireMessage): void {
    const { id, kind, bootId } = message
    if (kind === 'tell') this.#dispatch(message, false)
    else this.#dispatch(message, false, (outcome) => this.transport.reply(bootId, this.#reply(id, outcome)))
  }

  /** Calls the handlers; `done` gets what they answered, when the last has. */
  #dispatch (message: WireMessage, self: boolean, done?: (outcome: Outcome) => void): void {
    const matching = this.subscriptions.match(message.channel, self)
    if (done === undefined) for (const subscription of matching) this.#call(subscription, message, self)
    else if (matching.length === 0) done({})
    else Promise.all(matching.map((subscription) => this.#call(subscription, message, self))).then((outcomes) => done(firstAnswer(outcomes)))
  }

  #call ({ handler, raw, pattern }: Subscription, message: WireMessage, self: boolean): Outcome | Promise<Outcome> {
    const { id, channel, json, instanceId, bootId, timestamp, bytes } = message
    const failed = (err: unknown): Outcome => {
      this.#log.error({ err, channel, pattern, id }, 'a handler of a message failed')
      return { error: textOf(err instanceof Error ? err.message : err) }
    }
    try {
      // Where there is no JSON the data are bytes, of which each handler gets a copy, as of everything else.
      const areBytes = json === '' && bytes !== undefined
      const data: unknown = areBytes ? new Uint8Array(bytes) : raw ? json : JSON.parse(json)
      const given: BroadcastMessage = { id, channel, data, instanceId, bootId, timestamp, self }
      const returned = handler(bytes === undefined || areBytes ? given : { ...given, bytes })
      return isThenable(returned) ? Promise.resolve(returned).then((value) => ({ value }), failed) : { value: returned }
    } catch (err) {
      return failed(err)
    }
  }

  #reply (id: string, outcome: Outcome): WireReply {
    const { bootId, instanceId } = this.#identity
    return { id, bootId, instanceId, json: toJson(outcome, this.options.maxMessageBytes) }
  }

  #takeReply ({ id, bootId, instanceId, json }: WireReply): void {
    try {
      this.#asks.take(id, bootId, instanceId, JSON.parse(json) as Outcome)
    } catch (err) {
      this.#asks.take(id, bootId, instanceId, { error: `the answer cannot be read: ${(err as Error).message}` })
    }
  }

  #onLeave (member: Member): void {
    this.#left.set(member.bootId, member.instanceId)
    setTimeout(() => this.#left.delete(member.bootId), 60_000).unref()
    this.#asks.leave(member.bootId)
    this.#tell('leave', member)
  }

  #onGap (gap: Gap): void {
    this.#log.warn(gap, 'messages were lost to this process; what depends on them should be loaded again')
    if (gapChannel.hasSubscribers) gapChannel.publish(gap)
    this.#tell('gap', gap)
  }

  /** A listener's fault must not stop what told it. */
  #tell<E extends keyof ClusterEvents> (event: E, ...args: ClusterEvents[E]): void {
    emitSafely(this.#events, (err) => this.#log.error({ err, event }, 'a listener of an event failed'), event, ...args)
  }

  /** Boot ids of the members, as far as this process knows them. */
  #known (): string[] {
    return this.transport.members().map((member) => member.bootId)
  }

  #namesOf (bootIds: readonly string[]): string[] {
    if (bootIds.length === 0) return []
    const names = new Map(this.transport.members().map(({ bootId, instanceId }) => [bootId, instanceId]))
    return bootIds.map((bootId) => names.get(bootId) ?? this.#left.get(bootId) ?? bootId)
  }
}

function firstAnswer (outcomes: readonly Outcome[]): Outcome {
  return outcomes.find((outcome) => 'value' in outcome && outcome.value !== undefined) ??
    outcomes.find((outcome) => 'error' in outcome) ?? {}
}

function toJson (outcome: Outcome, limit: number): string {
  try {
    if ('value' in outcome && outcome.value instanceof Uint8Array) return JSON.stringify({ error: 'the answer is binary, and an answer must have a JSON form' })
    const json = jsonOf(outcome, (reason) => new Error(reason))
    return Buffer.byteLength(json) <= limit + 64 ? json : JSON.stringify({ error: 'the answer is longer than maxMessageBytes' })
  } catch (err) {
    return JSON.stringify({ error: `the answer cannot be sent: ${(err as Error).message}` })
  }
}
