import type { Subscriber } from '@jpulse/redis-link'
import type { FastifyBaseLogger } from 'fastify'
import type { Listening } from '../delivery/carrier.ts'
import type { Listener } from '../delivery/listener.ts'
import type { PresenceSink } from './presence.ts'

/** What all namespaces of a process share. */
export interface AnnouncerContext {
  readonly subscriber: Subscriber
  readonly listener: Listener
  /** After an outage all processes have published their users again within this time. */
  readonly leaseMs: number
  readonly log: FastifyBaseLogger
}

/**
 * Announces joins and leaves to the clients of one namespace in this process, each change once. It keeps the list that the clients
 * have, so that a repeated announcement is dropped, and one that was lost in an outage is made up for by comparing with Redis.
 */
export class Announcer {
  readonly #context: AnnouncerContext
  readonly #channel: string
  readonly #list: () => Promise<string[]>
  readonly #sink: PresenceSink
  /** The users that the clients here know of; null while there are no clients. */
  #known: Set<string> | null = null
  /** Announcements that arrived while the list was being read. */
  #held: string[] | null = null
  #attached: Promise<void> | null = null
  #listening: Listening | null = null
  #timer: NodeJS.Timeout | undefined

  constructor (context: AnnouncerContext, channel: string, list: () => Promise<string[]>, sink: PresenceSink) {
    this.#context = context
    this.#channel = channel
    this.#list = list
    this.#sink = sink
  }

  /** The users that the clients here know of. */
  get known (): string[] {
    return [...this.#known ?? []]
  }

  /** Whether there are clients here. */
  get isAttached (): boolean {
    return this.#attached !== null
  }

  attach (): Promise<void> {
    this.#attached ??= this.#begin()
    return this.#attached
  }

  detach (): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#context.subscriber.off('up', this.#onUp)
    this.#listening?.stop()
    this.#listening = this.#attached = this.#known = this.#held = null
  }

  /** An announcement may have been lost: compares with Redis after a lease. */
  scheduleReconcile (): void {
    if (this.#known === null || this.#timer !== undefined) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#reconcile().catch(() => this.scheduleReconcile())
    }, this.#context.leaseMs).unref()
  }

  async #begin (): Promise<void> {
    this.#known = new Set()
    this.#held = []
    this.#context.subscriber.on('up', this.#onUp)
    this.#listening = this.#context.listener.listen(() => this.#context.subscriber.subscribe(this.#channel, (bytes) => this.#hear(bytes.toString())))
    const known = this.#known
    await this.#listening.ready
    const listed = await this.#list().catch(() => null)
    // `detach` was called meanwhile.
    if (this.#known !== known) return
    for (const userId of listed ?? []) known.add(userId)
    if (listed === null) this.scheduleReconcile()
    this.#release()
  }

  async #reconcile (): Promise<void> {
    const known = this.#known
    if (known === null || this.#held !== null) return this.scheduleReconcile()
    this.#held = []
    try {
      const listed = new Set(await this.#list())
      if (this.#known !== known) return
      this.#apply('+', [...listed])
      this.#apply('-', [...known].filter((userId) => !listed.has(userId)))
    } finally {
      if (this.#known === known) this.#release()
    }
  }

  #release (): void {
    const held = this.#held ?? []
    this.#held = null
    for (const text of held) this.#hear(text)
  }

  #hear (text: string): void {
    if (this.#held !== null) {
      this.#held.push(text)
      return
    }
    const sign = text[0]
    // Of a later release: what it means is not guessed.
    if (sign !== '+' && sign !== '-') return this.#context.log.debug({ sign }, 'an announcement of a kind that is not known here')
    try {
      this.#apply(sign, JSON.parse(text.slice(1)) as string[])
    } catch (err) {
      this.#context.log.warn({ err }, 'a malformed announcement was dropped')
    }
  }

  #apply (sign: '+' | '-', userIds: readonly string[]): void {
    const known = this.#known
    if (known === null) return
    const came = sign === '+'
    const news = userIds.filter((userId) => known.has(userId) !== came)
    for (const userId of news) {
      if (came) known.add(userId)
      else known.delete(userId)
    }
    if (news.length > 0) this.#sink.announce(came ? 'presence:join' : 'presence:leave', news)
  }

  readonly #onUp = ({ gap }: { gap: boolean }): void => {
    if (gap) this.scheduleReconcile()
  }
}
