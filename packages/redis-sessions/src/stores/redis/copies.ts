import { newVersion, type StoredSession } from '../header.ts'
import type { SessionRef } from '../ids.ts'

/** A copy as the cache has it. */
export interface Copy {
  readonly stored: StoredSession | null
  /** How long the session lives unless it is seen again; 0 for one that is not kept. */
  readonly leftMs: number
  /** When it was asked for, on this process' monotonic clock. */
  readonly at: number
}

interface Names { readonly key: string, readonly group: string }

/** After so long a copy is made anew: it knows then when other instances saw its session. */
const MOST_MS = 60_000
/** So many notes of when this instance saw a session are kept, and of when it took a copy. Without one a copy says an earlier time, and is told again; a change is told to the others. */
const MOST_SEEN = 20_000

/** Names and lives of the copies that one process has of sessions, and what only it knows of them. */
export class Copies {
  readonly areServed: boolean
  readonly #prefix: string
  /** By hash, the latest last: when a session was seen, by the store's clock, and when that was noted, by this process'. */
  readonly #seen = new Map<string, { readonly touchedAt: number, readonly at: number }>()
  /** By hash, the latest last: the mark with which this instance last took, or tried to take, a copy. */
  readonly #marks = new Map<string, string>()
  /** By hash, the latest last: sessions that this instance changed and did not read since. */
  readonly #changed = new Set<string>()
  /** Made once for what is known of a token: joining texts, and looking for a text that was joined, costs more than the rest of a hit. */
  readonly #names = new WeakMap<SessionRef, Names>()
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
  keyOf (ref: SessionRef): string {
    return this.#namesOf(ref).key
  }

  /** Tag of all sessions of a group in the cache. */
  groupOf (tag: string): string {
    return `${this.#prefix}of:${tag}`
  }

  /** The tag of the group of a session. */
  groupOfSession (ref: SessionRef): string {
    return this.#namesOf(ref).group
  }

  readonly ttlOf = ({ stored, leftMs }: Copy): number => stored === null || stored.version === '' ? 0 : Math.max(0, Math.min(MOST_MS, Math.floor(leftMs)))

  /** This instance has told the store that a session was seen. */
  seen ({ hash }: SessionRef, touchedAt: number): void {
    if (!this.areServed) return
    this.#seen.delete(hash)
    this.#seen.set(hash, { touchedAt, at: performance.now() })
    if (this.#seen.size > MOST_SEEN) this.#seen.delete(this.#seen.keys().next().value!)
  }

  /** This instance changes a session, and has no copy of it any more. */
  changed ({ hash }: SessionRef): void {
    if (!this.areServed) return
    this.#changed.add(hash)
    if (this.#changed.size > MOST_SEEN) this.#changed.delete(this.#changed.values().next().value!)
  }

  /**
   * Whether a copy is worth its taking: of a session that changes at each request it costs more than the read that it saves. The first read
   * after a change takes none.
   */
  isWorthTaking ({ hash }: SessionRef): boolean {
    return !this.#changed.delete(hash)
  }

  /** A copy is about to be taken. @returns its mark in the directory */
  taking ({ hash }: SessionRef): string {
    const mark = newVersion()
    this.#marks.delete(hash)
    this.#marks.set(hash, mark)
    if (this.#marks.size > MOST_SEEN) this.#marks.delete(this.#marks.keys().next().value!)
    return mark
  }

  /** The mark of the last one; '' where none is known. */
  takenAs ({ hash }: SessionRef): string {
    return this.#marks.get(hash) ?? ''
  }

  /** The session of a copy, with the time of what this instance has told since the copy was asked for. */
  current ({ hash }: SessionRef, { stored, at }: Copy): StoredSession | null {
    if (stored === null) return null
    const seen = this.#seen.get(hash)
    if (seen === undefined || seen.at < at) return stored
    const { touchedAt } = seen
    const known = this.#later.get(stored)
    if (known?.touchedAt === touchedAt) return known
    const later = Object.freeze({ ...stored, touchedAt })
    this.#later.set(stored, later)
    return later
  }

  #namesOf (ref: SessionRef): Names {
    let names = this.#names.get(ref)
    if (names === undefined) {
      names = { key: this.#prefix + ref.hash, group: this.groupOf(ref.tag) }
      this.#names.set(ref, names)
    }
    return names
  }
}
