import { randomBytes } from 'node:crypto'
import type { RedisClient, RedisLink, Subscriber } from '@jpulse/redis-link'
import type { FastifyBaseLogger } from 'fastify'
import { parseOffset, type Carrier, type Delivered, type Delivery, type Listening, type Logged, type Opening, type Place, type Sink } from './carrier.ts'
import { Furthest } from './furthest.ts'
import { Keys, type Topic } from './keys.ts'
import { LogFollower, type Reading } from './log-follower.ts'
import { LogOutbox, type OutgoingRun } from './log-outbox.ts'
import type { History } from '../options.ts'
import type { Outage } from './outage.ts'
import { readLine, readRun } from './run.ts'
import type { Commands } from './scripts.ts'

/** What all namespaces of a process share. */
export interface LogContext {
  readonly link: RedisLink
  readonly subscriber: Subscriber
  readonly bootId: string
  readonly outage: Outage
  /** Longest that a message waits for Redis to return. */
  readonly waitMs: number
  readonly log: FastifyBaseLogger
}

const RETRY_MS = 250

/**
 * Carries a namespace with history: each message is appended to the namespace's log in Redis and published by the same
 * script, and every process, the publisher's too, delivers it when it hears it. So everybody sees the order of the log.
 */
export class LogCarrier implements Carrier {
  readonly #context: LogContext
  readonly #keys: Keys
  readonly #history: History
  readonly #outbox: LogOutbox
  readonly #follower: LogFollower
  readonly #furthest = new Furthest()
  #listening = 0
  #keptAt = 0

