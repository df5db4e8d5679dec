import { bytesLine, countLines, joinLines, readLine as readText, splitLines, type Line, type LogFormat, type LogFrame } from '../log/epoch-log.ts'
import { randomId } from '../membership/identity.ts'

/**
 * What goes over the bus. Several messages of one publisher travel in one frame, so that a burst costs Redis and each
 * subscriber one push instead of many. Text in lines, because JSON holds no line feed:
 *
 *     <epoch> <number of the first message> <number of the last>        `- 0 0` where the frame is not logged
 *     <bootId> <instanceId> <publisher's own number of the first message>
 *     <timestamp> <kind> <channel> <data as JSON>                       once per message
 *
 * Bytes follow on the JSON where the kind says so, see `bytesLine`; without JSON they are the data.
 *
 * A subscriber routes by the channel and parses only data that somebody listens to. A kind that is not known here is of a
 * later release, and ignored.
 */
export interface Frame extends LogFrame {
  readonly instanceId: string
  /** The publisher counts what it logs and what it does not log apart, each from 1. */
  readonly counter: number
  /** The lines of the messages; none where the frame is the reader's own, since it had them when it published them. */
  readonly lines: readonly Line[]
  /** Of the message that was read last. */
  latest: LineHead
}

/** What stands before the JSON of a message. Neighbours in a frame mostly have it in common, and it is read once for them all. */
interface LineHead {
  readonly text: string
  readonly timestamp: number
  readonly kind: Kind
  readonly channel: string
}

/** No line begins so. */
const NO_HEAD: LineHead = Object.freeze({ text: '\n', timestamp: 0, kind: 'tell', channel: '' })

const LINE_FEED = 0x0a
const NO_LINES: readonly Line[] = Object.freeze([])

/** `ask` wants the return values of the handlers. */
export type Kind = 'tell' | 'ask'

/** A message between two processes. */
export interface WireMessage {
  /** Unique in the cluster. */
  readonly id: string
  readonly bootId: string
  readonly instanceId: string
  readonly timestamp: number
  readonly kind: Kind
  readonly channel: string
  readonly json: string
  /** What is sent beside the JSON, as it is. */
  readonly bytes?: Uint8Array
}

const NUMBERS = /^([a-z0-9.-]{1,40}) (\d{1,15}) (\d{1,15})$/
const SENDER = /^([a-z2-7]{12}) ([A-Za-z0-9._-]{1,64}:[A-Za-z0-9._-]{1,64}) (\d{1,15})$/
const HEAD = /^\S+ \d+ \d+\n([a-z2-7]{12}) \S+ (\d{1,15})\n/
const KINDS: Record<string, Kind> = { t: 'tell', a: 'ask', b: 'tell', q: 'ask' }
/** Those with bytes. */
const BINARY: Record<Kind, string> = { tell: 'b', ask: 'q' }

/** How a process writes frames, and how it reads those of all. */
export const frameFormat = ({ bootId, instanceId }: Pick<WireMessage, 'bootId' | 'instanceId'>): LogFormat<Frame, WireMessage> => ({
  separator: '.',
  unlogged: '- 0 0',
  newEpoch: () => `${randomId()}.0`,
  read: (bytes) => readFrame(bytes, bootId),
  readHead: (text) => {
    const [, publisher, counter] = HEAD.exec(text) ?? []
    return publisher === undefined ? null : { publisher, counter: Number(counter) }
  },
  counterOf: (frame, index) => frame.counter + index,
  messageOf: readLine,
  write: (publisher, counter, lines) => joinLines(`\n${publisher} ${instanceId} ${counter}\n`, lines)
})

