import type { Line } from './lines.ts'

/** A place in a log. */
export interface Place {
  /** `<root>` or `<root><separator><turn>`, see `isBefore`. */
  readonly epoch: string
  /** Number of a message. */
  readonly seq: number
}

/** Messages of one publisher that stand next to each other, as they travel and as they are stored. */
export interface LogFrame {
  readonly epoch: string
  /** Numbers in the log of the first and the last message. Both are 0 where the frame is not logged. */
  readonly first: number
  readonly last: number
  /** How many messages it holds. None: it is a mark, and says how far the log goes. */
  readonly count: number
  /** Who published it. */
  readonly publisher: string
  /** Length of its text. */
  readonly bytes: number
}

/** How a frame begins: its publisher, and the publisher's own number of its first message. */
export interface FrameHead {
  readonly publisher: string
  readonly counter: number
}

/** Bytes of a frame that hold its head. */
export const HEAD_BYTES = 320

/**
 * How the frames of a log are written.
 *
 * There are two, because two logs were written before they had this engine in common, and two neighbouring releases share
 * one Redis. Every release reads both; the first one whose predecessor reads either may write one for all.
 */
export interface LogFormat<Frame extends LogFrame, Message> {
  /** What stands between root and turn of an epoch. */
  readonly separator: '.' | '-'
  /** What stands in place of the numbers in a frame that is not logged. */
  readonly unlogged: string
  /** Name of a log that begins anew. */
  newEpoch (): string
  /** Reads a frame; null where it is none, or of a release that writes another. Never throws. */
  read (bytes: Buffer, topic: string): Frame | null
  /** Reads the head from the first bytes of a frame; null where it is none. */
  readHead (text: string): FrameHead | null
  /** The publisher's own number of the message at an index; NaN where it is malformed. */
  counterOf (frame: Frame, index: number): number
  /** The message at an index; null where it is malformed. Never throws. */
  messageOf (frame: Frame, index: number): Message | null
  /** What follows on the numbers in a frame, which the script writes. */
  write (publisher: string, counter: number, lines: readonly Line[]): Line
}

/** Where nothing is known of the log yet. */
const NOWHERE: Place = Object.freeze({ epoch: '', seq: 0 })

const EPOCH = /^([^.-]+)(?:[.-](\d+))?$/

function parts (epoch: string): [root: string, turn: number] {
  const [, root = epoch, turn = '0'] = EPOCH.exec(epoch) ?? []
  return [root, Number(turn)]
}

/** Another root: the log began anew, because Redis came back empty or evicted it. */
export function isSameRoot (one: string, other: string): boolean {
  return parts(one)[0] === parts(other)[0]
}

/**
 * Whether a log of one epoch became that of the other by a turn: it went back (a failover or an old snapshot lost its end),
 * as a process noticed that had seen more. Numbers go on.
 */
export function isBefore (one: string, other: string): boolean {
  const [[root, turn], [otherRoot, otherTurn]] = [parts(one), parts(other)]
  return root === otherRoot && turn < otherTurn
}

/** What a script needs to make a log, or to see that it went back. */
export function epochsOf (format: Pick<LogFormat<LogFrame, unknown>, 'separator' | 'newEpoch'>, { place: { epoch, seq } }: HighWaterMark): [first: string, separator: string, known: string, knownSeq: number] {
  return [format.newEpoch(), format.separator, epoch, seq]
}

/** High-water mark: the furthest place of a log that a process knows of. A log that ends before it lost its end. */
export class HighWaterMark {
  place: Place = NOWHERE

  /** A frame came over a channel, perhaps late. */
  heard (epoch: string, seq: number): void {
    if (epoch === this.place.epoch ? seq > this.place.seq : isBefore(this.place.epoch, epoch)) this.place = { epoch, seq }
  }

  /** Redis said so: where it is another log, this one is the present one. */
  said (epoch: string, seq: number): void {
    if (epoch === this.place.epoch ? seq > this.place.seq : !isBefore(epoch, this.place.epoch)) this.place = { epoch, seq }
  }
}
