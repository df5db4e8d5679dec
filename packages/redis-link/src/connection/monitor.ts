import { EventEmitter } from 'node:events'
import type { Redis } from 'ioredis'
import type { RedisClient, ResolvedOptions } from '../options.ts'
import { primaries } from './client.ts'
import { bounded } from './time.ts'

export interface MonitorEvents {
  up: [epoch: string | null]
  /** Other data behind a connection that stayed up: one primary of a Redis Cluster was replaced. */
  epoch: [epoch: string | null]
  /** `error` is undefined where the connection closed without one. */
  down: [error: Error | undefined]
}

/** How many probes in a row may time out before a connection that still looks open is replaced. */
const TIMEOUTS_BEFORE_RECONNECT = 2

/**
 * Watches a client and says when Redis can be used.
 *
 * Events of the connection alone do not tell: a frozen server and a half-open connection look open. So a probe runs at
 * intervals, and at once when a command of somebody failed.
 */
export class Monitor extends EventEmitter<MonitorEvents> {
  #client: RedisClient
  #commandTimeoutMs: number
  #ours: boolean
  #timer: NodeJS.Timeout
  #up: boolean | undefined
  #probing = false
  #again = false
  #timeouts = 0
  #stopped = false
  #epoch: string | null = null
  #error: Error | undefined
  readonly #listeners: Array<[event: string, listener: (value?: unknown) => void]>

  constructor (client: RedisClient, { client: injected, commandTimeoutMs, probeIntervalMs }: Pick<ResolvedOptions, 'client' | 'commandTimeoutMs' | 'probeIntervalMs'>) {
    super()
    this.#client = client
    this.#ours = injected === undefined
    this.#commandTimeoutMs = commandTimeoutMs
    this.#timer = setInterval(() => this.probe(), probeIntervalMs).unref()
    const lost = () => this.#lost(this.#error)
    this.#listeners = [
      ['ready', () => this.probe()],
      ['close', lost],
      ['end', lost],
      ['error', (err) => { this.#error = err as Error }]
    ]
    for (const [event, listener] of this.#listeners) client.on(event, listener)
    if (client.status === 'ready') this.probe()
  }

  /** The last error of the connection since it was up. */
  get error (): Error | undefined {
    return this.#error
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
    clearInterval(this.#timer)
    for (const [event, listener] of this.#listeners) this.#client.off(event, listener)
    // ioredis throws errors that nobody listens to, and a closing connection may still have one.
    this.#client.on('error', () => {})
  }

  async #look (): Promise<void> {
    let epoch: string | null
    try {
      epoch = await readEpoch(this.#client, this.#commandTimeoutMs) ?? this.#epoch
    } catch (err) {
      return this.#failed(err as Error)
    }
    if (this.#stopped || this.#client.status !== 'ready') return
    this.#timeouts = 0
    this.#error = undefined
    const changed = epoch !== this.#epoch
    this.#epoch = epoch
    if (!this.#up) {
      this.#up = true
      this.emit('up', epoch)
    } else if (changed) {
      this.emit('epoch', epoch)
    }
  }

  #failed (err: Error): void {
    if (this.#stopped) return
    this.#timeouts++
    this.#lost(err)
    // An injected client stays as it is: the probe may wait behind a blocking command, and a client that does not
    // reconnect would be gone.
    if (!this.#ours || this.#timeouts < TIMEOUTS_BEFORE_RECONNECT || this.#client.status !== 'ready') return
    this.#timeouts = 0
    this.#client.disconnect(true)
  }

  #lost (err: Error | undefined): void {
    if (this.#stopped) return
    this.#error ??= err
    if (this.#up === false) return
    this.#up = false
    this.emit('down', err)
  }
}

/**
 * Identity of the data behind a connection: `run_id:master_replid` of the primary, or of all primaries of a Redis
 * Cluster. It changes with a restart and with a failover. Null where it cannot be told now: a primary of the Cluster
 * is away, or INFO is forbidden.
 *
 * @throws what the first primary said, where none answers
 */
async function readEpoch (client: RedisClient, timeoutMs: number): Promise<string | null> {
  const answers = await Promise.allSettled(primaries(client).map((node) => bounded(epochOf(node), timeoutMs)))
  const epochs = answers.map((answer) => answer.status === 'fulfilled' ? answer.value : undefined)
  if (epochs.every((epoch) => epoch === undefined)) {
    throw answers.find((answer) => answer.status === 'rejected')?.reason ?? new Error('no primary is known')
  }
  return epochs.every((epoch) => typeof epoch === 'string') ? epochs.sort().join(',') : null
}

async function epochOf (node: Redis): Promise<string | null> {
  try {
    const [server, replication] = await Promise.all([node.info('server'), node.info('replication')])
    const runId = /^run_id:(\w+)/m.exec(server)?.[1]
    const replid = /^master_replid:(\w+)/m.exec(replication)?.[1]
    return runId === undefined || replid === undefined ? null : `${runId}:${replid}`
  } catch (err) {
    if (!(err as Error).message.startsWith('NOPERM')) throw err
    await node.ping()
    return null
  }
}
