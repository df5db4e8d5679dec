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

/** Who in this process listens to what. */
export class Subscriptions {
  readonly #exact = new Map<string, Set<Subscription>>()
  /** By what stands before the `*`. */
  readonly #prefixes = new Map<string, Set<Subscription>>()

  add (subscription: Subscription): void {
    const [table, name] = this.#place(subscription.pattern)
    const present = table.get(name)
    if (present === undefined) table.set(name, new Set([subscription]))
    else present.add(subscription)
  }

  remove (subscription: Subscription): void {
    const [table, name] = this.#place(subscription.pattern)
    const present = table.get(name)
    if (present?.delete(subscription) === true && present.size === 0) table.delete(name)
  }

  clear (): void {
    this.#exact.clear()
    this.#prefixes.clear()
  }

  /** The subscriptions that a message concerns, one per handler. */
  match (channel: string, self: boolean, reserved: boolean): Subscription[] {
    const exact = this.#exact.get(channel)
    const found = exact === undefined ? [] : [...exact]
    if (this.#prefixes.size > 0) {
      for (let end = 0; end !== -1; end = channel.indexOf(':', end + 1)) {
        for (const subscription of this.#prefixes.get(end === 0 ? '' : channel.slice(0, end + 1)) ?? []) {
          if (!reserved || subscription.internal) found.push(subscription)
        }
      }
    }
    const wanted = self ? found.filter(({ omitSelf }) => !omitSelf) : found
    return wanted.length < 2 ? wanted : [...new Map(wanted.map((one) => [one.handler, one])).values()]
  }

  /** How many handlers each pattern has. */
  list (): Array<{ pattern: string, handlers: number }> {
    return [...[...this.#exact].map(([pattern, { size }]) => ({ pattern, handlers: size })),
      ...[...this.#prefixes].map(([prefix, { size }]) => ({ pattern: `${prefix}*`, handlers: size }))]
  }

  #place (pattern: string): [table: Map<string, Set<Subscription>>, name: string] {
    return pattern.endsWith('*') ? [this.#prefixes, pattern.slice(0, -1)] : [this.#exact, pattern]
  }
}
