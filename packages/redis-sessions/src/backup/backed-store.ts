import type { FastifyBaseLogger } from 'fastify'
import type { BackupEntry, SessionBackup } from './backup.ts'
import { backupUnavailable } from '../errors.ts'
import { doneBefore, withDone } from '../stores/half-done.ts'
import type { StoredSession } from '../stores/header.ts'
import type { SessionRef } from '../stores/ids.ts'
import { expiryOf, type EndAllOptions, type EndedAll, type Lifetimes, type ListedSession, type Origin, type ReplaceResult, type Seen, type SessionStore } from '../stores/store.ts'

/** Brings the backup up to date with Redis, and Redis with what the backup knows of ends. */
export interface Reconciler {
  /** Notes that the next batch has to write a session to the backup. Never rejects. */
  markDirty (ref: SessionRef): Promise<void>
  /** Whether Redis knows of all that ended. Not after a restart or a failover, which may have lost some, until that is made up for. */
  isComplete (): Promise<boolean>
}

/** A store in which a session can be put as it was. */
export interface Restorable extends SessionStore {
  /** Undoes that, without a word that the session ended; not where somebody wrote to it meanwhile. */
  takeBack? (ref: SessionRef, version: string): Promise<void>
}

/** How long a changed session may wait for its batch before it is written by the request that changes it. */
const MOST_BEHIND_MS = 5 * 60_000
const REMEMBERED = 100_000

/**
 * Redis with a backup: logins and logouts are in both before their response leaves, changes go to the backup in batches.
 * A session that Redis does not know is looked up there and restored.
 *
 * A logout is written to Redis first. Redis keeps a tombstone, or the watermark of its user, which refuses a restoration
 * that read the backup before the logout got there. A Redis that restarted or failed over may have lost both and have the
 * session: until the backup's ends are in it again, what it knows is compared with the backup.
 */
export class BackedStore implements SessionStore {
  readonly mode = 'hybrid'
  readonly #primary: Restorable
  readonly #backup: SessionBackup
  readonly #reconciler: Reconciler
  readonly #lifetimes: Lifetimes
  readonly #log: FastifyBaseLogger
  readonly #writtenAt = new Map<string, number>()
  readonly #onClose: () => Promise<void>
  /** The longest that a session was given which this process met: so long an end is remembered. */
  #longestMs: number

  constructor (primary: Restorable, backup: SessionBackup, reconciler: Reconciler, lifetimes: Lifetimes, log: FastifyBaseLogger, onClose: () => Promise<void>) {
    this.#primary = primary
    this.#backup = backup
    this.#reconciler = reconciler
    this.#lifetimes = lifetimes
    this.#longestMs = lifetimes.absoluteTimeoutMs
    this.#log = log
    this.#onClose = onClose
  }

  get onExpired (): SessionStore['onExpired'] {
    return this.#primary.onExpired
  }

  set onExpired (listener: SessionStore['onExpired']) {
    this.#primary.onExpired = listener
  }

  get keepsCopies (): boolean {
    return this.#primary.keepsCopies === true
  }

  async missed (ref: SessionRef): Promise<void> {
    await this.#primary.missed?.(ref)
  }

