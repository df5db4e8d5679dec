import { channel } from 'node:diagnostics_channel'
import type { FastifyBaseLogger } from 'fastify'
import type { Unsubscribe } from '@jpulse/redis-link'
import type { Connection } from './connection.ts'
import type { Epochs } from './epochs.ts'
import { FST_ERR_CONFIG_CACHE_CLOSED, FST_ERR_CONFIG_CACHE_UNCONFIRMED, FST_ERR_CONFIG_CACHE_UNREACHABLE } from '../errors.ts'
import type { Handed } from '../values.ts'
import { uniqueId } from '../id.ts'
import { blockText, opText, releaseText, stored } from './messages.ts'
import { isDecided, type WritePath } from './coherence.ts'
import type { PendingOps } from './acknowledgements.ts'
import { idle, now, pause, surely } from '../time.ts'

export interface RedisWriteOptions {
  readonly leaseMs: number
  readonly blockTtlMs: number
  readonly generationTtlMs: number
  readonly writeTimeoutMs: number
  readonly confirmTimeoutMs: number
}

/** A block that Redis holds for us. */
interface Held {
  readonly opId: string
  readonly nonce: string
  readonly seq: number
  /** Name of the shared level's values. */
  readonly space: string
  readonly isOpen: boolean
}

const RETRY_MS = 25
const REPAIR_MS = 200
/** Blocks of failed work that a process keeps at most: each is told to every member at each renewal. */
const MOST_OUTLASTED = 1000

/**
 * BLOCK, acknowledgements, work, RELEASE. What each step is for, and what happens where it fails: docs/coherence.md.
 */
export class RedisWritePath implements WritePath {
  readonly #connection: Connection
  readonly #epochs: Epochs
  readonly #pending: PendingOps
  readonly #options: RedisWriteOptions
  readonly #log: FastifyBaseLogger
  readonly #repairs = new Set<Promise<void>>()
  #unsubscribe: Promise<Unsubscribe> | undefined
  #closed = false

  constructor (connection: Connection, epochs: Epochs, pending: PendingOps, options: RedisWriteOptions, log: FastifyBaseLogger) {
    this.#connection = connection
    this.#epochs = epochs
    this.#pending = pending
    this.#options = options
    this.#log = log
  }

  async start (): Promise<void> {
    this.#unsubscribe = this.#connection.subscriber.subscribe(this.#connection.keys.acks(this.#connection.id), (bytes) => this.#pending.hear(bytes))
    await this.#unsubscribe
  }

