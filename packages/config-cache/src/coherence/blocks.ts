import type { FastifyBaseLogger } from 'fastify'
import { FST_ERR_CONFIG_CACHE_UNREACHABLE } from '../errors.ts'
import { writes } from '../events.ts'
import { uniqueId } from '../id.ts'
import type { Slowest } from '../stats.ts'
import { now, pause, withDrift } from '../time.ts'
import type { ListedMember, PendingOps } from './acknowledgements.ts'
import type { Connection } from './connection.ts'
import type { Epochs } from './epochs.ts'
import { fieldsOf } from './keys.ts'
import { blockText, opText, releaseText } from './messages.ts'
import { beatScript, blockScript, fenceScript, releaseScript } from './scripts.ts'
import type { ServerRun } from './server-run.ts'

/** A block that Redis holds for us. */
export interface Held {
  readonly opId: string
  readonly nonce: string
  readonly seq: number
  /** Name of the shared level's values. */
  readonly space: string
  readonly isOpen: boolean
}

/** Published synchronously, so a subscriber can act between two steps; nobody subscribed costs nothing. */
export function step (name: 'blocked' | 'safe' | 'written' | 'released', opId: string, tags: readonly string[]): void {
  if (writes.hasSubscribers) writes.publish({ step: name, opId, tags })
}

export const RETRY_MS = 25
/** Lease of instances of 0.1, which do not send theirs. */
const DEFAULT_LEASE_MS = 1000

interface BlockOptions {
  readonly leaseMs: number
  readonly blockTtlMs: number
  readonly generationTtlMs: number
  readonly writeTimeoutMs: number
}

/** Blocks of this process: taken, proved fresh, released. */
export class Blocks {
  readonly #connection: Connection
  readonly #epochs: Epochs
  readonly #pending: PendingOps
  readonly #serverRun: ServerRun
  readonly #options: BlockOptions
  readonly #onReleased: (opId: string) => void
  readonly #log: FastifyBaseLogger
  slowest: Slowest | null = null
  #notedAt = -Infinity

  /** @param onReleased hears of an own release when Redis has confirmed it, before the message comes */
  constructor (connection: Connection, epochs: Epochs, pending: PendingOps, serverRun: ServerRun, options: BlockOptions, onReleased: (opId: string) => void, log: FastifyBaseLogger) {
    this.#connection = connection
    this.#epochs = epochs
    this.#pending = pending
    this.#serverRun = serverRun
    this.#options = options
    this.#onReleased = onReleased
    this.#log = log
  }

