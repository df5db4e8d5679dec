import { isBefore, isSameRoot, type FrameHead, type LogFormat, type LogFrame, type Place } from './format.ts'
import { Delivery, type FollowerSink } from './delivery.ts'
import { Pace, type Most } from './pace.ts'
import { wentBack, type FollowerSource, type Reading } from './reading.ts'

/** How a process follows a log. */
export interface FollowerRules {
  /** Own name among the publishers. */
  readonly publisher: string
  /**
   * True where every number is heard, so that a missing one is a loss, found at the next. False where only some channels are:
   * then a lost connection is what tells of a loss.
   */
  readonly hearsAll: boolean
  /** Whether everybody who turns the log says where the new epoch begins. */
  readonly knowsBase: boolean
  /** Whether own messages were delivered when they were published, and are skipped in the log. */
  readonly skipsOwn: boolean
}

const MOST_HELD = 5000
const MOST_HELD_BYTES = 32 * 1024 * 1024
const TAIL_MS = 100

/**
 * Turns what comes over the channels, and what is read from the log after a loss, into each message once, in order.
 *
 * Live frames wait while the log is read from the last known place on. There it is seen whether the log is still the one
 * that was known: another root, another turn, or another message at the place.
 */
export class Follower<Frame extends LogFrame, Message> {
  readonly #rules: FollowerRules
  readonly #source: FollowerSource<Frame>
  readonly #delivery: Delivery<Frame, Message>
  #place: Place | null = null
  /** How the frame that ends at the place begins, where it is known: tells whether the log still is the one that we knew. */
  #anchor: FrameHead | null = null
  /** Number where this process joined the log of this root: what stands before was published before it joined. */
  #joinedAt = 0
  /** The furthest place that the log confirmed for a message of ours. */
  #acked: Place | null = null
  #held: Frame[] = []
  #heldBytes = 0
  #syncing = false
  #again = false
  #lost: { missed: number | null } | null = null
  #closed = false

  constructor (rules: FollowerRules, format: LogFormat<Frame, Message>, source: FollowerSource<Frame>, sink: FollowerSink<Message>) {
    this.#rules = rules
    this.#source = source
    this.#delivery = new Delivery(rules.publisher, rules.skipsOwn, format, sink)
  }

  /** Up to where everything was dealt with; null before the beginning. */
  get place (): Place | null {
    return this.#place
  }

