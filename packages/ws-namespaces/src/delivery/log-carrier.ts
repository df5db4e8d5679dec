import type { EpochLog, InternalBroadcast, Reading } from '@jpulse/cluster-broadcast'
import { LogThrottle } from '@jpulse/plugin-kit'
import type { RedisLink } from '@jpulse/redis-link'
import type { FastifyBaseLogger } from 'fastify'
import type { History } from '../options.ts'
import { parseOffset, type Carrier, type Delivered, type Delivery, type Listening, type Logged, type Opening, type Place, type Sink } from './carrier.ts'
import { Keys, type Topic } from './keys.ts'
import type { Listener } from './listener.ts'
import { runFormat, writeLine, type Run } from './run.ts'

/** What all namespaces of a process share. */
export interface LogContext {
  readonly bus: InternalBroadcast
  readonly link: RedisLink
  readonly listener: Listener
  readonly bootId: string
  /** Longest that a message waits for Redis to return. */
  readonly waitMs: number
  readonly log: FastifyBaseLogger
}

const RETRY_MS = 250

/** One for all namespaces of the process: a namespace whose hub is made anew must not use a number twice. */
let counters = 0

/**
 * Carries a namespace with history: each message is appended to the namespace's log in Redis and published by the same
 * script, and every process, the publisher's too, delivers it when it hears it. So everybody sees the order of the log.
 */
export class LogCarrier implements Carrier {
  readonly #context: LogContext
  readonly #history: History
  readonly #log: EpochLog<Run, Delivery>
  #epoch = ''
  #listening = 0
  #keptAt = 0
  #gaps = 0
  /** A flood of malformed messages must not flood the log. */
  readonly #complaints = new LogThrottle()

  constructor (namespace: string, context: LogContext, history: History, sink: Sink) {
    this.#context = context
    this.#history = history
    const { bus, link, bootId, waitMs } = context
    const keys = new Keys(link, namespace, history.id)
    this.#log = bus.openLog<Run, Delivery>({
      keys: { state: keys.state, log: keys.log, publisher: keys.publisher(bootId) },
      format: runFormat,
      rules: { hearsAll: false, knowsBase: true, skipsOwn: false },
      isConsecutive: false,
      route: (topic) => ({ channel: keys.channel(topic as Topic), topic, isLogged: true }),
      maxLength: history.maxLength,
      logMs: history.maxAgeMs,
      stateMs: history.stateMs,
      marks: { every: history.markEvery, destination: 'broadcast' },
      waitMs,
      sink: {
        deliver: (message, epoch, seq) => sink.deliver(message, { epoch, seq }),
        mark: (place) => sink.mark(place),
        gap: () => { this.#gaps++ },
        malformed: () => this.#complain({ namespace }, 'a message was ignored that is malformed or of a later release'),
        fault: (err) => this.#complain({ namespace, err }, 'a message could not be handed to the clients')
      },
      onGiveUp: (message) => sink.deliver(message, null),
      // What Redis refuses though it is there is refused for ever, and would be `local` without a word. Of outages the link tells.
      onFailure: (err) => {
        const { code = '' } = err as { code?: unknown }
        if (!String(code).startsWith('FST_ERR_REDIS_LINK')) this.#complain({ namespace, err }, 'Redis refused a message, which reached the clients of this process only')
      }
    })!
  }

  get gaps (): number {
    return this.#gaps
  }

  get idle (): boolean {
    return this.#log.isIdle
  }

  async publish (message: Delivery): Promise<Delivered> {
    const counter = ++counters
    const { delivered } = await this.#log.publish(message.topic, counter, writeLine(counter, message), message)
    return delivered ? 'cluster' : 'local'
  }

  listen (topic: Topic): Listening {
    this.#listening++
    const { ready, stop } = this.#context.listener.listen(() => this.#log.listen(topic))
    return {
      ready,
      stop: () => {
        if (--this.#listening === 0) this.#log.unfollow()
        stop()
      }
    }
  }

  async open (offset: string | null): Promise<Opening> {
    const from = parseOffset(offset)
    const { link, waitMs, log } = this.#context
    const begun = performance.now()
    const pace = this.#log.pace()
    for (;;) {
      try {
        const reading = await this.#log.read(from, this.#history.maxLength + 1, pace)
        // One text for all connections, and not one of each reply.
        if (reading.epoch !== this.#epoch) this.#epoch = reading.epoch
        const place = { epoch: this.#epoch, seq: reading.seq }
        this.#log.follow(place)
        return { place, ...this.#missed(from, reading) }
      } catch (err) {
        // A client that resumes waits, bounded, as messages do: without Redis it is not known what it missed.
        if (from === null || performance.now() - (link.outages.since() ?? begun) >= waitMs) {
          log.debug({ err }, 'a connection began while Redis was away')
          return this.#openWithoutRedis(from)
        }
        await link.outages.changed(RETRY_MS)
      }
    }
  }

  keep (): void {
    const now = performance.now()
    if (now - this.#keptAt < this.#history.maxAgeMs / 4) return
    this.#keptAt = now
    this.#log.renew().catch(() => {})
  }

  close (): void {
    this.#log.close()
  }

  /** Where this process stands; what follows is read and delivered when Redis is back. */
  #openWithoutRedis (from: Place | null): Opening {
    const { place } = this.#log
    const recovered = place !== null && from !== null && place.epoch === from.epoch && place.seq === from.seq
    return { place, recovered, missed: [] }
  }

  #missed (from: Place | null, { epoch, seq, now, entries }: Reading<Run>): { recovered: boolean, missed: Logged[] } {
    const lost = { recovered: false, missed: [] }
    if (from === null || from.epoch !== epoch || from.seq > seq || seq - from.seq > this.#history.maxLength) return lost
    if (from.seq < seq && (entries.length === 0 || entries[0]!.at < now - this.#history.maxAgeMs)) return lost
    const missed: Logged[] = []
    let at = from.seq
    for (const { seq: last, frame } of entries) {
      // An entry is missing, or of a format that this release does not read: its messages are unknown.
      if (frame === null || frame.first > at + 1) return lost
      for (let index = at + 1 - frame.first; index < frame.count; index++) {
        const message = runFormat.messageOf(frame, index)
        if (message !== null) missed.push(message)
      }
      at = last
    }
    return at === seq ? { recovered: true, missed } : lost
  }

  #complain (details: object, message: string): void {
    if (this.#complaints.pass(message) !== null) this.#context.log.warn(details, message)
  }
}
