import type { RedisLink, Subscriber, Unsubscribe } from '@jpulse/redis-link'
import { Follower, type FollowerRules } from './follower.ts'
import { epochsOf, HighWaterMark, type LogFormat, type LogFrame, type Place } from './format.ts'
import type { FollowerSink } from './delivery.ts'
import { joinLines, type Line } from './lines.ts'
import { Outbox, type Batch, type OutgoingRun } from './outbox.ts'
import { isOutage, Pace } from './pace.ts'
import { LogReader } from './reader.ts'
import type { Reading } from './reading.ts'
import { append, turn } from './scripts.ts'

export { bytesLine, countLines, joinLines, readLine, splitLines, type Line } from './lines.ts'
export type { FrameHead, LogFormat, LogFrame, Place } from './format.ts'
export type { FollowerSink } from './delivery.ts'
export { isOutage, type Pace } from './pace.ts'
export type { Reading } from './reading.ts'
export { LOG_LUA } from './scripts.ts'

/** Where the messages of one destination go. */
export interface Route {
  readonly channel: string
  /** Stored with the message, for those who hear only some. '' for none. */
  readonly topic: string
  /** Whether they are stored, or handed only to those who listen now. */
  readonly isLogged: boolean
}

/** What a log is made of. All keys lie on one node of a Redis Cluster. */
export interface EpochLogOptions<Frame extends LogFrame, Message> {
  readonly keys: {
    /** Hash: `epoch`, `seq`, `base`, `markSeq`, `markAt`, and what others keep there. */
    readonly state: string
    /** Stream: frames by the number of their last message. */
    readonly log: string
    /** Number of this process' last batch. */
    readonly publisher: string
    /** Sorted set of who lives, for `wantsLiving`. */
    readonly leases?: string
  }
  readonly format: LogFormat<Frame, Message>
  readonly rules: Omit<FollowerRules, 'publisher'>
  /** Whether the messages of a frame must have consecutive numbers of their publisher. */
  readonly isConsecutive: boolean
  readonly route: (destination: string) => Route
  /** Messages that the log holds. */
  readonly maxLength: number
  /** How long the log lives without a new message, in milliseconds; 0 where somebody else renews log and state. */
  readonly logMs: number
  /** How long its state does. */
  readonly stateMs: number
  /** A mark goes to the channel of `destination` at the first chance after so many messages. */
  readonly marks?: { readonly every: number, readonly destination: string }
  /** How long a batch is tried again while Redis is away, counted from the begin of the outage; 0: once. */
  readonly waitMs: number
  readonly sink: FollowerSink<Message>
  /** A message of ours is given up: Redis is not known to have it, and it was not delivered here through the log. */
  readonly onGiveUp?: (message: Message) => void
  /** A batch could not be handed to Redis. */
  readonly onFailure?: (err: unknown) => void
}

/** What became of a message. */
export interface Ack {
  /** Whether it was handed to the cluster. False too where that is unknown, because the answer was lost. */
  readonly delivered: boolean
  /** Who lived at the moment of publishing, where that was wanted; null where unknown. */
  readonly living: string[] | null
}

const GIVEN_UP: Ack = Object.freeze({ delivered: false, living: null })
const SENT: Ack = Object.freeze({ delivered: true, living: null })
const RETRY_MS = 250

/**
 * A log in Redis, on which every process appends and which every process follows: each message once, in order, across lost
 * connections, restarts and failovers of Redis, lost answers and pushes; and where that cannot be, a gap is told.
 */
export class EpochLog<Frame extends LogFrame, Message> {
  readonly #link: RedisLink
  readonly #subscriber: Subscriber
  readonly #publisher: string
  readonly #options: EpochLogOptions<Frame, Message>
  readonly #outbox: Outbox<Message, Ack>
  readonly #follower: Follower<Frame, Message>
  readonly #highWater = new HighWaterMark()
  readonly #reader: LogReader<Frame, Message>

