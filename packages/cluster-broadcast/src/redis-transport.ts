import type { RedisClient, RedisLink, Subscriber, Unsubscribe } from '@jpulse/redis-link'
import type { FastifyBaseLogger } from 'fastify'
import { Bus, type Replay } from './bus.ts'
import { readFrame, readReply, writeReply, type WireReply } from './frame.ts'
import { Heartbeat, type Beat } from './heartbeat.ts'
import { randomId } from './identity.ts'
import { Keys } from './keys.ts'
import { Members, type Member, type MemberCard } from './members.ts'
import type { ResolvedOptions } from './options.ts'
import { EVERYBODY, Outbox } from './outbox.ts'
import { defineScripts, type Commands } from './scripts.ts'
import type { Ack, ClusterMode, Outgoing, StopListening, Transport, TransportListener } from './transport.ts'

const CLOSE_MS = 400
const COMPLAIN_MS = 60_000
const NOT_SENT: Ack = Object.freeze({ delivered: false, members: null })

/** Carries messages through Redis: one server, Sentinel or Cluster. */
export class RedisTransport implements Transport {
  readonly #link: RedisLink
  readonly #options: ResolvedOptions
  readonly #log: FastifyBaseLogger
  readonly #card: MemberCard
  readonly #keys: Keys
  readonly #members: Members
  readonly #outbox: Outbox
  readonly #bus: Bus
  readonly #heartbeat: Heartbeat
  readonly #subscriber: Subscriber
  readonly #listening = new Map<string, { count: number, ready: Promise<Unsubscribe> }>()
  #listener!: TransportListener
  /** Name of the next epoch, where this process has to make it. */
  #candidate = randomId()
  /** Whether our channels were subscribed to: who joins before could miss what follows. */
  #listens = false
  #joined = false
  #renewed = false
  #mode: ClusterMode = 'local'
  #complainedAt = -Infinity
  #closing: Promise<void> | undefined

