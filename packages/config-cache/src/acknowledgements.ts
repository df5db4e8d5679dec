import type { Connection } from './connection.ts'
import type { CacheKeys } from './keys.ts'
import type { Block } from './view.ts'

/**
 * Tells writers that this member has dropped what they are about to change. All blocks that one read of the socket brought
 * are acknowledged in one command per writer. A lost acknowledgement costs the writer a lease of waiting, nothing else.
 */
export class Acknowledgements {
  readonly #memberId: string
  readonly #connection: Connection
  readonly #keys: CacheKeys
  readonly #onOwn: (opId: string) => void
  readonly #waiting = new Map<string, string[]>()

  /** @param onOwn gets the blocks of this process' own writer, which need no message */
  constructor (memberId: string, connection: Connection, keys: CacheKeys, onOwn: (opId: string) => void) {
    this.#memberId = memberId
    this.#connection = connection
    this.#keys = keys
    this.#onOwn = onOwn
  }

  send ({ opId, writer }: Block): void {
    if (writer === this.#memberId) {
      this.#onOwn(opId)
      return
    }
    if (this.#waiting.size === 0) process.nextTick(() => this.#flush())
    const ops = this.#waiting.get(writer)
    if (ops === undefined) this.#waiting.set(writer, [opId])
    else ops.push(opId)
  }

  #flush (): void {
    const messages = [...this.#waiting].map(([writer, ops]) => ['publish', this.#keys.acks(writer), `${this.#memberId} ${ops.join(' ')}`] as const)
    this.#waiting.clear()
    // One write to the socket for all writers; in a pipeline of a Redis Cluster all keys would have to share a node.
    const isPiped = messages.length > 1 && !this.#connection.isCluster
    this.#connection.run<unknown>((client) => isPiped
      ? client.pipeline(messages.map((message) => [...message])).exec()
      : Promise.all(messages.map(([, channel, text]) => client.publish(channel, text)))).catch(() => {})
  }
}
