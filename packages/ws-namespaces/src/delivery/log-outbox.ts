import type { Delivered, Delivery } from './carrier.ts'
import type { Topic } from './keys.ts'
import type { Outage } from './outage.ts'
import { writeLine } from './run.ts'

/** Consecutive messages of one topic. */
export interface OutgoingRun {
  readonly topic: Topic
  readonly lines: string[]
}

/** What goes to Redis at once. */
interface Batch {
  readonly runs: OutgoingRun[]
  readonly messages: Array<{ counter: number, message: Delivery }>
  characters: number
  readonly ack: Promise<Delivered>
  /** Whether it is known what became of it. */
  isOver: boolean
  settle (delivered: Delivered): void
}

export interface OutboxTarget {
  /** Appends runs to the log. Rejects in an outage; may then be called again with the same ones. */
  commit (runs: readonly OutgoingRun[], lastCounter: number): Promise<void>
  /** Redis stayed away: the message reaches this process only. */
  onGiveUp (counter: number, message: Delivery): void
}

const BATCH_MESSAGES = 256
const BATCH_CHARACTERS = 128 * 1024
const MOST_CHARACTERS = 32 * 1024 * 1024
const RETRY_MS = 100

/** One for all namespaces of the process, so that a namespace that is made anew goes on counting. */
let counters = 0

/**
 * Sends the messages of a namespace in batches, one at a time, and again until it is known that Redis has them: an outage
 * that ends within `waitMs` loses nothing. One at a time, because a later batch must not overtake. Where more waits than may,
 * the oldest is given up, because a newer one would overtake it on its way to the clients here.
 */
export class LogOutbox {
  readonly #target: OutboxTarget
  readonly #outage: Outage
  readonly #waitMs: number
  #queue: Batch[] = []
  /** On its way to Redis. */
  #head: Batch | null = null
  #characters = 0
  #busy = false
  #closed = false

  constructor (target: OutboxTarget, outage: Outage, waitMs: number) {
    this.#target = target
    this.#outage = outage
    this.#waitMs = waitMs
  }

  get idle (): boolean {
    return !this.#busy
  }

  /** Resolves with what became of the message. */
  send (message: Delivery): Promise<Delivered> {
    const counter = ++counters
    if (this.#closed) {
      this.#target.onGiveUp(counter, message)
      return Promise.resolve('local')
    }
    const line = writeLine(counter, message)
    const batch = this.#open()
    const last = batch.runs.at(-1)
    if (last?.topic === message.topic) last.lines.push(line)
    else batch.runs.push({ topic: message.topic, lines: [line] })
    batch.messages.push({ counter, message })
    batch.characters += line.length
    this.#characters += line.length
    this.#makeRoom()
    if (!this.#busy) {
      this.#busy = true
      Promise.resolve().then(() => this.#flush())
    }
    return batch.ack
  }

  /** What waits is given up. */
  close (): void {
    this.#closed = true
  }

  #open (): Batch {
    const last = this.#queue.at(-1)
    if (last !== undefined && last.messages.length < BATCH_MESSAGES && last.characters < BATCH_CHARACTERS) return last
    let settle!: (delivered: Delivered) => void
    const ack = new Promise<Delivered>((resolve) => { settle = resolve })
    const batch = { runs: [], messages: [], characters: 0, ack, isOver: false, settle }
    this.#queue.push(batch)
    return batch
  }

  async #flush (): Promise<void> {
    for (let batch = this.#queue.shift(); batch !== undefined; batch = this.#queue.shift()) {
      this.#head = batch
      this.#end(batch, await this.#deliver(batch))
      this.#head = null
    }
    this.#busy = false
  }

  #makeRoom (): void {
    while (this.#characters > MOST_CHARACTERS) {
      if (this.#head?.isOver === false) this.#end(this.#head, 'local')
      else if (this.#queue.length > 1) this.#end(this.#queue.shift()!, 'local')
      else return
    }
  }

  #end (batch: Batch, delivered: Delivered): void {
    if (batch.isOver) return
    batch.isOver = true
    this.#characters -= batch.characters
    if (delivered === 'local') for (const { counter, message } of batch.messages) this.#target.onGiveUp(counter, message)
    batch.settle(delivered)
  }

  async #deliver (batch: Batch): Promise<Delivered> {
    const { runs, messages } = batch
    const begun = performance.now()
    for (;;) {
      try {
        await this.#target.commit(runs, messages.at(-1)!.counter)
        return 'cluster'
      } catch {
        // What an outage has lasted already counts, so that in a long one nobody waits.
        if (batch.isOver || this.#closed || performance.now() - (this.#outage.since ?? begun) >= this.#waitMs) return 'local'
        await this.#outage.change(RETRY_MS)
      }
    }
  }
}
