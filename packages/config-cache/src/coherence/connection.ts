import type { RedisClient, RedisLink, Subscriber } from '@jpulse/redis-link'
import { randomId, uniqueId } from '../id.ts'
import { CacheKeys } from './keys.ts'
import { defineScripts, type CacheCommands } from './scripts.ts'

type Client = RedisClient & CacheCommands
type Reply<Name extends keyof CacheCommands> = Awaited<ReturnType<CacheCommands[Name]>>

/** What the watched connections of ioredis have in common: a server, a node of a Cluster, the Cluster itself. */
interface Emitter {
  on (event: string, listener: (value?: unknown) => void): unknown
  off (event: string, listener: (value?: unknown) => void): unknown
}

/**
 * The link as the protocol sees it: scripts, commands, and a number that changes with every close and error of the command or
 * subscriber connection. What was asked under one number and answered under another may come from another life of Redis.
 */
export class Connection {
  /** Of this instance in the cluster. */
  readonly id = randomId()
  readonly link: RedisLink
  readonly keys: CacheKeys
  readonly subscriber: Subscriber
  readonly isCluster: boolean
  readonly #onBreak: () => void
  readonly #watched = new Set<Emitter>()
  readonly #broke = (): void => {
    this.#version++
    this.#onBreak()
  }

  readonly #nodeJoined = (node?: unknown): void => this.#watch(node as Emitter)
  #version = 0

  /** @param onBreak called at each close and error */
  constructor (link: RedisLink, onBreak: () => void) {
    this.link = link
    this.keys = new CacheKeys((...parts) => link.key(...parts))
    this.subscriber = link.subscriber()!
    this.isCluster = link.mode === 'cluster'
    this.#onBreak = onBreak
    const client = link.client!
    defineScripts(client)
    this.#watch(client)
    if ('nodes' in client) {
      for (const node of client.nodes('all')) this.#watch(node)
      client.on('+node', this.#nodeJoined)
    }
    this.subscriber.on('down', this.#broke)
  }

  get version (): number {
    return this.#version
  }

  /** Whether commands are answered and messages heard. */
  get isUp (): boolean {
    return this.link.isUp && this.subscriber.isUp
  }

  /** Bounded and typed as `redisLink.run`. */
  run<T> (command: (client: Client) => Promise<T>): Promise<T> {
    return this.link.run((client) => command(client as unknown as Client))
  }

  /** Runs a script on the four keys of the state and those in `keys`, with a nonce for the epoch that it may begin. */
  script<Name extends keyof CacheCommands> (name: Name, keys: readonly string[], ...args: Array<string | number>): Promise<Reply<Name>> {
    const all = [...this.keys.core, ...keys]
    return this.run((client) => client[name](all.length, ...all, uniqueId(), ...args) as Promise<Reply<Name>>)
  }

  /** The same for a script that also takes the generations of tags, and the tags after its arguments. */
  scriptOnTags<Name extends keyof CacheCommands> (name: Name, tags: readonly string[], ...args: Array<string | number>): Promise<Reply<Name>> {
    return this.script(name, tags.map((tag) => this.keys.generation(tag)), ...args, ...tags)
  }

  close (): void {
    this.link.client?.off('+node', this.#nodeJoined)
    this.subscriber.off('down', this.#broke)
    for (const emitter of this.#watched) {
      for (const event of EVENTS) emitter.off(event, this.#broke)
    }
    this.#watched.clear()
  }

  #watch (emitter: Emitter): void {
    if (this.#watched.has(emitter)) return
    this.#watched.add(emitter)
    for (const event of EVENTS) emitter.on(event, this.#broke)
    emitter.on('end', () => this.#watched.delete(emitter))
  }
}

const EVENTS = ['close', 'end', 'error'] as const