  /** @param publisher name of this process among the publishers */
  constructor (link: RedisLink, subscriber: Subscriber, publisher: string, options: EpochLogOptions<Frame, Message>) {
    this.#link = link
    this.#subscriber = subscriber
    this.#publisher = publisher
    this.#options = options
    const { rules, format, sink, isConsecutive, onGiveUp } = options
    this.#reader = new LogReader(link, options, this.#highWater)
    this.#follower = new Follower({ ...rules, publisher }, format, {
      read: (after, most) => this.#reader.read(after, most),
      turn: async (epoch, base) => { await link.runScript(turn, { keys: [options.keys.state], args: [epoch, format.separator, base] }) },
      hears: () => subscriber.isUp,
      pause: () => link.outages.changed(RETRY_MS)
    }, sink)
    this.#outbox = new Outbox({
      commit: (batch) => this.#commit(batch),
      again: (err, begunAt) => this.#again(err, begunAt),
      onGiveUp: (counter, message) => { if (this.#follower.giveUp(counter)) onGiveUp?.(message) },
      onFault: (err) => sink.fault(err),
      givenUp: GIVEN_UP
    }, { isConsecutive, keepsMessages: onGiveUp !== undefined })
    subscriber.on('up', this.#onSubscriber)
    link.on('change', this.#onLink)
  }

  /** Up to where everything was dealt with; null where this process does not follow. */
  get place (): Place | null {
    return this.#follower.place
  }

  /** Whether no message is on its way to Redis. */
  get isIdle (): boolean {
    return this.#outbox.isIdle
  }

  /** Resolves when no message is on its way to Redis. */
  idle (): Promise<void> {
    return this.#outbox.idle()
  }

  /**
   * Appends a message, with what else is published meanwhile. Never rejects.
   *
   * @param counter the publisher's own number of it, which only grows
   */
  publish (destination: string, counter: number, line: Line, message: Message, wantsLiving = false): Promise<Ack> {
    return this.#outbox.send(destination, counter, line, message, wantsLiving)
  }

  /** Hears a destination. Resolves when it is heard, or cannot be now. */
  listen (destination: string): Promise<Unsubscribe> {
    const { channel, topic } = this.#options.route(destination)
    return this.#subscriber.subscribe(channel, (bytes) => this.hear(bytes, topic))
  }

  /** Takes what came over a channel. Never throws. */
  hear (bytes: Buffer, topic = ''): void {
    const frame = this.#options.format.read(bytes, topic)
    if (frame === null) return this.#options.sink.malformed()
    if (frame.last > 0) this.#highWater.heard(frame.epoch, frame.last)
    this.#follower.hear(frame)
  }

  /** Follows the log from this place on, where it is not followed yet. */
  follow (place: Place): void {
    this.#highWater.said(place.epoch, place.seq)
    this.#follower.begin(place)
  }

  /** Follows it no more. */
  unfollow (): void {
    this.#follower.end()
  }

  /**
   * A command of this process was answered with this end of the log.
   *
   * @param before the own number when that command was sent
   */
  note (place: Place, before: number): void {
    this.#highWater.said(place.epoch, place.seq)
    this.#follower.note(place, before)
  }

  /** Renews log and state, and marks how far the log is where it is time. */
  async renew (): Promise<void> {
    await this.#append([], 0, false)
  }

  /**
   * What the log holds after a place, piece by piece; where it is of another epoch, and without a place, only where it is now.
   *
   * @param frames most entries
   * @param pace keeps how much can be read at once, for the next try
   * @throws FST_ERR_REDIS_LINK_UNAVAILABLE, FST_ERR_REDIS_LINK_TIMEOUT
   */
  read (from: Place | null, frames: number, pace: Pace): Promise<Reading<Frame>> {
    return this.#reader.readOn(from, frames, pace)
  }

  /** For `read`, to be kept over its tries. */
  pace (): Pace {
    return new Pace()
  }

  /** What waits is given up. */
  close (): void {
    this.#subscriber.off('up', this.#onSubscriber)
    this.#link.off('change', this.#onLink)
    this.#outbox.close()
    this.#follower.close()
  }

  /** Also while commands fail: live frames are held until what was missed could be read. */
  readonly #onSubscriber = (): void => this.#follower.sync()

  readonly #onLink = (): void => {
    if (this.#link.isUp && this.#subscriber.isUp) this.#follower.sync()
  }

  async #commit ({ runs, number, wantsLiving }: Batch): Promise<Ack> {
    const { keys: { state }, logMs, route } = this.#options
    // The log and its numbers need no look then: Redis is busy with it for three quarters as long.
    if (!wantsLiving && logMs === 0 && !runs.some(({ destination }) => route(destination).isLogged)) {
      await this.#link.publishNear(state, runs.map((run) => {
        const [channel, , , frame] = this.#write(run)
        return [channel, frame]
      }))
      this.#follower.committed(null)
      return SENT
    }
    const [epoch, last, living] = await this.#append(runs, number, wantsLiving)
    this.#follower.committed(last > 0 ? { epoch, seq: last } : null)
    return wantsLiving ? { delivered: true, living } : SENT
  }

  /** A run as `append` takes it; one that is not logged as a whole frame. */
  #write ({ destination, counter, lines }: OutgoingRun): [channel: string, topic: string, count: number, frame: Line] {
    const { format, route } = this.#options
    const { channel, topic, isLogged } = route(destination)
    const rest = format.write(this.#publisher, counter, lines)
    return isLogged ? [channel, topic, lines.length, rest] : [channel, topic, 0, joinLines(format.unlogged, [rest])]
  }

  async #append (runs: readonly OutgoingRun[], batch: number, wantsLiving: boolean): Promise<[epoch: string, last: number, living: string[]]> {
    const { keys, format, route, maxLength, logMs, stateMs, marks } = this.#options
    const [epoch, seq, last, living] = await this.#link.runScript(append, {
      keys: [keys.state, keys.log, keys.publisher, ...(wantsLiving && keys.leases !== undefined ? [keys.leases] : [])],
      args: [...epochsOf(format, this.#highWater), batch, maxLength, logMs, stateMs, marks?.every ?? 0,
        marks === undefined ? '' : route(marks.destination).channel, format.write(this.#publisher, 0, []), ...runs.flatMap((run) => this.#write(run))]
    })
    this.#highWater.said(epoch, Number(seq))
    return [epoch, Number(last), living]
  }

  /** An outage shorter than `waitMs` loses nothing. It is counted from the begin of the outage, so that in a long one no publish waits. */
  async #again (err: unknown, begunAt: number): Promise<boolean> {
    const { keys, waitMs, onFailure } = this.#options
    onFailure?.(err)
    if (!isOutage(err) || performance.now() - (this.#link.outages.since(keys.state) ?? begunAt) >= waitMs) return false
    await this.#link.outages.changed(RETRY_MS)
    return true
  }
}
