import type { Line } from './lines.ts'

/** Consecutive messages of one destination. */
export interface OutgoingRun {
  readonly destination: string
  /** Number of the first. */
  readonly counter: number
  readonly lines: Line[]
}

/** What goes to Redis at once. */
export interface Batch {
  readonly runs: readonly OutgoingRun[]
  /** Grows with each batch of the process, so that the script recognises one that it has done. */
  readonly number: number
  readonly wantsLiving: boolean
}

interface Open<Message, Outcome> extends Batch {
  readonly runs: OutgoingRun[]
  readonly counters: number[]
  readonly messages: Message[]
  characters: number
  wantsLiving: boolean
  readonly ack: Promise<Outcome>
  /** Whether it is known what became of it. */
  isOver: boolean
  settle (outcome: Outcome): void
}

export interface OutboxTarget<Message, Outcome> {
  /** Hands a batch to Redis. Rejects in an outage; may then be called again with the same one. */
  commit (batch: Batch): Promise<Outcome>
  /** After a failure: waits a moment and says whether to try again. */
  again (err: unknown, begunAt: number): Promise<boolean>
  /** It is not known that Redis has the message, and it is not tried again. */
  onGiveUp (counter: number, message: Message): void
  /** `onGiveUp` threw. */
  onFault (err: unknown): void
  /** What becomes of a message that is given up. */
  readonly givenUp: Outcome
}

export interface OutboxRules {
  /** Whether the messages of a frame must have consecutive numbers of their publisher. */
  readonly isConsecutive: boolean
  /** Whether `onGiveUp` wants the messages. Objects that live for a round trip are what costs the garbage collector most. @default true */
  readonly keepsMessages?: boolean
  /** Characters that may wait. @default 32 Mi */
  readonly mostCharacters?: number
}

const BATCH_MESSAGES = 512
const BATCH_CHARACTERS = 64 * 1024
const MOST_CHARACTERS = 32 * 1024 * 1024

/** One for all logs of the process, so that a log that is opened anew goes on counting. */
let batches = 0

/**
 * Sends in batches, one in flight at a time: what arrives while a batch is in flight makes the next one. A lone message leaves at the
 * end of its tick; under load batches grow by themselves. One at a time, because a redirection of Redis Cluster, or a batch
 * that is sent again, must not let a later one overtake. Where more waits than may, the oldest is given up, because a newer
 * one would overtake it.
 *
 * Measured (benchmarks/cluster-broadcast): several times the throughput of a PUBLISH per message.
 */
export class Outbox<Message, Outcome> {
  readonly #target: OutboxTarget<Message, Outcome>
  readonly #rules: OutboxRules
  #queue: Array<Open<Message, Outcome>> = []
  /** In flight to Redis. */
  #head: Open<Message, Outcome> | null = null
  #characters = 0
  #idle: Promise<void> | null = null
  #closed = false

  constructor (target: OutboxTarget<Message, Outcome>, rules: OutboxRules) {
    this.#target = target
    this.#rules = rules
  }

  get isIdle (): boolean {
    return this.#idle === null
  }

  /** Resolves when nothing waits. */
  idle (): Promise<void> {
    return this.#idle ?? Promise.resolve()
  }

  /**
   * Resolves with what became of the message. Not an object of all that, because it is called for each message.
   *
   * @param destination who it is for: messages of one destination that follow on each other share a frame
   * @param counter the publisher's own number
   * @param message what `onGiveUp` is told, where `keepsMessages` is set
   * @param wantsLiving whether the outcome has to say who lives
   */
  send (destination: string, counter: number, line: Line, message: Message, wantsLiving: boolean): Promise<Outcome> {
    if (this.#closed) {
      this.#giveUp(counter, message)
      return Promise.resolve(this.#target.givenUp)
    }
    const batch = this.#batchFor(line)
    this.#add(batch, destination, counter, line)
    batch.counters.push(counter)
    if (this.#rules.keepsMessages !== false) batch.messages.push(message)
    batch.characters += line.length
    batch.wantsLiving ||= wantsLiving
    this.#characters += line.length
    this.#makeRoom()
    this.#idle ??= Promise.resolve().then(() => this.#flush())
    return batch.ack
  }

  /** Nothing is tried again, and what comes is given up. */
  close (): void {
    this.#closed = true
  }

  /** The batch that has room. */
  #batchFor (line: Line): Open<Message, Outcome> {
    const last = this.#queue.at(-1)
    if (last !== undefined && last.counters.length < BATCH_MESSAGES && last.characters + line.length <= BATCH_CHARACTERS) return last
    let settle!: (outcome: Outcome) => void
    const ack = new Promise<Outcome>((resolve) => { settle = resolve })
    const batch = { runs: [], number: ++batches, counters: [], messages: [], characters: 0, wantsLiving: false, ack, isOver: false, settle }
    this.#queue.push(batch)
    return batch
  }

  #add ({ runs }: Open<Message, Outcome>, destination: string, counter: number, line: Line): void {
    const last = runs.at(-1)
    const follows = last?.destination === destination && (!this.#rules.isConsecutive || last.counter + last.lines.length === counter)
    if (follows) last.lines.push(line)
    else runs.push({ destination, counter, lines: [line] })
  }

  async #flush (): Promise<void> {
    for (let batch = this.#queue.shift(); batch !== undefined; batch = this.#queue.shift()) {
      this.#head = batch
      this.#end(batch, await this.#deliver(batch))
      this.#head = null
    }
    this.#idle = null
  }

  /** Null where the batch is given up. */
  async #deliver (batch: Open<Message, Outcome>): Promise<Outcome | null> {
    const begunAt = performance.now()
    for (;;) {
      try {
        return await this.#target.commit(batch)
      } catch (err) {
        if (batch.isOver || this.#closed || !await this.#target.again(err, begunAt)) return null
      }
    }
  }

  #makeRoom (): void {
    while (this.#characters > (this.#rules.mostCharacters ?? MOST_CHARACTERS)) {
      if (this.#head?.isOver === false) this.#end(this.#head, null)
      else if (this.#queue.length > 1) this.#end(this.#queue.shift()!, null)
      else return
    }
  }

  #end (batch: Open<Message, Outcome>, outcome: Outcome | null): void {
    if (batch.isOver) return
    batch.isOver = true
    this.#characters -= batch.characters
    if (outcome === null) for (const [index, counter] of batch.counters.entries()) this.#giveUp(counter, batch.messages[index]!)
    batch.settle(outcome ?? this.#target.givenUp)
  }

  /** Its fault must not stop what sends the others. */
  #giveUp (counter: number, message: Message): void {
    try {
      this.#target.onGiveUp(counter, message)
    } catch (err) {
      this.#target.onFault(err)
    }
  }
}
