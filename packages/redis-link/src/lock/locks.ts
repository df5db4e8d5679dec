import { checkKey, checkMs } from '../check.ts'

/** A lock that this process holds, until its time is over. */
export interface Lock {
  /**
   * Fencing token: greater than those of all who held the lock before. Who stood still may not know that its time is over, so
   * give it to what you write to, and let that refuse a smaller one than it has seen.
   */
  readonly token: number
  /** Gives the lock back; where Redis is away, when it answers again. False where it was lost before, or that cannot be told now. Never rejects. */
  release (): Promise<boolean>
  /** Holds it for `ttlMs` from now. False where it was lost, Redis cannot be asked, or it answered after that time. @default the lock's own ttlMs */
  extend (ttlMs?: number): Promise<boolean>
}

/** A lock, and what `using` wants to know of it. */
export interface HeldLock extends Lock {
  /** When it ends unless it is extended, by this process' monotonic clock: no later than in truth. */
  readonly until: number
  /** As `extend`, for its own time: 'unknown' where it may be held still. */
  prolong (): Promise<boolean | 'unknown'>
}

/** Takes locks by name. */
export interface Locks {
  /**
   * Null where somebody else holds it, or it cannot be told: also where the answer came after `ttlMs`.
   *
   * @param onRefused hears why it was certainly not taken, where nobody may hold it: Redis is away, or refuses to write
   */
  tryLock (name: string, ttlMs: number, onRefused?: (err: Error) => void): Promise<HeldLock | null>
}

/** Of a link that is closed: it gives none. */
export const NO_LOCKS: Locks = {
  async tryLock (name, ttlMs) {
    checkKey('The name of a lock', name)
    checkMs('ttlMs', ttlMs)
    return null
  }
}
