import type { FastifyBaseLogger } from 'fastify'
import type { Connection } from './connection.ts'
import { FST_ERR_CONFIG_CACHE_CLOSED, FST_ERR_CONFIG_CACHE_UNCONFIRMED, FST_ERR_CONFIG_CACHE_UNREACHABLE } from '../errors.ts'
import type { WrittenValue } from '../values.ts'
import { uniqueId } from '../id.ts'
import type { ConfigSource } from '../sources/index.ts'
import { now, pause, withDrift } from '../time.ts'
import type { WritePath } from './coherence.ts'
import type { Epochs } from './epochs.ts'
import { resetScript } from './scripts.ts'
import { CLOSE_MS } from './writes.ts'

export interface SourceFenceOptions {
  readonly blockTtlMs: number
  readonly fenceCollection: string
}

/**
 * Writes while Redis is away: a document in the source (the fence) turns all caches off.
 *
 * Every renewal asks the source whether a fence stands, and takes no lease under one. A writer without Redis raises its own
 * fence, waits until the leases from before are over, and then writes at full speed. What it wrote was announced to nobody,
 * so before the fence is lowered the epoch ends: every level forgets what it knew. Each writer has a fence of its own, so
 * that lowering one never lowers another's; the fence of a writer that died is lowered by the others in the same way.
 */
export class SourceFence implements WritePath {
  readonly #source: ConfigSource
  readonly #connection: Connection
  readonly #epochs: Epochs
  readonly #writes: WritePath
  readonly #options: SourceFenceOptions
  readonly #log: FastifyBaseLogger
  /** Fences that stand and are not held here, with their last beat and when that was first seen. */
  readonly #unheld = new Map<string, { text: string, since: number }>()
  #raising: Promise<void> | undefined
  /** Time of the last beat that the source confirmed, measured from before it was sent. */
  #beatAt = -Infinity
  #beat: NodeJS.Timeout | undefined
  readonly #underWay = new Set<Promise<unknown>>()
  #lowering: Promise<void> | undefined
  /** Takes no more writes. */
  #closed = false
  /** Raises no fence any more: nobody would prolong or lower it. */
  #ended = false

  constructor (connection: Connection, epochs: Epochs, source: ConfigSource, writes: WritePath, options: SourceFenceOptions, log: FastifyBaseLogger) {
    this.#source = source
    this.#connection = connection
    this.#epochs = epochs
    this.#writes = writes
    this.#options = options
    this.#log = log
  }

