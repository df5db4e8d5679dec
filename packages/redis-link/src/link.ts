import { channel } from 'node:diagnostics_channel'
import { EventEmitter } from 'node:events'
import type { FastifyBaseLogger } from 'fastify'
import { bounded } from './bounded.ts'
import { cutClient, makeClient, primaries, type RedisClient } from './client.ts'
import { diagnose } from './diagnose.ts'
import { FST_ERR_REDIS_LINK_TIMEOUT, FST_ERR_REDIS_LINK_UNAVAILABLE } from './errors.ts'
import type { RedisChange, RedisLinkEvents, RedisState } from './events.ts'
import { Keys } from './keys.ts'
import { Kv, type KvMode } from './kv.ts'
import { MemoryLocks, RedisLocks, type Lock, type Locks } from './lock.ts'
import { MemoryKvStore } from './memory-kv-store.ts'
import { Monitor } from './monitor.ts'
import type { RedisMode, ResolvedOptions } from './options.ts'
import { isOutage } from './outage.ts'
import { LinkOutages, type Outages } from './outages.ts'
import { MemoryRateLimit, checkRateLimit, rateLimitInRedis, type RateLimitResult } from './rate-limit.ts'
import { RedisKvStore } from './redis-kv-store.ts'
import { Scripts, type CallScript, type Script, type ScriptParameters } from './script.ts'
import { Subscriber } from './subscriber.ts'

const KV_MODES: Record<RedisState, KvMode> = { disabled: 'memory', connecting: 'initializing', up: 'redis', down: 'memory' }

const upChannel = channel('jpulse:redis-link:up')
const downChannel = channel('jpulse:redis-link:down')

/** One process' link to Redis: its state, its connections, its key names, and what is small enough to be built in. */
export class RedisLink extends EventEmitter<RedisLinkEvents> {
  /** Topology. */
  readonly mode: RedisMode
  /** The ioredis client, null in mode `none`. Its commands may reject at any time; `run` bounds and types that. */
  readonly client: RedisClient | null
  /** Key-value API with memory fallback. Keys are `<siteId>:<env>:kv:<key>`. */
  readonly kv: Kv
  readonly #options: ResolvedOptions
  readonly #outages: LinkOutages
  readonly #log: FastifyBaseLogger
  readonly #keys: Keys
  readonly #scripts: Scripts | null
  readonly #call: CallScript | null
  readonly #monitor: Monitor | null
  readonly #memoryLocks = new MemoryLocks()
  readonly #redisLocks: Locks
  readonly #memoryRateLimit = new MemoryRateLimit()
  #state: RedisState
  #epoch: string | null = null
  #subscriber: Subscriber | null = null
  #closing: Promise<void> | undefined

  constructor (options: ResolvedOptions, log: FastifyBaseLogger) {
    super()
    this.setMaxListeners(0)
    this.#options = options
    this.#log = log
    this.mode = options.mode
    this.#keys = new Keys(options.siteId, options.env)
    this.client = makeClient(options)
    this.#outages = new LinkOutages(this.client, options.commandTimeoutMs)
    this.#scripts = this.client === null ? null : new Scripts(this.client)
    this.#call = this.#scripts?.on() ?? null
    this.#state = this.client === null ? 'disabled' : 'connecting'
    this.#monitor = this.client === null ? null : this.#watch(this.client)
    this.#redisLocks = new RedisLocks((command) => this.run(command), this.key('lock', ''))
    this.kv = this.#makeKv()
  }

  /** Asked at the time of use: the state may be another in the next moment. */
  get state (): RedisState {
    return this.#state
  }

  /** What is known of an outage. */
  get outages (): Outages {
    return this.#outages
  }

  /** Whether Redis answers now. */
  get isUp (): boolean {
    return this.#state === 'up'
  }

  /**
   * Identity of the data behind the link: `run_id:master_replid` of the primary, joined with `,` over the primaries of a
   * Redis Cluster. Another one means a restart or a failover: what was written may be lost. Null before the first
   * connection, and where the server does not tell.
   */
  get epoch (): string | null {
    return this.#epoch
  }

  /** A Redis key of this site: `<siteId>:<env>:<part>:…`. The parts are joined as they are. */
  key (...parts: string[]): string {
    return this.#keys.key(...parts)
  }

  /** A pub/sub channel of this site, by the same rule. */
  channel (...parts: string[]): string {
    return this.#keys.key(...parts)
  }

