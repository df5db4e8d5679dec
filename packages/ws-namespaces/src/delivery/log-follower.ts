import type { Place, Sink } from './carrier.ts'
import { isBefore, isSameRoot } from './epoch.ts'
import { GivenUp } from './given-up.ts'
import type { Topic } from './keys.ts'
import { readLine, type Run } from './run.ts'
import { Seen } from './seen.ts'

/** What the log says after a number. */
export interface Reading {
  readonly epoch: string
  /** Number of the last message. */
  readonly seq: number
  /** Number after which the epoch began. */
  readonly base: number
  /** Redis' time in milliseconds. */
  readonly now: number
  readonly entries: ReadonlyArray<{ topic: Topic, run: Run, at: number }>
}

export interface FollowerSource {
  /** Reads the log after a number. Rejects in an outage. */
  read (after: number, count: number): Promise<Reading>
  /** Says to everybody that the log of this epoch went back, and where to read on. */
  turn (epoch: string, base: number): Promise<void>
  /** Whether every topic is heard. A connection that comes back hears some before `sync` can be called. */
  hears (): boolean
  /** Waits a moment before the next try. */
  pause (): Promise<void>
}

/** A message by its publisher and the publisher's number. */
interface Anchor { readonly bootId: string, readonly counter: number }

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
  /** The message at the place, where it is known: tells whether the log is still the one that we knew. */
  #anchor: Anchor | null = null
  /** Number where we began: nothing before it concerns us. */
  #begun = 0
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
    if (this.#place !== null) return
    this.#begun = place.seq
    this.#move(place.epoch, place.seq)
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
      if (this.#again) continue
      // A mark may be among what was missed.
      if (this.#place !== null) this.#sink.mark(this.#place)
      this.#release()
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
    // With what was heard last, to see whether the log still has it.
    const after = this.#anchor === null ? place.seq : place.seq - 1
    const { epoch, seq, base, entries } = await this.#source.read(after, CHUNK)
    if (this.#place !== place || this.#closed) return this.#place !== null && !this.#closed
    if (epoch !== place.epoch) {
      this.#gaps++
      const from = isSameRoot(epoch, place.epoch) ? base : 0
      this.#begun = Math.min(this.#begun, from)
      this.#move(epoch, Math.min(place.seq, from))
      return true
    }
    if (this.#wentBack(entries[0]?.run, place.seq)) {
      await this.#source.turn(epoch, this.#begun)
      return true
    }
    const news = entries.filter(({ run }) => run.last > place.seq)
    if ((news[0]?.run.first ?? seq + 1) > place.seq + 1) this.#gaps++
    for (const { topic, run } of news) this.#move(epoch, run.last, this.#deliver(topic, run))
    if (entries.length === CHUNK) return true
    if (this.#place.seq < seq) this.#move(epoch, seq)
    return false
  }

  /** Whether another log grew where we were: what others added before they knew that the end was lost. */
  #wentBack (head: Run | undefined, seq: number): boolean {
    if (this.#anchor === null || head === undefined || head.first > seq) return false
    if (head.last > seq) return true
    const { bootId, counter } = this.#anchor
    return head.bootId !== bootId || readLine('broadcast', head, seq)?.counter !== counter
  }

  #take (topic: Topic, run: Run): void {
    const { epoch, first, last } = run
    const place = this.#place
    const anchor = this.#deliver(topic, run)
    if (place === null || (place.epoch === epoch ? last <= place.seq : isBefore(epoch, place.epoch))) return
    if (place.epoch !== epoch) {
      // A successor whose beginning was lost with a connection is read by the sync that follows on that.
      if (first > 1) this.#gaps++
      if (!isSameRoot(epoch, place.epoch)) this.#begun = 0
    }
    this.#move(epoch, last, anchor)
  }

  /** Hands on what was not yet. Returns the last message. */
  #deliver (topic: Topic, run: Run): Anchor | null {
    const { epoch, first, last, bootId } = run
    const isOurs = bootId === this.#bootId
    let anchor: Anchor | null = null
    for (let seq = first; seq <= last; seq++) {
      const line = readLine(topic, run, seq)
      if (line === null) continue
      if (seq === last) anchor = { bootId, counter: line.counter }
      if (isOurs && this.#givenUp.has(line.counter)) continue
      if (this.#seen.take(bootId, line.counter)) this.#sink.deliver(line.message, { epoch, seq })
    }
    if (run.lines.length === 0) this.#sink.mark({ epoch, seq: last })
    return anchor
  }

  #move (epoch: string, seq: number, anchor: Anchor | null = null): void {
    this.#place = { epoch, seq }
    this.#anchor = anchor
  }
}
