import type { Redis } from 'ioredis'
import type { RedisClient } from '../options.ts'
import { primaries } from './client.ts'
import type { Ear } from './ear.ts'
import { bounded } from './time.ts'

/** Proves by messages to itself what reaches the connections of a receiver. */
export class DeliveryProbe {
  readonly channel: string
  readonly #client: RedisClient
  readonly #timeoutMs: number
  #sent = 0

  /** @param channel of this receiver alone, to which its connections are subscribed */
  constructor (client: RedisClient, channel: string, timeoutMs: number) {
    this.channel = channel
    this.#client = client
    this.#timeoutMs = timeoutMs
  }

  /**
   * Whether nothing arrives: Redis accepted two messages in a row, in a Redis Cluster through one primary after the other, and
   * neither was received in time. Null where that cannot be told, because Redis accepted none.
   */
  async isBroken (ear: Ear): Promise<boolean | null> {
    const nodes = primaries(this.#client)
    const node = nodes[this.#sent % nodes.length]
    if (node === undefined) return null
    const missed = await this.#isMissed(node, ear)
    return missed === true ? this.#isMissed(node, ear) : missed
  }

  /**
   * Resolves with true when these connections have heard all that was published before the call: each server of a Redis Cluster hands on in order
   * what is published on it. With false where one of them did not hear, within the limit of a command, what a server took. A server that takes
   * nothing has nothing to hand on.
   */
  async passed (...ears: Ear[]): Promise<boolean> {
    const proofs = await Promise.all(primaries(this.#client).map(async (node) => {
      const mark = ++this.#sent
      const heard = bounded(Promise.all(ears.map((ear) => ear.heard(mark))), this.#timeoutMs).then(() => true, () => false)
      const isTaken = this.#send(node, mark).then(() => true, () => false)
      const isProved = await heard || !await isTaken
      for (const ear of ears) ear.forget(mark)
      return isProved
    }))
    return proofs.every(Boolean)
  }

  async #isMissed (node: Redis, ear: Ear): Promise<boolean | null> {
    const mark = ++this.#sent
    const heard = ear.heard(mark)
    try {
      await this.#send(node, mark)
      return await bounded(heard, this.#timeoutMs).then(() => false, () => true)
    } catch {
      // Redis is away, or the user may not publish.
      return null
    } finally {
      ear.forget(mark)
    }
  }

  async #send (node: Redis, mark: number): Promise<void> {
    await bounded(node.publish(this.channel, String(mark)), this.#timeoutMs)
  }
}
