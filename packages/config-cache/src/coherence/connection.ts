import type { RedisClient, RedisLink, Script, ScriptValue, ScriptValues, Stop, Subscriber } from '@jpulse/redis-link'
import { randomId } from '../id.ts'
import { CacheKeys } from './keys.ts'

/** The link as the protocol sees it. */
export class Connection {
  /** Of this instance in the cluster. */
  readonly id = randomId()
  readonly link: RedisLink
  readonly keys: CacheKeys
  readonly subscriber: Subscriber
  readonly isCluster: boolean
  readonly #stop: Stop

  /** @param onBreak called at each close and error of the command or subscriber connection */
  constructor (link: RedisLink, onBreak: () => void) {
    this.link = link
    this.keys = new CacheKeys((...parts) => link.key(...parts), (...parts) => link.channel(...parts))
    this.subscriber = link.subscriber()!
    this.isCluster = link.mode === 'cluster'
    this.#stop = link.outages.onBreak(onBreak)
  }

  /** What was asked under one number and answered under another may come from another life of Redis. */
  get version (): number {
    return this.link.outages.version
  }

  /** Whether commands are answered and messages heard. */
  get isUp (): boolean {
    return this.link.isUp && this.subscriber.isUp
  }

  /** Bounded and typed as `redisLink.run`. */
  run<T> (command: (client: RedisClient) => Promise<T>): Promise<T> {
    return this.link.run(command)
  }

  /** As `redisLink.runScript`. */
  script<Reply, const Keys extends readonly string[], const Args extends readonly string[]> (script: Script<Reply, Keys, Args>, keys: ScriptValues<Keys, string>, ...args: ScriptValues<Args, ScriptValue>): Promise<Reply> {
    return this.link.runScript(script, { keys, args })
  }

  close (): void {
    this.#stop()
  }
}
