import { writeBody, writeLine, UNLOGGED } from './frame.ts'
import type { Ack, Outgoing } from './transport.ts'

/** Messages of one destination that stand next to each other. */
interface Run {
  /** Channel of its own; '' for the bus. */
  readonly channel: string
  readonly counter: number
  readonly lines: string[]
}

/** What goes to Redis at once. */
interface Batch {
  readonly runs: Run[]
  messages: number
  characters: number
  wantMembers: boolean
  readonly ack: Promise<Ack>
  settle (ack: Ack): void
}

/** Hands runs to Redis in one script. */
export type Commit = (runs: Array<[channel: string, count: number, body: string]>, wantMembers: boolean) => Promise<Ack>

/** Channel that every member hears: no name of a message has such a segment. */
export const EVERYBODY = '::everybody'

const BATCH_MESSAGES = 512
const BATCH_CHARACTERS = 64 * 1024
const MOST_CHARACTERS = 64 * 1024 * 1024
const LOST: Ack = Object.freeze({ delivered: false, members: null })

/**
 * Sends in batches, one at a time: what arrives while a batch is on its way makes the next one. A lone message leaves
 * at the end of its tick; under load batches grow by themselves. One at a time, because a redirection of Redis
 * Cluster or a lost connection must not let a later batch overtake.
 *
 * Measured (benchmarks/cluster-broadcast): several times the throughput of a PUBLISH per message.
 */
export class Outbox {
  readonly #bootId: string
  readonly #instanceId: string
  readonly #commit: Commit
  #queue: Batch[] = []
  #characters = 0
  #busy = false
  #idle: Promise<void> = Promise.resolve()

  constructor (bootId: string, instanceId: string, commit: Commit) {
    this.#bootId = bootId
    this.#instanceId = instanceId
    this.#commit = commit
  }

  /** Resolves with what became of the message. Over 64 MiB of waiting ones it is not sent. */
  send (message: Outgoing): Promise<Ack> {
    if (this.#characters > MOST_CHARACTERS) return Promise.resolve(LOST)
    const line = writeLine(message)
    const batch = this.#open()
    this.#characters += line.length
    batch.characters += line.length
    batch.messages++
    batch.wantMembers ||= message.kind === 'ask'
    const channel = destination(message)
    const last = batch.runs.at(-1)
    if (last?.channel === channel && last.counter + last.lines.length === message.counter) last.lines.push(line)
    else batch.runs.push({ channel, counter: message.counter, lines: [line] })
    if (!this.#busy) {
      this.#busy = true
      this.#idle = Promise.resolve().then(() => this.#flush())
    }
    return batch.ack
  }

  /** Resolves when nothing waits. */
  idle (): Promise<void> {
    return this.#idle
  }

  /** The batch that has room. */
  #open (): Batch {
    const last = this.#queue.at(-1)
    if (last !== undefined && last.messages < BATCH_MESSAGES && last.characters < BATCH_CHARACTERS) return last
    const { promise, resolve } = withResolvers()
    const batch = { runs: [], messages: 0, characters: 0, wantMembers: false, ack: promise, settle: resolve }
    this.#queue.push(batch)
    return batch
  }

  async #flush (): Promise<void> {
    for (let batch = this.#queue.shift(); batch !== undefined; batch = this.#queue.shift()) {
      const ack = await this.#commit(this.#write(batch), batch.wantMembers)
      this.#characters -= batch.characters
      batch.settle(ack)
    }
    this.#busy = false
  }

  #write ({ runs }: Batch): Array<[channel: string, count: number, body: string]> {
    return runs.map(({ channel, counter, lines }) => {
      const body = writeBody(this.#bootId, this.#instanceId, counter, lines)
      return channel === '' ? [channel, lines.length, body] : [channel, 0, UNLOGGED + body]
    })
  }
}

/** `Promise.withResolvers` of ECMAScript 2024, which Node 20 lacks. */
function withResolvers (): { promise: Promise<Ack>, resolve: (ack: Ack) => void } {
  let resolve!: (ack: Ack) => void
  const promise = new Promise<Ack>((_resolve) => { resolve = _resolve })
  return { promise, resolve }
}

/** Asks go to the bus always: who does not listen to the channel has to answer too. */
function destination ({ logged, kind, channel }: Outgoing): string {
  if (logged) return ''
  return kind === 'ask' ? EVERYBODY : channel
}