  constructor (namespace: string, context: LogContext, history: History, sink: Sink) {
    this.#context = context
    this.#keys = new Keys(context.link, namespace)
    this.#history = history
    this.#follower = new LogFollower(context.bootId, {
      read: (after, count) => this.#read(after, count),
      turn: async (epoch, base) => { await this.#run((client) => client.wsNamespacesTurnV1(this.#keys.state, epoch, base)) },
      hears: () => context.subscriber.isUp,
      pause: () => context.outage.change(RETRY_MS)
    }, sink)
    this.#outbox = new LogOutbox({
      commit: async (runs, counter) => {
        await this.#commit(runs, counter)
        this.#follower.committed()
      },
      onGiveUp: (counter, message) => {
        if (this.#follower.giveUp(counter)) sink.deliver(message, null)
      }
    }, context.outage, context.waitMs)
    context.subscriber.on('up', this.#sync)
    context.link.on('change', this.#sync)
  }

  get gaps (): number {
    return this.#follower.gaps
  }

  get idle (): boolean {
    return this.#outbox.idle
  }

  publish (message: Delivery): Promise<Delivered> {
    return this.#outbox.send(message)
  }

  listen (topic: Topic): Listening {
    this.#listening++
    const listening = this.#context.subscriber.subscribe(this.#keys.channel(topic), (bytes) => {
      const run = readRun(bytes)
      if (run === null) this.#context.log.warn({ topic }, 'a malformed message was dropped')
      else {
        this.#furthest.heard(run.epoch, run.last)
        this.#follower.hear(topic, run)
      }
    })
    return {
      ready: listening.then(() => {}),
      stop: () => {
        if (--this.#listening === 0) this.#follower.end()
        listening.then((end) => end()).catch(() => {})
      }
    }
  }

  async open (offset: string | null): Promise<Opening> {
    const from = parseOffset(offset)
    const begun = performance.now()
    for (;;) {
      try {
        return await this.#openWith(from)
      } catch (err) {
        // Who resumes waits, bounded, as messages do: without Redis nobody knows what was missed.
        const { since } = this.#context.outage
        if (from === null || performance.now() - (since ?? begun) >= this.#context.waitMs) {
          this.#context.log.debug({ err }, 'a connection began while Redis was away')
          return this.#openBlind(from)
        }
        await this.#context.outage.change(RETRY_MS)
      }
    }
  }

  keep (): void {
    const now = performance.now()
    if (now - this.#keptAt < this.#history.maxAgeMs / 4) return
    this.#keptAt = now
    this.#commit([], 0).catch(() => {})
  }

  close (): void {
    this.#context.subscriber.off('up', this.#sync)
    this.#context.link.off('change', this.#sync)
    this.#outbox.close()
    this.#follower.close()
  }

  /** Whether commands work yet or not: what comes live waits until what was missed could be read. */
  readonly #sync = (): void => {
    if (this.#context.subscriber.isUp) this.#follower.sync()
  }

  async #openWith (from: Place | null): Promise<Opening> {
    const reading = await this.#read(from?.seq ?? 0, from === null ? 0 : this.#history.maxLength + 1)
    const place = { epoch: reading.epoch, seq: reading.seq }
    this.#follower.begin(place)
    return { place, ...this.#missed(from, reading) }
  }

  /** What follows on the place where we are is read when Redis is back. */
  #openBlind (from: Place | null): Opening {
    const { place } = this.#follower
    const recovered = place !== null && from !== null && place.epoch === from.epoch && place.seq === from.seq
    return { place, recovered, missed: [] }
  }

  #missed (from: Place | null, { epoch, seq, now, entries }: Reading): { recovered: boolean, missed: Logged[] } {
    if (from === null || from.epoch !== epoch || from.seq > seq || seq - from.seq > this.#history.maxLength) return { recovered: false, missed: [] }
    if (from.seq === seq) return { recovered: true, missed: [] }
    const head = entries[0]
    if (head === undefined || head.run.first > from.seq + 1 || head.at < now - this.#history.maxAgeMs) return { recovered: false, missed: [] }
    const missed: Logged[] = []
    for (const { topic, run } of entries) {
      for (let number = Math.max(run.first, from.seq + 1); number <= Math.min(run.last, seq); number++) {
        const line = readLine(topic, run, number)
        if (line !== null) missed.push(line.message)
      }
    }
    return { recovered: true, missed }
  }

  #run<T> (command: (client: RedisClient & Commands) => Promise<T>): Promise<T> {
    return this.#context.link.run((client) => command(client as unknown as RedisClient & Commands))
  }

  /** The epoch of a log that has to be made, and up to where the log must be there. */
  #epochs (): [candidate: string, known: string, knownSeq: number] {
    const { epoch, seq } = this.#furthest.place
    return [randomEpoch(), epoch, seq]
  }

  async #commit (runs: readonly OutgoingRun[], lastCounter: number): Promise<void> {
    const { bootId } = this.#context
    const { state, log } = this.#keys
    const { maxLength, maxAgeMs, stateMs, markEvery } = this.#history
    const args = runs.flatMap(({ topic, lines }) => [this.#keys.channel(topic), topic, lines.length, lines.join('\n')])
    const [epoch, seq] = await this.#run((client) => client.wsNamespacesCommitV1(state, log, this.#keys.publisher(bootId),
      ...this.#epochs(), lastCounter, bootId, maxLength, maxAgeMs, stateMs, markEvery, this.#keys.channel('broadcast'), ...args))
    this.#furthest.said(epoch, Number(seq))
  }

  async #read (after: number, count: number): Promise<Reading> {
    const { state, log } = this.#keys
    const [epochBytes, last, base, now, entries] = await this.#run((client) => client.wsNamespacesReadV1Buffer(state, log, ...this.#epochs(), after, count, this.#history.stateMs))
    const [epoch, seq] = [String(epochBytes), Number(last)]
    this.#furthest.said(epoch, seq)
    return {
      epoch,
      seq,
      base: Number(base),
      now: Number(now),
      entries: entries.flatMap(([, [, topic, , frame, , at]]) => {
        const run = readRun(frame!)
        return run === null ? [] : [{ topic: String(topic) as Topic, run, at: Number(at) }]
      })
    }
  }
}

function randomEpoch (): string {
  return randomBytes(6).toString('hex')
}
