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
export interface Run {
  readonly epoch: string
  readonly first: number
  readonly last: number
  readonly bootId: string
  readonly lines: readonly string[]
}

const HEAD = /^([A-Za-z0-9_-]{1,40}) (\d{1,15}) (\d{1,15}) ([a-z0-9]{1,40})$/

export function writeLine (counter: number, { volatile, except, json }: Delivery): string {
  return `${counter} ${volatile ? 1 : 0}${except} ${json}`
}

/** Null where it is malformed. */
export function readRun (bytes: Buffer): Run | null {
  const text = bytes.toString()
  const end = text.indexOf('\n')
  const head = end === -1 ? null : HEAD.exec(text.slice(0, end))
  if (head === null) return null
  const [first, last] = [Number(head[2]), Number(head[3])]
  const lines = end === text.length - 1 ? [] : text.slice(end + 1).split('\n')
  return lines.length === last - first + 1 ? { epoch: head[1]!, first, last, bootId: head[4]!, lines } : null
}

/** A message of a run, with its publisher's own number; null where it is malformed. */
export function readLine (topic: Topic, run: Run, seq: number): { counter: number, message: Logged } | null {
  const line = run.lines[seq - run.first]!
  const afterCounter = line.indexOf(' ')
  const afterExcept = line.indexOf(' ', afterCounter + 1)
  const counter = Number(line.slice(0, afterCounter))
  const flag = line[afterCounter + 1]
  if (afterCounter < 1 || afterExcept === -1 || !Number.isSafeInteger(counter) || (flag !== '0' && flag !== '1') || line[afterExcept + 1] !== '{') return null
  return { counter, message: { topic, seq, volatile: flag === '1', except: line.slice(afterCounter + 2, afterExcept), json: line.slice(afterExcept + 1) } }
}
