import type { Redis } from 'ioredis'
import type { RedisClient } from '../options.ts'
import { makeSubscriberConnection, nodeName, primaryOf } from './client.ts'

/** How long the server of a connection on which nothing arrived, or that could not be made, is taken only where there is no other. */
const AVOID_MS = 30_000
/** So long at most where it is the same server again and again: each attempt to go back to it costs a connection that works. */
const MOST_AVOID_MS = 3_600_000

/** To which server of a Redis Cluster a subscriber connects: the primary of a key, or any where that cannot be had. */
export class Place {
  readonly near: string
  readonly #client: RedisClient
  #avoided = { node: '', until: 0, ms: 0 }
  /** Where the key was at the last check, if not at the server of the connection. */
  #elsewhere: string | undefined

  constructor (client: RedisClient, near: string) {
    this.#client = client
    this.near = near
  }

  /** Null while the Cluster knows no node. */
  connection (): Redis | null {
    this.#elsewhere = undefined
    return makeSubscriberConnection(this.#client, this.near, this.#avoid)
  }

  avoid (connection: Redis): void {
    const node = nodeName(connection)
    const ms = node === this.#avoided.node ? Math.min(2 * this.#avoided.ms, MOST_AVOID_MS) : AVOID_MS
    this.#avoided = { node, until: performance.now() + ms, ms }
  }

  /** Whether twice in a row another server had the key: once is in doubt, while slots move and after a failover. */
  isLeft (connection: Redis): boolean {
    const home = primaryOf(this.#client, this.near)
    const before = this.#elsewhere
    this.#elsewhere = home === nodeName(connection) || home === this.#avoid ? undefined : home
    return this.#elsewhere !== undefined && this.#elsewhere === before
  }

  get #avoid (): string {
    return performance.now() < this.#avoided.until ? this.#avoided.node : ''
  }
}