  /**
   * Runs commands on the client, at once rejected while Redis is away. A client of the link's own bounds each command by
   * `commandTimeoutMs`; with an injected one the whole function is bounded by it, and its commands go on unheard.
   *
   * @param command gets the client, and a function that runs a script beside other commands; for a script alone there is `runScript`
   * @throws FST_ERR_REDIS_LINK_UNAVAILABLE, FST_ERR_REDIS_LINK_TIMEOUT; a Redis error reply, and what the function itself throws, as it is
   */
  async run<T> (command: (client: RedisClient, call: CallScript) => Promise<T>): Promise<T> {
    if (this.client === null || this.#state !== 'up') throw new FST_ERR_REDIS_LINK_UNAVAILABLE(this.#reason())
    const ms = this.#options.commandTimeoutMs
    try {
      const answer = command(this.client, this.#call!)
      // A client of ours bounds its commands itself; those of an injected one cannot be bounded one by one.
      return await (this.#options.client === undefined ? answer : bounded(answer, ms))
    } catch (err) {
      if (!isOutage(err)) throw err
      this.#monitor?.probe()
      throw this.#outage(err as Error)
    }
  }

  /**
   * Runs a script that `defineScript` declared, with the limits and errors of `run`.
   *
   * @param parameters the values of KEYS and ARGV in the order of the declaration; on a Redis Cluster all keys share a slot
   * @throws as `run`
   */
  runScript<Reply, const Keys extends readonly string[], const Args extends readonly string[]> (
    script: Script<Reply, Keys, Args>, parameters: ScriptParameters<Keys, Args>): Promise<Reply> {
    return this.run((_client, call) => call(script, parameters))
  }

  /**
   * Runs many commands in one go, in this order: as one pipeline, or on a Redis Cluster, whose keys lie on several servers,
   * beside each other. Returns their answers in the same order.
   *
   * @param commands each is given the pipeline or client, and a function that runs a script on it; what it returns is of no use
   * @throws the first error among the answers; otherwise as `run`
   */
  runAll (commands: ReadonlyArray<(client: RedisClient, call: CallScript) => unknown>): Promise<unknown[]> {
    return this.run(async (client, call) => {
      if (client.isCluster) return Promise.all(commands.map((command) => command(client, call)))
      const pipeline = client.pipeline()
      const callThere = this.#scripts!.on(pipeline)
      // A pipeline has the same methods.
      for (const command of commands) command(pipeline as unknown as RedisClient, callThere)
      return (await pipeline.exec() ?? []).map(([err, answer]) => {
        if (err !== null) throw err
        return answer
      })
    })
  }

  /** The process' one subscriber connection, made at the first call; null in mode `none`. */
  subscriber (): Subscriber | null {
    if (this.client === null || this.#closing !== undefined) return null
    if (this.#subscriber === null) {
      this.#subscriber = new Subscriber(this.client, this.#options,
        (err, channel) => this.#log.error({ err, channel }, 'a listener of a Redis channel failed'))
      this.#outages.watchSubscriber(this.#subscriber)
    }
    return this.#subscriber
  }

  /**
   * Takes a lock, or null: somebody holds it, or Redis is down. Without Redis configured it holds within the process.
   *
   * @param ttlMs after which it is free again whatever happens
   * @throws FST_ERR_REDIS_LINK_INVALID_KEY, FST_ERR_REDIS_LINK_INVALID_NUMBER
   */
  async tryLock (name: string, ttlMs: number): Promise<Lock | null> {
    return (this.#state === 'disabled' ? this.#memoryLocks : this.#redisLocks).tryLock(name, ttlMs)
  }

  /**
   * Counts an event against a limit of the whole cluster: any window of `windowMs` holds at most `max` allowed ones.
   * While Redis is away the process counts for itself and says `degraded`.
   *
   * @param max 1 to 10000
   * @throws FST_ERR_REDIS_LINK_INVALID_KEY, FST_ERR_REDIS_LINK_INVALID_NUMBER
   */
  async rateLimit (name: string, max: number, windowMs: number): Promise<RateLimitResult> {
    checkRateLimit(name, max, windowMs)
    if (this.#state === 'up') {
      try {
        return await rateLimitInRedis((command) => this.run(command), this.key('limit', name), max, windowMs)
      } catch (err) {
        if (!isTypedOutage(err)) throw err
      }
    }
    return this.#memoryRateLimit.take(name, max, windowMs, this.#state !== 'disabled')
  }

  /**
   * Milliseconds until Redis answered.
   *
   * @throws FST_ERR_REDIS_LINK_UNAVAILABLE, FST_ERR_REDIS_LINK_TIMEOUT
   */
  async ping (): Promise<number> {
    const start = performance.now()
    await this.run((client) => client.ping())
    return performance.now() - start
  }

  /**
   * The text of Redis' INFO, of the first primary in a Redis Cluster.
   *
   * @param section one of Redis' sections; `undefined` for its default ones
   * @throws FST_ERR_REDIS_LINK_UNAVAILABLE, FST_ERR_REDIS_LINK_TIMEOUT
   */
  async info (section?: string): Promise<string> {
    return this.run(async (client) => {
      const node = primaries(client)[0] ?? client
      return section === undefined ? node.info() : node.info(section)
    })
  }

  /** Connects and waits for Redis, at most `connectTimeoutMs`. @throws FST_ERR_REDIS_LINK_UNAVAILABLE where `required` */
  async open (): Promise<void> {
    if (this.#state !== 'connecting' || this.client === null) return
    if (this.client.status === 'wait') this.client.connect().catch(() => {})
    await this.#firstAnswer()
    if (this.#state === 'connecting') this.#turn('down')
    if (this.#options.required && !this.isUp) {
      const reason = this.#reason()
      await this.close()
      throw new FST_ERR_REDIS_LINK_UNAVAILABLE(reason)
    }
  }

  /** Ends every connection that the link made, within `closeTimeoutMs`. Further calls return the same promise. */
  close (): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close (): Promise<void> {
    this.#monitor?.stop()
    this.#subscriber?.close()
    this.#outages.close()
    const wasUp = this.isUp
    if (this.#state !== 'disabled') this.#state = 'down'
    await this.kv.close()
    const { client } = this
    if (client === null || (this.#options.client !== undefined && !this.#options.closeClient)) return
    // A connection may look open while nobody answers on it.
    if (wasUp && client.status === 'ready' && this.#options.closeTimeoutMs > 0) {
      await bounded(client.quit(), this.#options.closeTimeoutMs).catch(() => {})
    }
    cutClient(client)
  }

  #watch (client: RedisClient): Monitor {
    const monitor = new Monitor(client, this.#options)
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
    this.#outages.turn(state === 'up')
    const change = { state, epoch: this.#epoch }
    if (state === 'up') this.#log.info({ mode: this.mode, epoch: this.#epoch }, 'Redis is up')
    else this.#log.error({ mode: this.mode }, `Redis is down: ${this.#reason()}`)
    ;(state === 'up' ? upChannel : downChannel).publish(change)
    this.#tell(state, change)
    this.#tell('change', change)
  }

  /** One listener's fault must not keep the change from the others, nor count as an outage, nor end the process. */
  #tell (event: keyof RedisLinkEvents, change: RedisChange): void {
    for (const listener of this.rawListeners(event)) {
      try {
        listener.call(this, change)
      } catch (err) {
        this.#log.error({ err, event }, 'a listener of the link to Redis failed')
      }
    }
  }

  /** Resolves when Redis is up, when waiting longer makes no sense, or when the time of the boot is over. */
  #firstAnswer (): Promise<void> {
    return new Promise((resolve) => {
      const monitor = this.#monitor!
      const timer = setTimeout(done, this.#options.connectTimeoutMs)
      const onDown = (err: Error | undefined) => { if (isFinal(err)) done() }
      function done () {
        clearTimeout(timer)
        monitor.off('up', done)
        monitor.off('down', onDown)
        resolve()
      }
      monitor.on('up', done)
      monitor.on('down', onDown)
      if (isFinal(monitor.error)) done()
    })
  }

  #makeKv (): Kv {
    const link = this
    return new Kv({
      get mode () { return KV_MODES[link.#state] },
      usedMemory: () => link.#usedMemory(),
      onUp: (listener) => link.on('up', listener)
    }, new RedisKvStore((command) => this.run(command)), new MemoryKvStore(this.#options.memory), this.key('kv', ''))
  }

  async #usedMemory (): Promise<string | undefined> {
    if (!this.isUp) return undefined
    const info = await this.info('memory').catch(() => '')
    return /^used_memory_human:(.*)$/m.exec(info)?.[1]?.trim()
  }

  #outage (err: Error): Error {
    if (isTypedOutage(err)) return err
    const typed = err.message === 'Command timed out'
      ? new FST_ERR_REDIS_LINK_TIMEOUT(this.#options.commandTimeoutMs)
      : new FST_ERR_REDIS_LINK_UNAVAILABLE(diagnose(err, this.#options))
    typed.cause = err
    return typed
  }

  #reason (): string {
    return this.#state === 'disabled' ? 'it is not configured' : diagnose(this.#monitor?.error, this.#options)
  }
}

function isTypedOutage (err: unknown): boolean {
  return err instanceof FST_ERR_REDIS_LINK_TIMEOUT || err instanceof FST_ERR_REDIS_LINK_UNAVAILABLE
}

/** A wrong password or certificate does not become right by waiting. */
function isFinal (err: Error | undefined): boolean {
  return err !== undefined && /^(WRONGPASS|NOAUTH)|invalid password|certificate/i.test(err.message)
}
