import { FIRST_LINE, readFrame, readLine, type Frame, type WireMessage } from './frame.ts'
import { Seen } from './seen.ts'
import type { Gap } from './transport.ts'

/** What the log says from a number on. */
export interface Replay {
  readonly epoch: string
  /** Number of the last message. */
  readonly seq: number
  readonly entries: ReadonlyArray<{ seq: number, frame: Frame | null }>
}

export interface BusSource {
  /** Reads the log from a number on, inclusive. Rejects in an outage. */
  replay (from: number, count: number): Promise<Replay>
  /** Says to everybody that the log of this epoch went back. */
  turn (epoch: string): Promise<void>
  onMessage (message: WireMessage): void
  onGap (gap: Gap): void
  onMalformed (): void
}

/** A place in the log. */
interface Position { readonly epoch: string, readonly seq: number }

const CHUNK = 100
const MOST_HELD = 5000
const RETRY_MS = 250
const TAIL_MS = 100

/**
 * Turns frames from the bus and from the log into each message once, in order.
 *
 * Every logged frame tells its numbers, so a lost one is noticed at the next, whatever lost it: a reconnect, or the
 * bus of a Redis Cluster. Then the log is read from the last known number on, while live frames wait.
 */
export class Bus {
  readonly #bootId: string
  readonly #source: BusSource
  readonly #seen = new Seen()
  #position: Position | null = null
  /** The frame at the position, by publisher and counter: tells whether the log is still the one that we knew. */
  #anchor: string | null = null
  /** Number at which this process joined the log of this root: nothing before it concerns us. */
  #joinedAt = 0
  /** The furthest place that the log confirmed for a message of ours. */
  #acked: Position | null = null
  #held: Frame[] = []
  #syncing = false
  #again = false
  #lost: { missed: number | null } | null = null
  #closed = false

  constructor (bootId: string, source: BusSource) {
    this.#bootId = bootId
    this.#source = source
  }

  /** Number of the last message that was dealt with; null before the join. */
  get seq (): number | null {
    return this.#position?.seq ?? null
  }

