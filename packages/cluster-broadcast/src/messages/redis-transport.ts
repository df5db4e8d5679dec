import { LogThrottle, within } from '@jpulse/plugin-kit'
import type { RedisLink, Subscriber, Unsubscribe } from '@jpulse/redis-link'
import type { FastifyBaseLogger } from 'fastify'
import { Keys } from '../keys.ts'
import { EpochLog, type Ack, type EpochLogOptions, type LogFrame, type Route } from '../log/epoch-log.ts'
import { KEEP_MS, Membership } from '../membership/membership.ts'
import type { Member, MemberRecord } from '../membership/members.ts'
import type { ResolvedOptions } from '../options.ts'
import { frameFormat, readReply, writeLine, writeReply, type Frame, type WireMessage, type WireReply } from './frame.ts'
import { OwnLogs } from './own-logs.ts'
import type { ClusterMode, Outgoing, StopListening, Transport, TransportListener } from './transport.ts'

/** Destination of what is logged: the channel that every member hears. */
const BUS = ''
/** Destination of asks that are not logged: who does not listen to the channel has to answer too. No name of a message has such a segment. */
const EVERYBODY = '::everybody'

const CLOSE_MS = 400
/** A connection that was only reset is back by then; in an outage that is already known a publish does not wait. */
const WAIT_MS = 500
const NOT_SENT: Ack = Object.freeze({ delivered: false, living: null })

/** Carries messages through Redis: one server, Sentinel or Cluster. */
export class RedisTransport implements Transport {
  readonly #link: RedisLink
  readonly #subscriber: Subscriber
  readonly #log: FastifyBaseLogger
  readonly #bootId: string
  readonly #retryMs: number
  readonly #keys: Keys
  readonly #bus: EpochLog<Frame, WireMessage>
  readonly #ownLogs: OwnLogs
  readonly #membership: Membership
  readonly #listening = new Map<string, { count: number, ready: Promise<Unsubscribe> }>()
  readonly #heardInstead = new Set<string>()
  #listener!: TransportListener
  /** Whether our channels were subscribed to: who joins before could miss what follows. */
  #listens = false
  /** Whether the last renewal of the membership succeeded. */
  #renewed = false
  #mode: ClusterMode = 'local'
  #ignored = 0
  /** Whoever floods a channel would flood the log. */
  readonly #complaints = new LogThrottle()
  #closing: Promise<void> | undefined

