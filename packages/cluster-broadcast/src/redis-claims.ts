import type { RedisClient, RedisLink, Subscriber } from '@jpulse/redis-link'
import type { FastifyBaseLogger } from 'fastify'
import { Keys } from './keys.ts'
import type { Claim, Claims } from './once.ts'
import type { Commands } from './scripts.ts'
import { Waiters } from './waiters.ts'

/** How often somebody who waits looks, where the word that it is done was lost. */
const LOOK_MS = 1000

/** Claims in Redis. */
export class RedisClaims implements Claims {
  readonly #link: RedisLink
  readonly #log: FastifyBaseLogger
  readonly #keys: Keys
  readonly #subscriber: Subscriber
  readonly #waiters = new Waiters()
  #heard: Promise<unknown> | undefined

  constructor (link: RedisLink, subscriber: Subscriber, log: FastifyBaseLogger) {
    this.#link = link
    this.#subscriber = subscriber
    this.#log = log
    this.#keys = new Keys(link)
  }

  async take (name: string, token: string, ttlMs: number, awaited: string): Promise<Claim | null> {
    this.#heard ??= this.#subscriber.subscribe(this.#keys.done, (done) => this.#waiters.wake(done.toString()))
    await this.#heard
    try {
      const [state, leftMs, holder] = await this.#run((client) => client.clusterBroadcastClaimV1(this.#keys.once(name), token, ttlMs, awaited))
      return { state, leftMs, holder }
    } catch (err) {
      this.#log.warn({ err, name }, 'whether to run this once cannot be told')
      return null
    }
  }

  async done (name: string, token: string): Promise<void> {
    await this.#run((client) => client.clusterBroadcastDoneV1(this.#keys.once(name), token, name, this.#keys.done))
      .catch((err: unknown) => this.#log.warn({ err, name }, 'that this was run once could not be told; its claim lapses by itself'))
  }

  wait (name: string, ms: number): Promise<void> {
    return this.#waiters.wait(name, Math.min(ms, LOOK_MS))
  }

  #run<T> (command: (client: RedisClient & Commands) => Promise<T>): Promise<T> {
    return this.#link.run((client) => command(client as unknown as RedisClient & Commands))
  }
}
