import type { InternalBroadcast } from '@jpulse/cluster-broadcast'
import type { Carrier, Delivered, Delivery, Listening, Opening, Sink } from './carrier.ts'
import { encodePart } from '../ids.ts'
import { measure } from './frame.ts'
import type { Topic } from './keys.ts'
import type { Listener } from './listener.ts'

type Packed = readonly [topic: Topic, except: string, json: string]

/**
 * Carries a namespace with history: volatile messages on a channel of their own beside the log, because they would push others out
 * of the history. One channel for all topics: a second one for each would cost every client memory.
 */
export class VolatileCarrier implements Carrier {
  readonly #log: Carrier
  readonly #bus: InternalBroadcast
  readonly #channel: string
  readonly #listener: Listener
  readonly #sink: Sink
  #sending = 0
  #topics = 0
  #listening: Listening | null = null

  constructor (log: Carrier, namespace: string, bus: InternalBroadcast, listener: Listener, sink: Sink) {
    this.#log = log
    this.#bus = bus
    this.#listener = listener
    this.#channel = `ws:${encodePart(namespace)}:volatile`
    this.#sink = sink
  }

  get gaps (): number {
    return this.#log.gaps
  }

  get idle (): boolean {
    return this.#sending === 0 && this.#log.idle
  }

  async publish (message: Delivery): Promise<Delivered> {
    if (!message.volatile) return this.#log.publish(message)
    const { topic, except, json, bytes } = message
    const packed = JSON.stringify([topic, except, json] satisfies Packed)
    measure({ json: packed, bytes }, this.#bus.maxMessageBytes)
    this.#sink.deliver(message, null)
    this.#sending++
    try {
      return (await this.#bus.publishJson(this.#channel, packed, { replay: false, bytes: bytes ?? undefined })).delivered
    } finally {
      this.#sending--
    }
  }

  listen (topic: Topic): Listening {
    const { ready, stop } = this.#log.listen(topic)
    if (this.#topics++ === 0) {
      const hear = ({ data: [topic, except, json], bytes }: { data: Packed, bytes?: Uint8Array }): void => this.#sink.deliver({ topic, json, bytes: bytes ?? null, except, volatile: true }, null)
      this.#listening = this.#listener.listen(() => this.#bus.subscribe<Packed>(this.#channel, hear, { omitSelf: true }))
    }
    return {
      ready: Promise.all([ready, this.#listening!.ready]).then(() => {}),
      stop: () => {
        stop()
        if (--this.#topics > 0) return
        this.#listening?.stop()
        this.#listening = null
      }
    }
  }

  open (offset: string | null): Promise<Opening> {
    return this.#log.open(offset)
  }

  keep (): void {
    this.#log.keep()
  }

  close (): void {
    this.#log.close()
  }
}
