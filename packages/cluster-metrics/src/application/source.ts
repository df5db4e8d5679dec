import { within } from '@jpulse/plugin-kit'

/** Times of a source, in milliseconds. */
export interface SourceTimes {
  /** Longest wait for an answer. */
  timeoutMs: number
  /** How long an answer holds good. */
  staleMs: number
  /** Longest pause before one is asked again that has not answered. */
  pauseMs: number
}

/** By the plugin's options: an answer holds good as long as a report, and who hangs is asked again after six reports at most. */
export const sourceTimes = ({ checkTimeoutMs, ttlMs, reportIntervalMs }: { checkTimeoutMs: number, ttlMs: number, reportIntervalMs: number }): SourceTimes =>
  ({ timeoutMs: checkTimeoutMs, staleMs: ttlMs, pauseMs: 6 * reportIntervalMs })

/**
 * A value that a function of the application gives, at once or later. A question that is not answered in time is a fault, and is
 * asked again after pauses that double, so that calls that never end do not pile up. A late answer is one all the same.
 */
export class Source<T> {
  readonly #call: () => unknown
  readonly #take: (value: unknown) => T | null
  readonly #onFault: (err: unknown) => void
  readonly #times: SourceTimes
  #value: T | null = null
  #answeredAt = -Infinity
  #asked = 0
  #answered = 0
  /** The wait for the last question. */
  #waiting: Promise<void> | null = null
  #missed = 0
  #notBefore = 0
  #known = false
  #foreign = false

  constructor (call: () => unknown, take: (value: unknown) => T | null, times: SourceTimes, onFault: (err: unknown) => void) {
    this.#call = call
    this.#take = take
    this.#times = times
    this.#onFault = onFault
  }

  /** What it said last; null where it has no value now, or has not answered for `staleMs`. */
  get last (): T | null {
    return performance.now() - this.#answeredAt < this.#times.staleMs ? this.#value : null
  }

  /** Whether it has answered, or was waited for in vain. */
  get known (): boolean {
    return this.#known
  }

  /** Whether it answered with something that is no value of ours. */
  get isForeign (): boolean {
    return this.#foreign
  }

  /** Whether it has not answered yet. */
  get pending (): boolean {
    return this.#answered < this.#asked
  }

  /** Asks it, or joins the wait for an answer; null where it answered at once, or is not asked again yet. Neither throws nor rejects. */
  ask (): Promise<void> | null {
    if (this.#waiting !== null || (this.pending && performance.now() < this.#notBefore)) return this.#waiting
    const question = ++this.#asked
    try {
      const value = this.#call()
      if (typeof (value as PromiseLike<unknown> | null)?.then === 'function') return this.#wait(question, value as PromiseLike<unknown>)
      this.#settle(question, () => value)
    } catch (err) {
      this.#settle(question, () => { throw err })
    }
    return null
  }

  /** Asks several, and waits for those that take time, at most `ms`. */
  static async askAll (sources: Iterable<Source<unknown>>, ms: number): Promise<void> {
    const asked = [...sources]
    const waits = asked.map((source) => source.ask()).filter((promise) => promise !== null)
    if (waits.length > 0) await within(ms, Promise.all(waits), () => new Error('late')).catch(() => {})
    for (const source of asked) source.#known = true
  }

  #wait (question: number, value: PromiseLike<unknown>): Promise<void> {
    const { timeoutMs, pauseMs } = this.#times
    const answer = Promise.resolve(value).then((resolved) => { this.#settle(question, () => resolved) }, (err) => { this.#settle(question, () => { throw err }) })
    this.#waiting = within(timeoutMs, answer, () => new Error(`no answer within ${timeoutMs} ms`))
      .catch((err: unknown) => {
        this.#missed++
        this.#notBefore = performance.now() + Math.min(pauseMs, timeoutMs * 2 ** Math.min(this.#missed, 20))
        this.#onFault(err)
      })
      .finally(() => { this.#waiting = null })
    return this.#waiting
  }

  #settle (question: number, value: () => unknown): void {
    // A later question was answered before.
    if (question < this.#answered) return
    this.#answered = question
    this.#missed = 0
    this.#known = true
    this.#answeredAt = performance.now()
    try {
      this.#value = this.#take(value())
      this.#foreign = this.#value === null
    } catch (err) {
      this.#value = null
      this.#foreign = false
      this.#onFault(err)
    }
  }
}

/** A copy that consists of JSON only. */
export function plain (value: unknown): unknown {
  return value === undefined ? null : JSON.parse(JSON.stringify(value) ?? 'null')
}