/** The messages of the own frames are only counted: 0.014 µs for each in place of 0.04, and nothing for the garbage collector. */
function readFrame (bytes: Buffer, own: string): Frame | null {
  const numbersEnd = bytes.indexOf(LINE_FEED)
  const senderEnd = numbersEnd === -1 ? -1 : bytes.indexOf(LINE_FEED, numbersEnd + 1)
  if (senderEnd === -1) return null
  const head = NUMBERS.exec(bytes.toString('latin1', 0, numbersEnd))
  const sender = SENDER.exec(bytes.toString('latin1', numbersEnd + 1, senderEnd))
  if (head === null || sender === null) return null
  const messages = bytes.subarray(senderEnd + 1)
  const lines = sender[1] === own ? NO_LINES : toLines(messages)
  const count = sender[1] === own ? countLines(messages) : lines.length
  const [first, last] = [Number(head[2]), Number(head[3])]
  if (count < 1 || (head[1] === '-' ? first + last !== 0 : last - first + 1 !== count || first < 1)) return null
  return { epoch: head[1]!, first, last, count, publisher: sender[1]!, bytes: bytes.length, instanceId: sender[2]!, counter: Number(sender[3]), lines, latest: NO_HEAD }
}

/** None where they are longer than a text of the engine can be. */
function toLines (bytes: Buffer): readonly Line[] {
  try {
    return splitLines(bytes)
  } catch {
    return NO_LINES
  }
}

/** A text longer than a string of the engine can be is no reply. */
function toText (bytes: Buffer): string {
  try {
    return bytes.toString()
  } catch {
    return ''
  }
}

export function writeLine ({ timestamp, kind, channel, json, bytes }: WireMessage): Line {
  if (bytes !== undefined) return bytesLine(`${timestamp} ${BINARY[kind]} ${channel} ${json}`, bytes)
  return `${timestamp} ${kind === 'tell' ? 't' : 'a'} ${channel} ${json}`
}

function readLine (frame: Frame, index: number): WireMessage | null {
  const line = frame.lines[index]
  if (line === undefined) return null
  if (typeof line === 'string') return readMessage(frame, index, line)
  const { text, bytes } = readText(line)
  const message = readMessage(frame, index, text)
  return message === null || bytes === null ? message : { ...message, bytes }
}

/** The JSON is not looked at. Called for each message, so without a spread: 1.6 µs of CPU became 1.3 (benchmarks/cluster-broadcast). */
function readMessage (frame: Frame, index: number, line: string): WireMessage | null {
  const head = line.startsWith(frame.latest.text) ? frame.latest : readLineHead(line)
  if (head === null) return null
  frame.latest = head
  const { publisher, instanceId, last, counter } = frame
  const { text, timestamp, kind, channel } = head
  return { id: messageId(publisher, last > 0, counter + index), bootId: publisher, instanceId, timestamp, kind, channel, json: line.slice(text.length) }
}

function readLineHead (line: string): LineHead | null {
  const a = line.indexOf(' ')
  const c = line.indexOf(' ', a + 3)
  const kind = KINDS[line.slice(a + 1, a + 2)]
  const timestamp = Number(line.slice(0, a))
  if (a < 1 || c === -1 || line[a + 2] !== ' ' || kind === undefined || !Number.isSafeInteger(timestamp)) return null
  return { text: line.slice(0, c + 1), timestamp, kind, channel: line.slice(a + 3, c) }
}

/** The unique name of a message. */
export function messageId (bootId: string, logged: boolean, counter: number): string {
  return logged ? `${bootId}-${counter}` : `${bootId}-e${counter}`
}

/** An answer to an ask, on the asker's own channel: `<id> <bootId> <instanceId>`, a line feed, JSON. */
export interface WireReply {
  readonly id: string
  readonly bootId: string
  readonly instanceId: string
  readonly json: string
}

const REPLY = /^([a-z2-7]{12}-e?\d{1,15}) ([a-z2-7]{12}) ([A-Za-z0-9._-]{1,64}:[A-Za-z0-9._-]{1,64})$/

export function writeReply ({ id, bootId, instanceId, json }: WireReply): string {
  return `${id} ${bootId} ${instanceId}\n${json}`
}

/** Null where the bytes are no reply. Never throws. */
export function readReply (bytes: Buffer): WireReply | null {
  const text = toText(bytes)
  const end = text.indexOf('\n')
  const head = end === -1 ? null : REPLY.exec(text.slice(0, end))
  return head === null ? null : { id: head[1]!, bootId: head[2]!, instanceId: head[3]!, json: text.slice(end + 1) }
}
