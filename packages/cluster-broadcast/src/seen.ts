const MOST = 10_000

/**
 * How far each publisher's messages were delivered here: what makes "exactly once" of a log that is read again. It
 * holds whatever happens to Redis, because publishers count their messages themselves.
 */
export class Seen {
  readonly #highest = new Map<string, { logged: number, direct: number }>()

  /** Whether message `counter` of a publisher was not delivered yet; from now on it was, and all before it. */
  take (bootId: string, logged: boolean, counter: number): boolean {
    const highest = this.#of(bootId)
    if (counter <= (logged ? highest.logged : highest.direct)) return false
    if (logged) highest.logged = counter
    else highest.direct = counter
    return true
  }

  #of (bootId: string): { logged: number, direct: number } {
    const known = this.#highest.get(bootId)
    if (known !== undefined) return known
    // The publishers that appeared first are the first to be gone.
    if (this.#highest.size >= MOST) this.#highest.delete(this.#highest.keys().next().value!)
    const added = { logged: 0, direct: 0 }
    this.#highest.set(bootId, added)
    return added
  }
}
