import type { RedisClient } from '../options.ts'
import { knowsSlots, primaryOf } from './client.ts'
import type { Receiver, SubscriberEvents } from './receiver.ts'
import { Subscriber } from './subscriber.ts'

/** Tells every subscriber that hears through a receiver. */
type TellSubscribers = <E extends keyof SubscriberEvents>(event: E, ...args: SubscriberEvents[E]) => void

export interface SubscribersOptions {
  /** Makes what hears near a key; `number` tells it from the others of this process. */
  receiver (near: string, number: number, tell: TellSubscribers): Receiver
  onSubscriber (subscriber: Subscriber): void
  onFault (err: unknown, event: string): void
}

/** What hears near one server, and for whom. */
interface Ears {
  readonly receiver: Receiver
  readonly subscribers: Subscriber[]
}

/**
 * The subscribers of a process: one, or on a Redis Cluster one for each primary that had one of the keys when it was first asked for.
 *
 * Who is connected to the server on which a script runs hears at once what the script publishes. To the others the bus of the
 * Cluster hands it, on sockets that hold back what is small until what went before was acknowledged: up to 40 ms each time
 * (valkey-io/valkey#1758, redis/redis#11869).
 *
 * While it is not known which server has which key there is one for each key, and none is connected; those of one server share a connection then.
 */
export class Subscribers {
  readonly #client: RedisClient
  readonly #options: SubscribersOptions
  readonly #near = new Map<string, Subscriber>()
  /** Those that are started. */
  readonly #ears: Ears[] = []
  readonly #waiting: Ears[] = []
  #made = 0

  constructor (client: RedisClient, options: SubscribersOptions) {
    this.#client = client
    this.#options = options
  }

  /** The one near a key. */
  near (key: string): Subscriber {
    const known = this.#near.get(key) ?? this.#placeOf(key)?.subscribers[0]
    if (known !== undefined) return known
    const subscribers: Subscriber[] = []
    const receiver = this.#options.receiver(key, this.#made++, (event, ...args) => {
      for (const subscriber of subscribers) subscriber.tell(event, ...args)
    })
    const made = new Subscriber(receiver, this.#options.onFault)
    subscribers.push(made)
    this.#near.set(key, made)
    this.#options.onSubscriber(made)
    if (this.#waiting.length === 0 && !knowsSlots(this.#client)) this.#client.on('refresh', this.#start)
    this.#waiting.push({ receiver, subscribers })
    if (knowsSlots(this.#client)) this.#start()
    return made
  }

  receivers (): Receiver[] {
    return this.#ears.map(({ receiver }) => receiver)
  }

  close (): void {
    this.#client.off('refresh', this.#start)
    for (const { receiver, subscribers } of [...this.#ears, ...this.#waiting]) {
      receiver.close()
      for (const subscriber of subscribers) subscriber.removeAllListeners()
    }
  }

  /** The keys' servers are known. */
  readonly #start = (): void => {
    this.#client.off('refresh', this.#start)
    for (const waiting of this.#waiting.splice(0)) {
      const place = this.#placeOf(waiting.receiver.near)
      if (place === undefined) {
        this.#ears.push(waiting)
        waiting.receiver.start()
        continue
      }
      for (const subscriber of waiting.subscribers) {
        subscriber.moveTo(place.receiver)
        place.subscribers.push(subscriber)
      }
    }
  }

  /** What hears near a key already. */
  #placeOf (key: string): Ears | undefined {
    const home = primaryOf(this.#client, key)
    return this.#ears.find(({ receiver }) => receiver.near === key || primaryOf(this.#client, receiver.near) === home)
  }
}
