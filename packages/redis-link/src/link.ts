import { randomUUID } from 'node:crypto'
import { EventEmitter, setMaxListeners } from 'node:events'
import { acceptOnly, emitSafely, within } from '@jpulse/plugin-kit'
import type { FastifyBaseLogger } from 'fastify'
import { primaries } from './connection/client.ts'
import { RedisClock } from './connection/clock.ts'
import { Connection, type RedisChange, type RedisLinkEvents, type RedisState } from './connection/connection.ts'
import type { Outages } from './connection/outages.ts'
import { publishNear, type ChannelMessage } from './connection/publish-near.ts'
import type { Subscriber } from './connection/subscriber.ts'
import { Kv, type KvMode } from './kv/kv.ts'
import { MemoryKvStore } from './kv/memory-store.ts'
import { RedisKvStore } from './kv/redis-store.ts'
import { NO_LOCKS, type Lock, type Locks } from './lock/locks.ts'
import { MemoryLocks } from './lock/memory-locks.ts'
import { RedisLocks } from './lock/redis-locks.ts'
import { using, type UsingOptions, type UsingWork } from './lock/using.ts'
import { FST_ERR_REDIS_LINK_INVALID_ARGUMENT, FST_ERR_REDIS_LINK_UNAVAILABLE } from './errors.ts'
import { clientOption, type RedisClient, type RedisMode, type ResolvedOptions } from './options.ts'
import { MemoryRateLimit, checkRateLimit, rateLimitInRedis, type RateLimitOptions, type RateLimitResult } from './rate-limit.ts'
import type { CallScript, Run, Script, ScriptParameters } from './script/script.ts'

const KV_MODES: Record<RedisState, KvMode> = { disabled: 'memory', connecting: 'initializing', up: 'redis', down: 'memory' }

/** One process' link to Redis: its state, its connections, its key names, and what is small enough to be built in. */
export class RedisLink extends EventEmitter<RedisLinkEvents> {
  /** Topology. */
  readonly mode: RedisMode
  /** The ioredis client, null in mode `none`. Its commands may reject at any time; `run` bounds and types that. */
  readonly client: RedisClient | null
  /** Key-value API with memory fallback. Keys are `<siteId>:<env>:kv:<key>`. */
  readonly kv: Kv
  readonly #options: ResolvedOptions
  readonly #log: FastifyBaseLogger
  readonly #connection: Connection
  readonly #closed = new AbortController()
  /** What runs under a lock, or is about to take one. */
  readonly #locking = new Set<Promise<unknown>>()
  readonly #memoryLocks: Locks
  readonly #redisLocks: Locks
  readonly #memoryRateLimit: MemoryRateLimit
  #clock: RedisClock | undefined
  #closing: Promise<void> | undefined

