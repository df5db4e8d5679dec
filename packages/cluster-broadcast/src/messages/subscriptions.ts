import { isReserved } from './names.ts'

/** A message as a handler gets it. The data are the handler's own copy. */
export interface BroadcastMessage<T = unknown> {
  /** Unique in the cluster. */
  readonly id: string
  readonly channel: string
  readonly data: T
  /** Its publisher. */
  readonly instanceId: string
  readonly bootId: string
  /** When it was published: milliseconds of the publisher's clock since 1970. */
  readonly timestamp: number
  /** Whether this process published it. */
  readonly self: boolean
  /** What a plugin sent beside the data, as it is. */
  readonly bytes?: Uint8Array
}

/** Gets a message. What it returns, or what its promise resolves with, is the answer to an `ask`. */
export type Handler<T = unknown> = (message: BroadcastMessage<T>) => unknown

export interface SubscribeOptions {
  /** Whether to skip what this process publishes. @default false */
  omitSelf?: boolean
}

export interface Subscription {
  readonly pattern: string
  readonly handler: Handler
  readonly omitSelf: boolean
  /** Whether the data are handed over as JSON text. */
  readonly raw: boolean
  /** Whether a lone `*` covers reserved names too; not for applications. */
  readonly internal: boolean
}

const NONE: readonly Subscription[] = Object.freeze([])

/** What a channel has, as it was looked up last. */
interface Match { readonly channel: string, readonly found: readonly Subscription[] }

const NO_MATCH: Match = Object.freeze({ channel: '', found: NONE })

/** Who in this process listens to what. The lists are never changed, but replaced: a message may be on its way through one. */
export class Subscriptions {
  readonly #exact = new Map<string, readonly Subscription[]>()
  /** By what stands before the `*`. */
  readonly #prefixes = new Map<string, readonly Subscription[]>()
  /** For messages of this process and of others. Messages mostly come many to one channel. */
  readonly #latest = { own: NO_MATCH, other: NO_MATCH }

  add (subscription: Subscription): void {
    const [table, name] = this.#place(subscription.pattern)
    table.set(name, [...table.get(name) ?? NONE, subscription])
    this.#forget()
  }

  remove (subscription: Subscription): void {
    const [table, name] = this.#place(subscription.pattern)
    const left = (table.get(name) ?? NONE).filter((one) => one !== subscription)
    if (left.length > 0) table.set(name, left)
    else table.delete(name)
    this.#forget()
  }

  clear (): void {
    this.#exact.clear()
    this.#prefixes.clear()
    this.#forget()
  }

  /** The subscriptions that a message concerns, one per handler. */
  match (channel: string, self: boolean): readonly Subscription[] {
    const which = self ? 'own' : 'other'
    if (this.#latest[which].channel !== channel) this.#latest[which] = { channel, found: this.#find(channel, self) }
    return this.#latest[which].found
  }

  #find (channel: string, self: boolean): readonly Subscription[] {
    const reserved = isReserved(channel)
    const exact = this.#exact.get(channel) ?? NONE
    if (this.#prefixes.size === 0 && (exact.length === 0 || (exact.length === 1 && !self))) return exact
    const found = [...exact]
    for (let end = 0; end !== -1; end = channel.indexOf(':', end + 1)) {
      for (const subscription of this.#prefixes.get(end === 0 ? '' : channel.slice(0, end + 1)) ?? NONE) {
        if (!reserved || subscription.internal) found.push(subscription)
      }
    }
    const wanted = self ? found.filter(({ omitSelf }) => !omitSelf) : found
    return wanted.length < 2 ? wanted : [...new Map(wanted.map((one) => [one.handler, one])).values()]
  }

  /** How many handlers each pattern has. */
  list (): Array<{ pattern: string, handlers: number }> {
    return [...[...this.#exact].map(([pattern, { length }]) => ({ pattern, handlers: length })),
      ...[...this.#prefixes].map(([prefix, { length }]) => ({ pattern: `${prefix}*`, handlers: length }))]
  }

  #forget (): void {
    this.#latest.own = this.#latest.other = NO_MATCH
  }

  #place (pattern: string): [table: Map<string, readonly Subscription[]>, name: string] {
    return pattern.endsWith('*') ? [this.#prefixes, pattern.slice(0, -1)] : [this.#exact, pattern]
  }
}
