import { randomBytes } from 'node:crypto'
import type { RedisLink, Subscriber } from '@jpulse/redis-link'
import type { FastifyBaseLogger } from 'fastify'
import { Keys } from '../delivery/keys.ts'
import type { Listener } from '../delivery/listener.ts'
import { Announcer } from './announcer.ts'
import type { Presence, PresenceSink, Present } from './presence.ts'
import { Renewing } from './renewing.ts'
import { publishPresence, readOnline, readUser } from './scripts.ts'

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

/** Users that one script changes or looks through at most, about: Redis serves nobody meanwhile. */
const MOST_AT_ONCE = 500
/** Reading one takes a tenth of that. */
const MOST_READ_AT_ONCE = 5000

/**
 * Presence in Redis. Each process publishes which users it has, and a script decides who joined and who left, so that a user with
 * sockets on two workers joins once and leaves once. Changes that cannot be published in an outage are published after it.
 */
export class RedisPresence implements Presence {
  readonly #context: PresenceContext
  readonly #announcer: Announcer
  readonly #keys: Keys
  readonly #renewing: Renewing
  readonly #here = new Set<string>()
  /** Users whose change was not published yet. */
  readonly #unpublished = new Set<string>()
  #generation: string | null = null
  #flushing: Promise<void> | null = null
  /** Tokens of instances that are known to have ended, and may have users here still. */
  readonly #dead = new Set<string>()
  #closed = false

  constructor (namespace: string, context: PresenceContext, sink: PresenceSink) {
    this.#context = context
    this.#keys = new Keys(context.link, namespace)
    this.#renewing = new Renewing(context.link.outages)
    const subscriber = context.link.subscriber(this.#keys.online) ?? context.subscriber
    this.#announcer = new Announcer({ ...context, subscriber }, this.#keys.presence, async () => (await this.#read()).map(({ userId }) => userId), sink)
  }

  get idle (): boolean {
    return this.#unpublished.size === 0 && this.#flushing === null
  }

  get here (): string[] {
    return this.#announcer.known
  }

  attach (): Promise<void> {
    return this.#announcer.attach()
  }

  detach (): void {
    this.#announcer.detach()
  }

  change (userId: string, isHere: boolean): void {
    if (isHere) this.#here.add(userId)
    else this.#here.delete(userId)
    this.#unpublished.add(userId)
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

  async beat (dead?: string): Promise<void> {
    // Where there are guests alone somebody has to notice too that an instance has died.
    if (this.#here.size === 0 && this.#unpublished.size === 0 && !this.#announcer.isAttached) return this.#renewing.idle()
    if (dead !== undefined) this.#dead.add(dead)
    await this.#flush(true)
  }

  close (): void {
    this.#closed = true
    this.#announcer.detach()
  }

  /** One at a time, so that changes of a user are published in order. */
  #flush (always = false): Promise<void> {
    this.#flushing ??= this.#publish(always).finally(() => { this.#flushing = null })
    return this.#flushing
  }

  async #publish (always: boolean): Promise<void> {
    // Changes of one turn of the event loop are one script.
    await new Promise((resolve) => setImmediate(resolve))
    for (let more = always || this.#unpublished.size > 0; more && !this.#closed;) {
      const isLeft = await this.#publishBatch()
      more = isLeft || this.#unpublished.size > 0 || this.#dead.size > 0
    }
  }

  /** Resolves with whether users of dead instances are left. */
  async #publishBatch (): Promise<boolean> {
    const users = [...this.#unpublished].slice(0, MOST_AT_ONCE)
    const states = users.map((userId) => [userId, this.#here.has(userId)] as const)
    const { token, leaseMs } = this.#context
    const { online, leases, beats, presence } = this.#keys
    const dead = [...this.#dead].slice(0, MOST_AT_ONCE)
    const [generation, known, isLeft] = await this.#context.link.runScript(publishPresence, {
      keys: [online, leases, beats],
      args: [randomBytes(6).toString('hex'), token, leaseMs, presence, dead.join(' '), this.#here.size > 0 ? 1 : 0, this.#renewing.flag, MOST_AT_ONCE, ...states.flatMap(([userId, isHere]) => [userId, isHere ? 1 : 0])]
    })
    this.#renewing.renewed()
    for (const one of dead) this.#dead.delete(one)
    // A user who changed meanwhile is published again.
    for (const [userId, wasHere] of states) if (this.#here.has(userId) === wasHere) this.#unpublished.delete(userId)
    this.#checkGeneration(generation, known === 1, new Set(users))
    return isLeft === 1
  }

  /** Redis lost its data, or our lease lapsed and others removed us: all our users are published again. */
  #checkGeneration (generation: string, known: boolean, published: ReadonlySet<string>): void {
    const lost = this.#generation !== null && this.#generation !== generation
    const reaped = this.#generation === generation && !known && this.#here.size > published.size
    this.#generation = this.#here.size === 0 ? null : generation
    if (!lost && !reaped) return
    if (lost) this.#announcer.scheduleReconcile()
    for (const userId of this.#here) if (!published.has(userId)) this.#unpublished.add(userId)
  }

  async #read (userId?: string): Promise<Present[]> {
    const { online, leases } = this.#keys
    const { link } = this.#context
    if (userId !== undefined) {
      const [tokens, living] = await link.runScript(readUser, { keys: [online, leases], args: [userId] })
      return presentOf([userId, tokens], living)
    }
    // Who is there from the first page to the last is on one of them, and who comes or goes meanwhile is announced.
    const present = new Map<string, Present>()
    let cursor = '0'
    do {
      const [next, users, living] = await link.runScript(readOnline, { keys: [online, leases], args: [cursor, MOST_READ_AT_ONCE] })
      for (const one of presentOf(users, living)) present.set(one.userId, one)
      cursor = next
    } while (cursor !== '0')
    return [...present.values()]
  }
}

/** Users and tokens in turn, as those who are on one that lives. */
function presentOf (users: readonly string[], living: readonly string[]): Present[] {
  const lives = new Set(living)
  const present: Present[] = []
  for (let i = 0; i < users.length; i += 2) {
    const instances = users[i + 1]!.split(' ').filter((token) => lives.has(token)).map(instanceOf)
    if (instances.length > 0) present.push({ userId: users[i]!, instances })
  }
  return present
}

function instanceOf (token: string): string {
  return token.slice(token.indexOf('/') + 1)
}
