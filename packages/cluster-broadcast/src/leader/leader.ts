import { EventEmitter } from 'node:events'
import { acceptOnly, emitSafely } from '@jpulse/plugin-kit'
import type { FastifyBaseLogger } from 'fastify'
import { FST_ERR_CLUSTER_BROADCAST_INVALID_ARGUMENT } from '../errors.ts'
import type { Terms } from './terms.ts'

/** What an election tells. */
export interface LeaderEvents {
  /** This process leads from now on, in a term of this token. */
  elected: [token: number]
  /** It leads no longer. */
  deposed: []
}

export interface LeaderOptions {
  /** How long a leader leads without renewing, in milliseconds, 500 to 600000. It renews three times as often. @default 10000 */
  leaseMs?: number
}

/** Where terms are kept, and who stands. */
export interface Election {
  readonly terms: Terms
  /** Name of this candidate among those who stand. */
  readonly holder: string
  readonly leaseMs: number
  readonly log: FastifyBaseLogger
}

/**
 * One leader among the processes that ask for it by the same name. Who stopped for longer than its lease, or cannot reach
 * Redis, leads no longer by its own clock, before another can be elected. A failover of Redis that loses the last renewal may
 * none the less let two overlap: so give `token` to what you write to, and let it refuse a smaller one than it has seen.
 */
export class Leader extends EventEmitter<LeaderEvents> {
  readonly #election: Election
  #token: number | null = null
  /** On this process' monotonic clock. */
  #validUntil = -Infinity
  #renewal: NodeJS.Timeout | undefined
  #end: NodeJS.Timeout | undefined
  #standing: Promise<void> | null = null
  /** Before `#closing`: whoever hears that it is deposed may stand again at once. */
  #isOver = false
  #closing: Promise<void> | undefined

  constructor (election: Election) {
    super()
    // All who ask a process for one name share it.
    this.setMaxListeners(0)
    acceptOnly<LeaderEvents>(this, { elected: true, deposed: true }, (wanted) => new FST_ERR_CLUSTER_BROADCAST_INVALID_ARGUMENT('The event', wanted))
    this.#election = election
    // The caller listens first.
    queueMicrotask(() => { this.stand() })
  }

  /** Whether this process leads. Asked at the time of use: a process may have stood still since it was told. */
  get isLeader (): boolean {
    return performance.now() < this.#validUntil
  }

  /** Fencing token of this process' term, greater than those of all terms before; null where it does not lead. */
  get token (): number | null {
    return this.isLeader ? this.#token : null
  }

  /** Whether this process resigned. */
  get isOver (): boolean {
    return this.#isOver
  }

  /** Stands or renews at once, and not only three times per lease. Resolves when that is over, whatever its outcome. */
  stand (): Promise<void> {
    this.#standing ??= this.#stand().finally(() => { this.#standing = null })
    return this.#standing
  }

  /** Leads no longer and stands no more; another one is elected at once or within a third of the lease. Never rejects. */
  resign (): Promise<void> {
    this.#isOver = true
    this.#closing ??= this.#resign()
    return this.#closing
  }

  async #resign (): Promise<void> {
    clearTimeout(this.#renewal)
    this.#depose()
    await this.#standing
    this.#depose()
    const { terms, holder, log } = this.#election
    await terms.resign(holder)
      .catch((err: unknown) => log.debug({ err }, 'that this process leads no longer will be seen when its lease ends'))
  }

  async #stand (): Promise<void> {
    clearTimeout(this.#renewal)
    if (this.#isOver) return
    const { terms, holder, leaseMs, log } = this.#election
    // Counted from before the question: Redis began later.
    const sentAt = performance.now()
    try {
      const { leads, token } = await terms.stand(holder, leaseMs)
      if (leads) this.#lead(token, terms.isAlone ? Infinity : sentAt + leaseMs)
      else this.#depose()
    } catch (err) {
      log.debug({ err }, 'who leads cannot be told')
    }
    if (!this.#isOver) this.#renewal = setTimeout(() => { this.stand() }, leaseMs / 3).unref()
  }

  #lead (token: number, until: number): void {
    // An answer that took longer than the lease is about a term that has ended.
    if (this.#isOver || until <= performance.now()) return
    if (token !== this.#token) this.#depose()
    const isNew = this.#token === null
    this.#token = token
    this.#validUntil = until
    clearTimeout(this.#end)
    if (until !== Infinity) this.#end = setTimeout(() => { if (!this.isLeader) this.#depose() }, until - performance.now() + 1).unref()
    if (isNew) this.#tell('elected', token)
  }

  #depose (): void {
    clearTimeout(this.#end)
    this.#validUntil = -Infinity
    if (this.#token === null) return
    this.#token = null
    this.#tell('deposed')
  }

  #tell<E extends keyof LeaderEvents> (event: E, ...args: LeaderEvents[E]): void {
    emitSafely(this, (err) => this.#election.log.error({ err, event }, 'a listener of an election failed'), event, ...args)
  }
}

/** @throws FST_ERR_CLUSTER_BROADCAST_INVALID_ARGUMENT */
export function checkElection (name: unknown, leaseMs: unknown): void {
  const invalid = (what: string, wanted: string): Error => new FST_ERR_CLUSTER_BROADCAST_INVALID_ARGUMENT(what, wanted)
  if (typeof name !== 'string' || name.length < 1 || name.length > 1024) throw invalid('The name of a leader', 'a string of 1 to 1024 characters')
  if (!Number.isSafeInteger(leaseMs) || Number(leaseMs) < 500 || Number(leaseMs) > 600_000) throw invalid('leaseMs', 'a whole number from 500 to 600000')
}
