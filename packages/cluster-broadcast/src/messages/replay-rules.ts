import { isUnder } from './names.ts'

/** Whether what is published is logged, and where: in the log that all share, in one of the prefix' own, or not. */
export type Replay = boolean | 'own'

/** What holds for one channel, and the prefix that says so; '' where it is the rule for all. */
export interface ReplayRule {
  readonly prefix: string
  readonly replay: Replay
}

/** What is logged: one rule for all channels, and exceptions by prefix. Of several that a channel lies under the longest counts. */
export class ReplayRules {
  readonly #rule: ReplayRule
  readonly #exceptions: readonly ReplayRule[]

  constructor (replay: boolean, channels: Readonly<Record<string, { readonly replay: Replay }>>) {
    this.#rule = { prefix: '', replay }
    this.#exceptions = Object.entries(channels).map(([prefix, { replay }]) => ({ prefix, replay })).sort((a, b) => b.prefix.length - a.prefix.length)
  }

  /** Prefixes with a log of their own. */
  get own (): string[] {
    return this.#exceptions.filter(({ replay }) => replay === 'own').map(({ prefix }) => prefix)
  }

  of (channel: string): ReplayRule {
    if (this.#exceptions.length === 0) return this.#rule
    return this.#exceptions.find(({ prefix }) => isUnder(channel, [prefix])) ?? this.#rule
  }
}
