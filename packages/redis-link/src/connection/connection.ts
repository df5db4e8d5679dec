import { channel } from 'node:diagnostics_channel'
import type { FastifyBaseLogger } from 'fastify'
import type { Cluster, Redis } from 'ioredis'
import { FST_ERR_REDIS_LINK_TIMEOUT, FST_ERR_REDIS_LINK_UNAVAILABLE } from '../errors.ts'
import type { RedisClient, ResolvedOptions } from '../options.ts'
import { Scripts, type CallScript } from '../script/script.ts'
import { cutClient, makeClient } from './client.ts'
import { Credentials } from './credentials.ts'
import { diagnose } from './diagnose.ts'
import { firstAnswer } from './first-answer.ts'
import { Monitor } from './monitor.ts'
import { LinkOutages } from './outages.ts'
import { isOutage, RefusalLog } from './refusals.ts'
import { besideEachOther, inPipeline } from './run-all.ts'
import { Receiver } from './receiver.ts'
import type { Subscriber } from './subscriber.ts'
import { Subscribers } from './subscribers.ts'
import { bounded } from './time.ts'

/** Most listeners that a link has for one event of its client. */
const LISTENERS = 4

/** `disabled`: not configured. `connecting`: first connection of the boot. `up`, `down`: whether Redis answers now. */
export type RedisState = 'disabled' | 'connecting' | 'up' | 'down'

/** What a change of the link was. */
export interface RedisChange {
  state: RedisState
  /** See `RedisLink.epoch`. */
  epoch: string | null
}

export interface RedisLinkEvents {
  /** Redis answers; once per transition. */
  up: [RedisChange]
  /** Redis does not answer; once per transition. */
  down: [RedisChange]
  /** The state or the epoch is another. */
  change: [RedisChange]
}

const upChannel = channel('jpulse:redis-link:up')
const downChannel = channel('jpulse:redis-link:down')

/** The connections of a link and their state: opens, watches, uses and closes them. */
export class Connection {
  readonly client: RedisClient | null
  readonly outages: LinkOutages
  readonly #options: ResolvedOptions
  readonly #log: FastifyBaseLogger
  readonly #ownChannel: string
  readonly #tell: (event: keyof RedisLinkEvents, change: RedisChange) => void
  readonly #refusals: RefusalLog
  readonly #scripts: Scripts | null
  readonly #call: CallScript | null
  readonly #monitor: Monitor | null
  readonly #credentials: Credentials | null
  #state: RedisState
  #epoch: string | null = null
  #hasAnswered = false
  readonly #subscribers: Subscribers | null
  #closing: Promise<void> | undefined

  /**
   * @param ownChannel a channel of this process alone
   * @param tell gets each transition, and each change of the epoch; must not throw
   */
  constructor (options: ResolvedOptions, log: FastifyBaseLogger, ownChannel: string, tell: (event: keyof RedisLinkEvents, change: RedisChange) => void) {
    this.#options = options
    this.#log = log
    this.#ownChannel = ownChannel
    this.#tell = tell
    this.#refusals = new RefusalLog(log)
    this.client = makeClient(options)
    this.#expectListeners(LISTENERS)
    this.outages = new LinkOutages(this.client, options.commandTimeoutMs, (err) => log.error({ err }, 'a listener of a break failed'))
    this.#scripts = this.client === null ? null : new Scripts(this.client)
    this.#call = this.#scripts?.on() ?? null
    this.#subscribers = this.client === null ? null : this.#makeSubscribers(this.client)
    this.#credentials = this.client === null ? null : this.#renewPassword(this.client)
    this.#state = this.client === null ? 'disabled' : 'connecting'
    this.#monitor = this.client === null ? null : this.#watch(this.client)
  }

  get state (): RedisState {
    return this.#state
  }

  /** Whether `close` was called. */
  get isClosed (): boolean {
    return this.#closing !== undefined
  }

  get epoch (): string | null {
    return this.#epoch
  }

