import type { FastifyBaseLogger } from 'fastify'
import { uniqueId } from '../id.ts'
import { now, withDrift } from '../time.ts'
import type { Connection } from './connection.ts'
import { fieldsOf } from './keys.ts'
import { releaseText, type ActiveBlock, type UnknownBlock } from './messages.ts'
import { openScript, releaseScript, resetScript } from './scripts.ts'

/** When this process first saw each epoch, on its monotonic clock: leases and operations of the epoch before are waited out from then. */
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

  /** Notes the longest times that instances of the present epoch told. */
  learn (leaseMs: number, blockTtlMs = 0): void {
    this.#leaseMs = Math.max(this.#leaseMs, leaseMs)
    this.#blockTtlMs = Math.max(this.#blockTtlMs, blockTtlMs)
  }

  /** When this process first heard of the epoch. */
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
 * Finds expired blocks: those whose heartbeat did not change for the TTL of a block, on the monotonic clock of this process. No clock of Redis
 * is asked, so that setting it neither frees a block early nor keeps one for ever.
 */
class BlockExpiry {
  readonly #seen = new Map<string, { beat: string, since: number }>()

  /** Notes the active blocks and their heartbeats; returns the operations whose blocks are expired. */
  observe (blocks: readonly UnknownBlock[], ttlMs: number): Set<string> {
    const time = now()
    const over = new Set<string>()
    const active = new Set(blocks.map(({ opId }) => opId))
    for (const opId of this.#seen.keys()) if (!active.has(opId)) this.#seen.delete(opId)
    for (const { opId, beat } of blocks) {
      const seen = this.#seen.get(opId)
      if (seen?.beat !== beat) this.#seen.set(opId, { beat, since: time })
      else if (time - seen.since > ttlMs) over.add(opId)
    }
    return over
  }
}

/** What each member does for the whole cluster, by its own clock: opens an epoch after its quarantine, and removes expired blocks. */
export class Maintenance {
  readonly #connection: Connection
  readonly #epochs: Epochs
  readonly #generationTtlMs: number
  readonly #log: FastifyBaseLogger
  readonly #expiry = new BlockExpiry()

  constructor (connection: Connection, epochs: Epochs, generationTtlMs: number, log: FastifyBaseLogger) {
    this.#connection = connection
    this.#epochs = epochs
    this.#generationTtlMs = generationTtlMs
    this.#log = log
  }

  /** Notes an epoch, whose quarantine is counted from the first time, and the longest times that its instances told. */
  noteEpoch (nonce: string, leaseMs: number, blockTtlMs: number): void {
    this.#epochs.learn(leaseMs, blockTtlMs)
    this.#epochs.since(nonce)
  }

  /**
   * Opens an epoch whose quarantine is over; whether it is open now. Only monotonic clocks of clients measure it. Leases of the epoch
   * before are over by then, too: in an open one nobody waits for them.
   */
  async open (nonce: string): Promise<boolean> {
    if (now() - this.#epochs.since(nonce) < withDrift(Math.max(this.#epochs.blockTtlMs, this.#epochs.leaseMs))) return false
    return await this.#connection.script(openScript, this.#connection.keys.core, uniqueId(), nonce) === 1
  }

  removeExpired (nonce: string, blocks: readonly ActiveBlock[], unknown: readonly UnknownBlock[]): void {
    const { keys } = this.#connection
    const over = this.#expiry.observe([...blocks, ...unknown], withDrift(this.#epochs.blockTtlMs))
    if (over.size === 0) return
    for (const { opId, beat, tags } of blocks) {
      if (!over.has(opId)) continue
      this.#log.warn({ opId, tags: tags.length }, 'the block of a silent writer is removed')
      this.#connection.script(releaseScript, keys.withGenerations(tags),
        uniqueId(), nonce, opId, beat, keys.bus, releaseText(opId), this.#generationTtlMs, 0, '', ...fieldsOf(tags)).catch(() => {})
    }
    if (!unknown.some(({ opId }) => over.has(opId))) return
    // Its tags cannot be read, so it cannot be released: the epoch ends, and with it all cached state.
    this.#log.warn('a block of a newer release was left by a silent writer: the epoch ends')
    this.#connection.script(resetScript, keys.core, uniqueId()).catch(() => {})
  }
}
