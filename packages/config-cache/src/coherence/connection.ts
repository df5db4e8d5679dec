import type { ChannelMessage, Listener, RedisClient, RedisLink, Script, ScriptValue, ScriptValues, Stop, Subscriber, Unsubscribe } from '@jpulse/redis-link'
import { randomId } from '../id.ts'
import { CacheKeys } from './keys.ts'

/** A channel of the protocol, and what takes the subscription back while there is one. */
interface Channel {
  readonly name: string
  readonly listener: Listener
  unsubscribe: Unsubscribe | undefined
}

/** The link as the protocol sees it. */
export class Connection {
  /** Of this instance in the cluster. */
  readonly id = randomId()
  readonly link: RedisLink
  readonly keys: CacheKeys
  readonly subscriber: Subscriber
  readonly isCluster: boolean
  readonly #channels: Channel[] = []
  readonly #stop: Stop
  #listening: Promise<void> | undefined
  /** Version of the connection on which Redis let us publish. */
  #publishing = -1

  /** @param onBreak called at each close and error of the command or subscriber connection */
  constructor (link: RedisLink, onBreak: () => void) {
    this.link = link
    this.keys = new CacheKeys((...parts) => link.key(...parts), (...parts) => link.channel(...parts))
    this.subscriber = link.subscriber(this.keys.core[0])!
    this.isCluster = link.mode === 'cluster'
    this.#stop = link.outages.onBreak(onBreak)
  }

  /** Changes with each connection: what was asked under one version and answered under another may come from another run of the server. */
  get version (): number {
    return this.link.outages.version
  }

  /** Whether commands are answered and messages heard, but for channels that Redis refuses. */
  get isUp (): boolean {
    return this.link.isUp && this.subscriber.isUp
  }

  /** Adds a channel; `listen` subscribes it. */
  hear (name: string, listener: Listener): void {
    this.#channels.push({ name, listener, unsubscribe: undefined })
  }

  /**
   * Subscribes what is not subscribed, or was refused when the connection was made anew, and makes sure once that what is heard can be
   * acknowledged. @throws where Redis refuses a channel
   */
  listen (): Promise<void> {
    this.#listening ??= this.#subscribe().then(() => this.#tryToPublish()).finally(() => { this.#listening = undefined })
    return this.#listening
  }

  /** Redis refused a message: `listen` tries again whether it takes one. */
  doubt (): void {
    this.#publishing = -1
  }

  /** To the own channel, where nothing without operations means anything. */
  async #tryToPublish (): Promise<void> {
    const { version } = this
    if (this.#publishing === version) return
    await this.run((client) => client.publish(this.keys.acks(this.id), ''))
    this.#publishing = version
  }

  async #subscribe (): Promise<void> {
    const { refused } = this.subscriber
    for (const channel of this.#channels) {
      if (channel.unsubscribe !== undefined && !refused.has(channel.name)) continue
      channel.unsubscribe = undefined
      channel.unsubscribe = await this.subscriber.subscribe(channel.name, channel.listener)
    }
  }

  /** Bounded and typed as `redisLink.run`. */
  run<T> (command: (client: RedisClient) => Promise<T>): Promise<T> {
    return this.link.run(command)
  }

  /** Publishes where the protocol's channels are heard. */
  tell (messages: readonly ChannelMessage[]): Promise<void> {
    return this.link.publishNear(this.keys.core[0], messages)
  }

  /** As `redisLink.runScript`. */
  script<Reply, const Keys extends readonly string[], const Args extends readonly string[]> (script: Script<Reply, Keys, Args>, keys: ScriptValues<Keys, string>, ...args: ScriptValues<Args, ScriptValue>): Promise<Reply> {
    return this.link.runScript(script, { keys, args })
  }

  async unsubscribe (): Promise<void> {
    await Promise.allSettled(this.#channels.splice(0).map(({ unsubscribe }) => unsubscribe?.()))
  }

  close (): void {
    this.#stop()
  }
}
