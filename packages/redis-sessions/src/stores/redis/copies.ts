import type { StoredSession } from '../header.ts'
import type { SessionRef } from '../ids.ts'

/** A copy as the cache has it. */
export interface Copy {
  readonly stored: StoredSession | null
  /** How long the session lives unless it is seen again; 0 for one that is not kept. */
  readonly leftMs: number
}

/** After so long a copy is made anew: it knows then when other instances saw its session. */
const MOST_MS = 60_000
/** So many notes of when this instance saw a session are kept; without one a copy says an earlier time, and is told again. */
const MOST_SEEN = 20_000

/** Names and lives of the copies that one process has of sessions, and what only it knows of them. */
export class Copies {
  readonly areServed: boolean
  readonly #prefix: string
  /** By hash, the latest last. */
  readonly #seenAt = new Map<string, number>()
  /** Copies with a later time. A copy that is made anew is another object. */
  readonly #later = new WeakMap<StoredSession, StoredSession>()

  /**
   * @param realm name of the registration; '' for none
   * @param areServed false where only changes are told, for instances that serve theirs
   */
  constructor (realm: string, areServed: boolean) {
    this.#prefix = `session@${realm}:`
    this.areServed = areServed
  }

  /** Key in the cache. */
  keyOf ({ hash }: SessionRef): string {
    return this.#prefix + hash
  }

  /** Tag of all sessions of a group in the cache. */
  groupOf (tag: string): string {
    return `${this.#prefix}of:${tag}`
  }

  readonly ttlOf = ({ stored, leftMs }: Copy): number => stored === null || stored.version === '' ? 0 : Math.max(0, Math.min(MOST_MS, Math.floor(leftMs)))

  /** This instance has told the store that a session was seen. */
  seen ({ hash }: SessionRef, at: number): void {
    if (!this.areServed) return
    this.#seenAt.delete(hash)
    this.#seenAt.set(hash, at)
    if (this.#seenAt.size > MOST_SEEN) this.#seenAt.delete(this.#seenAt.keys().next().value!)
  }

  /** The session of a copy, with the time of what this instance knows. */
  current ({ hash }: SessionRef, { stored }: Copy): StoredSession | null {
    if (stored === null) return null
    const seenAt = this.#seenAt.get(hash)
    if (seenAt === undefined || seenAt <= stored.touchedAt) return stored
    const known = this.#later.get(stored)
    if (known !== undefined && known.touchedAt >= seenAt) return known
    const later = Object.freeze({ ...stored, touchedAt: seenAt })
    this.#later.set(stored, later)
    return later
  }
}
