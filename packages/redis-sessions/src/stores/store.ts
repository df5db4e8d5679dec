import type { SessionRef } from './ids.ts'
import type { StoredSession } from './header.ts'

/** How long sessions live. A store has its own, for all that is not given others. */
export interface Lifetimes {
  /** Without being seen, in milliseconds. */
  readonly idleTimeoutMs: number
  /** From creation, in milliseconds. */
  readonly absoluteTimeoutMs: number
}

/** The longest that a single session may be given, and so the least that a logout-all has to stand: 400 days, as browsers keep cookies. */
export const LONGEST_MS = 400 * 24 * 3600 * 1000

/** When a session ends that was seen at this time and is not seen again. */
export function expiryOf ({ createdAt }: StoredSession, seenAt: number, { idleTimeoutMs, absoluteTimeoutMs }: Lifetimes): number {
  return Math.min(seenAt + idleTimeoutMs, createdAt + absoluteTimeoutMs)
}

/** What a session that is created takes over from another, or from another store. */
export interface Origin {
  readonly stamp: number
  readonly createdAt: number
  /** @default now */
  readonly touchedAt?: number
  /** What the clock of these times says now, in milliseconds, where it is not the store's; they are shifted to the store's. */
  readonly clock?: number
}

export type ReplaceResult =
  | { readonly outcome: 'saved', readonly stored: StoredSession }
  /** Somebody else wrote meanwhile: this is what is stored now. */
  | { readonly outcome: 'conflict', readonly stored: StoredSession }
  /** The session ended, expired, is void or never was; nothing was written. */
  | { readonly outcome: 'gone' }

/** How a session was seen. */
export interface Seen {
  /** Where they are not those of the store. */
  readonly lifetimes?: Lifetimes
  /** Dates the note back by so many milliseconds; the idle timeout counts from now all the same. @default 0 */
  readonly agoMs?: number
}

export interface EndAllOptions {
  /** Stays alive. */
  readonly except?: SessionRef
  /** Ends only what became valid this long ago or earlier, in milliseconds: for a logout that is carried out late. @default 0 */
  readonly ageMs?: number
  /** Hears of a mark, in microseconds of the store's clock, that is kept elsewhere where the store itself could not be asked: what is made later has to be above it. */
  readonly noted?: (mark: number) => void
}

/** What a logout-all ended. */
export interface EndedAll {
  /** In microseconds of the store's clock: sessions with a stamp up to this one ended. */
  readonly mark: number
  /** Those that the index knew. */
  readonly known: readonly ListedSession[]
}

/** How long it is known of a session that another took its place: requests with its cookie may be on their way. */
export const REPLACED_MS = 10_000

/** A session that timed out. */
export interface ExpiredSession {
  /** `hash` of its `SessionRef`. */
  readonly hash: string
  /** What `create` was given to tell of it. */
  readonly notice: string
  /** In milliseconds of the store's clock. */
  readonly expiredAt: number
}

export interface ListedSession {
  readonly ref: SessionRef
  readonly stored: StoredSession
}

/**
 * Where sessions live. The suite exported as `@jpulse/redis-sessions/conformance` says what each method promises.
 *
 * Every method rejects with an error of status 503 where the store cannot be asked, and then promises nothing but that it
 * will not be half done in a way that a repetition does not repair. What `remove` and `removeAll` ended all the same, `doneBefore` says of the error.
 */
export interface SessionStore {
  /** Which kind it is, as `fastify.sessions.mode` tells. */
  readonly mode: 'redis' | 'memory' | 'hybrid'
  /** Whether `read` returns the same object again as long as the session is the same. @default false */
  readonly keepsCopies?: boolean
  /** The live session, or null. Changes nothing. */
  read (ref: SessionRef): Promise<StoredSession | null>
  /**
   * What `read` would return, where the store need not wait for that; undefined where it has to, or is not to be taken at its word
   * without `read`. Of stores that keep copies. @default undefined
   */
  readNow? (ref: SessionRef): StoredSession | null | undefined
  /**
   * Makes a session. Null, and nothing made, where there is one, it ended, or its `origin` is void or expired.
   *
   * @param notice handed to `onExpired` where the session times out; a store that does not tell ignores it
   */
  create (ref: SessionRef, payload: string, origin?: Origin, lifetimes?: Lifetimes, notice?: string): Promise<StoredSession | null>
  /** Writes a payload where the stored session still has this version; never brings one back. Counts as seen, unless `isSeen` is false. */
  replace (ref: SessionRef, version: string, payload: string, lifetimes?: Lifetimes, isSeen?: boolean): Promise<ReplaceResult>
  /** Notes that the session was seen now. False where it is not alive. */
  touch (ref: SessionRef, seen?: Seen): Promise<boolean>
  /** Ends a session for good and returns what it was; null where there was none. */
  remove (ref: SessionRef): Promise<StoredSession | null>
  /** Notes for ten seconds that another session is about to take the place of this one. */
  noteReplaced? (ref: SessionRef): Promise<void>
  /** Whether that was noted. */
  wasReplaced? (ref: SessionRef): Promise<boolean>
  /** Takes that note back: the other session did not reach the browser. */
  forgetReplaced? (ref: SessionRef): Promise<void>
  /** Ends all sessions of a group that exist now, known to the index or not. */
  removeAll (tag: string, options?: EndAllOptions): Promise<EndedAll>
  /** The live sessions of a group. */
  list (tag: string): Promise<ListedSession[]>
  /** What the clock says that `createdAt` and `touchedAt` are of, in milliseconds. @default `Date.now()` */
  now? (): number
  /** The latest that this clock may say, where it is known from afar. @default what `now` says */
  latest? (): number
  /** Set by the plugin: hears of sessions that timed out, of each once in all processes, when the store comes to know of it. */
  onExpired?: ((expired: readonly ExpiredSession[]) => void) | undefined
  /** Looks whether a session that is not there timed out, and tells `onExpired`. */
  missed? (ref: SessionRef): Promise<void>
  /** How many sessions are alive. May take time in proportion to what is stored: not for a request path. */
  count (): Promise<number>
  /** Ends timers and listeners. What is stored stays. */
  close (): Promise<void>
}