  constructor (options: ResolvedOptions, log: FastifyBaseLogger) {
    super()
    this.setMaxListeners(0)
    acceptOnly<RedisLinkEvents>(this, { up: true, down: true, change: true }, (wanted) => new FST_ERR_REDIS_LINK_INVALID_ARGUMENT('The event', wanted))
    setMaxListeners(0, this.#closed.signal)
    this.#options = options
    this.#log = log
    this.mode = options.mode
    this.#connection = new Connection(options, log, this.channel('link', randomUUID()), (event, change) => this.#tell(event, change))
    this.client = this.#connection.client
    this.#memoryLocks = options.store?.locks ?? new MemoryLocks()
    this.#memoryRateLimit = options.store?.limits ?? new MemoryRateLimit()
    const run: Run = (command) => this.#connection.run(command)
    const { outages } = this.#connection
    this.#redisLocks = new RedisLocks({ run, outages, retryMs: options.commandTimeoutMs, isClosed: () => this.#connection.isClosed, isClosing: () => this.#closed.signal.aborted, keyOf: (...parts) => this.key(...parts), isCluster: options.mode === 'cluster' })
    this.kv = this.#makeKv(run)
  }

  /** The Redis user, as far as the options tell. */
  get username (): string {
    const { username, client } = this.#options
    return username ?? (client === undefined ? undefined : clientOption(client, 'username') as string | undefined) ?? 'default'
  }

  /** Asked at the time of use: the state may be another in the next moment. */
  get state (): RedisState {
    return this.#connection.state
  }

  /** Whether Redis answers now. */
  get isUp (): boolean {
    return this.#connection.state === 'up'
  }

  /** Why Redis cannot be used, never with the password; null while `up`. */
  get reason (): string | null {
    return this.isUp ? null : this.#connection.reason
  }

  /**
   * Identity of the data behind the link: `run_id:master_replid` of the primary, joined with `,` over the primaries of a
   * Redis Cluster. Another one means a restart or a failover: what was written may be lost. Null before the first
   * connection, and where the server does not tell.
   */
  get epoch (): string | null {
    return this.#connection.epoch
  }

  /** What is known of an outage. */
  get outages (): Outages {
    return this.#connection.outages
  }

  /**
   * Redis' time, known without a question each time: measured from the first use on, at every change of the servers and each minute. No instance's
   * own clock, which may be wrong or be set, enters into it.
   */
  get clock (): RedisClock {
    if (this.#clock === undefined) {
      this.#clock = new RedisClock(this, this.#log)
      if (this.#connection.isClosed) this.#clock.stop()
    }
    return this.#clock
  }

  /** A Redis key of this site: `<siteId>:<env>:<part>:…`. The parts are joined as they are: whoever takes one from a visitor encodes it. */
  key (...parts: string[]): string {
    return `${this.#options.siteId}:${this.#options.env}:${parts.join(':')}`
  }

  /**
   * A pub/sub channel of this site, by the same rule. Redis has one set of channels for all its databases: that of
   * another database than 0 is part of the name, `<siteId>:<env>@<db>:<part>:…`.
   */
  channel (...parts: string[]): string {
    const { siteId, env, db } = this.#options
    return `${siteId}:${env}${db === 0 ? '' : `@${db}`}:${parts.join(':')}`
  }

  /**
   * Runs commands on the client, at once rejected while Redis is away. A client of the link's own bounds each command by
   * `commandTimeoutMs`; with an injected one the whole function is bounded by it, and its commands go on unheard.
   *
   * @param command gets the client, and a function that runs a script beside other commands; for a script alone there is `runScript`
   * @throws FST_ERR_REDIS_LINK_UNAVAILABLE, FST_ERR_REDIS_LINK_TIMEOUT; a Redis error reply, and what the function itself throws, as it is
   */
  run<T> (command: (client: RedisClient, call: CallScript) => Promise<T>): Promise<T> {
    return this.#connection.run(command)
  }

  /**
   * Runs a script that `defineScript` declared, with the limits and errors of `run`.
   *
   * @param parameters the values of KEYS and ARGV in the order of the declaration; on a Redis Cluster all keys share a slot
   * @throws as `run`
   */
  runScript<Reply, const Keys extends readonly string[], const Args extends readonly string[]> (
    script: Script<Reply, Keys, Args>, parameters: ScriptParameters<Keys, Args>): Promise<Reply> {
    return this.#connection.run((_client, call) => call(script, parameters))
  }

  /**
   * Runs many commands in one go, in this order: as one pipeline, or on a Redis Cluster, whose keys lie on several servers,
   * beside each other. Returns their answers in the same order.
   *
   * @param commands each is given the pipeline or client, and a function that runs a script on it; what it returns is of no use, and what it does after an `await` comes too late
   * @throws what the first of the functions throws, or rejects with at once before it has sent anything, while what the others sent is carried out;
   *   the first error among the answers; otherwise as `run`
   */
  runAll (commands: ReadonlyArray<(client: RedisClient, call: CallScript) => unknown>): Promise<unknown[]> {
    return this.#connection.runAll(commands)
  }

  /**
   * The process' one subscriber connection, made at the first call; null in mode `none` and after `close`. On a Redis Cluster there is
   * one for each primary that is asked for: what a script publishes is heard at once on the primary on which it runs, and up to 40 ms later on the others.
   *
   * @param near a key of such a script. @default the key of the site, on whose primary cluster-broadcast's log is
   */
  subscriber (near = `{${this.key('').slice(0, -1)}}`): Subscriber | null {
    return this.#connection.subscriber(near)
  }

  /**
   * Publishes messages in this order, where `subscriber(near)` hears them at once. One that Redis refuses keeps none of the others back.
   *
   * @throws as `run`; the first refusal as it is
   */
  publishNear (near: string, messages: readonly ChannelMessage[]): Promise<void> {
    return this.#connection.run((client, call) => publishNear(client, call, near, messages))
  }

  /**
   * Takes a lock, or null: somebody holds it, Redis is down, or the link is closed. Without Redis configured it holds within the process.
   *
   * @param ttlMs after which it is free again whatever happens
   * @throws FST_ERR_REDIS_LINK_INVALID_KEY, FST_ERR_REDIS_LINK_INVALID_NUMBER; a Redis error reply as it is
   */
  async tryLock (name: string, ttlMs: number): Promise<Lock | null> {
    return this.#untilOver(this.#locks.tryLock(name, ttlMs))
  }

  /**
   * Runs a function under a lock, waiting for it, extending it until the function is over, and giving it back. The function
   * gets a signal that aborts when the lock is lost, and its fencing token. A process that stood still learns that it lost
   * the lock only when it goes on: so give the token to what you write to.
   *
   * @returns what the function returns
   * @throws FST_ERR_REDIS_LINK_LOCK_HELD, FST_ERR_REDIS_LINK_UNAVAILABLE where it was not run; FST_ERR_REDIS_LINK_LOCK_LOST where it
   *   ended after the lock was lost; the reason of the caller's signal; what the function throws; FST_ERR_REDIS_LINK_INVALID_KEY, _INVALID_NUMBER, _INVALID_OPTION, _INVALID_ARGUMENT
   */
  async using<T> (name: string, options: UsingOptions, work: UsingWork<T>): Promise<T> {
    const closed = this.#closed.signal
    return this.#untilOver(using(this.#locks, name, options, work, { closed, unavailable: () => this.#whyNoLock() }))
  }

  /**
   * Counts an event against a limit of the whole cluster: any window of `windowMs` holds at most `max` allowed ones.
   * While Redis is away the process counts for itself and says `degraded`.
   *
   * @param max 1 to 10000
   * @throws FST_ERR_REDIS_LINK_INVALID_KEY, FST_ERR_REDIS_LINK_INVALID_NUMBER, FST_ERR_REDIS_LINK_INVALID_OPTION
   */
  async rateLimit (name: string, max: number, windowMs: number, options: RateLimitOptions = {}): Promise<RateLimitResult> {
    checkRateLimit(name, max, windowMs, options)
    const counted = this.isUp ? await rateLimitInRedis((command) => this.run(command), this.key('limit', name), max, windowMs, options) : null
    return counted ?? this.#memoryRateLimit.take(name, max, windowMs, options, this.state !== 'disabled')
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
  open (): Promise<void> {
    return this.#connection.open()
  }

  /**
   * Ends every connection that the link made, within `closeTimeoutMs`; what is asked afterwards rejects. Who works under a lock is told
   * first, and gives it back where it ends in half of that time; the rest is for answers that are under way. Further calls return the same promise.
   */
  close (): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close (): Promise<void> {
    this.#closed.abort()
    this.#clock?.stop()
    const { closeTimeoutMs } = this.#options
    const end = performance.now() + closeTimeoutMs
    if (this.isUp && this.#locking.size > 0) await within(closeTimeoutMs / 2, Promise.all(this.#locking), () => new Error('it takes too long')).catch(() => {})
    const closed = this.#connection.close(Math.max(0, end - performance.now()))
    await this.kv.close()
    await closed
  }

  /** One listener's fault must not keep the change from the others, nor count as an outage, nor end the process. */
  #tell (event: keyof RedisLinkEvents, change: RedisChange): void {
    emitSafely(this, (err) => this.#log.error({ err, event }, 'a listener of the link to Redis failed'), event, change)
  }

  #untilOver<T> (result: Promise<T>): Promise<T> {
    const over = result.then(() => {}, () => {}).finally(() => this.#locking.delete(over))
    this.#locking.add(over)
    return result
  }

  #whyNoLock (): Error | null {
    if (this.#closed.signal.aborted) return new FST_ERR_REDIS_LINK_UNAVAILABLE('the link is closed')
    return this.isUp || this.state === 'disabled' ? null : new FST_ERR_REDIS_LINK_UNAVAILABLE(this.#connection.reason)
  }

  get #locks (): Locks {
    if (this.#closed.signal.aborted) return NO_LOCKS
    return this.state === 'disabled' ? this.#memoryLocks : this.#redisLocks
  }

  #makeKv (run: Run): Kv {
    const link = this
    return new Kv({
      get mode () { return KV_MODES[link.state] },
      get isClosed () { return link.#connection.isClosed },
      isShared: this.#options.store !== undefined,
      usedMemory: () => link.#usedMemory(),
      onUp: (listener) => link.on('up', listener)
    }, new RedisKvStore(run), this.#options.store?.kv ?? new MemoryKvStore(this.#options.memory), this.key('kv', ''))
  }

  async #usedMemory (): Promise<string | undefined> {
    if (!this.isUp) return undefined
    const info = await this.info('memory').catch(() => '')
    return /^used_memory_human:(.*)$/m.exec(info)?.[1]?.trim()
  }
}
