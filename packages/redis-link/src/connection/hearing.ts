import type { Redis } from 'ioredis'
import type { RedisClient } from '../options.ts'
import { primaries } from './client.ts'
import { bounded } from './time.ts'

/** Every so many probes, beginning with the first, hearing is proved: on a Redis Cluster a message goes to every node. */
const EVERY = 5

/** Proves that a subscriber hears, by messages to itself. */
export class Hearing {
  readonly channel: string
  readonly #client: RedisClient
  readonly #timeoutMs: number
  #looks = 0
  #sent = 0
  #heard = 0
  #wake = () => {}

  /** @param channel of this process alone; `hear` has to listen to it */
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
   * Whether it is known that nothing is heard: two messages in a row, through one primary after the other in a Redis
   * Cluster, were taken and did not arrive.
   *
   * @param isRefused whether the user may not listen to the channel, so that there is no proof
   */
  async isDeaf (isRefused: boolean): Promise<boolean> {
    if (isRefused || this.#looks++ % EVERY !== 0) return false
    const nodes = primaries(this.#client)
    const node = nodes[Math.floor(this.#looks / EVERY) % nodes.length]
    return node !== undefined && await this.#isMissed(node) && await this.#isMissed(node)
  }

  async #isMissed (node: Redis): Promise<boolean> {
    const number = ++this.#sent
    try {
      await bounded(node.publish(this.channel, String(number)), this.#timeoutMs)
    } catch {
      // Redis is away, or the user may not publish.
      return false
    }
    if (this.#heard >= number) return false
    return bounded(new Promise<void>((resolve) => { this.#wake = resolve }), this.#timeoutMs).then(() => false, () => true)
  }
}
