/** Beyond it Node's timers fire at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1

/** Those in this process who wait for a name to be called. */
export class Waiters {
  readonly #waiting = new Map<string, Set<() => void>>()

  /** Resolves when `wake` calls the name, or after `ms`. */
  wait (name: string, ms: number): Promise<void> {
    return new Promise((resolve) => {
      const waiting = this.#waiting.get(name) ?? new Set()
      this.#waiting.set(name, waiting)
      const wake = (): void => {
        clearTimeout(timer)
        waiting.delete(wake)
        if (waiting.size === 0 && this.#waiting.get(name) === waiting) this.#waiting.delete(name)
        resolve()
      }
      const timer = setTimeout(wake, Math.min(ms, LONGEST_TIMER_MS))
      waiting.add(wake)
    })
  }

  wake (name: string): void {
    for (const wake of [...this.#waiting.get(name) ?? []]) wake()
  }

  wakeAll (): void {
    for (const name of [...this.#waiting.keys()]) this.wake(name)
  }
}