  /** Whether no fence stands, so that a lease may be taken. Asked between the begin of a renewal and its lease. */
  async isDown (): Promise<boolean> {
    const fences = await this.#source.list(this.#options.fenceCollection, '*', 1000)
    for (const key of this.#unheld.keys()) if (!fences.some((fence) => fence.key === key)) this.#unheld.delete(key)
    // An own one that is not held any more could not be lowered, or stands though raising it failed: nobody else need be there to lower it.
    for (const { key, value } of fences) if (key !== this.#connection.id || this.#raising === undefined) this.#watch(key, JSON.stringify(value))
    return fences.length === 0
  }

  async write<T> (tags: readonly string[], work: () => Promise<T>, valuesOf?: (value: T) => readonly WrittenValue[]): Promise<T> {
    if (this.#raising === undefined || this.#lowering !== undefined) {
      try {
        return await this.#writes.write(tags, work, valuesOf)
      } catch (err) {
        if (!(err instanceof FST_ERR_CONFIG_CACHE_UNREACHABLE)) throw err
      }
    }
    if (this.#closed) throw new FST_ERR_CONFIG_CACHE_CLOSED()
    const write = this.#writeFenced(work)
    this.#underWay.add(write)
    try {
      return await write
    } finally {
      this.#underWay.delete(write)
    }
  }

  /** Lets the writes that are under way end, for a moment, and lowers the fence where it can; others lower one that stays. */
  async close (): Promise<void> {
    this.#closed = true
    await Promise.race([Promise.allSettled(this.#underWay), pause(CLOSE_MS)])
    this.#ended = true
    clearInterval(this.#beat)
    // One that is under way kept the fence where it saw a write.
    await this.#lowering?.catch(() => {})
    if (this.#raising !== undefined && this.#connection.isUp) await this.#lower().catch(() => {})
  }

  async #writeFenced<T> (work: () => Promise<T>): Promise<T> {
    await this.#ensureRaised()
    const value = await work()
    await this.#confirm()
    return value
  }

  /** Resolves when nobody caches. @throws FST_ERR_CONFIG_CACHE_UNREACHABLE, FST_ERR_CONFIG_CACHE_CLOSED */
  async #ensureRaised (): Promise<void> {
    // A fence that was not prolonged for long may have been lowered by others.
    if (this.#raising !== undefined && now() - this.#beatAt > this.#options.blockTtlMs / 2 && !await this.#stands()) this.#raising = undefined
    this.#raising ??= this.#raise()
    try {
      await this.#raising
    } catch (err) {
      this.#raising = undefined
      if (err instanceof FST_ERR_CONFIG_CACHE_CLOSED) throw err
      const refused = new FST_ERR_CONFIG_CACHE_UNREACHABLE(`neither Redis nor the fence in the source can be reached (${(err as Error).message})`)
      refused.cause = err
      throw refused
    }
  }

  async #raise (): Promise<void> {
    if (!this.#ended) await this.#prolong()
    if (this.#ended) throw new FST_ERR_CONFIG_CACHE_CLOSED()
    this.#log.warn('caches are off: writing without Redis')
    clearInterval(this.#beat)
    this.#beat = setInterval(() => { this.#heartbeat().catch((err) => this.#log.warn({ err }, 'the cache fence was not prolonged')) }, this.#options.blockTtlMs / 8).unref()
    await pause(withDrift(this.#epochs.leaseMs))
    if (this.#ended) throw new FST_ERR_CONFIG_CACHE_CLOSED()
  }

  async #prolong (): Promise<void> {
    const time = now()
    await this.#source.save(this.#options.fenceCollection, this.#connection.id, { beat: uniqueId() })
    this.#beatAt = time
  }

  async #stands (): Promise<boolean> {
    return await this.#source.load(this.#options.fenceCollection, this.#connection.id) !== null
  }

  /** The work is done: where the fence was lowered meanwhile, caches may hold what was before it. */
  async #confirm (): Promise<void> {
    try {
      while (!await this.#stands()) await this.#raise()
    } catch (err) {
      throw new FST_ERR_CONFIG_CACHE_UNCONFIRMED((err as Error).message)
    }
  }

  async #heartbeat (): Promise<void> {
    if (this.#connection.isUp && this.#underWay.size === 0) await this.#lower()
    else await this.#prolong()
  }

  #lower (): Promise<void> {
    this.#lowering ??= this.#lowerOnce().finally(() => { this.#lowering = undefined })
    return this.#lowering
  }

  async #lowerOnce (): Promise<void> {
    await this.#endEpoch()
    // A write that came meanwhile uses Redis, or keeps the fence.
    if (this.#underWay.size > 0) return
    clearInterval(this.#beat)
    this.#raising = undefined
    await this.#source.remove(this.#options.fenceCollection, this.#connection.id)
    this.#log.info('Redis is back: caches are on again after the quarantine')
  }

  async #endEpoch (): Promise<void> {
    await this.#connection.script(resetScript, this.#connection.keys.core, uniqueId())
  }

  /** Lowers the fence of a writer that gave no sign of life for longer than an operation may last. */
  #watch (key: string, text: string): void {
    const seen = this.#unheld.get(key)
    if (seen?.text !== text) {
      this.#unheld.set(key, { text, since: now() })
      return
    }
    if (now() - seen.since < withDrift(2 * this.#epochs.blockTtlMs)) return
    this.#unheld.delete(key)
    this.#endEpoch()
      .then(() => this.#source.remove(this.#options.fenceCollection, key))
      .catch((err) => this.#log.warn({ err }, 'the fence of a silent writer was not lowered'))
  }
}
