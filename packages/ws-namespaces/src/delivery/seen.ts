const MOST = 2000

/**
 * How far each publisher's messages were delivered here. It makes "once" of a log that is read again, and of a batch whose
 * answer was lost, whatever happened to Redis: publishers number their messages themselves.
 */
export class Seen {
  readonly #highest = new Map<string, number>()

  /** Whether a publisher's message was delivered. */
  has (bootId: string, counter: number): boolean {
    return counter <= (this.#highest.get(bootId) ?? 0)
  }

  /** Whether a publisher's message was not delivered yet; from now on it was, and all before it. */
  take (bootId: string, counter: number): boolean {
    const highest = this.#highest.get(bootId)
    if (highest !== undefined && counter <= highest) return false
    // The publishers that appeared first are the first to be gone.
    if (highest === undefined && this.#highest.size >= MOST) this.#highest.delete(this.#highest.keys().next().value!)
    this.#highest.set(bootId, counter)
    return true
  }
}
