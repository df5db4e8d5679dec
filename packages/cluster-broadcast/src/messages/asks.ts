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
  readonly left: Set<string>
  /** Boot ids of those who were asked, null until the members are known. */
  expected: readonly string[] | null
  /** Those of them who owe an answer. */
  readonly owing: Set<string>
  readonly end: () => void
}

/** The asks of this process that wait for answers. */
export class Asks {
  readonly #pending = new Map<string, Pending>()
  readonly #namesOf: (bootIds: readonly string[]) => string[]
  readonly #known: () => string[]

  /**
   * @param namesOf instance ids of members
   * @param known boot ids of the members as this process knows them
   */
  constructor (namesOf: (bootIds: readonly string[]) => string[], known: () => string[]) {
    this.#namesOf = namesOf
    this.#known = known
  }

  /**
   * Waits for the answers to a message.
   *
   * @param members resolves with the boot ids of those who owe one
   */
  async wait (id: string, members: Promise<string[]>, timeoutMs: number): Promise<AskResult> {
    let stop = () => {}
    const pending: Pending = { replies: new Map(), left: new Set(), expected: null, owing: new Set(), end: () => {} }
    const over = new Promise<void>((resolve) => {
      Object.assign(pending, { end: resolve })
      stop = deadline(timeoutMs, resolve)
    })
    this.#pending.set(id, pending)
    members.then((bootIds) => {
      pending.expected = bootIds
      for (const bootId of bootIds) if (!pending.replies.has(bootId) && !pending.left.has(bootId)) pending.owing.add(bootId)
      look(pending)
    })
    await over
    stop()
    this.#pending.delete(id)
    // Redis may take longer than the ask: then nobody is known to have heard it, which must not look like nobody was asked.
    const expected = pending.expected ?? [...new Set([...this.#known(), ...pending.left])]
    const missing = expected.filter((bootId) => !pending.replies.has(bootId))
    return { replies: [...pending.replies.values()], missing: this.#namesOf(missing) }
  }

  /** Takes an answer; a second one of a member, and one that is late, change nothing. */
  take (id: string, bootId: string, instanceId: string, outcome: Outcome): void {
    const pending = this.#pending.get(id)
    if (pending === undefined || pending.replies.has(bootId)) return
    pending.replies.set(bootId, 'error' in outcome
      ? { instanceId, bootId, error: outcome.error }
      : { instanceId, bootId, value: outcome.value })
    settle(pending, bootId)
  }

  /** Who left will not answer. */
  leave (bootId: string): void {
    for (const pending of this.#pending.values()) {
      pending.left.add(bootId)
      settle(pending, bootId)
    }
  }

  /** Ends all with what they have. */
  close (): void {
    for (const pending of this.#pending.values()) pending.end()
  }
}

/** A member owes no answer any more. */
function settle (pending: Pending, bootId: string): void {
  if (pending.owing.delete(bootId)) look(pending)
}

function look ({ owing, end }: Pending): void {
  if (owing.size === 0) end()
}
