import { createHash } from 'node:crypto'
import { uniqueId } from '../id.ts'
import type { Connection } from './connection.ts'
import { resetScript } from './scripts.ts'

const textOf = (nonce: string): string => `return '${nonce}'`

/**
 * Recognises a restart or a failover of Redis where INFO, and with it the run_id, is forbidden. A script named after the epoch is loaded:
 * the script cache of the server is lost with its process, is not in its files, and from Redis 7 on is not sent to replicas. A connection
 * that finds the script talks to the process in which the epoch began; one that does not ends the epoch.
 */
export class ServerRun {
  readonly #connection: Connection
  #confirmed = ''
  #isSupported: boolean | undefined

  constructor (connection: Connection) {
    this.#connection = connection
  }

  /**
   * Whether the epoch began in the server process that answers on this version of the connection. Where not, the epoch is ended.
   *
   * @throws where the server cannot be recognised this way: Redis Cluster, or a server before 7
   */
  async isSame (nonce: string, version: number): Promise<boolean> {
    const mark = `${version} ${nonce}`
    if (this.#confirmed === mark) return true
    this.#isSupported ??= await this.#hasLocalScripts()
    if (!this.#isSupported) throw new Error('INFO is forbidden to this user of Redis, which only works on one server of version 7 or newer')
    const sha = createHash('sha1').update(textOf(nonce)).digest('hex')
    const [found] = await this.#connection.run((client) => client.script('EXISTS', sha)) as [number]
    if (version !== this.#connection.version) return false
    if (found === 1) {
      this.#confirmed = mark
      return true
    }
    const fresh = uniqueId()
    await this.#connection.run((client) => client.script('LOAD', textOf(fresh)))
    await this.#connection.script(resetScript, this.#connection.keys.core, fresh)
    return false
  }

  async #hasLocalScripts (): Promise<boolean> {
    if (this.#connection.isCluster) return false
    const hello = await this.#connection.run((client) => client.call('HELLO')) as unknown[] | { version: unknown }
    // A client of the application may have `replyMapping: 'resp3'`.
    return parseInt(String(Array.isArray(hello) ? hello[hello.indexOf('version') + 1] : hello.version), 10) >= 7
  }
}