  constructor (link: RedisLink, subscriber: Subscriber, card: MemberCard, options: ResolvedOptions, log: FastifyBaseLogger) {
    this.#link = link
    this.#options = options
    this.#log = log
    this.#card = card
    this.#keys = new Keys(link)
    this.#members = new Members(card, (member) => this.#listener.onJoin(member), (member) => this.#listener.onLeave(member))
    this.#outbox = new Outbox(card.bootId, card.instanceId, (runs, wantMembers) => this.#commit(runs, wantMembers))
    this.#bus = new Bus(card.bootId, {
      replay: (from, count) => this.#replay(from, count),
      turn: async (epoch) => { await this.#run((client) => client.clusterBroadcastTurnV1(this.#keys.state, epoch, nextTurn(epoch))) },
      onMessage: (message) => this.#listener.onMessage(message),
      onGap: (gap) => this.#listener.onGap(gap),
      onMalformed: () => this.#complain('a malformed message on the bus was dropped')
    })
    this.#heartbeat = new Heartbeat({
      beat: (known) => this.#beat(known),
      ready: () => link.isUp && (this.#joined || (this.#listens && subscriber.isUp)),
      mark: () => this.#bus.seq,
      onBeat: (beat, asked) => this.#onBeat(beat, asked),
      onFailure: (err) => this.#onFailure(err)
    }, this.#members, options.heartbeatMs)
    this.#subscriber = subscriber
    if (link.client !== null) defineScripts(link.client)
  }

  get mode (): ClusterMode {
    return this.#mode
  }

  async open (listener: TransportListener): Promise<void> {
    this.#listener = listener
    const [link, subscriber] = [this.#link, this.#subscriber]
    link.on('change', this.#onLink)
    subscriber.on('up', this.#onSubscriber)
    subscriber.on('down', this.#turnMode)
    await Promise.all([
      subscriber.subscribe(this.#keys.bus, this.#hear),
      subscriber.subscribe(this.#keys.direct(EVERYBODY), this.#hear),
      subscriber.subscribe(this.#keys.membership, this.#onMembership),
      subscriber.subscribe(this.#keys.replies(this.#card.bootId), this.#onReplyBytes)
    ])
    this.#listens = true
    this.#heartbeat.start()
    await this.#heartbeat.now()
  }

  close (): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  send (message: Outgoing): Promise<Ack> {
    return this.#link.isUp && this.#closing === undefined ? this.#outbox.send(message) : Promise.resolve(NOT_SENT)
  }

  async listen (pattern: string): Promise<StopListening> {
    const channel = this.#keys.direct(pattern)
    const entry = this.#listening.get(pattern) ?? { count: 0, ready: this.#subscribe(channel) }
    this.#listening.set(pattern, entry)
    entry.count++
    await entry.ready
    return async () => {
      if (--entry.count > 0) return
      this.#listening.delete(pattern)
      await (await entry.ready)()
    }
  }

  reply (toBootId: string, reply: WireReply): void {
    this.#link.run((client) => client.publish(this.#keys.replies(toBootId), writeReply(reply)))
      .catch((err: unknown) => this.#log.debug({ err }, 'an answer could not be sent'))
  }

  members (): Member[] {
    return this.#members.list()
  }

  readonly #hear = (bytes: Buffer): void => this.#bus.hear(bytes)

  readonly #onReplyBytes = (bytes: Buffer): void => {
    const reply = readReply(bytes)
    if (reply === null) this.#complain('a malformed answer was dropped')
    else this.#listener.onReply(reply)
  }

  readonly #onMembership = (bytes: Buffer): void => {
    if (!this.#members.applyChange(bytes.toString())) this.#heartbeat.now()
  }

  readonly #onLink = (): void => {
    this.#renewed = false
    this.#turnMode()
    this.#heartbeat.now()
    if (this.#link.isUp) this.#bus.resync()
  }

  readonly #onSubscriber = (): void => {
    this.#turnMode()
    this.#bus.resync()
    this.#heartbeat.now()
  }

  readonly #turnMode = (): void => {
    const mode = this.#link.isUp && this.#subscriber.isUp && this.#joined && this.#renewed && this.#closing === undefined ? 'cluster' : 'local'
    if (mode === this.#mode) return
    this.#mode = mode
    this.#listener.onMode(mode)
  }

  /** A listener of its own for each, so that an ending subscription never takes the one that follows it along. */
  #subscribe (channel: string): Promise<Unsubscribe> {
    const hear = (bytes: Buffer): void => this.#bus.hear(bytes)
    return channel.endsWith('*') ? this.#subscriber.psubscribe(channel, hear) : this.#subscriber.subscribe(channel, hear)
  }

  #run<T> (command: (client: RedisClient & Commands) => Promise<T>): Promise<T> {
    return this.#link.run((client) => command(client as unknown as RedisClient & Commands))
  }

  /** A script took our name for a new epoch: the next one needs another. */
  #adopt (epoch: string): void {
    if (epoch.startsWith(this.#candidate)) this.#candidate = randomId()
  }

  async #commit (runs: Array<[channel: string, count: number, body: string]>, wantMembers: boolean): Promise<Ack> {
    const { state, stream, leases, bus } = this.#keys
    const args = runs.flatMap(([channel, count, body]) => [count > 0 ? '' : this.#keys.direct(channel), count, body])
    try {
      const [epoch, last, members] = await this.#run((client) => client.clusterBroadcastPublishV1(
        state, stream, leases, this.#candidate, this.#options.maxLength, wantMembers ? 1 : 0, bus, ...args))
      this.#adopt(epoch)
      if (last > 0) this.#bus.acked(epoch, last)
      return { delivered: true, members: wantMembers ? members : null }
    } catch (err) {
      this.#log.debug({ err }, 'a batch of messages reached this process only, as far as is known')
      this.#heartbeat.now()
      return NOT_SENT
    }
  }

  async #replay (from: number, count: number): Promise<Replay> {
    const { state, stream } = this.#keys
    const [epoch, seq, entries] = await this.#run((client) => client.clusterBroadcastReplayV1Buffer(state, stream, this.#candidate, from, count))
    this.#adopt(String(epoch))
    return {
      epoch: String(epoch),
      seq: Number(seq),
      entries: entries.map(([id, fields]) => ({ seq: Number.parseInt(String(id)), frame: fields[1] === undefined ? null : readFrame(fields[1]) }))
    }
  }

  async #beat (known: string): Promise<Beat> {
    const { state, stream, members, leases, membership } = this.#keys
    const { bootId } = this.#card
    const { leaseMs, heartbeatMs } = this.#options
    const [epoch, seq, mv, now, ends, list] = await this.#run((client) => client.clusterBroadcastBeatV1(
      state, stream, members, leases, this.#candidate, bootId, JSON.stringify(this.#card), leaseMs, heartbeatMs, known, membership))
    this.#adopt(epoch)
    return { epoch, seq: Number(seq), mv: Number(mv), now: Number(now), leases: ends, members: list }
  }

  #onBeat ({ epoch, seq }: Beat, asked: number | null): void {
    if (this.#joined) this.#bus.note(epoch, seq, asked)
    else this.#bus.start(epoch, seq)
    this.#joined = this.#renewed = true
    this.#turnMode()
    this.#listener.onHeartbeat()
  }

  #onFailure (err: unknown): void {
    this.#renewed = false
    this.#turnMode()
    if (this.#closing === undefined && this.#link.isUp) this.#complain('the membership could not be renewed', err)
  }

  async #close (): Promise<void> {
    this.#turnMode()
    await within(CLOSE_MS, this.#leave())
    this.#link.off('change', this.#onLink)
    this.#subscriber.off('up', this.#onSubscriber)
    this.#subscriber.off('down', this.#turnMode)
    this.#bus.close()
  }

  async #leave (): Promise<void> {
    const { state, members, leases, membership } = this.#keys
    await this.#outbox.idle()
    await this.#heartbeat.stop()
    if (!this.#joined) return
    await this.#run((client) => client.clusterBroadcastLeaveV1(state, members, leases, this.#card.bootId, membership))
      .catch((err: unknown) => this.#log.debug({ err }, 'the cluster will notice that we left when the lease ends'))
  }

  /** Once a minute at most, because whoever floods a channel would flood the log. */
  #complain (message: string, err?: unknown): void {
    if (performance.now() - this.#complainedAt < COMPLAIN_MS) return
    this.#complainedAt = performance.now()
    this.#log.warn({ err }, message)
  }
}

/** `<root>.<turn>` with the next turn. */
function nextTurn (epoch: string): string {
  const dot = epoch.lastIndexOf('.')
  return `${epoch.slice(0, dot)}.${Number(epoch.slice(dot + 1)) + 1}`
}

/** Resolves when the promise has settled, or after `ms`. */
async function within (ms: number, promise: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const time = new Promise((resolve) => { timer = setTimeout(resolve, ms) })
  await Promise.race([promise.catch(() => {}), time])
  clearTimeout(timer)
}
