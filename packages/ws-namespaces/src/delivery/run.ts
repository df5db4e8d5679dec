import { randomBytes } from 'node:crypto'
import type { LogFormat, LogFrame } from '@jpulse/cluster-broadcast'
import type { Delivery, Logged } from './carrier.ts'
import type { Topic } from './keys.ts'

/**
 * Messages of one publisher and topic that stand next to each other in a namespace's log. As text:
 *
 *     <epoch> <number of the first> <number of the last> <bootId>
 *     <publisher's own number> <0, or 1 for volatile><client ids that do not get it> <envelope as JSON>
 *     …
 *
 * Without lines it is a mark: so far goes the log.
 */
export interface Run extends LogFrame {
  readonly topic: Topic
  readonly lines: readonly string[]
}

const HEAD = /^([A-Za-z0-9_-]{1,40}) (\d{1,15}) (\d{1,15}) ([a-z0-9]{1,40})$/
const BEGIN = /^\S+ \d+ \d+ ([a-z0-9]{1,40})\n(\d{1,15}) /
/** More than a message may be; a text longer than a string of the engine can be would throw. */
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
    const end = lines[index]!.indexOf(' ')
    const counter = end < 1 ? NaN : Number(lines[index]!.slice(0, end))
    return Number.isSafeInteger(counter) ? counter : NaN
  },
  messageOf: readLine,
  write: (publisher, _counter, lines) => ` ${publisher}\n${lines.join('\n')}`
}

export function writeLine (counter: number, { volatile, except, json }: Delivery): string {
  return `${counter} ${volatile ? 1 : 0}${except} ${json}`
}

function readRun (bytes: Buffer, topic: string): Run | null {
  const text = bytes.length > MOST_BYTES ? '' : bytes.toString()
  const end = text.indexOf('\n')
  const head = end === -1 ? null : HEAD.exec(text.slice(0, end))
  if (head === null) return null
  const [first, last] = [Number(head[2]), Number(head[3])]
  const lines = end === text.length - 1 ? [] : text.slice(end + 1).split('\n')
  if (first < 1 || lines.length !== last - first + 1) return null
  return { topic: topic as Topic, epoch: head[1]!, first, last, count: lines.length, publisher: head[4]!, bytes: bytes.length, lines }
}

function readLine ({ topic, first, lines }: Run, index: number): Logged | null {
  const line = lines[index]!
  const afterCounter = line.indexOf(' ')
  const afterExcept = line.indexOf(' ', afterCounter + 1)
  const flag = line[afterCounter + 1]
  if (afterCounter < 1 || afterExcept === -1 || (flag !== '0' && flag !== '1') || line[afterExcept + 1] !== '{') return null
  return { topic, seq: first + index, volatile: flag === '1', except: line.slice(afterCounter + 2, afterExcept), json: line.slice(afterExcept + 1) }
}