  constructor (link: RedisLink, subscriber: Subscriber, record: MemberRecord, options: ResolvedOptions, log: FastifyBaseLogger) {
    this.#link = link
    this.#subscriber = subscriber
    this.#log = log
    this.#bootId = record.bootId
    this.#retryMs = options.heartbeatMs
    this.#keys = new Keys(link)
    this.#bus = new EpochLog(link, subscriber, record.bootId, this.#busOptions(record, options.maxLength))
    this.#ownLogs = new OwnLogs(options.replay, (prefix) => this.#makeLog(this.#ownLogOptions(prefix, record, options.maxLength)))
    this.#membership = new Membership(link, this.#keys, record, options.heartbeatMs, {
      onJoin: (member) => this.#listener.onJoin(member),
      onLeave: (member) => this.#listener.onLeave(member),
      isReady: () => link.isUp && (this.#membership.joined || (this.#listens && subscriber.isUp)),
      seq: () => this.#bus.place?.seq ?? 0,
      onBeat: (place, before) => {
        if (this.#bus.place === null) this.#bus.follow(place)
        else this.#bus.note(place, before)
        this.#ownLogs.check()
        this.#renewed = true
        this.#turnMode()
        this.#listener.onHeartbeat()
      },
      onFailure: (err) => {
        this.#renewed = false
        this.#turnMode()
        if (this.#closing === undefined && link.isUp) this.#complain('the membership could not be renewed', err)
      }
    })
  }

  get mode (): ClusterMode {
    return this.#mode
  }

  get ignored (): number {
    return this.#ignored
  }

  async open (listener: TransportListener): Promise<void> {
    this.#listener = listener
    this.#link.on('change', this.#onLink)
    this.#subscriber.on('up', this.#onSubscriber)
    this.#subscriber.on('down', this.#turnMode)
    this.#membership.start()
    await this.#hear()
  }

  close (): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  send (message: Outgoing): Promise<Ack> {
    if (!this.#link.isUp || this.#closing !== undefined) return Promise.resolve(NOT_SENT)
    const asks = message.kind === 'ask'
    // Who does not listen has to answer an ask too.
    const own = message.logged && !asks ? this.#ownLogs.of(message.channel) : undefined
    if (own !== undefined) return own.publish(BUS, message.counter, writeLine(message), message)
    const destination = message.logged ? BUS : asks ? EVERYBODY : message.channel
    return this.#bus.publish(destination, message.counter, writeLine(message), message, asks)
  }

  async listen (pattern: string): Promise<StopListening> {
    const entry = this.#listening.get(pattern) ?? { count: 0, ready: this.#subscribe(pattern) }
    this.#listening.set(pattern, entry)
    entry.count++
    const stop = async (): Promise<void> => {
      if (--entry.count > 0) return
      if (this.#listening.get(pattern) === entry) this.#listening.delete(pattern)
      await (await entry.ready)()
    }
    try {
      await entry.ready
    } catch (err) {
      this.#listening.delete(pattern)
      throw err
    }
    return stop
  }

  reply (toBootId: string, reply: WireReply): void {
    this.#link.publishNear(this.#keys.state, [[this.#keys.replies(toBootId), writeReply(reply)]]).catch((err: unknown) => this.#log.debug({ err }, 'an answer could not be sent'))
  }

  members (): Member[] {
    return this.#membership.list()
  }

  openLog<F extends LogFrame, M> (options: EpochLogOptions<F, M>): EpochLog<F, M> {
    return this.#makeLog(options)
  }

  /** Where Redis refuses a channel, the process stays alone and tries again: without hearing it must not be a member. */
  async #hear (hasFailed = false): Promise<void> {
    const heard = await Promise.allSettled([
      this.#bus.listen(BUS),
      this.#bus.listen(EVERYBODY),
      this.#subscriber.subscribe(this.#keys.membership, (bytes) => this.#membership.hear(bytes.toString())),
      this.#subscriber.subscribe(this.#keys.replies(this.#bootId), this.#onReplyBytes)
    ])
    const refused = heard.find((one) => one.status === 'rejected')
    if (refused === undefined) {
      this.#listens = true
      return this.#membership.renew()
    }
    if (!hasFailed) this.#log.error({ err: refused.reason as unknown }, 'Redis refuses a channel of the cluster: this process is alone until its user may subscribe to it')
    await Promise.all(heard.map((one) => one.status === 'fulfilled' ? one.value() : undefined))
    if (this.#closing === undefined) setTimeout(() => { this.#hear(true) }, this.#retryMs).unref()
  }

  readonly #onReplyBytes = (bytes: Buffer): void => {
    const reply = readReply(bytes)
    if (reply === null) this.#ignore()
    else this.#listener.onReply(reply)
  }

  readonly #onLink = (): void => {
    this.#renewed = false
    this.#turnMode()
    this.#membership.renew()
  }

  readonly #onSubscriber = (): void => {
    this.#hearInstead()
    this.#turnMode()
    this.#membership.renew()
  }

  /** A pattern that was subscribed to while Redis was away may be refused only now: see `Keys.directAll`. */
  #hearInstead (): void {
    for (const pattern of this.#listening.keys()) {
      const all = this.#keys.directAll(pattern)
      if (this.#heardInstead.has(all) || !this.#subscriber.refused.has(this.#keys.direct(pattern))) continue
      this.#heardInstead.add(all)
      this.#subscriber.psubscribe(all, (bytes) => this.#bus.hear(bytes)).catch(() => { this.#heardInstead.delete(all) })
    }
  }

