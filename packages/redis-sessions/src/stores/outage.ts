import type { SessionRef } from './ids.ts'

/** So many sessions or logouts are told to Redis at once. */
const SLICE = 100

/** A logout-all to be carried out in Redis; `at` is of a steady clock, in milliseconds. */
export interface LateLogout { readonly tag: string, readonly at: number, readonly except?: SessionRef }

/** What is to be told to Redis next, all of it at once. */
export type Work =
  | { readonly kind: 'logouts', readonly refs: readonly SessionRef[] }
  | { readonly kind: 'logout-alls', readonly lates: readonly LateLogout[] }
  | { readonly kind: 'moves', readonly refs: readonly SessionRef[] }
  /** For the answers to the logout-alls under way. */
  | { readonly kind: 'wait' }
  | { readonly kind: 'done' }

/** How a session goes to Redis. `mark` is the watermark that it has to be above, 0 for none; `noted` the mark of its group elsewhere. */
export interface Move { readonly creates: boolean, readonly isFirst: boolean, readonly mark: number, readonly noted: number }

/** A session that was sent to Redis in this outage: at first when, and whether Redis said that it is there. */
interface Sent { readonly ref: SessionRef, readonly at: number, isThere: boolean }

/** A session that a logout-all spared: how many of them are under way, and the highest watermark of the others. */
interface Spared { asking: number, mark: number }

/**
 * What is decided in an outage of Redis with policy `memory`: which store answers, which ends are remembered, what is told
 * to Redis and in which order. It is told what happens and when; it asks nobody and has no clock.
 */
export class Outage {
  readonly #has: (ref: SessionRef) => boolean
  readonly #refusesMs: number
  readonly #ended = new Map<string, SessionRef>()
  readonly #late = new Map<string, LateLogout>()
  readonly #sent = new Map<string, Sent>()
  readonly #spared = new Map<string, Spared>()
  /** Groups whose logout-alls of this outage Redis has. */
  readonly #voided = new Set<string>()
  /** The highest marks of late logout-alls that are kept elsewhere, by group: what the process has of it was made after them, or spared. */
  readonly #noted = new Map<string, number>()
  #queue: SessionRef[] = []
  #phase: 'none' | 'away' | 'replay' = 'none'

  /**
   * @param has whether the process has a session
   * @param refusesMs how long after its end Redis refuses to have a session made again; 0 where it does not
   */
  constructor (has: (ref: SessionRef) => boolean, refusesMs = 0) {
    this.#has = has
    this.#refusesMs = refusesMs
  }

  get isAway (): boolean {
    return this.#phase !== 'none'
  }

  get isReplaying (): boolean {
    return this.#phase === 'replay'
  }

