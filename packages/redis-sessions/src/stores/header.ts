import { randomBytes } from 'node:crypto'

/** One stored session. Times are of the store's own clock. */
export interface StoredSession {
  /** Changes with every write of the payload; the compare-and-set compares it. */
  readonly version: string
  /** When the session became valid, in microseconds: it is void where its user's watermark is not below. */
  readonly stamp: number
  /** When it was created, in milliseconds; the absolute timeout counts from here. */
  readonly createdAt: number
  /** When it was last noted as seen, in milliseconds. */
  readonly touchedAt: number
  /** What the store keeps and does not understand. */
  readonly payload: string
}

/** Marks a text as written by this version of the format. */
const MAGIC = 'S1'
const LENGTH = MAGIC.length + 12 + 16 + 13 + 13
const HEADER = /^S1[\w-]{12}\d{42}$/
/** The versions that may follow. */
const NEWER = /^S[2-9]/

/** Payload of a text whose header is of a newer format: no kind of payload that is written. */
const NEWER_FORMAT = '?'

/** A value that no session had before. */
export function newVersion (): string {
  return randomBytes(9).toString('base64url')
}

/**
 * Reads a stored text: a header of fixed width (`S1`, version 12, stamp 16, createdAt 13, touchedAt 13), so that scripts
 * read and change it in place, and the payload behind it. Null where it is none.
 */
export function parseStored (text: string): StoredSession | null {
  if (!HEADER.test(text.slice(0, LENGTH))) return null
  return {
    version: text.slice(2, 14),
    stamp: Number(text.slice(14, 30)),
    createdAt: Number(text.slice(30, 43)),
    touchedAt: Number(text.slice(43, LENGTH)),
    payload: text.slice(LENGTH)
  }
}

/** Stands for a text that `parseStored` does not know. It is there, and nothing writes over it. */
export function unknownOf (text: string): StoredSession {
  return { version: '', stamp: 0, createdAt: 0, touchedAt: 0, payload: NEWER.test(text) ? NEWER_FORMAT : '' }
}
