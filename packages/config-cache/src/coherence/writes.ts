import { FST_ERR_CONFIG_CACHE_CLOSED, FST_ERR_CONFIG_CACHE_UNCONFIRMED } from '../errors.ts'
import { uniqueId } from '../id.ts'
import type { Notices } from '../notices.ts'
import { idle, now, pause } from '../time.ts'
import type { WrittenValue } from '../values.ts'
import type { PendingOps } from './acknowledgements.ts'
import { reasonOf, RETRY_MS, step, type Blocks, type Held } from './blocks.ts'
import { isDecided, type WritePath } from './coherence.ts'
import type { Connection } from './connection.ts'
import { stored } from './messages.ts'
import { WriteBudget, type Admission } from './write-budget.ts'

const REPAIR_MS = 200
/** Longest wait for writes under way at close. */
export const CLOSE_MS = 500

interface WriteOptions {
  readonly blockTtlMs: number
  readonly confirmTimeoutMs: number
}

/**
 * BLOCK, acknowledgements, work, RELEASE. What each step is for, and what happens where it fails: docs/coherence.md.
 */
export class RedisWritePath implements WritePath {
  readonly #connection: Connection
  readonly #pending: PendingOps
  readonly #blocks: Blocks
  readonly #options: WriteOptions
  readonly #notices: Notices
  readonly #underWay = new Set<Promise<unknown>>()
  readonly #repairs = new Set<Promise<void>>()
  readonly #budget = new WriteBudget()
  #closed = false

  constructor (connection: Connection, pending: PendingOps, blocks: Blocks, options: WriteOptions, notices: Notices) {
    this.#connection = connection
    this.#pending = pending
    this.#blocks = blocks
    this.#options = options
    this.#notices = notices
  }

  /** Where Redis refuses the channel, each write says so. */
  async start (): Promise<void> {
    this.#connection.hear(this.#connection.keys.acks(this.#connection.id), (bytes) => this.#pending.hear(bytes))
    await this.#connection.listen().catch(() => {})
  }

  async write<T> (tags: readonly string[], work: () => Promise<T>, valuesOf?: (value: T) => readonly WrittenValue[]): Promise<T> {
    if (this.#closed) throw new FST_ERR_CONFIG_CACHE_CLOSED()
    const admission = this.#budget.admit(tags)
    const write = this.#write(tags, work, valuesOf, admission)
    this.#underWay.add(write)
    try {
      return await write
    } finally {
      this.#underWay.delete(write)
      if (!admission.isUndecided) admission.end()
    }
  }

  async #write<T> (tags: readonly string[], work: () => Promise<T>, valuesOf: ((value: T) => readonly WrittenValue[]) | undefined, admission: Admission): Promise<T> {
    const held = await this.#blocks.acquire(tags)
    const began = now()
    const beat = setInterval(() => { this.#blocks.beat(held).catch(() => {}) }, this.#options.blockTtlMs / 4).unref()
    let done: { value: T } | { error: unknown }
    try {
      done = { value: await work() }
    } catch (error) {
      done = { error }
    } finally {
      clearInterval(beat)
    }
    step('written', held.opId, tags)
    if ('error' in done && !isDecided(done.error)) {
      // A driver that gave up waiting has not called its operation back: while it may arrive, nobody keeps what he reads.
      this.#repair(held, tags, admission, began + this.#options.blockTtlMs)
      throw done.error
    }
    let written: readonly WrittenValue[] = []
    try {
      if ('value' in done && valuesOf !== undefined) written = valuesOf(done.value)
    } catch (error) {
      done = { error }
    }
    const confirmed = await this.#confirm(held, tags, admission, this.#storeAhead(held, written)).then(() => undefined, (err: unknown) => err)
    // The application has to know of its own failure first; the repair goes on either way.
    if ('error' in done) throw done.error
    if (confirmed !== undefined) throw confirmed
    step('released', held.opId, tags)
    return done.value
  }

  /** Lets the writes that are under way end, for a moment, and ends the repairs; the blocks they leave are removed by the other members. */
  async close (): Promise<void> {
    this.#closed = true
    await Promise.race([Promise.allSettled([...this.#underWay, ...this.#repairs]), pause(CLOSE_MS)])
  }

  /**
   * Sends values ahead of the release that makes them current, and returns the name of the generation for that, '' without
   * one. The name is unlike any other, so it does not matter when a value arrives: it is judged when it is read.
   *
   * Not in a closed epoch: an operation of the epoch before may still reach the database, after ours and unknown to Redis.
   */
  #storeAhead ({ nonce, space, isOpen }: Held, written: readonly WrittenValue[]): string {
    if (written.length === 0 || !isOpen) return ''
    const name = uniqueId()
    for (const { key, tags, text, ttlMs } of written) {
      const generations = tags.map(() => `${nonce}.${name}`).join()
      this.#connection.run((client) => client.set(this.#connection.keys.value(space, key), stored(generations, text), 'PX', ttlMs)).catch((err: Error) => this.#notices.unshared(key, err.message))
    }
    return name
  }

  /** Releases, where the block was lost after one more block. @throws FST_ERR_CONFIG_CACHE_UNCONFIRMED */
  async #confirm (held: Held, tags: readonly string[], admission: Admission, name: string): Promise<void> {
    const deadline = now() + this.#options.confirmTimeoutMs
    let mine: Held | undefined = held
    let cause: unknown
    // A write that is still under way at close is released as well.
    do {
      try {
        // A block that was lost let others write meanwhile: what we wrote may be old by now, and is not handed on.
        if (mine !== undefined && await this.#blocks.release(mine, tags, mine === held ? name : '')) return
        mine = undefined
        mine = await this.#blocks.acquire(tags)
      } catch (err) {
        cause = err
        await pause(RETRY_MS * 2)
      }
    } while (now() < deadline && !this.#closed)
    this.#repair(mine, tags, admission)
    throw unconfirmed(cause)
  }

  /** @param notBefore when the block may end, on the monotonic clock */
  #repair (held: Held | undefined, tags: readonly string[], admission: Admission, notBefore = 0): void {
    admission.outlast()
    const repair = this.#holdUntil(held, notBefore).then(() => this.#untilReleased(held, tags))
    this.#repairs.add(repair)
    repair.finally(() => {
      this.#repairs.delete(repair)
      admission.end()
    })
  }

  async #holdUntil (held: Held | undefined, until: number): Promise<void> {
    if (held === undefined) return
    while (!this.#closed && now() < until) {
      await idle(Math.min(this.#options.blockTtlMs / 4, until - now()))
      await this.#blocks.beat(held).catch(() => {})
    }
  }

  async #untilReleased (held: Held | undefined, tags: readonly string[]): Promise<void> {
    let mine = held
    while (!this.#closed) {
      try {
        if (mine !== undefined && await this.#blocks.release(mine, tags)) return
        mine = undefined
        mine = await this.#blocks.acquire(tags)
      } catch {
        await pause(REPAIR_MS)
      }
    }
  }
}

function unconfirmed (cause: unknown): Error {
  const err = new FST_ERR_CONFIG_CACHE_UNCONFIRMED(reasonOf(cause))
  err.cause = cause
  return err
}