  async read (ref: SessionRef): Promise<StoredSession | null> {
    const stored = await this.#primary.read(ref)
    if (stored === null) return this.#restore(ref)
    // Asked after the read: what was read is of this Redis, or of the one before it.
    if (await this.#reconciler.isComplete() || !await this.#isEnded(ref, stored)) return stored
    await this.#primary.remove(ref)
    return null
  }

  async create (ref: SessionRef, payload: string, origin?: Origin, lifetimes = this.#lifetimes, notice?: string): Promise<StoredSession | null> {
    const stored = await this.#primary.create(ref, payload, origin, lifetimes, notice)
    if (stored !== null) await this.#writeOrNote(this.#entryOf(ref, stored, lifetimes))
    return stored
  }

  async replace (ref: SessionRef, version: string, payload: string, lifetimes = this.#lifetimes, isSeen?: boolean): Promise<ReplaceResult> {
    const result = await this.#primary.replace(ref, version, payload, lifetimes, isSeen)
    if (result.outcome === 'gone') {
      // Redis may have lost it since the request loaded it; what the backup has may be older, so it is merged again.
      const restored = await this.#restore(ref)
      return restored === null ? result : { outcome: 'conflict', stored: restored }
    }
    if (result.outcome === 'saved') await this.#note(this.#entryOf(ref, result.stored, lifetimes))
    return result
  }

  async touch (ref: SessionRef, seen?: Seen): Promise<boolean> {
    const isAlive = await this.#primary.touch(ref, seen) || (await this.#restore(ref) !== null && await this.#primary.touch(ref, seen))
    if (isAlive) await this.#reconciler.markDirty(ref)
    return isAlive
  }

  async remove (ref: SessionRef): Promise<StoredSession | null> {
    const until = this.now() + this.#longestMs
    const [removed, noted] = await Promise.allSettled([this.#primary.remove(ref), this.#backup.end(ref, until)])
    if (removed.status === 'rejected') throw removed.reason
    if (noted.status === 'rejected') throw withDone(backupUnavailable(noted.reason), removed.value)
    return removed.value
  }

  async noteReplaced (ref: SessionRef): Promise<void> {
    await this.#primary.noteReplaced?.(ref)
  }

  async wasReplaced (ref: SessionRef): Promise<boolean> {
    return await this.#primary.wasReplaced?.(ref) ?? false
  }

  async forgetReplaced (ref: SessionRef): Promise<void> {
    await this.#primary.forgetReplaced?.(ref)
  }

  async removeAll (tag: string, options: EndAllOptions = {}): Promise<EndedAll> {
    const note = (mark: number) => this.#backup.endAll(tag, mark, this.now() + this.#longestMs, options.except)
    const ended = await this.#primary.removeAll(tag, options).catch(async (err) => {
      // Where the caller carries the logout out later, the backup must not bring anybody back before.
      // Where Redis did not say, as late as its clock may have been for the last login before it.
      const mark = doneBefore<EndedAll>(err)?.mark ?? Math.round((this.#primary.latest?.() ?? this.now()) + 1 - (options.ageMs ?? 0)) * 1000
      options.noted?.(mark)
      await note(mark).catch(() => {})
      throw err
    })
    // Redis' own mark, and no later one: a login may have come since.
    await note(ended.mark).catch((err) => { throw withDone(backupUnavailable(err), ended) })
    // Redis made it valid anew.
    if (options.except !== undefined) await this.#reconciler.markDirty(options.except)
    return ended
  }

  async list (tag: string): Promise<ListedSession[]> {
    const listed = await this.#primary.list(tag)
    if (listed.length === 0 || await this.#reconciler.isComplete()) return listed
    const ended = await Promise.all(listed.map(({ ref, stored }) => this.#isEnded(ref, stored)))
    return listed.filter((_session, index) => !ended[index])
  }

  now (): number {
    return this.#primary.now?.() ?? Date.now()
  }

  async count (): Promise<number> {
    return this.#primary.count()
  }

  async close (): Promise<void> {
    await this.#onClose()
    await this.#primary.close()
  }

  /** @returns the session as Redis has it now; null where the backup has none, or it ended */
  async #restore (ref: SessionRef): Promise<StoredSession | null> {
    const entry = await this.#backup.get(ref).catch((err) => { throw backupUnavailable(err) })
    if (entry === null) return null
    const restored = await restore(this.#primary, entry)
    if (restored === null) return this.#primary.read(ref)
    // A logout may have come between the two, and Redis have lost its tombstone as it lost the session.
    const still = await this.#backup.get(ref).catch(async (err) => {
      // Nobody knows: it is restored by who asks when the backup answers.
      await this.#primary.takeBack?.(ref, restored.version)
      throw backupUnavailable(err)
    })
    if (still !== null) return restored
    await this.#primary.remove(ref)
    return null
  }

  #isEnded (ref: SessionRef, stored: StoredSession): Promise<boolean> {
    return this.#backup.isEnded(ref, stored).catch((err) => { throw backupUnavailable(err) })
  }

  async #note (entry: BackupEntry): Promise<void> {
    const writtenAt = this.#writtenAt.get(entry.ref.hash)
    if (writtenAt !== undefined && performance.now() - writtenAt < MOST_BEHIND_MS) return this.#reconciler.markDirty(entry.ref)
    await this.#writeOrNote(entry)
  }

  #entryOf (ref: SessionRef, stored: StoredSession, lifetimes: Lifetimes): BackupEntry {
    this.#longestMs = Math.max(this.#longestMs, lifetimes.absoluteTimeoutMs)
    return { ref, stored, expiresAt: expiryOf(stored, stored.touchedAt, lifetimes) }
  }

  /** Redis has the session: a backup that is away does not keep anybody from logging in. */
  async #writeOrNote (entry: BackupEntry): Promise<void> {
    if (this.#writtenAt.size >= REMEMBERED) this.#writtenAt.clear()
    try {
      await this.#backup.put([entry])
      this.#writtenAt.set(entry.ref.hash, performance.now())
    } catch (err) {
      this.#log.warn({ err }, 'a session could not be written to the backup; the next batch tries again')
      await this.#reconciler.markDirty(entry.ref)
    }
  }
}

/** Puts an entry of the backup into Redis with the times it had; null where Redis has it, or refuses it. */
export async function restore (primary: SessionStore, { ref, stored, expiresAt }: BackupEntry): Promise<StoredSession | null> {
  const { stamp, createdAt, touchedAt, payload } = stored
  // It may have lifetimes of its own, which only the payload tells: until it is seen again it ends when it would have ended.
  const left = { idleTimeoutMs: expiresAt - touchedAt, absoluteTimeoutMs: expiresAt - createdAt }
  return primary.create(ref, payload, { stamp, createdAt, touchedAt }, left)
}
