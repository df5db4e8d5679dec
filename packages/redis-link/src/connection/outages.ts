import { callSafely, type OnFault } from '@jpulse/plugin-kit'
import type { Cluster, Redis } from 'ioredis'
import { FST_ERR_REDIS_LINK_TIMEOUT, FST_ERR_REDIS_LINK_UNAVAILABLE } from '../errors.ts'
import type { RedisClient } from '../options.ts'
import { nodeName, primaryOf } from './client.ts'
import type { Subscriber } from './subscriber.ts'
import { bounded } from './time.ts'

/** Ends what it was returned for. */
export type Stop = () => void

/** What the watched connections of ioredis have in common: a server, a node of a Cluster, the Cluster itself. */
interface Emitter {
  on (event: string, listener: (value?: unknown) => void): unknown
  off (event: string, listener: (value?: unknown) => void): unknown
}

const BREAKS = ['close', 'end', 'error'] as const
/** Pause between two questions to a server that does not answer. */
const PAUSE_MS = 100
/** Longest that `untilHeard` waits. */
const HEARD_MS = 2000
/** Stands for the only server where there is no Cluster. */
const ONLY = ''

/**
 * What is known of an outage, once per process, for all that would find it out for themselves.
 *
 * - Who must not use an answer from before a restart or failover of Redis after it (config-cache) compares `version` before
 *   and after the question, and is told of a broken connection at once through `onBreak`.
 * - Who waits for Redis to return (ws-namespaces) asks `since` when it went away, and waits for `changed` or `untilHeard`.
 * - Whose requests would wait one after the other for a server that is silent (redis-sessions) asks through `guard`.
 */
export interface Outages {
  /**
   * Counts every close and error of a connection, of the subscriber's too. Where it changed between a question and its answer,
   * Redis may have restarted or failed over in between.
   */
  readonly version: number
  /**
   * When Redis went away, by `performance.now()`; null while it is there, and where none is configured.
   *
   * @param key also tells when the server that has this key fell silent, while the others of a Cluster answer
   */
  since (key?: string): number | null
  /** Resolves at the next change, whatever it is, or after `ms`. */
  changed (ms: number): Promise<void>
  /** Calls the listener at each break, in the same turn: when `version` grows. What it throws or rejects with is logged. */
  onBreak (listener: () => unknown): Stop
  /**
   * Null where this subscriber hears, and where waiting for it makes no sense because Redis is away; else resolves when
   * it hears again, or after 2 s.
   */
  untilHeard (subscriber: Subscriber | null): Promise<void> | null
  /**
   * Asks the server that has a key. After one timeout all others are refused at once, until a PING of the server is
   * answered or `up` is told; each primary of a Cluster counts for itself. The link's own probes find the same out up to
   * two timeouts later.
   *
   * @throws FST_ERR_REDIS_LINK_UNAVAILABLE at once; what `ask` throws
   */
  guard<T> (key: string, ask: () => Promise<T>): Promise<T>
}

/** The outages of one link, which tells it what it knows. */
export class LinkOutages implements Outages {
  readonly #client: RedisClient | null
  readonly #commandTimeoutMs: number
  readonly #waiting = new Set<() => void>()
  readonly #onFault: OnFault
  readonly #onBreak = new Set<() => unknown>()
  /** With what forgets a server that left the Cluster. */
  readonly #watched = new Map<Emitter, () => void>()
  readonly #silent = new Map<string, { since: number, timer?: NodeJS.Timeout }>()
  readonly #heard = new Map<Subscriber, Promise<void>>()
  #since: number | null
  #version = 0
  #closed = false