  /** See `RedisLink.run`. */
  async run<T> (command: (client: RedisClient, call: CallScript) => Promise<T>): Promise<T> {
    if (this.client === null || this.#state !== 'up') throw new FST_ERR_REDIS_LINK_UNAVAILABLE(this.reason)
    const ms = this.#options.commandTimeoutMs
    try {
      const answer = command(this.client, this.#call!)
      // A client of ours bounds its commands itself; those of an injected one cannot be bounded one by one.
      const answered = await (this.#options.client === undefined ? answer : bounded(answer, ms))
      this.#monitor?.answered()
      return answered
    } catch (err) {
      const isAway = isOutage(err)
      // What a Redis Cluster says of its slots, its own client follows.
      if (isAway || !this.client.isCluster) this.#refusals.note(err)
      if (!isAway) throw err
      this.#monitor?.probe()
      throw this.#outage(err as Error)
    }
  }

  /** See `RedisLink.runAll`. */
  runAll (commands: ReadonlyArray<(client: RedisClient, call: CallScript) => unknown>): Promise<unknown[]> {
    return this.run((client, call) => client.isCluster ? besideEachOther(client, call, commands) : inPipeline(client as Redis, this.#scripts!, commands))
  }

  /** The subscriber connection near a key, made when it is first asked for; null without Redis and after `close`. */
  subscriber (near: string): Subscriber | null {
    return this.#closing === undefined ? this.#subscribers?.near(near) ?? null : null
  }

  /** Connects and waits for Redis, at most `connectTimeoutMs`. @throws FST_ERR_REDIS_LINK_UNAVAILABLE where `required` */
  async open (): Promise<void> {
    if (this.#state !== 'connecting' || this.client === null) return
    if (this.#credentials !== null) this.#credentials.renew()
    else if (this.client.status === 'wait') this.client.connect().catch(() => {})
    // A password that is asked for may be another at the next try.
    await firstAnswer(this.#monitor!, this.#options.connectTimeoutMs, this.#credentials !== null)
    if (this.#state === 'connecting') this.#turn('down')
    if (this.#options.required && this.state !== 'up') {
      const reason = this.reason
      await this.close()
      throw new FST_ERR_REDIS_LINK_UNAVAILABLE(reason)
    }
  }

  /** Ends every connection that was made here, within that time; 0 cuts at once. Further calls return the same promise. */
  close (withinMs = this.#options.closeTimeoutMs): Promise<void> {
    this.#closing ??= this.#close(withinMs)
    return this.#closing
  }

  async #close (withinMs: number): Promise<void> {
    this.#monitor?.stop()
    this.#credentials?.stop()
    this.#subscribers?.close()
    this.outages.close()
    this.#expectListeners(-LISTENERS)
    const wasUp = this.#state === 'up'
    if (this.#state !== 'disabled') this.#state = 'down'
    const { client } = this
    // ioredis prints or throws errors that nobody listens to, and a closing connection may still have one.
    if (client?.listenerCount('error') === 0) client.on('error', () => {})
    if (client === null || (this.#options.client !== undefined && !this.#options.closeClient)) return
    // A connection may look open while nobody answers on it.
    if (wasUp && client.status === 'ready' && withinMs > 0) {
      await bounded(client.quit(), withinMs).catch(() => {})
    }
    cutClient(client)
  }

  /** An injected client may serve any number of links, of which Node would warn as of a leak. */
  #expectListeners (count: number): void {
    const { client } = this.#options
    const most = client?.getMaxListeners() ?? 0
    // 0 stands for any number.
    if (most > 0) client!.setMaxListeners(Math.max(1, most + count))
  }

  #renewPassword (client: RedisClient): Credentials | null {
    const { passwordSource, username, commandTimeoutMs } = this.#options
    if (passwordSource === undefined) return null
    return new Credentials(passwordSource, client, username, commandTimeoutMs, {
      connections: () => [...(client.isCluster ? (client as Cluster).nodes('all') : [client as Redis]), ...this.#subscribers!.receivers().map(({ connection }) => connection)]
        .filter((one) => one?.status === 'ready') as Redis[],
      onFault: (err) => this.#log.error({ err }, 'the password of Redis could not be renewed; it is tried again')
    })
  }

  #makeSubscribers (client: RedisClient): Subscribers {
    const onFault = (err: unknown, channel: string): void => this.#log.error({ err, channel }, 'a listener of a Redis channel failed')
    return new Subscribers(client, {
      receiver: (near, number, tell) => new Receiver(client, this.#options, near, number === 0 ? this.#ownChannel : `${this.#ownChannel}:${number}`, {
        onFault,
        onRefusal: (channel, reason) => this.#log.error({ channel }, `Redis refuses the subscription to ${channel}: ${reason}`),
        onReplaced: (reason) => this.#log.warn(`the subscriber connection is replaced: ${reason}`),
        onAway: (err) => this.#log.error(`the subscriber connection cannot be made, and nothing is heard until it can: ${this.#diagnose(err)}`)
      }, tell),
      onSubscriber: (subscriber) => this.outages.watchSubscriber(subscriber),
      onFault
    })
  }

  #watch (client: RedisClient): Monitor {
    const monitor = new Monitor(client, this.#options, () => this.outages.version)
    monitor.on('up', (epoch) => {
      this.#epoch = epoch
      this.#turn('up')
    })
    monitor.on('epoch', (epoch) => {
      this.#epoch = epoch
      this.#tell('change', { state: this.#state, epoch })
    })
    // Until the boot has ended, a lost attempt is followed by the next.
    monitor.on('down', () => { if (this.#state !== 'connecting') this.#turn('down') })
    return monitor
  }

  #turn (state: 'up' | 'down'): void {
    if (this.#state === state) return
    this.#state = state
    this.#hasAnswered ||= state === 'up'
    this.outages.turn(state === 'up')
    const change = { state, epoch: this.#epoch }
    if (state === 'up') this.#log.info({ mode: this.#options.mode, epoch: this.#epoch }, 'Redis is up')
    else this.#log.error({ mode: this.#options.mode }, `Redis is down: ${this.reason}`)
    ;(state === 'up' ? upChannel : downChannel).publish(change)
    this.#tell(state, change)
    this.#tell('change', change)
  }

  #outage (err: Error): Error {
    if (isTypedOutage(err)) return err
    const typed = err.message === 'Command timed out'
      ? new FST_ERR_REDIS_LINK_TIMEOUT(this.#options.commandTimeoutMs)
      : new FST_ERR_REDIS_LINK_UNAVAILABLE(this.#diagnose(err))
    typed.cause = err
    return typed
  }

  #diagnose (err: Error | undefined): string {
    const password = this.#credentials?.password
    return diagnose(err, password === undefined ? this.#options : { ...this.#options, password }, this.#hasAnswered)
  }

  /** Why Redis cannot be used. */
  get reason (): string {
    if (this.isClosed) return 'the link is closed'
    if (this.#state === 'disabled') return 'it is not configured'
    const isOpening = this.client?.status === 'connecting' || this.client?.status === 'connect'
    return this.#diagnose(this.#monitor?.error ?? (isOpening ? new Error('connect timed out') : undefined))
  }
}

function isTypedOutage (err: unknown): boolean {
  return err instanceof FST_ERR_REDIS_LINK_TIMEOUT || err instanceof FST_ERR_REDIS_LINK_UNAVAILABLE
}
