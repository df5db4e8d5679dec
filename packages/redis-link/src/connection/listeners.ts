/** Receives one message as it came over the wire, and the channel it came on. */
export type Listener = (message: Buffer, channel: string) => void

/** Of one channel, or of all that match a pattern. */
export type Kind = 'subscribe' | 'psubscribe'

/** Refusals that are remembered, so that the log has each once. */
const MOST_TOLD = 1000

/** Who listens to which channels and patterns, and which of them Redis refuses. */
export class Listeners {
  /** By name: who listens, and how many of its subscriptions stand. Each of them hears until it is ended itself. */
  readonly #all: Record<Kind, Map<string, Map<Listener, number>>> = { subscribe: new Map(), psubscribe: new Map() }
  readonly #refused: Record<Kind, Map<string, string>> = { subscribe: new Map(), psubscribe: new Map() }
  /** Names whose refusal was told, or need not be: another attempt to subscribe is not told again. */
  readonly #told = new Set<string>()

  /** Why Redis refuses a channel or pattern that somebody listens to. */
  get refused (): ReadonlyMap<string, string> {
    return new Map([...this.#refused.subscribe, ...this.#refused.psubscribe])
  }

  names (kind: Kind): string[] {
    return [...this.#all[kind].keys()]
  }

  of (kind: Kind, name: string): Iterable<Listener> {
    return this.#all[kind].get(name)?.keys() ?? []
  }

  reasonOf (kind: Kind, name: string): string | undefined {
    return this.#refused[kind].get(name)
  }

  add (kind: Kind, name: string, listener: Listener): void {
    const listeners = this.#all[kind].get(name) ?? new Map<Listener, number>()
    this.#all[kind].set(name, listeners.set(listener, (listeners.get(listener) ?? 0) + 1))
  }

  /** Takes over who listens to another's names, but for one. */
  adopt (other: Listeners, except: string): void {
    for (const kind of ['subscribe', 'psubscribe'] as const) {
      for (const [name, listeners] of other.#all[kind]) {
        if (name === except) continue
        for (const [listener, times] of listeners) for (let time = 0; time < times; time++) this.add(kind, name, listener)
      }
    }
    for (const name of other.#told) this.keepQuiet(name)
  }

  /** Ends one subscription. Returns whether it was the last of its name. */
  remove (kind: Kind, name: string, listener: Listener): boolean {
    const listeners = this.#all[kind].get(name)
    const count = listeners?.get(listener)
    if (listeners === undefined || count === undefined) return false
    if (count > 1) listeners.set(listener, count - 1)
    else listeners.delete(listener)
    if (listeners.size > 0) return false
    this.#refused[kind].delete(name)
    return this.#all[kind].delete(name)
  }

  accept (kind: Kind, names: readonly string[]): void {
    for (const name of names) {
      this.#refused[kind].delete(name)
      this.#told.delete(name)
    }
  }

  /** Returns whether it is to be told. */
  refuse (kind: Kind, name: string, reason: string): boolean {
    this.#refused[kind].set(name, reason)
    if (this.#told.has(name)) return false
    this.keepQuiet(name)
    return true
  }

  /** A refusal of this name need not be told. */
  keepQuiet (name: string): void {
    if (this.#told.size >= MOST_TOLD) this.#told.clear()
    this.#told.add(name)
  }

  clear (): void {
    for (const names of Object.values(this.#all)) names.clear()
  }
}