  /** @param onFault hears what a listener of breaks throws: thrown into ioredis it would end the process */
  constructor (client: RedisClient | null, commandTimeoutMs: number, onFault: OnFault) {
    this.#client = client
    this.#onFault = onFault
    this.#commandTimeoutMs = commandTimeoutMs
    this.#since = client === null ? null : performance.now()
    if (client === null) return
    this.#watch(client)
    if (!client.isCluster) return
    for (const node of (client as Cluster).nodes('all')) this.#watch(node)
    client.on('+node', this.#nodeJoined)
  }

  get version (): number {
    return this.#version
  }

  since (key?: string): number | null {
    return this.#since ?? (key === undefined ? null : this.#silent.get(this.#nodeOf(key))?.since ?? null)
  }

  changed (ms: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        clearTimeout(timer)
        this.#waiting.delete(wake)
        resolve()
      }
      // A longer timer of Node fires at once.
      const timer = setTimeout(wake, Math.min(ms, 2 ** 31 - 1))
      // Nothing changes any more, but who tries again and again must not do so without a pause.
      if (this.#closed) timer.unref()
      else this.#waiting.add(wake)
    })
  }

  onBreak (listener: () => unknown): Stop {
    this.#onBreak.add(listener)
    return () => { this.#onBreak.delete(listener) }
  }

  untilHeard (subscriber: Subscriber | null): Promise<void> | null {
    if (subscriber === null || subscriber.isUp || this.#since !== null) return null
    const heard = this.#heard.get(subscriber) ?? this.#untilUp(subscriber).finally(() => { this.#heard.delete(subscriber) })
    this.#heard.set(subscriber, heard)
    return heard
  }

  async guard<T> (key: string, ask: () => Promise<T>): Promise<T> {
    const node = this.#nodeOf(key)
    if (this.#silent.has(node)) throw new FST_ERR_REDIS_LINK_UNAVAILABLE('it did not answer an earlier command')
    try {
      return await ask()
    } catch (err) {
      if (err instanceof FST_ERR_REDIS_LINK_TIMEOUT) this.#fellSilent(node)
      throw err
    }
  }

  turn (isUp: boolean): void {
    this.#since = isUp ? null : performance.now()
    if (isUp) for (const node of this.#silent.keys()) this.#answered(node)
    this.#wake()
  }

  watchSubscriber (subscriber: Subscriber): void {
    subscriber.on('up', this.#wake)
    subscriber.on('down', this.#broke)
  }

  close (): void {
    this.#closed = true
    this.#client?.off('+node', this.#nodeJoined)
    for (const [emitter, forget] of this.#watched) {
      for (const event of BREAKS) emitter.off(event, this.#broke)
      emitter.off('end', forget)
    }
    this.#watched.clear()
    this.#onBreak.clear()
    for (const node of this.#silent.keys()) this.#answered(node)
    this.#wake()
  }

  readonly #nodeJoined = (node?: unknown): void => this.#watch(node as Emitter)

  readonly #broke = (): void => {
    this.#version++
    for (const listener of this.#onBreak) callSafely(this.#onFault, listener)
    this.#wake()
  }

  readonly #wake = (): void => {
    for (const wake of [...this.#waiting]) wake()
  }

  #watch (emitter: Emitter): void {
    if (this.#watched.has(emitter)) return
    // The client itself may be connected again.
    const forget = (): void => { if (emitter !== this.#client) this.#watched.delete(emitter) }
    this.#watched.set(emitter, forget)
    for (const event of BREAKS) emitter.on(event, this.#broke)
    emitter.on('end', forget)
  }

  /** A server that left the Cluster is asked no more: its slots name another. */
  #nodeOf (key: string): string {
    return this.#client === null ? ONLY : primaryOf(this.#client, key) ?? ONLY
  }

  #fellSilent (node: string): void {
    if (this.#silent.has(node) || this.#closed) return
    this.#silent.set(node, { since: performance.now() })
    this.#wake()
    this.#ask(node)
  }

  #answered (node: string): void {
    clearTimeout(this.#silent.get(node)?.timer)
    if (this.#silent.delete(node)) this.#wake()
  }

  #ask (node: string): void {
    bounded(ping(this.#client!, node), this.#commandTimeoutMs).then(() => this.#answered(node), () => {
      const entry = this.#silent.get(node)
      if (entry !== undefined) entry.timer = setTimeout(() => this.#ask(node), PAUSE_MS).unref()
    })
  }

  async #untilUp (subscriber: Subscriber): Promise<void> {
    const end = performance.now() + HEARD_MS
    for (let left = HEARD_MS; left > 0 && this.#since === null && !subscriber.isUp && !this.#closed; left = end - performance.now()) await this.changed(left)
  }
}

/** A server that left the Cluster has nothing to be kept from. */
async function ping (client: RedisClient, node: string): Promise<void> {
  if (node === ONLY || !client.isCluster) await (client as Redis).ping()
  else await (client as Cluster).nodes('all').find((one) => nodeName(one) === node)?.ping()
}
