import type { FastifyBaseLogger } from 'fastify'
import { now, surely } from '../time.ts'
import type { Connection } from './connection.ts'
import { releaseText, type ActiveBlock, type UnknownBlock } from './messages.ts'

/** When this process first knew an epoch: old leases and old blocks are waited out from then on its monotonic clock. */
export class Epochs {
  readonly #seen = new Map<string, number>()

  /** Time since which the epoch surely existed. */
  since (nonce: string): number {
    const known = this.#seen.get(nonce)
    if (known !== undefined) return known
    if (this.#seen.size >= 16) this.#seen.delete(this.#seen.keys().next().value!)
    const time = now()
    this.#seen.set(nonce, time)
    return time
  }
}

/**
 * Finds blocks whose writer fell silent: the beat of a block that did not change for its whole life, on the monotonic clock
 * of whoever watches. No clock of Redis is asked, so stepping it neither frees a block early nor keeps one for ever.
 */
class Watch {
  readonly #lifeMs: number
  readonly #seen = new Map<string, { beat: string, since: number }>()

  constructor (blockTtlMs: number) {
    this.#lifeMs = surely(blockTtlMs)
  }

  /** Takes note of the active blocks and returns those that are over. */
  look (blocks: readonly UnknownBlock[]): Set<string> {
    const time = now()
    const over = new Set<string>()
    const active = new Set(blocks.map(({ opId }) => opId))
    for (const opId of this.#seen.keys()) if (!active.has(opId)) this.#seen.delete(opId)
    for (const { opId, beat } of blocks) {
      const seen = this.#seen.get(opId)
      if (seen?.beat !== beat) this.#seen.set(opId, { beat, since: time })
      else if (time - seen.since > this.#lifeMs) over.add(opId)
    }
    return over
  }
}

/** What every member does for the whole cluster, by its own clock: ends quarantines, and removes what silent writers left. */
export class Caretaker {
  readonly #connection: Connection
  readonly #epochs: Epochs
  readonly #options: { readonly blockTtlMs: number, readonly generationTtlMs: number }
  readonly #log: FastifyBaseLogger
  readonly #watch: Watch

  constructor (connection: Connection, epochs: Epochs, options: { readonly blockTtlMs: number, readonly generationTtlMs: number }, log: FastifyBaseLogger) {
    this.#connection = connection
    this.#epochs = epochs
    this.#options = options
    this.#log = log
    this.#watch = new Watch(options.blockTtlMs)
  }

  /** The quarantine of an epoch counts from here on. */
  see (nonce: string): void {
    this.#epochs.since(nonce)
  }

  /** Opens an epoch whose quarantine is over; whether it is open now. Nobody but the clients' monotonic clocks watches that. */
  async open (nonce: string): Promise<boolean> {
    if (now() - this.#epochs.since(nonce) < surely(this.#options.blockTtlMs)) return false
    return await this.#connection.script('configCacheOpenV1', [], nonce) === 1
  }

  removeSilent (nonce: string, blocks: readonly ActiveBlock[], unknown: readonly UnknownBlock[]): void {
    const over = this.#watch.look([...blocks, ...unknown])
    if (over.size === 0) return
    for (const { opId, beat, tags } of blocks) {
      if (!over.has(opId)) continue
      this.#log.warn({ opId, tags: tags.length }, 'the block of a silent writer is removed')
      this.#connection.scriptOnTags('configCacheReleaseV1', tags,
        nonce, opId, beat, this.#connection.keys.bus, releaseText(opId), this.#options.generationTtlMs, 0, '').catch(() => {})
    }
    if (!unknown.some(({ opId }) => over.has(opId))) return
    // Which tags it counts under is not known, so it cannot be released: everything that anybody knew is void.
    this.#log.warn('a block of a newer release was left by a silent writer: the epoch ends')
    this.#connection.script('configCacheResetV1', []).catch(() => {})
  }
}
