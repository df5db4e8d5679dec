import type { Place, Sink } from './carrier.ts'
import { GivenUp } from './given-up.ts'
import type { Topic } from './keys.ts'
import { readLine, type Run } from './run.ts'
import { Seen } from './seen.ts'

/** What the log says after a number. */
export interface Reading {
  readonly epoch: string
  /** Number of the last message. */
  readonly seq: number
  /** Redis' time in milliseconds. */
  readonly now: number
  readonly entries: ReadonlyArray<{ topic: Topic, run: Run, at: number }>
}

export interface FollowerSource {
  /** Reads the log after a number. Rejects in an outage. */
  read (after: number, count: number): Promise<Reading>
  /** Says to everybody that the log of this epoch went back. */
  turn (epoch: string): Promise<void>
  /** Whether every topic is heard. A connection that comes back hears some before `sync` can be called. */
  hears (): boolean
  /** Waits a moment before the next try. */
  pause (): Promise<void>
}

const CHUNK = 100
const MOST_HELD = 5000

/**
 * Turns what comes over the channels, and what is read from the log after a loss, into each message once, in order.
 *
 * A process hears only the topics of its sockets, so missing numbers mean nothing; a lost connection does. Then the log
 * is read from the last number that was heard, while what comes live waits.
 */
export class LogFollower {
  readonly #source: FollowerSource
  readonly #sink: Sink
  readonly #bootId: string
  readonly #seen = new Seen()
  readonly #givenUp = new GivenUp()
  #place: Place | null = null
  #held: Array<[topic: Topic, run: Run]> = []
  #syncing = false
  #again = false
  #closed = false
  #gaps = 0

  constructor (bootId: string, source: FollowerSource, sink: Sink) {
    this.#bootId = bootId
    this.#source = source
    this.#sink = sink
  }

  /** How often something was lost for good. */
  get gaps (): number {
    return this.#gaps
  }

  /** Up to where everything was delivered; null before the first connection. */
  get place (): Place | null {
    return this.#place
  }

  /** Begins here, where it has not begun. */
  begin (place: Place): void {
    this.#place ??= place
  }

  /** Begins anew at the next connection. */
  end (): void {
    this.#place = null
    this.#held = []
  }

  close (): void {
    this.#closed = true
    this.end()
  }

  /** Whether a message of ours that is given up was not delivered yet. From now on it was. */
  giveUp (counter: number): boolean {
    this.#givenUp.add(counter)
    return !this.#seen.has(this.#bootId, counter)
  }

  /** A batch of ours is in the log. */
  committed (): void {
    this.#givenUp.cut()
  }

  hear (topic: Topic, run: Run): void {
    if (!this.#syncing && this.#source.hears()) return this.#take(topic, run)
    if (this.#held.length < MOST_HELD) this.#held.push([topic, run])
    // What is too much is read from the log.
    else this.#again = true
  }

  /** Reads from the log what was missed, until nothing is. */
  sync (): void {
    if (this.#closed) return
    if (this.#place === null) return this.#release()
    this.#again = true
    if (this.#syncing) return
    this.#syncing = true
    this.#catchUp().finally(() => { this.#syncing = false })
  }

  async #catchUp (): Promise<void> {
    while (this.#again && this.#place !== null) {
      this.#again = false
      try {
        while (await this.#readOn()) { /* until the end of the log */ }
      } catch {
        this.#again = true
        await this.#source.pause()
      }
      if (!this.#again) this.#release()
    }
  }

  /** What waited is behind what was read, or in it. */
  #release (): void {
    const held = this.#held
    this.#held = []
    for (const [topic, run] of held) this.#take(topic, run)
  }

  /** Reads one piece. Returns whether there is more. */
  async #readOn (): Promise<boolean> {
    const place = this.#place
    if (place === null || this.#closed) return false
    const { epoch, seq, entries } = await this.#source.read(place.seq, CHUNK)
    if (this.#place !== place || this.#closed) return this.#place !== null && !this.#closed
    if (epoch !== place.epoch) {
      this.#gaps++
      this.#place = { epoch, seq: 0 }
      return true
    }
    if (seq < place.seq) {
      this.#gaps++
      this.#place = { epoch, seq }
      await this.#source.turn(epoch)
      return true
    }
    const first = entries[0]?.run.first ?? seq + 1
    if (first > place.seq + 1) this.#gaps++
    for (const { topic, run } of entries) this.#take(topic, run)
    if (entries.length === CHUNK) return true
    if (this.#place.seq < seq) this.#place = { epoch, seq }
    return false
  }

  #take (topic: Topic, run: Run): void {
    const { epoch, first, last, bootId } = run
    const place = this.#place
    if (place !== null && place.epoch !== epoch) {
      // A successor whose beginning was lost with a connection is read by the sync that follows on that.
      if (first > 1) this.#gaps++
      this.#place = { epoch, seq: last }
    } else if (place === null || last > place.seq) {
      if (place !== null) this.#place = { epoch, seq: last }
    }
    const isOurs = bootId === this.#bootId
    for (let seq = first; seq <= last; seq++) {
      const line = readLine(topic, run, seq)
      if (line === null || (isOurs && this.#givenUp.has(line.counter))) continue
      if (this.#seen.take(bootId, line.counter)) this.#sink.deliver(line.message, { epoch, seq })
    }
    if (run.lines.length === 0) this.#sink.mark({ epoch, seq: last })
  }
}