  /** Begins after this place, with what came since then; where it has not begun. */
  begin ({ epoch, seq }: Place): void {
    if (this.#place !== null || this.#closed) return
    this.#joinedAt = seq
    this.#move(epoch, seq, null)
    if (this.#syncing) return
    this.#syncing = true
    if (!this.#settle(0)) this.#catchUp()
  }

  /** Forgets the place, to begin anew at another. */
  end (): void {
    this.#place = null
    this.#drop()
  }

  close (): void {
    this.#closed = true
    this.end()
  }

  /** Takes what came over a channel. Never throws. */
  hear (frame: Frame): void {
    if (this.#closed) return
    if (this.#syncing || !this.#source.hears()) this.#hold(frame)
    else if (!this.#take(frame)) {
      this.#hold(frame)
      if (this.#place !== null) this.sync()
    }
  }

  /** Whether a message of ours that is given up was not delivered yet. From now on it was. */
  giveUp (counter: number): boolean {
    return this.#delivery.giveUp(counter)
  }

  /** Redis took a batch of ours, whose last message stands at this place; null where none of it is logged. */
  committed (place: Place | null): void {
    this.#delivery.cut()
    if (place !== null && (this.#acked?.epoch !== place.epoch || this.#acked.seq < place.seq)) this.#acked = place
  }

  /**
   * A command of this process was answered with this end of the log.
   *
   * @param before the own number when that command was sent
   */
  note ({ epoch, seq }: Place, before: number): void {
    if (this.#place === null || this.#syncing) return
    if (epoch !== this.#place.epoch || seq < before) this.sync()
    // The last frame may be in flight, or lost with none after it by which that would be seen.
    else if (seq > this.#place.seq) setTimeout(() => { if (seq > (this.#place?.seq ?? seq)) this.sync() }, TAIL_MS).unref()
  }

  /** Reads from the log what was missed, until nothing is. */
  sync (): void {
    if (this.#closed) return
    if (this.#syncing || this.#place !== null) this.#again = true
    if (this.#syncing) return
    this.#syncing = true
    if (this.#place === null) this.#settle(0)
    else this.#catchUp()
  }

  async #catchUp (): Promise<void> {
    const pace = new Pace()
    do {
      this.#again = false
      try {
        const covered = await this.#readOn(pace.most)
        if (covered !== null && this.#settle(covered)) return this.#tell()
        this.#again = true
        pace.succeeded()
      } catch (err) {
        this.#again = true
        pace.failed(err)
        await this.#source.pause()
      }
    } while (this.#again && !this.#closed)
  }

  /** Reads one piece of the log. Returns how many held frames it covers, null where more has to be read. */
  async #readOn (most: Most): Promise<number | null> {
    const [covered, place, acked] = [this.#held.length, this.#place, this.#acked]
    if (place === null) return covered
    const reading = await this.#source.read(place.seq, most)
    if (this.#place !== place || this.#closed) return null
    const hasTurned = reading.epoch !== place.epoch
    if (hasTurned) {
      this.#lose(null)
      if (!isSameRoot(reading.epoch, place.epoch)) return this.#goBack(reading.epoch, 0)
    }
    if (wentBack(reading, { place, anchor: this.#anchor, acked, publisher: this.#rules.publisher })) {
      if (hasTurned) return this.#goBack(reading.epoch, Math.min(this.#joinedAt, this.#rules.knowsBase ? reading.base : reading.seq))
      this.#lose(null)
      await this.#source.turn(reading.epoch, this.#joinedAt)
      return this.#goBack(reading.epoch, Math.min(this.#joinedAt, reading.seq))
    }
    this.#move(reading.epoch, place.seq, this.#anchor)
    return this.#takeAll(reading) ? covered : null
  }

  /** Reads on from an earlier place: what was delivered is recognised by its publisher's numbers. */
  #goBack (epoch: string, seq: number): null {
    this.#acked = null
    this.#joinedAt = Math.min(this.#joinedAt, seq)
    this.#move(epoch, seq, null)
    return null
  }

  /** Returns whether that was the end of the log. */
  #takeAll ({ epoch, seq, entries }: Reading<Frame>): boolean {
    let at = this.#place!.seq
    for (const { seq: last, frame } of entries) {
      if (last <= at) continue
      // What cannot be read is of a later release, or malformed: lost to this process in either case.
      if (frame === null) this.#delivery.malformed()
      this.#loseUpTo(epoch, at, frame === null ? last : frame.first - 1)
      this.#move(epoch, last, frame === null ? null : this.#deliver(frame))
      at = last
    }
    if (entries.length > 0 && entries.at(-1)!.seq < seq) return false
    if (at < seq) {
      this.#loseUpTo(epoch, at, seq)
      this.#move(epoch, seq, null)
    }
    return true
  }

  /** The log holds nothing of these numbers any more. Of them, held frames are delivered; the rest is lost. */
  #loseUpTo (epoch: string, after: number, last: number): void {
    let at = after
    for (const frame of this.#held) {
      if (frame.epoch !== epoch || frame.first !== at + 1 || frame.last > last) continue
      this.#deliver(frame)
      at = frame.last
    }
    if (at < last) this.#lose(last - at)
  }

  /**
   * Deals with the held frames, of which the first `covered` came before the log was read, and goes live. False where more
   * has to be read first. Without a place nothing can be read: what was too much to hold is read at the beginning.
   */
  #settle (covered: number): boolean {
    const held = this.#held
    const hasPlace = this.#place !== null
    this.#drop()
    for (const [index, frame] of held.entries()) {
      // It was among what was read, or the log lost it and this is the only copy.
      if (index < covered && frame.last > 0) this.#deliver(frame)
      else if ((hasPlace && this.#again) || !this.#take(frame, true)) {
        // Something may be missing before it: a connection was lost once more, or it is not the next one.
        for (const one of held.slice(index)) this.#hold(one)
        break
      }
    }
    if (hasPlace && (this.#again || this.#held.length > 0)) return false
    this.#syncing = false
    return true
  }

  /** Everything that could be read was. */
  #tell (): void {
    const [lost, place] = [this.#lost, this.#place]
    this.#lost = null
    // A mark may be among what was missed.
    if (place !== null) this.#delivery.mark(place)
    if (lost !== null) this.#delivery.gap(lost.missed)
  }

  /**
   * Delivers a frame where nothing is known to be missing before it.
   *
   * @param isHeld whether it waited while the log was read: then it may be in what was read
   */
  #take (frame: Frame, isHeld = false): boolean {
    const { epoch, first, last } = frame
    const { hearsAll } = this.#rules
    const place = this.#place
    if (last === 0 || (place === null && !hearsAll)) this.#deliver(frame)
    else if (place === null) return false
    else if (epoch !== place.epoch) {
      // Late, from before a turn; any other epoch has to be read.
      if (!isBefore(epoch, place.epoch)) return false
      this.#deliver(frame)
    } else if (last <= place.seq && (isHeld || !hearsAll)) this.#deliver(frame)
    else if (hearsAll && first !== place.seq + 1) return false
    else this.#move(epoch, last, this.#deliver(frame))
    return true
  }

  /** Returns how the frame begins. A mark of before a turn says nothing. */
  #deliver (frame: Frame): FrameHead | null {
    const { epoch, last, count } = frame
    if (count === 0 && (this.#place === null || this.#place.epoch === epoch)) this.#delivery.mark({ epoch, seq: last })
    return this.#delivery.deliver(frame)
  }

  /** What is too much is read from the log again. */
  #hold (frame: Frame): void {
    if (this.#held.length < MOST_HELD && this.#heldBytes < MOST_HELD_BYTES) {
      this.#held.push(frame)
      this.#heldBytes += frame.bytes
    } else this.#again = true
  }

  #drop (): void {
    this.#held = []
    this.#heldBytes = 0
  }

  #move (epoch: string, seq: number, anchor: FrameHead | null): void {
    this.#place = { epoch, seq }
    this.#anchor = anchor
  }

  #lose (missed: number | null): void {
    const before = this.#lost === null ? 0 : this.#lost.missed
    this.#lost = { missed: missed === null || before === null ? null : before + missed }
  }
}