  /** Begins after this place, with what came since then. */
  start (epoch: string, seq: number): void {
    this.#position = { epoch, seq }
    this.#joinedAt = seq
    this.#syncing = true
    if (!this.#settle(0)) this.#catchUp()
  }

  close (): void {
    this.#closed = true
    this.#held = []
  }

  /** Takes what came over a channel. Never throws. */
  hear (bytes: Buffer): void {
    if (this.#closed) return
    const frame = readFrame(bytes)
    if (frame === null) this.#source.onMalformed()
    else if (this.#syncing || (frame.logged && this.#position === null)) this.#hold(frame)
    else if (!this.#take(frame)) {
      this.#hold(frame)
      this.resync()
    }
  }

  /** A message of ours stands at this place. */
  acked (epoch: string, seq: number): void {
    if (this.#acked?.epoch !== epoch || this.#acked.seq < seq) this.#acked = { epoch, seq }
  }

  /**
   * Somebody who asked Redis saw this place.
   *
   * @param before what `seq` was when it asked
   */
  note (epoch: string, seq: number, before: number | null): void {
    if (this.#position === null || this.#syncing) return
    if (epoch !== this.#position.epoch || seq < (before ?? 0)) this.resync()
    // The last frame may be on its way, or lost with none after it to tell.
    else if (seq > this.#position.seq) setTimeout(() => { if (seq > (this.#position?.seq ?? 0)) this.resync() }, TAIL_MS).unref()
  }

  /** Reads from the log what was missed, until nothing is. */
  resync (): void {
    if (this.#position === null || this.#closed) return
    this.#again = true
    if (this.#syncing) return
    this.#syncing = true
    this.#catchUp()
  }

  async #catchUp (): Promise<void> {
    do {
      this.#again = false
      try {
        const covered = await this.#read()
        if (covered === null || !this.#settle(covered)) this.#again = true
      } catch {
        this.#again = true
        await new Promise((resolve) => { setTimeout(resolve, RETRY_MS).unref() })
      }
    } while (this.#again && !this.#closed)
  }

  /** Reads one piece of the log. Returns how many held frames it covers, null where more has to be read. */
  async #read (): Promise<number | null> {
    const covered = this.#held.length
    const [position, acked] = [this.#position!, this.#acked]
    const replay = await this.#source.replay(position.seq, CHUNK)
    if (this.#closed) return null
    if (replay.epoch !== position.epoch) {
      this.#lose(null)
      if (rootOf(replay.epoch) !== rootOf(position.epoch)) {
        this.#joinedAt = 0
        this.#move(replay.epoch, 0, null)
        return null
      }
    }
    if (this.#wentBack(replay, position, acked)) {
      this.#lose(null)
      if (replay.epoch === position.epoch) await this.#source.turn(replay.epoch)
      this.#acked = null
      this.#move(replay.epoch, Math.min(this.#joinedAt, replay.seq), null)
      return null
    }
    this.#move(replay.epoch, position.seq, this.#anchor)
    for (const { seq, frame } of replay.entries) this.#takeEntry(seq, frame)
    if (replay.entries.length === CHUNK) return null
    if (this.#position!.seq < replay.seq) {
      this.#lose(replay.seq - this.#position!.seq)
      this.#move(replay.epoch, replay.seq, null)
    }
    return covered
  }

  /** Whether the log lost what we know was in it. */
  #wentBack (replay: Replay, position: Position, acked: Position | null): boolean {
    if (replay.seq < position.seq) return true
    const [head] = replay.entries
    if (this.#anchor !== null && head?.seq === position.seq && head.frame !== null && anchorOf(head.frame) !== this.#anchor) return true
    if (acked?.epoch !== replay.epoch) return false
    if (acked.seq > replay.seq) return true
    const ours = replay.entries.find(({ seq }) => seq >= acked.seq)?.frame
    return ours != null && ours.first <= acked.seq && ours.bootId !== this.#bootId
  }

  #takeEntry (seq: number, frame: Frame | null): void {
    const position = this.#position!
    if (seq <= position.seq) return
    if (frame === null) this.#source.onMalformed()
    else {
      if (frame.first > position.seq + 1) this.#lose(frame.first - position.seq - 1)
      this.#deliver(frame)
    }
    this.#move(position.epoch, seq, frame === null ? null : anchorOf(frame))
  }

  /**
   * Deals with the held frames, of which the first `covered` stand in the log that was read, and goes live. False where
   * more has to be read first.
   */
  #settle (covered: number): boolean {
    const held = this.#held
    this.#held = []
    for (const [index, frame] of held.entries()) {
      if (frame.logged && (index < covered || this.#isOld(frame))) continue
      if (this.#take(frame)) continue
      this.#held = [...held.slice(index), ...this.#held]
      return false
    }
    if (this.#again || this.#held.length > 0) return false
    this.#syncing = false
    const lost = this.#lost
    this.#lost = null
    if (lost !== null) this.#source.onGap(lost)
    return true
  }

  #isOld (frame: Frame): boolean {
    return frame.epoch === this.#position!.epoch && frame.last <= this.#position!.seq
  }

  /** Delivers a frame where it is the next one. */
  #take (frame: Frame): boolean {
    if (frame.logged) {
      const { epoch, seq } = this.#position!
      if (frame.epoch !== epoch || frame.first !== seq + 1) return false
      this.#move(epoch, frame.last, anchorOf(frame))
    }
    this.#deliver(frame)
    return true
  }

  #deliver (frame: Frame): void {
    const { bootId, logged } = frame
    // Own messages were delivered when they were published.
    if (bootId === this.#bootId) return
    const end = frame.counter + frame.lines.length - FIRST_LINE
    for (let counter = frame.counter; counter < end; counter++) {
      if (!this.#seen.take(bootId, logged, counter)) continue
      const message = readLine(frame, counter)
      if (message === null) this.#source.onMalformed()
      else this.#source.onMessage(message)
    }
  }

  /** What is too much is read from the log again. */
  #hold (frame: Frame): void {
    if (this.#held.length < MOST_HELD) this.#held.push(frame)
    else this.#again = true
  }

  #move (epoch: string, seq: number, anchor: string | null): void {
    this.#position = { epoch, seq }
    this.#anchor = anchor
  }

  #lose (missed: number | null): void {
    const before = this.#lost === null ? 0 : this.#lost.missed
    this.#lost = { missed: missed === null || before === null ? null : before + missed }
  }
}

function rootOf (epoch: string): string {
  return epoch.slice(0, epoch.lastIndexOf('.'))
}

function anchorOf ({ bootId, counter }: Frame): string {
  return `${bootId} ${counter}`
}