  async write<T> (tags: readonly string[], work: () => Promise<T>, handOn?: (value: T) => readonly Handed[]): Promise<T> {
    if (this.#closed) throw new FST_ERR_CONFIG_CACHE_CLOSED()
    const held = await this.#acquire(tags)
    const began = now()
    const beat = setInterval(() => { this.#beat(held).catch(() => {}) }, this.#options.blockTtlMs / 4).unref()
    let done: { value: T } | { error: unknown }
    try {
      done = { value: await work() }
    } catch (error) {
      done = { error }
    } finally {
      clearInterval(beat)
    }
    step('written', held.opId, tags)
    if ('error' in done && !isDecided(done.error) && this.#repairs.size < MOST_OUTLASTED) {
      // A driver that gave up waiting has not called its operation back: while it may arrive, nobody keeps what he reads.
      this.#repair(held, tags, began + this.#options.blockTtlMs)
      throw done.error
    }
    let handed: readonly Handed[] = []
    try {
      if ('value' in done && handOn !== undefined) handed = handOn(done.value)
    } catch (error) {
      done = { error }
    }
    const confirmed = await this.#confirm(held, tags, this.#handOn(held, handed)).then(() => undefined, (err: unknown) => err)
    // The application has to know of its own failure first; the repair goes on either way.
    if ('error' in done) throw done.error
    if (confirmed !== undefined) throw confirmed
    step('released', held.opId, tags)
    return done.value
  }

  /** Ends the repairs that are under way; the blocks they leave are removed by the other members. */
  async close (): Promise<void> {
    this.#closed = true
    const unsubscribed = this.#unsubscribe?.then((unsubscribe) => unsubscribe())
    await Promise.race([Promise.allSettled([...this.#repairs, unsubscribed]), pause(500)])
  }

  /** Blocks the tags and waits until no member can serve what they cover. @throws FST_ERR_CONFIG_CACHE_UNREACHABLE */
  async #acquire (tags: readonly string[]): Promise<Held> {
    const deadline = now() + this.#options.writeTimeoutMs
    for (;;) {
      try {
        return await this.#block(tags)
      } catch (err) {
        // A connection that broke under the command may be back in a moment; one that is down is not waited for.
        if (!this.#connection.isUp || now() + RETRY_MS >= deadline) throw unreachable(err)
        await pause(RETRY_MS)
      }
    }
  }

  async #block (tags: readonly string[]): Promise<Held> {
    if (!this.#connection.isUp) throw new Error('Redis is not reachable')
    const opId = uniqueId()
    const block = { opId, writer: this.#connection.id, tags }
    const pending = this.#pending.open(opId)
    // Like a lease, the block is only as fresh as the request that last proved it.
    let provenAt = now()
    try {
      const [nonce, seq, open, space, list] = await this.#connection.scriptOnTags('configCacheBlockV1', tags,
        opId, this.#connection.keys.bus, blockText(block), opText(block), this.#options.generationTtlMs)
      const blockedAt = now()
      step('blocked', opId, tags)
      const held = { opId, nonce, seq, space, isOpen: open === '1' }
      if (held.isOpen) await this.#membersSafe(held, blockedAt, hosts(list), pending.wait.bind(pending))
      else await this.#oldLeasesOver(nonce)
      // A process that was stopped or busy meanwhile may have lost the block: the work must not begin without it.
      while (now() - provenAt > this.#options.blockTtlMs / 2) {
        provenAt = now()
        if (!await this.#beat(held)) throw new Error('the block was lost before the write began')
      }
      step('safe', opId, tags)
      return held
    } catch (err) {
      this.#giveUp(opId, tags)
      throw err
    } finally {
      this.#pending.close(opId)
    }
  }

  async #membersSafe (held: Held, blockedAt: number, members: ReadonlyMap<string, string>, wait: (members: ReadonlyMap<string, string>, deadline: number) => Promise<string[]>): Promise<void> {
    // Leases from before the block end within one lease of it; those from after it know the block.
    const silent = await wait(members, blockedAt + surely(this.#options.leaseMs))
    if (silent.length === 0) return
    const fenced = await this.#connection.script('configCacheFenceV1', [], held.nonce, held.seq, ...silent)
    if (fenced === 0) throw new Error('Redis lost its state during the write')
  }

  /** A closed epoch knows nobody: whoever held a lease of the one before may serve until that is over. */
  async #oldLeasesOver (nonce: string): Promise<void> {
    await pause(this.#epochs.since(nonce) + surely(this.#options.leaseMs) - now())
  }

  async #beat ({ nonce, opId }: Held): Promise<boolean> {
    return await this.#connection.script('configCacheBeatV1', [], nonce, opId) === 1
  }

  /**
   * Sends values ahead of the release that makes them current, and returns the name of the generation for that, '' without
   * one. The name is unlike any other, so it does not matter when a value arrives: it is judged when it is read.
   *
   * Not in a closed epoch: an operation of the epoch before may still reach the database, after ours and unknown to Redis.
   */
  #handOn ({ nonce, space, isOpen }: Held, handed: readonly Handed[]): string {
    if (handed.length === 0 || !isOpen) return ''
    const name = uniqueId()
    for (const { key, tags, text, ttlMs } of handed) {
      const generations = tags.map(() => `${nonce}.${name}`).join()
      this.#connection.run((client) => client.set(this.#connection.keys.value(space, key), stored(generations, text), 'PX', ttlMs)).catch(() => {})
    }
    return name
  }

  /** @param name for the generations where nobody else touched the tags: only of the block that the work ran under */
  async #release ({ nonce, opId, seq }: Pick<Held, 'nonce' | 'opId' | 'seq'>, tags: readonly string[], name = ''): Promise<boolean> {
    return await this.#connection.scriptOnTags('configCacheReleaseV1', tags,
      nonce, opId, '', this.#connection.keys.bus, releaseText(opId), this.#options.generationTtlMs, seq, name) === 1
  }

  /** Releases, where the block was lost after one more block. @throws FST_ERR_CONFIG_CACHE_UNCONFIRMED */
  async #confirm (held: Held, tags: readonly string[], name: string): Promise<void> {
    const deadline = now() + this.#options.confirmTimeoutMs
    let mine: Held | undefined = held
    let cause: unknown
    // A write that is still under way at close is released as well.
    do {
      try {
        // A block that was lost let others write meanwhile: what we wrote may be old by now, and is not handed on.
        if (mine !== undefined && await this.#release(mine, tags, mine === held ? name : '')) return
        mine = undefined
        mine = await this.#acquire(tags)
      } catch (err) {
        cause = err
        await pause(RETRY_MS * 2)
      }
    } while (now() < deadline && !this.#closed)
    this.#repair(mine, tags)
    throw unconfirmed(cause)
  }

  /** @param notBefore when the block may end, on the monotonic clock */
  #repair (held: Held | undefined, tags: readonly string[], notBefore = 0): void {
    const repair = this.#outlast(held, notBefore).then(() => this.#untilReleased(held, tags))
    this.#repairs.add(repair)
    repair.finally(() => this.#repairs.delete(repair))
  }

  async #outlast (held: Held | undefined, until: number): Promise<void> {
    if (held === undefined) return
    while (!this.#closed && now() < until) {
      await idle(Math.min(this.#options.blockTtlMs / 4, until - now()))
      await this.#beat(held).catch(() => {})
    }
  }

  async #untilReleased (held: Held | undefined, tags: readonly string[]): Promise<void> {
    let mine = held
    while (!this.#closed) {
      try {
        if (mine !== undefined && await this.#release(mine, tags)) return
        mine = undefined
        mine = await this.#acquire(tags)
      } catch {
        await pause(REPAIR_MS)
      }
    }
  }

  /** Redis may have executed, or may yet execute, a block that we gave up. Until it is released nobody caches its tags. */
  #giveUp (opId: string, tags: readonly string[]): void {
    const attempt = async () => {
      await pause(RETRY_MS)
      const nonce = await this.#connection.run((client) => client.hget(this.#connection.keys.core[0], 'nonce'))
      if (nonce !== null) await this.#release({ opId, nonce, seq: 0 }, tags)
    }
    attempt().catch((err) => this.#log.debug({ err, opId }, 'a block that was given up will be removed by the members'))
  }
}

/** Reads [id, "renewed token host", …]. */
function hosts (list: readonly string[]): Map<string, string> {
  const members = new Map<string, string>()
  for (let i = 0; i + 1 < list.length; i += 2) members.set(list[i]!, list[i + 1]!.split(' ')[2]!)
  return members
}

const reasonOf = (err: unknown): string => err instanceof Error ? err.message : 'Redis does not answer'

function unreachable (cause: unknown): Error {
  const err = new FST_ERR_CONFIG_CACHE_UNREACHABLE(reasonOf(cause))
  err.cause = cause
  return err
}

function unconfirmed (cause: unknown): Error {
  const err = new FST_ERR_CONFIG_CACHE_UNCONFIRMED(reasonOf(cause))
  err.cause = cause
  return err
}

/** Where a write stands. `blocked`: Redis holds the block; `safe`: nobody serves the old value; `written`: the database answered; `released`: done. */
type Step = 'blocked' | 'safe' | 'written' | 'released'

const steps = channel('jpulse:config-cache:write')

/** Published synchronously, so a subscriber can act between two steps; nobody subscribed costs nothing. */
function step (name: Step, opId: string, tags: readonly string[]): void {
  if (steps.hasSubscribers) steps.publish({ step: name, opId, tags })
}
