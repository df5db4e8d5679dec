import { newVersion, type StoredSession } from './header.ts'
import type { SessionRef } from './ids.ts'
import { expiryOf, LONGEST_MS, REPLACED_MS, type EndAllOptions, type EndedAll, type Lifetimes, type ListedSession, type Origin, type ReplaceResult, type Seen, type SessionStore } from './store.ts'

const SWEEP_MS = 60_000

/** What is of a clock that somebody may set ends sessions, or lets them live, when it is set: this one began when the process did. */
const steadyNow = (): number => Math.floor(performance.timeOrigin + performance.now())

interface Entry extends ListedSession { stored: StoredSession, lifetimes: Lifetimes, expiresAt: number, notice: string | undefined }

/** Sessions in the process, by the same rules: for an application of one process, and for outages. */
export class MemoryStore implements SessionStore {
  readonly mode = 'memory'
  readonly keepsCopies = true
  readonly #lifetimes: Lifetimes
  readonly #entries = new Map<string, Entry>()
  readonly #groups = new Map<string, Set<string>>()
  readonly #watermarks = new Map<string, number>()
  readonly #replaced = new Map<string, number>()
  #lastMicros = 0
  onExpired: SessionStore['onExpired']
  #sweptAt = steadyNow()

  constructor (lifetimes: Lifetimes) {
    this.#lifetimes = lifetimes
  }

  async read (ref: SessionRef): Promise<StoredSession | null> {
    return this.get(ref)
  }

  readNow (ref: SessionRef): StoredSession | null {
    return this.get(ref)
  }

