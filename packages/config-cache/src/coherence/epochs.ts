import type { FastifyBaseLogger } from 'fastify'
import { uniqueId } from '../id.ts'
import { now, surely } from '../time.ts'
import type { Connection } from './connection.ts'
import { fieldsOf } from './keys.ts'
import { releaseText, type ActiveBlock, type UnknownBlock } from './messages.ts'
import { openScript, releaseScript, resetScript } from './scripts.ts'

/** When this process first knew an epoch: old leases and old blocks are waited out from then on its monotonic clock. */
export class Epochs {
  readonly #seen = new Map<string, number>()
  #leaseMs: number
  #blockTtlMs: number

  constructor (options: { readonly leaseMs: number, readonly blockTtlMs: number }) {
    this.#leaseMs = options.leaseMs
    this.#blockTtlMs = options.blockTtlMs
  }

  /** The longest lease that any instance is known to go by: in a rolling deploy they may differ. */
  get leaseMs (): number {
    return this.#leaseMs
  }

  /** The longest life of a block, likewise. */
  get blockTtlMs (): number {
    return this.#blockTtlMs
  }

  /** Takes note of what the instances of the present epoch told. */
  learn (leaseMs: number, blockTtlMs = 0): void {
    this.#leaseMs = Math.max(this.#leaseMs, leaseMs)
    this.#blockTtlMs = Math.max(this.#blockTtlMs, blockTtlMs)
  }

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
  readonly #seen = new Map<string, { beat: string, since: number }>()

  /** Takes note of the active blocks and returns those that are over. */
  look (blocks: readonly UnknownBlock[], lifeMs: number): Set<string> {
    const time = now()
    const over = new Set<string>()
    const active = new Set(blocks.map(({ opId }) => opId))
    for (const opId of this.#seen.keys()) if (!active.has(opId)) this.#seen.delete(opId)
    for (const { opId, beat } of blocks) {
      const seen = this.#seen.get(opId)
      if (seen?.beat !== beat) this.#seen.set(opId, { beat, since: time })
      else if (time - seen.since > lifeMs) over.add(opId)
    }
    return over
  }
}

/** What every member does for the whole cluster, by its own clock: ends quarantines, and removes what silent writers left. */
export class Caretaker {
  readonly #connection: Connection
  readonly #epochs: Epochs
  readonly #generationTtlMs: number
  readonly #log: FastifyBaseLogger
  readonly #watch = new Watch()

  constructor (connection: Connection, epochs: Epochs, generationTtlMs: number, log: FastifyBaseLogger) {
    this.#connection = connection
    this.#epochs = epochs
    this.#generationTtlMs = generationTtlMs
    this.#log = log
  }

  /** The quarantine of an epoch counts from here on. */
  see (nonce: string, leaseMs: number, blockTtlMs: number): void {
    this.#epochs.learn(leaseMs, blockTtlMs)
    this.#epochs.since(nonce)
  }

  /** Opens an epoch whose quarantine is over; whether it is open now. Nobody but the clients' monotonic clocks watches that. */
  async open (nonce: string): Promise<boolean> {
    if (now() - this.#epochs.since(nonce) < surely(this.#epochs.blockTtlMs)) return false
    return await this.#connection.script(openScript, this.#connection.keys.core, uniqueId(), nonce) === 1
  }

  removeSilent (nonce: string, blocks: readonly ActiveBlock[], unknown: readonly UnknownBlock[]): void {
    const { keys } = this.#connection
    const over = this.#watch.look([...blocks, ...unknown], surely(this.#epochs.blockTtlMs))
    if (over.size === 0) return
    for (const { opId, beat, tags } of blocks) {
      if (!over.has(opId)) continue
      this.#log.warn({ opId, tags: tags.length }, 'the block of a silent writer is removed')
      this.#connection.script(releaseScript, keys.withGenerations(tags),
        uniqueId(), nonce, opId, beat, keys.bus, releaseText(opId), this.#generationTtlMs, 0, '', ...fieldsOf(tags)).catch(() => {})
    }
    if (!unknown.some(({ opId }) => over.has(opId))) return
    // Which tags it counts under is not known, so it cannot be released: everything that anybody knew is void.
    this.#log.warn('a block of a newer release was left by a silent writer: the epoch ends')
    this.#connection.script(resetScript, keys.core, uniqueId()).catch(() => {})
  }
}
