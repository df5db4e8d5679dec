import type { RedisClient } from '../options.ts'
import { primaryOf } from './client.ts'
import type { Subscriber } from './subscriber.ts'

/**
 * The subscriber connections of a process: one, or on a Redis Cluster one for each primary that had one of the keys when it was first asked for.
 *
 * Who is connected to the server on which a script runs hears at once what the script publishes. To the others the bus of the
 * Cluster hands it, on sockets that hold back what is small until what went before was acknowledged: up to 40 ms each time
 * (valkey-io/valkey#1758, redis/redis#11869).
 */
export class Subscribers {
  readonly #client: RedisClient
  readonly #make: (near: string, number: number) => Subscriber
  readonly #all = new Map<string, Subscriber>()

  /** @param make makes one that stays near a key; `number` tells it from the others of this process */
  constructor (client: RedisClient, make: (near: string, number: number) => Subscriber) {
    this.#client = client
    this.#make = make
  }

  /** The one near a key. Where it is asked for before the Cluster is known it is any, and stays it: what is far off is heard later, and not less. */
  near (key: string): Subscriber {
    const home = primaryOf(this.#client, key)
    for (const [near, subscriber] of this.#all) {
      if (near === key || primaryOf(this.#client, near) === home) return subscriber
    }
    const made = this.#make(key, this.#all.size)
    this.#all.set(key, made)
    return made
  }

  all (): Subscriber[] {
    return [...this.#all.values()]
  }
}
