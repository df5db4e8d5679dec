import type { Subscriber } from '@jpulse/redis-link'
import type { FastifyBaseLogger } from 'fastify'
import type { Listening } from '../delivery/carrier.ts'
import type { Listener } from '../delivery/listener.ts'
import type { PresenceSink } from './presence.ts'

/** What it needs of what all namespaces of a process share. */
export interface AudienceContext {
  readonly subscriber: Subscriber
  readonly listener: Listener
  /** After a doubt, time in which every process says again whom it has. */
  readonly leaseMs: number
  readonly log: FastifyBaseLogger
}

/**
 * Tells the clients of one namespace in this process who comes and goes: each change once. It knows whom they believe to be
 * there, so that an announcement that comes again says nothing, and one that was lost with a connection, or with Redis' data,
 * is made up for.
 */
export class Audience {
  readonly #context: AudienceContext
  readonly #channel: string
  readonly #list: () => Promise<string[]>
  readonly #sink: PresenceSink
  /** Whom the clients here believe to be there; null while there are no clients. */
  #told: Set<string> | null = null
  /** Announcements that wait until the list was read. */
  #held: string[] | null = null
  #attached: Promise<void> | null = null
  #listening: Listening | null = null
  #timer: NodeJS.Timeout | undefined

  constructor (context: AudienceContext, channel: string, list: () => Promise<string[]>, sink: PresenceSink) {
    this.#context = context
    this.#channel = channel
    this.#list = list
    this.#sink = sink
  }

  /** Whom the clients here believe to be there. */
  get told (): string[] {
    return [...this.#told ?? []]
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
    this.#listening = this.#attached = this.#told = this.#held = null
  }

  /** Something may have been missed. */
  doubt (): void {
    if (this.#told === null || this.#timer !== undefined) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#reconcile().catch(() => this.doubt())
    }, this.#context.leaseMs).unref()
  }

  async #begin (): Promise<void> {
    this.#told = new Set()
    this.#held = []
    this.#context.subscriber.on('up', this.#onUp)
    this.#listening = this.#context.listener.listen(() => this.#context.subscriber.subscribe(this.#channel, (bytes) => this.#hear(bytes.toString())))
    const told = this.#told
    await this.#listening.ready
    const listed = await this.#list().catch(() => null)
    // A detach in between began anew.
    if (this.#told !== told) return
    for (const userId of listed ?? []) told.add(userId)
    if (listed === null) this.doubt()
    this.#release()
  }

  async #reconcile (): Promise<void> {
    const told = this.#told
    if (told === null || this.#held !== null) return this.doubt()
    this.#held = []
    try {
      const listed = new Set(await this.#list())
      if (this.#told !== told) return
      this.#apply('+', [...listed])
      this.#apply('-', [...told].filter((userId) => !listed.has(userId)))
    } finally {
      if (this.#told === told) this.#release()
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
    try {
      this.#apply(text[0]!, JSON.parse(text.slice(1)) as string[])
    } catch (err) {
      this.#context.log.warn({ err }, 'a malformed announcement was dropped')
    }
  }

  #apply (sign: string, userIds: readonly string[]): void {
    const told = this.#told
    if (told === null) return
    const came = sign === '+'
    const news = userIds.filter((userId) => told.has(userId) !== came)
    for (const userId of news) {
      if (came) told.add(userId)
      else told.delete(userId)
    }
    if (news.length > 0) this.#sink.announce(came ? 'presence:join' : 'presence:leave', news)
  }

  readonly #onUp = ({ gap }: { gap: boolean }): void => {
    if (gap) this.doubt()
  }
}