  /** Blocks the tags and waits until no member can serve what they cover. @throws FST_ERR_CONFIG_CACHE_UNREACHABLE */
  async acquire (tags: readonly string[]): Promise<Held> {
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

  /** Heartbeat: prolongs the block while its writer works; whether it is still held. */
  async beat ({ nonce, opId }: Held): Promise<boolean> {
    return await this.#connection.script(beatScript, this.#connection.keys.core, uniqueId(), nonce, opId) === 1
  }

  /** Whether the block was held until now. @param name for the generations where nobody else touched the tags: only of the block that the work ran under */
  async release ({ nonce, opId, seq }: Pick<Held, 'nonce' | 'opId' | 'seq'>, tags: readonly string[], name = ''): Promise<boolean> {
    const { keys } = this.#connection
    const held = await this.#connection.script(releaseScript, keys.withGenerations(tags),
      uniqueId(), nonce, opId, '', keys.bus, releaseText(opId), this.#options.generationTtlMs, seq, name, ...fieldsOf(tags)) === 1
    // Before the write resolves, so that the reads after it may keep what they load. Nothing else depends on the order:
    // the message that follows finds nothing to release.
    if (held) this.#onReleased(opId)
    return held
  }

  async #block (tags: readonly string[]): Promise<Held> {
    const { keys, id, version } = this.#connection
    if (!this.#connection.isUp) throw new Error('Redis is not reachable')
    await this.#connection.listen()
    const opId = uniqueId()
    const block = { opId, writer: id, tags }
    const pending = this.#pending.open(opId)
    // Like a lease, the block is only as fresh as the request that last proved it.
    let provenAt = now()
    let beat: NodeJS.Timeout | undefined
    try {
      const [nonce, seq, open, space, list, leaseMs, isBlind] = await this.#connection.script(blockScript, keys.withGenerations(tags),
        uniqueId(), opId, keys.bus, blockText(block), opText(block), this.#options.generationTtlMs, ...fieldsOf(tags))
      const blockedAt = now()
      step('blocked', opId, tags)
      if (isBlind === 1 && !await this.#serverRun.isSame(nonce, version)) throw new Error('Redis was restarted')
      this.#epochs.learn(leaseMs)
      const held = { opId, nonce, seq, space, isOpen: open === '1' }
      // A member may have a longer lease than the TTL of this block, which must not expire while it is waited for.
      beat = setInterval(() => { this.beat(held).catch(() => {}) }, this.#options.blockTtlMs / 4).unref()
      if (held.isOpen) {
        const members = this.#membersOf(list, blockedAt)
        const silent = await pending.wait(members)
        this.#noteSlowest(members.get(silent[0] ?? pending.last)?.host ?? '', now() - blockedAt)
        await this.#membersSafe(held, silent)
      }
      if (!held.isOpen) await this.#oldLeasesOver(nonce)
      // A process that was stopped or busy meanwhile may have lost the block: the work must not begin without it.
      while (now() - provenAt > this.#options.blockTtlMs / 2) {
        provenAt = now()
        if (!await this.beat(held)) throw new Error('the block was lost before the write began')
      }
      step('safe', opId, tags)
      return held
    } catch (err) {
      this.#abandon(opId, tags)
      throw err
    } finally {
      clearInterval(beat)
      this.#pending.close(opId)
    }
  }

  /**
   * Reads [id, "renewed token host lease", …]. Leases from before the block end within one lease of it, each by what its holder
   * goes by; those from after it know the block.
   */
  #membersOf (list: readonly string[], blockedAt: number): Map<string, ListedMember> {
    const members = new Map<string, ListedMember>()
    for (let i = 0; i + 1 < list.length; i += 2) {
      const [, , host = '', lease] = list[i + 1]!.split(' ')
      const leaseMs = Number(lease) > 0 ? Number(lease) : Math.max(this.#options.leaseMs, DEFAULT_LEASE_MS)
      members.set(list[i]!, { host, until: blockedAt + withDrift(leaseMs) })
    }
    return members
  }

  /** Keeps the member that writes of the last minute waited for longest. */
  #noteSlowest (host: string, waitMs: number): void {
    if (this.slowest !== null && waitMs < this.slowest.waitMs && now() - this.#notedAt < 60_000) return
    this.slowest = { instance: host, waitMs: Math.round(waitMs * 10) / 10 }
    this.#notedAt = now()
  }

  async #membersSafe ({ nonce, seq }: Held, silent: readonly string[]): Promise<void> {
    if (silent.length === 0) return
    const fenced = await this.#connection.script(fenceScript, this.#connection.keys.core, uniqueId(), nonce, seq, ...silent)
    if (fenced === 0) throw new Error('Redis lost its state during the write')
  }

  /** A closed epoch has no members yet: leases of the epoch before may still be served from, and are waited out. */
  async #oldLeasesOver (nonce: string): Promise<void> {
    await pause(this.#epochs.since(nonce) + withDrift(this.#epochs.leaseMs) - now())
  }

  /** The script that blocks may have run, or may run yet, though its reply was lost. Until the block is released nobody caches its tags. */
  #abandon (opId: string, tags: readonly string[]): void {
    const attempt = async () => {
      await pause(RETRY_MS)
      const nonce = await this.#connection.run((client) => client.hget(this.#connection.keys.core[0], 'nonce'))
      if (nonce !== null) await this.release({ opId, nonce, seq: 0 }, tags)
    }
    attempt().catch((err) => this.#log.debug({ err, opId }, 'a block that was given up will be removed by the members'))
  }
}

function unreachable (cause: unknown): Error {
  const err = new FST_ERR_CONFIG_CACHE_UNREACHABLE(reasonOf(cause))
  err.cause = cause
  return err
}

export const reasonOf = (err: unknown): string => err instanceof Error ? err.message : 'Redis does not answer'
