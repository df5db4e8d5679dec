import type { FrameHead, LogFrame, Place } from './format.ts'
import type { Most } from './pace.ts'

/** What the log says after a number. */
export interface Reading<Frame> {
  readonly epoch: string
  /** Number of the last message. */
  readonly seq: number
  /** Number after which what the epoch's turn brought begins. */
  readonly base: number
  /** Redis' time in milliseconds. */
  readonly now: number
  /** What the frame that ends with the number begins with; null where there is none. */
  readonly head: FrameHead | null
  /** By the number of their last message. A frame is null where it cannot be read. `at`: when it was appended, 0 where that is not kept. */
  readonly entries: ReadonlyArray<{ readonly seq: number, readonly frame: Frame | null, readonly at: number }>
}

export interface FollowerSource<Frame> {
  /** Reads the log after a number. Rejects in an outage, and where the answer takes too long. */
  read (after: number, most: Most): Promise<Reading<Frame>>
  /** Says to everybody that the log of this epoch went back, and where to read on. */
  turn (epoch: string, base: number): Promise<void>
  /** Whether every channel is heard. A connection that comes back hears some before `sync` can be called. */
  hears (): boolean
  /** Waits a moment before the next try. */
  pause (): Promise<void>
}

/** What a process knows of a log. */
export interface Knowledge {
  /** Up to where it dealt with everything. */
  readonly place: Place
  /** How the frame that ends there begins, where it is known. */
  readonly anchor: FrameHead | null
  /** The furthest place that the log confirmed for a message of its own. */
  readonly acked: Place | null
  /** Own name among the publishers. */
  readonly publisher: string
}

/** Whether the log lost what a process knows was in it. */
export function wentBack<Frame extends LogFrame> ({ epoch, seq, head, entries }: Reading<Frame>, { place, anchor, acked, publisher }: Knowledge): boolean {
  const next = entries[0]?.frame
  // A frame that lies across the place was not the one that ended there.
  if (seq < place.seq || (anchor !== null && next != null && next.first <= place.seq)) return true
  const isKnown = anchor === null || head === null ? null : head.publisher === anchor.publisher && head.counter === anchor.counter
  // After a turn only the frame at the place proves that it was not among what was lost.
  if (epoch === place.epoch ? isKnown === false : isKnown !== true) return true
  if (acked?.epoch !== epoch) return false
  if (acked.seq > seq) return true
  const ours = entries.find((entry) => entry.seq >= acked.seq)?.frame
  return ours != null && ours.first <= acked.seq && ours.publisher !== publisher
}

/** Fields and values of an entry of a stream, which come in turns. */
export function fieldsOf (fields: readonly Buffer[]): Partial<Record<string, Buffer>> {
  return Object.fromEntries(fields.flatMap((name, index) => index % 2 === 0 ? [[String(name), fields[index + 1]!]] : []))
}
