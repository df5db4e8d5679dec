import type { Redis } from 'ioredis'
import type { RedisClient } from '../options.ts'
import { primaries } from './client.ts'
import { bounded } from './time.ts'

/** Proves by messages to itself that what is published reaches a subscriber. */
export class DeliveryProbe {
  readonly channel: string
  readonly #client: RedisClient
  readonly #timeoutMs: number
  #sent = 0
  #heard = 0
  #wake = () => {}

  /** @param channel of this process alone, on which `hear` has to be subscribed */
  constructor (client: RedisClient, channel: string, timeoutMs: number) {
    this.channel = channel
    this.#client = client
    this.#timeoutMs = timeoutMs
  }

  readonly hear = (message: Buffer): void => {
    this.#heard = Math.max(this.#heard, Number(message))
    this.#wake()
  }

  /**
   * Whether nothing arrives: Redis accepted two messages in a row, in a Redis Cluster through one primary after the other, and
   * neither was received in time. Null where that cannot be told, because Redis accepted none.
   */
  async isBroken (): Promise<boolean | null> {
    const nodes = primaries(this.#client)
    const node = nodes[this.#sent % nodes.length]
    if (node === undefined) return null
    const missed = await this.#isMissed(node)
    return missed === true ? this.#isMissed(node) : missed
  }

  async #isMissed (node: Redis): Promise<boolean | null> {
    const number = ++this.#sent
    try {
      await bounded(node.publish(this.channel, String(number)), this.#timeoutMs)
    } catch {
      // Redis is away, or the user may not publish.
      return null
    }
    if (this.#heard >= number) return false
    return bounded(new Promise<void>((resolve) => { this.#wake = resolve }), this.#timeoutMs).then(() => false, () => true)
  }
}
