import { randomBytes } from 'node:crypto'
import type { RedisLink, Subscriber } from '@jpulse/redis-link'
import type { FastifyBaseLogger } from 'fastify'
import { Keys } from '../delivery/keys.ts'
import type { Listener } from '../delivery/listener.ts'
import { Audience } from './audience.ts'
import type { Presence, PresenceSink, Present } from './presence.ts'
import { readOnline, sayPresence } from './scripts.ts'

/** What all namespaces of a process share. */
export interface PresenceContext {
  readonly link: RedisLink
  readonly subscriber: Subscriber
  readonly listener: Listener
  /** `<bootId>/<instanceId>` of this process. */
  readonly token: string
  readonly leaseMs: number
  readonly log: FastifyBaseLogger
}

const MOST_AT_ONCE = 500

/**
 * Presence in Redis. Each process says which users it has, and a script decides who came and who went, so that a user with
 * sockets on two workers comes once and goes once. What cannot be said in an outage is said after it.
 */
export class RedisPresence implements Presence {
  readonly #context: PresenceContext
  readonly #audience: Audience
  readonly #keys: Keys
  readonly #here = new Set<string>()
  /** Users whose coming or going was not said yet. */
  readonly #unsaid = new Set<string>()
  #generation: string | null = null
  #flushing: Promise<void> | null = null
  #dead = ''
  #closed = false

  constructor (namespace: string, context: PresenceContext, sink: PresenceSink) {
    this.#context = context
    this.#keys = new Keys(context.link, namespace)
    this.#audience = new Audience(context, this.#keys.presence, async () => (await this.#read()).map(({ userId }) => userId), sink)
  }

  get idle (): boolean {
    return this.#unsaid.size === 0 && this.#flushing === null
  }

  get here (): string[] {
    return this.#audience.told
  }

  attach (): Promise<void> {
    return this.#audience.attach()
  }

  detach (): void {
    this.#audience.detach()
  }

  change (userId: string, isHere: boolean): void {
    if (isHere) this.#here.add(userId)
    else this.#here.delete(userId)
    this.#unsaid.add(userId)
    this.#flush().catch(() => {})
  }

  async list (userId?: string): Promise<Present[]> {
    try {
      return await this.#read(userId)
    } catch {
      const known = userId === undefined ? [...this.#here] : [userId].filter((one) => this.#here.has(one))
      return known.map((one) => ({ userId: one, instances: [instanceOf(this.#context.token)] }))
    }
  }

  async beat (dead = ''): Promise<void> {
    if (this.#here.size === 0 && this.#unsaid.size === 0) return
    this.#dead = dead
    await this.#flush(true)
  }

  close (): void {
    this.#closed = true
    this.#audience.detach()
  }

  /** One at a time, so that what is said later is heard later. */
  #flush (always = false): Promise<void> {
    this.#flushing ??= this.#say(always).finally(() => { this.#flushing = null })
    return this.#flushing
  }

  async #say (always: boolean): Promise<void> {
    // Those of one turn of the event loop together.
    await new Promise((resolve) => setImmediate(resolve))
    for (let more = always || this.#unsaid.size > 0; more && !this.#closed; more = this.#unsaid.size > 0) await this.#sayOnce()
  }

  async #sayOnce (): Promise<void> {
    const users = [...this.#unsaid].slice(0, MOST_AT_ONCE)
    const said = users.map((userId) => [userId, this.#here.has(userId)] as const)
    const { token, leaseMs } = this.#context
    const { online, leases, beats, presence } = this.#keys
    const dead = this.#dead
    const [generation, known] = await this.#context.link.runScript(sayPresence, {
      keys: [online, leases, beats],
      args: [randomBytes(6).toString('hex'), token, leaseMs, presence, dead, this.#here.size > 0 ? 1 : 0, ...said.flatMap(([userId, isHere]) => [userId, isHere ? 1 : 0])]
    })
    if (this.#dead === dead) this.#dead = ''
    // What changed meanwhile is said again.
    for (const [userId, wasHere] of said) if (this.#here.has(userId) === wasHere) this.#unsaid.delete(userId)
    this.#learn(generation, known === 1, new Set(users))
  }

  /** Redis lost its data, or the others took us for dead: all our users are said again. */
  #learn (generation: string, known: boolean, said: ReadonlySet<string>): void {
    const lost = this.#generation !== null && this.#generation !== generation
    const reaped = this.#generation === generation && !known && this.#here.size > said.size
    this.#generation = this.#here.size === 0 ? null : generation
    if (!lost && !reaped) return
    if (lost) this.#audience.doubt()
    for (const userId of this.#here) if (!said.has(userId)) this.#unsaid.add(userId)
  }

  async #read (userId?: string): Promise<Present[]> {
    const { online, leases } = this.#keys
    const [users, tokens] = await this.#context.link.runScript(readOnline, { keys: [online, leases], args: userId === undefined ? [] : [userId] })
    const living = new Set(tokens)
    const present: Present[] = []
    for (let i = 0; i < users.length; i += 2) {
      const instances = users[i + 1]!.split(' ').filter((token) => living.has(token)).map(instanceOf)
      if (instances.length > 0) present.push({ userId: users[i]!, instances })
    }
    return present
  }
}

function instanceOf (token: string): string {
  return token.slice(token.indexOf('/') + 1)
}
