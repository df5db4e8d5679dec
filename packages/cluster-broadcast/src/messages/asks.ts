import { deadline } from '@jpulse/plugin-kit'

/** What became of an `ask`. */
export interface AskResult {
  /** One for each member that answered in time, this process included. */
  readonly replies: AskReply[]
  /** Instance ids of the members that did not. */
  readonly missing: string[]
}

/** `value` is what the handlers returned: the first value that is not undefined. `error` is the message of a handler that failed. */
export type AskReply =
  | { readonly instanceId: string, readonly bootId: string, readonly value: unknown }
  | { readonly instanceId: string, readonly bootId: string, readonly error: string }

/** What a handler returned, on its way. */
export type Outcome = { readonly value?: unknown } | { readonly error: string }

interface Pending {
  readonly replies: Map<string, AskReply>
  /** Boot ids of those who owe an answer, null until the members are known. */
  expected: Set<string> | null
  readonly left: Set<string>
  readonly end: () => void
}

/** The asks of this process that wait for answers. */
export class Asks {
  readonly #pending = new Map<string, Pending>()
  readonly #nameOf: (bootId: string) => string
  readonly #known: () => string[]

  /**
   * @param nameOf instance id of a member
   * @param known boot ids of the members as this process knows them
   */
  constructor (nameOf: (bootId: string) => string, known: () => string[]) {
    this.#nameOf = nameOf
    this.#known = known
  }

  /**
   * Waits for the answers to a message.
   *
   * @param members resolves with the boot ids of those who owe one
   */
  async wait (id: string, members: Promise<string[]>, timeoutMs: number): Promise<AskResult> {
    let stop = () => {}
    const pending: Pending = { replies: new Map(), expected: null, left: new Set(), end: () => {} }
    const over = new Promise<void>((resolve) => {
      Object.assign(pending, { end: resolve })
      stop = deadline(timeoutMs, resolve)
    })
    this.#pending.set(id, pending)
    members.then((bootIds) => {
      pending.expected = new Set(bootIds)
      this.#look(pending)
    })
    await over
    stop()
    this.#pending.delete(id)
    // Redis may take longer than the ask: then nobody is known to have heard it, which must not look like nobody was asked.
    const expected = pending.expected ?? new Set([...this.#known(), ...pending.left])
    const missing = [...expected].filter((bootId) => !pending.replies.has(bootId))
    return { replies: [...pending.replies.values()], missing: missing.map((bootId) => this.#nameOf(bootId)) }
  }

  /** Takes an answer; a second one of a member, and one that is late, change nothing. */
  take (id: string, bootId: string, instanceId: string, outcome: Outcome): void {
    const pending = this.#pending.get(id)
    if (pending === undefined || pending.replies.has(bootId)) return
    pending.replies.set(bootId, 'error' in outcome
      ? { instanceId, bootId, error: outcome.error }
      : { instanceId, bootId, value: outcome.value })
    this.#look(pending)
  }

  /** Who left will not answer. */
  leave (bootId: string): void {
    for (const pending of this.#pending.values()) {
      pending.left.add(bootId)
      this.#look(pending)
    }
  }

  /** Ends all with what they have. */
  close (): void {
    for (const pending of this.#pending.values()) pending.end()
  }

  #look ({ expected, replies, left, end }: Pending): void {
    if (expected === null) return
    for (const bootId of expected) if (!replies.has(bootId) && !left.has(bootId)) return
    end()
  }
}