  /** What Redis was not told yet. */
  get untold (): { logouts: number, logoutAlls: number } {
    return { logouts: this.#ended.size, logoutAlls: this.#late.size }
  }

  /** Redis did not answer. */
  begin (): void {
    if (this.#phase === 'none') this.#phase = 'away'
  }

  /** Redis answers again: from here on `next` says what it is told. */
  replay (): void {
    this.#phase = 'replay'
  }

  /** Redis did not answer in the replay, which begins anew later. */
  interrupt (): void {
    this.#phase = 'away'
    this.#queue = []
  }

  /** Redis' answer counts where it answers, and all that happened to the session here is there. */
  isHere (ref: SessionRef): boolean {
    return this.isAway && (!this.isReplaying || this.isEnded(ref) || this.#has(ref))
  }

  /** Whether a session may have ended here without Redis knowing of it. */
  isEnded ({ hash, tag }: SessionRef): boolean {
    return this.#ended.has(hash) || this.#late.has(tag)
  }

  /** Who knows the sessions of a group. */
  listsFrom (tag: string): 'redis' | 'memory' | 'both' {
    if (!this.isAway) return 'redis'
    return this.isReplaying && !this.#late.has(tag) ? 'both' : 'memory'
  }

  /** A session ends, and Redis is going to be told. */
  end (ref: SessionRef): void {
    // It may be on its way to Redis, and arrive after the logout, which is carried out once more.
    if (this.#sent.has(ref.hash)) this.#ended.set(ref.hash, ref)
  }

  /** Redis could not be told. */
  endLater (ref: SessionRef): void {
    this.#ended.set(ref.hash, ref)
  }

  /** The sessions of a group end, and Redis is going to be told; `endedAll` or `endAllLater` may follow, and `stopAsking` does. */
  endAll (tag: string, except?: SessionRef): void {
    this.#endSent(tag, except)
    if (except === undefined || !this.#has(except)) return
    // The watermark may arrive before the session that is to outlive it.
    const spared = this.#spared.get(except.hash) ?? { asking: 0, mark: 0 }
    spared.asking++
    this.#spared.set(except.hash, spared)
  }

  /** Redis has the watermark of an `endAll`. */
  endedAll (tag: string, mark: number, except?: SessionRef): void {
    if (!this.isAway) return
    this.#voided.add(tag)
    this.#raise(mark, except)
  }

  /** Redis could not be told of an `endAll`. */
  endAllLater (late: LateLogout): void {
    this.#endSent(late.tag, late.except)
    this.#late.set(late.tag, late)
  }

  /** A late logout-all has this mark in the backup. */
  noted (tag: string, mark: number): void {
    this.#noted.set(tag, Math.max(this.#noted.get(tag) ?? 0, mark))
  }

  /** An `endAll` has its answer, or never gets one. */
  stopAsking (except?: SessionRef): void {
    const spared = except === undefined ? undefined : this.#spared.get(except.hash)
    if (spared !== undefined) spared.asking = Math.max(0, spared.asking - 1)
  }

  /** @param made the sessions that the process has, asked for once in each pass over them */
  next (made: () => SessionRef[]): Work {
    if (this.#ended.size > 0) return { kind: 'logouts', refs: [...this.#ended.values()].slice(0, SLICE) }
    if (this.#late.size > 0) return { kind: 'logout-alls', lates: [...this.#late.values()].slice(0, SLICE) }
    if (this.#queue.length === 0) {
      const all = made()
      if (all.length === 0) return { kind: 'done' }
      this.#queue = all.filter(({ hash }) => !((this.#spared.get(hash)?.asking ?? 0) > 0))
      if (this.#queue.length === 0) return { kind: 'wait' }
    }
    return { kind: 'moves', refs: this.#queue.splice(0, SLICE) }
  }

  /** Redis carried out a logout of `next`. */
  toldEnd (ref: SessionRef): void {
    if (this.#ended.get(ref.hash) === ref) this.#ended.delete(ref.hash)
  }

  /** Redis carried out a logout-all of `next`. */
  toldEndAll (late: LateLogout, mark: number): void {
    const { tag, except } = late
    this.#voided.add(tag)
    if (this.#late.get(tag) === late) this.#late.delete(tag)
    this.#raise(mark, except)
  }

  /** Whether a session is told to Redis after a logout-all that it outlived or followed. */
  followsLogout ({ tag }: SessionRef): boolean {
    return this.#voided.has(tag)
  }

  /**
   * A session is sent to Redis now. What Redis once took is not made there again: if it is gone, it was logged out
   * elsewhere. Where the answer was lost nobody knows, but for as long as Redis refuses what ended.
   */
  send (ref: SessionRef, now: number): Move {
    const known = this.#sent.get(ref.hash)
    if (known === undefined) this.#sent.set(ref.hash, { ref, at: now, isThere: false })
    // By half, since the command takes its time.
    const creates = known === undefined || (!known.isThere && now - known.at < this.#refusesMs / 2)
    return { creates, isFirst: known === undefined, mark: this.#spared.get(ref.hash)?.mark ?? 0, noted: this.#noted.get(ref.tag) ?? 0 }
  }

  /** Redis has the session. */
  arrived ({ hash }: SessionRef): void {
    const sent = this.#sent.get(hash)
    if (sent !== undefined) sent.isThere = true
  }

  /** Redis does not have the session, after this move. @returns whether it ended; else it is moved once more */
  isRefused ({ hash, tag }: SessionRef, { creates, isFirst, mark }: Move): boolean {
    const spared = this.#spared.get(hash) ?? { asking: 0, mark: 0 }
    const isSpared = creates && (spared.asking > 0 || spared.mark > mark || this.#late.get(tag)?.except?.hash === hash)
    // It never was there: the next attempt is as good as the first.
    if (isSpared && isFirst) this.#sent.delete(hash)
    return !isSpared
  }

  /** Redis was told everything. */
  finish (): void {
    this.#phase = 'none'
    for (const known of [this.#ended, this.#late, this.#sent, this.#spared, this.#voided, this.#noted]) known.clear()
    this.#queue = []
  }

  /** Between those that were moved and the logout-all the clocks of two machines would decide. */
  #endSent (tag: string, except?: SessionRef): void {
    for (const { ref } of this.#sent.values()) if (ref.tag === tag && ref.hash !== except?.hash) this.#ended.set(ref.hash, ref)
  }

  #raise (mark: number, except?: SessionRef): void {
    if (except === undefined || !this.#has(except)) return
    const { asking, mark: before } = this.#spared.get(except.hash) ?? { asking: 0, mark: 0 }
    this.#spared.set(except.hash, { asking, mark: Math.max(before, mark) })
  }
}
