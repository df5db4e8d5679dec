import { EventEmitter } from 'node:events'
import type { Redis } from 'ioredis'
import { FST_ERR_REDIS_LINK_TIMEOUT } from '../errors.ts'
import type { RedisClient, ResolvedOptions } from '../options.ts'
import { nodeName, primaries } from './client.ts'
import { isOutage, isReply } from './refusals.ts'
import { backoff, bounded } from './time.ts'

export interface MonitorEvents {
  up: [epoch: string | null]
  /** Other data behind a connection that stayed up: one primary of a Redis Cluster was replaced. */
  epoch: [epoch: string | null]
  /** `error` is undefined where the connection closed without one. */
  down: [error: Error | undefined]
}

/** How many probes in a row may time out before a connection that still looks open is replaced. */
const TIMEOUTS_BEFORE_RECONNECT = 2
/** What ioredis says of a closed connection, whatever the reason. */
const CLOSED = 'Connection is closed.'
/** After so many intervals the epoch is asked again, though no connection broke and no primary is another. */
const EPOCH_EVERY = 30

/**
 * Watches a client and says when Redis can be used.
 *
 * Events of the connection alone do not tell: a frozen server and a half-open connection look open. So a probe runs where
 * nobody's command was answered for an interval, and at once when one failed. It asks for no more than an answer: a server
 * that forbids or lacks what a probe would like is up.
 */
export class Monitor extends EventEmitter<MonitorEvents> {
  readonly #client: RedisClient
  readonly #options: ResolvedOptions
  readonly #version: () => number
  #timer: NodeJS.Timeout | undefined
  /** When Redis last answered somebody. */
  #answeredAt = -Infinity
  #up: boolean | undefined
  #probing = false
  #again = false
  #timeouts = 0
  #stopped = false
  #ends = 0
  #comeback: NodeJS.Timeout | undefined
  #epoch: string | null = null
  /** What the epoch was read of: the primaries, and the number of breaks. */
  #epochOf = ''
  #epochAt = -Infinity
  #error: Error | undefined
  #nodeError: Error | undefined
  readonly #listeners: Array<[event: string, listener: (value?: unknown) => void]>

