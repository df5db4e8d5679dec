const MOST_CAUSES = 1000

/** Lets through to the log what may happen again and again: each cause once a minute at most. */
export class LogThrottle {
  readonly #everyMs: number
  readonly #causes = new Map<string, { at: number, left: number }>()

  /** @param everyMs for tests; @default 60000 */
  constructor (everyMs = 60_000) {
    this.#everyMs = everyMs
  }

  /**
   * Whether to log a cause now: how many of it were left out since it was logged last, or null where this one is left out too. Of
   * more than 1000 causes the one that was logged the longest ago is forgotten.
   */
  pass (cause = ''): number | null {
    const known = this.#causes.get(cause)
    const now = performance.now()
    if (known !== undefined && now - known.at < this.#everyMs) {
      known.left++
      return null
    }
    this.#causes.delete(cause)
    if (this.#causes.size >= MOST_CAUSES) this.#causes.delete(this.#causes.keys().next().value!)
    this.#causes.set(cause, { at: now, left: 0 })
    return known?.left ?? 0
  }
}
