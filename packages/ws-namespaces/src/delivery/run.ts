import { randomBytes } from 'node:crypto'
import { bytesLine, joinLines, readLine as readText, splitLines, type Line, type LogFormat, type LogFrame } from '@jpulse/cluster-broadcast'
import type { Delivery, Logged } from './carrier.ts'
import type { Topic } from './keys.ts'

/**
 * Messages of one publisher and topic that stand next to each other in a namespace's log. As text:
 *
 *     <epoch> <number of the first> <number of the last> <bootId>
 *     <publisher's own number> <flag><client ids that do not get it> <envelope as JSON>
 *     …
 *
 * The flag is 0, 1 for volatile, or 2 where bytes follow on the envelope (`bytesLine`), which the release before passes over.
 * Without lines it is a mark: so far goes the log.
 */
export interface Run extends LogFrame {
  readonly topic: Topic
  readonly lines: readonly Line[]
}

const HEAD = /^([A-Za-z0-9_-]{1,40}) (\d{1,15}) (\d{1,15}) ([a-z0-9]{1,40})$/
const BEGIN = /^\S+ \d+ \d+ ([a-z0-9]{1,40})\n(\d{1,15}) /
/** Beyond any message that we write; a Buffer longer than V8's longest string would throw. */
const MOST_BYTES = 64 * 1024 * 1024

/** Clients keep `<epoch>.<number>` as their offset, so an epoch holds no dot. */
export const runFormat: LogFormat<Run, Logged> = {
  separator: '-',
  unlogged: '',
  newEpoch: () => randomBytes(6).toString('hex'),
  read: readRun,
  readHead: (text) => {
    const [, publisher, counter] = BEGIN.exec(text) ?? []
    return publisher === undefined ? null : { publisher, counter: Number(counter) }
  },
  counterOf: ({ lines }, index) => {
    const line = lines[index]!
    const end = line.indexOf(' ')
    const counter = end < 1 ? NaN : Number(typeof line === 'string' ? line.slice(0, end) : line.toString('latin1', 0, end))
    return Number.isSafeInteger(counter) ? counter : NaN
  },
  messageOf: readLine,
  write: (publisher, _counter, lines) => joinLines(` ${publisher}\n`, lines)
}

export function writeLine (counter: number, { volatile, except, json, bytes }: Delivery): Line {
  if (bytes !== null) return bytesLine(`${counter} 2${except} ${json}`, bytes)
  return `${counter} ${volatile ? 1 : 0}${except} ${json}`
}

function readRun (bytes: Buffer, topic: string): Run | null {
  const [text = '', ...lines] = bytes.length > MOST_BYTES ? [] : splitLines(bytes)
  const head = lines.length === 0 ? null : HEAD.exec(String(text))
  if (head === null) return null
  const [first, last] = [Number(head[2]), Number(head[3])]
  if (lines.length === 1 && lines[0] === '') lines.pop()
  if (first < 1 || lines.length !== last - first + 1) return null
  return { topic: topic as Topic, epoch: head[1]!, first, last, count: lines.length, publisher: head[4]!, bytes: bytes.length, lines }
}

function readLine ({ topic, first, lines }: Run, index: number): Logged | null {
  const { text: line, bytes } = readText(lines[index]!)
  const afterCounter = line.indexOf(' ')
  const afterExcept = line.indexOf(' ', afterCounter + 1)
  const flag = line[afterCounter + 1]
  if (afterCounter < 1 || afterExcept === -1 || (bytes === null ? flag !== '0' && flag !== '1' : flag !== '2') || line[afterExcept + 1] !== '{') return null
  return { topic, seq: first + index, volatile: flag === '1', except: line.slice(afterCounter + 2, afterExcept), json: line.slice(afterExcept + 1), bytes }
}
