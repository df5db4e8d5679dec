import type { FrameHead, LogFormat, LogFrame, Place } from './format.ts'
import { GivenUp, Seen } from './seen.ts'

/** Receives the messages. What it throws is passed to `fault` and changes nothing else. */
export interface FollowerSink<Message> {
  /** In the order of the log. `seq` is 0 where the message is not logged. */
  deliver (message: Message, epoch: string, seq: number): void
  /** Everything up to this place was delivered. */
  mark (place: Place): void
  /** Messages were lost to this process; null where nobody can tell how many. Once per loss. */
  gap (missed: number | null): void
  malformed (): void
  fault (err: unknown): void
}

/**
 * Delivers messages to the sink, each once: what was delivered is recognised by its publisher's numbers, and own messages
 * that were given up, or that are delivered when they are published, are skipped.
 */
export class Delivery<Frame extends LogFrame, Message> {
  readonly #publisher: string
  readonly #skipsOwn: boolean
  readonly #format: LogFormat<Frame, Message>
  readonly #sink: FollowerSink<Message>
  readonly #seen = new Seen()
  readonly #givenUp = new GivenUp()

  /**
   * @param publisher own name among the publishers
   * @param skipsOwn whether own messages were delivered when they were published
   */
  constructor (publisher: string, skipsOwn: boolean, format: LogFormat<Frame, Message>, sink: FollowerSink<Message>) {
    this.#publisher = publisher
    this.#skipsOwn = skipsOwn
    this.#format = format
    this.#sink = sink
  }

  /** Whether a message of ours that is given up was not delivered yet. From now on it was. */
  giveUp (counter: number): boolean {
    this.#givenUp.add(counter)
    return counter > this.#seen.of(this.#publisher).highest
  }

  /** Redis took a batch of ours: what is given up from now on begins a new stretch. */
  cut (): void {
    this.#givenUp.cut()
  }

  /** Delivers what was not delivered yet. Returns how the frame begins; null for a mark. */
  deliver (frame: Frame): FrameHead | null {
    const { epoch, first, last, count, publisher } = frame
    if (count === 0) return null
    const isOurs = publisher === this.#publisher
    if (!isOurs || !this.#skipsOwn) {
      // What is logged and what is not is numbered apart.
      const progress = this.#seen.of(last > 0 ? publisher : `${publisher} unlogged`)
      for (let index = 0; index < count; index++) {
        const counter = this.#format.counterOf(frame, index)
        if (counter <= progress.highest) continue
        if (!Number.isNaN(counter)) progress.highest = counter
        if (isOurs && this.#givenUp.has(counter)) continue
        this.#hand(frame, index, epoch, last > 0 ? first + index : 0)
      }
    }
    return { publisher, counter: this.#format.counterOf(frame, 0) }
  }

  mark (place: Place): void {
    this.#guard(() => this.#sink.mark(place))
  }

  gap (missed: number | null): void {
    this.#guard(() => this.#sink.gap(missed))
  }

  malformed (): void {
    this.#guard(() => this.#sink.malformed())
  }

  /** Without a closure, because it is called for each message. */
  #hand (frame: Frame, index: number, epoch: string, seq: number): void {
    const message = this.#format.messageOf(frame, index)
    try {
      if (message === null) this.#sink.malformed()
      else this.#sink.deliver(message, epoch, seq)
    } catch (err) {
      this.#sink.fault(err)
    }
  }

  /** A sink's fault must not look like one of the log. */
  #guard (tell: () => void): void {
    try {
      tell()
    } catch (err) {
      this.#sink.fault(err)
    }
  }
}