  readonly #turnMode = (): void => {
    const mode = this.#link.isUp && this.#subscriber.isUp && this.#renewed && this.#closing === undefined ? 'cluster' : 'local'
    if (mode === this.#mode) return
    this.#mode = mode
    this.#listener.onMode(mode)
  }

  #busOptions (record: MemberRecord, maxLength: number): EpochLogOptions<Frame, WireMessage> {
    const { state, log, leases } = this.#keys
    return {
      keys: { state, log, leases, publisher: this.#keys.publisher(this.#bootId) },
      format: frameFormat(record),
      // Members of the previous release turn the log without saying where the new epoch begins.
      rules: { hearsAll: true, knowsBase: false, skipsOwn: true },
      isConsecutive: true,
      route: (destination) => this.#route(destination),
      maxLength,
      logMs: 0,
      stateMs: KEEP_MS,
      waitMs: WAIT_MS,
      sink: {
        deliver: (message) => this.#listener.onMessage(message),
        mark: () => {},
        gap: (missed) => this.#listener.onGap({ missed }),
        malformed: () => this.#ignore(),
        fault: (err) => this.#log.error({ err }, 'a message could not be handed to its handlers')
      },
      onFailure: (err) => {
        this.#log.debug({ err }, 'a batch of messages reached this process only, as far as is known')
        this.#membership.renew()
      }
    }
  }

  #ownLogOptions (prefix: string, record: MemberRecord, maxLength: number): EpochLogOptions<Frame, WireMessage> {
    const route = { channel: this.#keys.ownBus(prefix), topic: '', isLogged: true }
    return {
      ...this.#busOptions(record, maxLength),
      keys: this.#keys.ownLog(prefix, this.#bootId),
      rules: { hearsAll: true, knowsBase: true, skipsOwn: true },
      route: () => route,
      logMs: KEEP_MS
    }
  }

  #makeLog<F extends LogFrame, M> (options: EpochLogOptions<F, M>): EpochLog<F, M> {
    return new EpochLog(this.#link, this.#link.subscriber(options.keys.state) ?? this.#subscriber, this.#bootId, options)
  }

  #route (destination: string): Route {
    return destination === BUS
      ? { channel: this.#keys.bus, topic: '', isLogged: true }
      : { channel: this.#keys.direct(destination), topic: '', isLogged: false }
  }

  /** A listener of its own for each, so that an ending subscription never takes the one that follows it along. */
  async #subscribe (pattern: string): Promise<Unsubscribe> {
    const direct = await (pattern.endsWith('*')
      ? this.#subscriber.psubscribe(this.#keys.direct(pattern), (bytes) => this.#bus.hear(bytes), this.#keys.directAll(pattern))
      : this.#bus.listen(pattern))
    try {
      const own = await this.#ownLogs.listen(pattern)
      return async () => { await Promise.all([direct(), own()]) }
    } catch (err) {
      await direct()
      throw err
    }
  }

  async #close (): Promise<void> {
    this.#turnMode()
    await within(CLOSE_MS, this.#leave(), () => new Error('Redis takes too long'))
      .catch((err: unknown) => this.#log.debug({ err }, 'the cluster will notice that we left when the lease ends'))
    this.#link.off('change', this.#onLink)
    this.#subscriber.off('up', this.#onSubscriber)
    this.#subscriber.off('down', this.#turnMode)
    this.#bus.close()
    this.#ownLogs.close()
  }

  async #leave (): Promise<void> {
    await Promise.all([this.#bus.idle(), this.#ownLogs.idle()])
    await this.#membership.leave()
  }

  #ignore (): void {
    this.#ignored++
    this.#complain('a message was ignored that is malformed or of a later release')
  }

  #complain (message: string, err?: unknown): void {
    if (this.#complaints.pass(message) !== null) this.#log.warn({ err }, message)
  }
}