  async create (ref: SessionRef, payload: string, origin?: Origin, lifetimes = this.#lifetimes, notice?: string): Promise<StoredSession | null> {
    this.#sweep()
    const now = steadyNow()
    const shift = origin?.clock === undefined ? 0 : now - origin.clock
    const stored = {
      version: newVersion(),
      payload,
      stamp: origin === undefined ? this.#micros() : origin.stamp + shift * 1000,
      createdAt: origin === undefined ? now : origin.createdAt + shift,
      touchedAt: origin?.touchedAt === undefined ? now : Math.min(now, origin.touchedAt + shift)
    }
    const expiresAt = expiryOf(stored, stored.touchedAt, lifetimes)
    if (this.#live(ref) !== undefined || expiresAt <= now || stored.stamp <= this.#watermark(ref.tag)) return null
    this.#entries.set(ref.hash, { ref, stored, lifetimes, expiresAt, notice })
    this.#join(ref)
    return stored
  }

  async replace (ref: SessionRef, version: string, payload: string, lifetimes = this.#lifetimes, isSeen = true): Promise<ReplaceResult> {
    const entry = this.#live(ref)
    if (entry === undefined) return { outcome: 'gone' }
    if (entry.stored.version !== version) return { outcome: 'conflict', stored: entry.stored }
    const stored = { ...entry.stored, version: newVersion(), payload }
    if (isSeen) this.#seen(entry, stored, lifetimes)
    else entry.stored = stored
    return { outcome: 'saved', stored: entry.stored }
  }

  async touch (ref: SessionRef, { lifetimes = this.#lifetimes, agoMs = 0 }: Seen = {}): Promise<boolean> {
    const entry = this.#live(ref)
    if (entry === undefined) return false
    this.#seen(entry, entry.stored, lifetimes, agoMs)
    return true
  }

  async remove (ref: SessionRef): Promise<StoredSession | null> {
    const entry = this.#live(ref)
    if (entry === undefined) return null
    this.#drop(entry)
    return entry.stored
  }

  async noteReplaced ({ hash }: SessionRef): Promise<void> {
    this.#replaced.set(hash, steadyNow())
  }

  async wasReplaced ({ hash }: SessionRef): Promise<boolean> {
    return (this.#replaced.get(hash) ?? -Infinity) > steadyNow() - REPLACED_MS
  }

  async forgetReplaced ({ hash }: SessionRef): Promise<void> {
    this.#replaced.delete(hash)
  }

  /** In one turn of the event loop, so that a parallel logout never finds it half done. */
  async removeAll (tag: string, { except, ageMs = 0 }: EndAllOptions = {}): Promise<EndedAll> {
    const kept = except === undefined ? undefined : this.#live(except)
    const mark = Math.max(this.#watermark(tag), this.#micros() - Math.round(ageMs) * 1000)
    const ended = this.#group(tag).filter(({ ref, stored }) => ref.hash !== except?.hash && stored.stamp <= mark)
    for (const entry of ended) this.#drop(entry)
    if (kept !== undefined) kept.stored = { ...kept.stored, stamp: Math.max(kept.stored.stamp, this.#micros()) }
    this.#watermarks.set(tag, mark)
    return { mark, known: ended.map(({ ref, stored }) => ({ ref, stored })) }
  }

  async list (tag: string): Promise<ListedSession[]> {
    return this.#group(tag).map(({ ref, stored }) => ({ ref, stored }))
  }

  async count (): Promise<number> {
    this.#sweep(0)
    return this.#entries.size
  }

  now (): number {
    return steadyNow()
  }

  async close (): Promise<void> {}

  /** The lifetimes that a session was last given; undefined for one that it does not have. */
  lifetimesOf ({ hash }: SessionRef): Lifetimes | undefined {
    return this.#entries.get(hash)?.lifetimes
  }

  /** What is told of a session that times out. */
  noticeOf ({ hash }: SessionRef): string | undefined {
    return this.#entries.get(hash)?.notice
  }

  /** `read` without a wait. */
  get (ref: SessionRef): StoredSession | null {
    return this.#live(ref)?.stored ?? null
  }

  /** Everything that is alive. */
  all (): ListedSession[] {
    this.#sweep(0)
    return [...this.#entries.values()].map(({ ref, stored }) => ({ ref, stored }))
  }

  clear (): void {
    this.#entries.clear()
    this.#groups.clear()
    this.#watermarks.clear()
    this.#replaced.clear()
  }

  #watermark (tag: string): number {
    return this.#watermarks.get(tag) ?? 0
  }

  /** Never the same twice, so that a logout and the login after it are told apart. */
  #micros (): number {
    this.#lastMicros = Math.max(this.#lastMicros + 1, steadyNow() * 1000)
    return this.#lastMicros
  }

  #seen (entry: Entry, stored: StoredSession, lifetimes: Lifetimes, agoMs = 0): void {
    const now = steadyNow()
    Object.assign(entry, { lifetimes, stored: { ...stored, touchedAt: now - agoMs }, expiresAt: expiryOf(stored, now, lifetimes) })
  }

  #live (ref: SessionRef): Entry | undefined {
    const entry = this.#entries.get(ref.hash)
    if (entry === undefined) return undefined
    if (entry.expiresAt > steadyNow() && entry.stored.stamp > this.#watermark(entry.ref.tag)) return entry
    this.#expire(entry)
    return undefined
  }

  #group (tag: string): Entry[] {
    const hashes = [...this.#groups.get(tag) ?? []]
    return hashes.map((hash) => this.#live({ hash, tag, owned: true })).filter((entry) => entry !== undefined)
  }

  #join ({ hash, tag, owned }: SessionRef): void {
    if (!owned) return
    const group = this.#groups.get(tag)
    if (group === undefined) this.#groups.set(tag, new Set([hash]))
    else group.add(hash)
  }

  #drop ({ ref }: Entry): void {
    this.#entries.delete(ref.hash)
    const group = this.#groups.get(ref.tag)
    group?.delete(ref.hash)
    if (group?.size === 0) this.#groups.delete(ref.tag)
  }

  /** Drops what is not alive any more, and tells of what timed out. */
  #expire (entry: Entry): void {
    this.#drop(entry)
    const { ref: { hash, tag }, stored, notice, expiresAt: expiredAt } = entry
    if (notice !== undefined && stored.stamp > this.#watermark(tag)) this.onExpired?.([{ hash, notice, expiredAt }])
  }

  /** Drops what expired, with the writes rather than by a timer. */
  #sweep (everyMs = SWEEP_MS): void {
    const now = steadyNow()
    if (now - this.#sweptAt < everyMs) return
    this.#sweptAt = now
    for (const entry of this.#entries.values()) if (entry.expiresAt <= now) this.#expire(entry)
    for (const [hash, at] of this.#replaced) if (at <= now - REPLACED_MS) this.#replaced.delete(hash)
    const oldest = (now - Math.max(this.#lifetimes.absoluteTimeoutMs, LONGEST_MS)) * 1000
    for (const [tag, mark] of this.#watermarks) if (mark < oldest) this.#watermarks.delete(tag)
  }
}