  /** @param version grows with every break of a connection */
  constructor (client: RedisClient, options: ResolvedOptions, version: () => number) {
    super()
    this.#client = client
    this.#options = options
    this.#version = version
    this.#wait(options.probeIntervalMs)
    const lost = () => this.#lost(this.#error)
    this.#listeners = [
      ['ready', () => {
        this.#ends = 0
        this.probe()
      }],
      ['close', lost],
      ['end', () => {
        lost()
        this.#begin()
      }],
      ['error', (err) => { this.#error = err as Error }],
      // A Redis Cluster says of its nodes only that they are closed.
      ['node error', (err) => { if ((err as Error).message !== CLOSED) this.#nodeError = err as Error }]
    ]
    for (const [event, listener] of this.#listeners) client.on(event, listener)
    if (client.status === 'ready') this.probe()
  }

  /** The last error of the connection since it was up. */
  get error (): Error | undefined {
    const said = (this.#error as { lastNodeError?: Error } | undefined)?.lastNodeError ?? this.#error
    return said === undefined || said.message === CLOSED ? this.#nodeError ?? said : this.#error
  }

  /** Redis answered somebody just now. */
  answered (): void {
    this.#answeredAt = performance.now()
  }

  /** Looks now whether Redis answers. */
  probe (): void {
    if (this.#stopped || this.#client.status !== 'ready') return
    if (this.#probing) {
      this.#again = true
      return
    }
    this.#probing = true
    this.#look().finally(() => {
      this.#probing = false
      if (this.#again) {
        this.#again = false
        this.probe()
      }
    })
  }

  stop (): void {
    this.#stopped = true
    clearTimeout(this.#timer)
    clearTimeout(this.#comeback)
    for (const [event, listener] of this.#listeners) this.#client.off(event, listener)
  }

  #wait (ms: number): void {
    this.#timer = setTimeout(() => {
      const { probeIntervalMs } = this.#options
      const quietMs = performance.now() - this.#answeredAt
      if (this.#up === true && quietMs < probeIntervalMs && !this.#wantsEpoch()) return this.#wait(probeIntervalMs - quietMs)
      this.probe()
      this.#wait(probeIntervalMs)
    }, ms).unref()
  }

  #wantsEpoch (): boolean {
    return this.#up !== true || this.#sourceOfEpoch() !== this.#epochOf || performance.now() - this.#epochAt > EPOCH_EVERY * this.#options.probeIntervalMs
  }

  #sourceOfEpoch (): string {
    return `${this.#version()} ${primaries(this.#client).map(nodeName).sort().join(' ')}`
  }

  async #look (): Promise<void> {
    const nodes = primaries(this.#client)
    const of = this.#sourceOfEpoch()
    const wantsEpoch = this.#wantsEpoch()
    let epoch = this.#epoch
    try {
      // A server that is up answers INFO too, if only with an error; one that is loading answers nothing else.
      if (this.#up !== true || !wantsEpoch) await this.#someAnswer(nodes.map((node) => answers(node)))
      if (wantsEpoch) {
        const read = await this.#readEpoch(nodes)
        // Where one primary is away, what is known of it stands, and is asked for again.
        epoch = read.epoch ?? epoch
        this.#epochOf = read.isWhole ? of : ''
        this.#epochAt = performance.now()
      }
    } catch (err) {
      return this.#failed(err as Error)
    }
    if (this.#stopped || this.#client.status !== 'ready') return
    this.#timeouts = 0
    this.#error = this.#nodeError = undefined
    const changed = epoch !== this.#epoch
    this.#epoch = epoch
    if (!this.#up) {
      this.#up = true
      this.emit('up', epoch)
    } else if (changed) {
      this.emit('epoch', epoch)
    }
  }

  /** @returns what was answered. @throws what the first said, where none answers */
  async #someAnswer<T> (questions: Array<Promise<T>>): Promise<Array<T | undefined>> {
    const answers = await Promise.allSettled(questions.map((question) => bounded(question, this.#options.commandTimeoutMs)))
    if (answers.every(({ status }) => status === 'rejected')) {
      throw (answers[0] as PromiseRejectedResult | undefined)?.reason ?? new Error('no primary is known')
    }
    return answers.map((answer) => answer.status === 'fulfilled' ? answer.value : undefined)
  }

  /**
   * Identity of the data behind the connections: `run_id:master_replid` of the primary, or of all primaries of a Redis
   * Cluster. It changes with a restart and with a failover. Null where it cannot be told: a primary of the Cluster is away,
   * so that it is not whole, or there is no INFO.
   */
  async #readEpoch (nodes: Redis[]): Promise<{ epoch: string | null, isWhole: boolean }> {
    const found = await this.#someAnswer(nodes.map(infoOf))
    // Sentinels that are behind name a primary that was demoted.
    if (this.#options.mode === 'sentinel' && this.#options.client === undefined && found[0]?.role === 'slave') {
      this.#client.disconnect(true)
      throw new Error('the Sentinels name a server that is a replica')
    }
    if (this.#options.mode === 'single' && found[0]?.mode === 'sentinel') throw new Error('the server is a Sentinel: give it as the option sentinel, with the name of the primary')
    const epochs = found.map((info) => info?.epoch)
    return { epoch: epochs.every((epoch) => typeof epoch === 'string') ? epochs.sort().join(',') : null, isWhole: !epochs.includes(undefined) }
  }

  #failed (err: Error): void {
    if (this.#stopped) return
    this.#lost(err)
    if (!(err instanceof FST_ERR_REDIS_LINK_TIMEOUT)) return
    this.#timeouts++
    // An injected client stays as it is: the probe may wait behind a blocking command, and a client that does not
    // reconnect would be gone.
    if (this.#options.client !== undefined || this.#timeouts < TIMEOUTS_BEFORE_RECONNECT || this.#client.status !== 'ready') return
    this.#timeouts = 0
    this.#client.disconnect(true)
  }

  /**
   * Connects a client that gave up, although it is set to try for ever: ioredis 6.0.0 does where its connector is disconnected while it asks for the
   * address, as by a failover that Sentinel announces just then.
   */
  #begin (): void {
    if (this.#stopped || this.#options.client !== undefined) return
    clearTimeout(this.#comeback)
    this.#comeback = setTimeout(() => {
      if (!this.#stopped && this.#client.status === 'end') this.#client.connect().catch(() => {})
    }, backoff(++this.#ends))
  }

  #lost (err: Error | undefined): void {
    if (this.#stopped) return
    this.#error ??= err
    if (this.#up === false) return
    this.#up = false
    this.emit('down', err)
  }
}

/** Resolves where the server serves: an error that is no outage, such as a PING that the user may not send, is an answer. */
async function answers (node: Redis): Promise<void> {
  try {
    await node.ping()
  } catch (err) {
    if (!isReply(err) || isOutage(err)) throw err
  }
}

async function infoOf (node: Redis): Promise<{ epoch: string | null, role: string | undefined, mode: string | undefined }> {
  try {
    const [server, replication] = await Promise.all([node.info('server'), node.info('replication')])
    const runId = /^run_id:(\w+)/m.exec(server)?.[1]
    const replid = /^master_replid:(\w+)/m.exec(replication)?.[1]
    return { epoch: runId === undefined || replid === undefined ? null : `${runId}:${replid}`, role: /^role:(\w+)/m.exec(replication)?.[1], mode: /^(?:redis|server)_mode:(\w+)/m.exec(server)?.[1] }
  } catch (err) {
    if (!isReply(err) || isOutage(err)) throw err
    return { epoch: null, role: undefined, mode: undefined }
  }
}
