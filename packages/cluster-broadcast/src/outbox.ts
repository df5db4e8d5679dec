import { writeBody, writeLine, UNLOGGED } from './frame.ts'
import type { Ack, Outgoing } from './transport.ts'

/** Messages of one destination that stand next to each other. */
interface Run {
  /** Channel of its own; '' for the bus. */
  readonly channel: string
  readonly counter: number
  readonly lines: string[]
}

interface Waiting extends Outgoing {
  readonly line: string
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
  #queue: Waiting[] = []
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
    this.#characters += line.length
    return new Promise((resolve) => {
      this.#queue.push({ ...message, line, settle: resolve })
      if (this.#busy) return
      this.#busy = true
      this.#idle = Promise.resolve().then(() => this.#flush())
    })
  }

  /** Resolves when nothing waits. */
  idle (): Promise<void> {
    return this.#idle
  }

  async #flush (): Promise<void> {
    while (this.#queue.length > 0) {
      const batch = this.#nextBatch()
      const ack = await this.#commit(this.#runs(batch), batch.some(({ kind }) => kind === 'ask'))
      for (const message of batch) {
        this.#characters -= message.line.length
        message.settle(ack)
      }
    }
    this.#busy = false
  }

  #nextBatch (): Waiting[] {
    let count = 0
    for (let characters = 0; count < this.#queue.length && count < BATCH_MESSAGES && characters < BATCH_CHARACTERS; count++) {
      characters += this.#queue[count]!.line.length
    }
    return this.#queue.splice(0, count)
  }

  #runs (batch: readonly Waiting[]): Array<[channel: string, count: number, body: string]> {
    const runs: Run[] = []
    for (const message of batch) {
      const channel = destination(message)
      const last = runs.at(-1)
      if (last?.channel === channel && last.counter + last.lines.length === message.counter) last.lines.push(message.line)
      else runs.push({ channel, counter: message.counter, lines: [message.line] })
    }
    return runs.map(({ channel, counter, lines }) => {
      const body = writeBody(this.#bootId, this.#instanceId, counter, lines)
      return channel === '' ? [channel, lines.length, body] : [channel, 0, UNLOGGED + body]
    })
  }
}

/** Asks go to the bus always: who does not listen to the channel has to answer too. */
function destination ({ logged, kind, channel }: Outgoing): string {
  if (logged) return ''
  return kind === 'ask' ? EVERYBODY : channel
}
