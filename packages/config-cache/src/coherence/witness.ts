import { createHash } from 'node:crypto'
import { uniqueId } from '../id.ts'
import type { Connection } from './connection.ts'
import { resetScript } from './scripts.ts'

const textOf = (nonce: string): string => `return '${nonce}'`

/**
 * Tells lives of Redis apart where INFO is forbidden. A script is loaded that bears the name of the epoch: the server's store of
 * scripts ends with its process, is not in its files, and from Redis 7 on is not sent to replicas. So who finds the script
 * talks to the process in which the epoch began; who does not ends the epoch.
 */
export class Witness {
  readonly #connection: Connection
  #known = ''
  #isAble: boolean | undefined

  constructor (connection: Connection) {
    this.#connection = connection
  }

  /**
   * Whether an epoch is one of the Redis that answers under this number of the connection; where it is not, another has begun.
   *
   * @throws where that cannot be told
   */
  async vouch (nonce: string, version: number): Promise<boolean> {
    const mark = `${version} ${nonce}`
    if (this.#known === mark) return true
    this.#isAble ??= await this.#canTell()
    if (!this.#isAble) throw new Error('INFO is forbidden to this user of Redis, which only works on one server of version 7 or newer')
    const sha = createHash('sha1').update(textOf(nonce)).digest('hex')
    const [found] = await this.#connection.run((client) => client.script('EXISTS', sha)) as [number]
    if (version !== this.#connection.version) return false
    if (found === 1) {
      this.#known = mark
      return true
    }
    const fresh = uniqueId()
    await this.#connection.run((client) => client.script('LOAD', textOf(fresh)))
    await this.#connection.script(resetScript, this.#connection.keys.core, fresh)
    return false
  }

  async #canTell (): Promise<boolean> {
    if (this.#connection.isCluster) return false
    const hello = await this.#connection.run((client) => client.call('HELLO')) as unknown[]
    return parseInt(String(hello[hello.indexOf('version') + 1]), 10) >= 7
  }
}
