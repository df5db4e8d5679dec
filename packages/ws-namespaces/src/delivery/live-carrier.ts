import type { BroadcastMessage, InternalBroadcast } from '@jpulse/cluster-broadcast'
import type { Outages, RedisLink, Subscriber } from '@jpulse/redis-link'
import type { Carrier, Delivered, Delivery, Listening, Opening, Sink } from './carrier.ts'
import { measure } from './frame.ts'
import { channelOf, type Topic } from './keys.ts'
import type { Listener } from './listener.ts'

const FRESH: Opening = Object.freeze({ place: null, recovered: false, missed: Object.freeze([]) })

/**
 * Carries a namespace without history. Sockets of this process get a message at once, those of others through the
 * cluster's broadcast, on a channel of the topic's own: a process hears of a user or room only while it has a socket for it.
 */
export class LiveCarrier implements Carrier {
  readonly gaps = 0
  readonly #namespace: string
  readonly #bus: InternalBroadcast
  readonly #outages: Outages
  /** Of the channels that the cluster's broadcast carries. */
  readonly #subscriber: Subscriber | null
  readonly #listener: Listener
  readonly #sink: Sink
  #sending = 0

  constructor (namespace: string, bus: InternalBroadcast, link: RedisLink, listener: Listener, sink: Sink) {
    this.#namespace = namespace
    this.#bus = bus
    this.#outages = link.outages
    this.#subscriber = link.subscriber()
    this.#listener = listener
    this.#sink = sink
  }

  get idle (): boolean {
    return this.#sending === 0
  }

  async publish (message: Delivery): Promise<Delivered> {
    const json = pack(message)
    const bytes = message.bytes ?? undefined
    // Before anybody gets it: the clients here must not have what all others cannot get.
    measure({ json, bytes: message.bytes }, this.#bus.maxMessageBytes)
    this.#sink.deliver(message, null)
    this.#sending++
    try {
      // While our subscriber reconnects, others' do as well, and a message that is not logged would be lost to them.
      const wait = this.#outages.untilHeard(this.#subscriber)
      if (wait !== null) await wait
      return (await this.#bus.publishJson(channelOf(this.#namespace, message.topic), json, { replay: false, bytes })).delivered
    } finally {
      this.#sending--
    }
  }

  listen (topic: Topic): Listening {
    const hear = ({ data, bytes }: BroadcastMessage<string>): void => this.#sink.deliver({ ...unpack(data), topic, bytes: bytes ?? null }, null)
    // Own messages were delivered when they were published.
    return this.#listener.listen(() => this.#bus.subscribeJson(channelOf(this.#namespace, topic), hear, { omitSelf: true }))
  }

  async open (): Promise<Opening> {
    return FRESH
  }

  keep (): void {}

  close (): void {}
}

/** The envelope alone, or after flag and exceptions: `[1,"id.id",{…}]`. Split by position: nothing parses the JSON on the way. */
function pack ({ json, except, volatile }: Delivery): string {
  return except === '' && !volatile ? json : `[${volatile ? 1 : 0},"${except}",${json}]`
}

function unpack (data: string): Omit<Delivery, 'topic' | 'bytes'> {
  if (data[0] !== '[') return { json: data, except: '', volatile: false }
  const end = data.indexOf('"', 4)
  return { json: data.slice(end + 2, -1), except: data.slice(4, end), volatile: data[1] === '1' }
}
