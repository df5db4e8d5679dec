import { within } from '@jpulse/plugin-kit'

/** A value that a function of the application gives, at once or later. It is never asked again before it has answered. */
export class Source<T> {
  /** What it said last; null where it has no value now. */
  last: T | null = null
  readonly #call: () => unknown
  readonly #take: (value: unknown) => T | null
  readonly #onFault: (err: unknown) => void
  #running: Promise<void> | null = null
  #answered = false
  #overdue = false
  #foreign = false

  constructor (call: () => unknown, take: (value: unknown) => T | null, onFault: (err: unknown) => void) {
    this.#call = call
    this.#take = take
    this.#onFault = onFault
  }

  /** Whether it has answered, or was waited for in vain. */
  get known (): boolean {
    return this.#answered
  }

  /** Whether it answered with something that is no value of ours. */
  get isForeign (): boolean {
    return this.#foreign
  }

  /** Whether it has not answered yet. */
  get pending (): boolean {
    return this.#running !== null
  }

  /** Asks it, or joins the question under way; null where it answered at once, or was waited for long enough. Neither throws nor rejects. */
  ask (): Promise<void> | null {
    if (this.#running !== null) return this.#overdue ? null : this.#running
    try {
      const value = this.#call()
      if (typeof (value as PromiseLike<unknown> | null)?.then !== 'function') {
        this.#settle(() => value)
        return null
      }
      this.#running = Promise.resolve(value)
        .then((resolved) => { this.#settle(() => resolved) }, (err) => { this.#settle(() => { throw err }) })
        .finally(() => {
          this.#running = null
          this.#overdue = false
        })
      return this.#running
    } catch (err) {
      this.#settle(() => { throw err })
      return null
    }
  }

  /** Asks several, and waits for those that take time, at most `ms`. One that hangs keeps its last value. */
  static async askAll (sources: Iterable<Source<unknown>>, ms: number): Promise<void> {
    const asked = [...sources]
    const running = asked.map((source) => source.ask()).filter((promise) => promise !== null)
    if (running.length > 0) await within(ms, Promise.all(running), () => new Error('late')).catch(() => {})
    for (const source of asked) {
      source.#answered = true
      source.#overdue = source.pending
    }
  }

  #settle (value: () => unknown): void {
    this.#answered = true
    try {
      this.last = this.#take(value())
      this.#foreign = this.last === null
    } catch (err) {
      this.last = null
      this.#foreign = false
      this.#onFault(err)
    }
  }
}

/** A copy that consists of JSON only. */
export function plain (value: unknown): unknown {
  return value === undefined ? null : JSON.parse(JSON.stringify(value) ?? 'null')
}
