import type { FastifyBaseLogger } from 'fastify'
import type { StoredSession } from '../stores/header.ts'
import type { SessionRef } from '../stores/ids.ts'

/** A session as a backup keeps it. */
export interface BackupEntry {
  readonly ref: SessionRef
  readonly stored: StoredSession
  /** When it expires unless it is seen again, in milliseconds. */
  readonly expiresAt: number
}

/** What ended: one session, or those of a group with a stamp up to `mark`, but for `except`. */
export type BackupEnd =
  | { readonly ref: SessionRef }
  | { readonly tag: string, readonly mark: number, readonly except?: SessionRef }

/**
 * Where a copy of the sessions is kept for the case that Redis loses its data. What ended must never be handed out again,
 * also where `put` comes late, with a state read before the end.
 */
export interface SessionBackup {
  /** Pause between two batches, in milliseconds. */
  readonly intervalMs: number
  /** Prepares the place. Called until it resolves. */
  open (log: FastifyBaseLogger): Promise<void>
  /** Keeps these states; not over a newer one, nor over one that ended. */
  put (entries: readonly BackupEntry[]): Promise<void>
  /** Remembers until `until` (ms) that a session ended. */
  end (ref: SessionRef, until: number): Promise<void>
  /** Remembers until `until` (ms) that the sessions of a group ended whose stamp is at most `stamp`, but for `except`. */
  endAll (tag: string, stamp: number, until: number, except?: SessionRef): Promise<void>
  /** A session that did not end, or null. Whether it expired says Redis' clock. */
  get (ref: SessionRef): Promise<BackupEntry | null>
  /** Whether it remembers that this session ended. False for one that it does not know. */
  isEnded (ref: SessionRef, stored: StoredSession): Promise<boolean>
  /** All that it remembers as ended. */
  ends (): AsyncIterable<BackupEnd>
  /** All sessions that did not end. */
  all (): AsyncIterable<BackupEntry>
  /** Drops what is no longer needed at this time (ms), where the place does not do that by itself. */
  sweep (now: number): Promise<void>
}
