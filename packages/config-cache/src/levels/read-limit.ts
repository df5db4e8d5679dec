import { Deadlines } from '@jpulse/plugin-kit'

/** Bounds how long reads wait for a slow Redis. */
export class ReadLimit {
  readonly #ms: number
  readonly #deadlines: Deadlines<Waiting>

  constructor (ms: number) {
    this.#ms = ms
    this.#deadlines = new Deadlines<Waiting>(ms, (late) => late.fail(`Redis took longer than ${this.#ms} ms`))
  }

  /**
   * What the promise resolves to; null where it rejects or takes longer than the limit.
   *
   * @param onFault hears why it is null
   */
  within<T> (promise: Promise<T>, onFault: (reason: string) => void): Promise<T | null> {
    return new Promise((resolve) => {
      const waiting = new Waiting((reason) => {
        onFault(reason)
        resolve(null)
      })
      promise.then((value) => {
        waiting.isSettled = true
        resolve(value)
      }, (err: Error) => waiting.fail(err.message))
      this.#deadlines.add(waiting)
    })
  }
}

class Waiting {
  isSettled = false
  readonly #onFault: (reason: string) => void

  constructor (onFault: (reason: string) => void) {
    this.#onFault = onFault
  }

  fail (reason: string): void {
    if (this.isSettled) return
    this.isSettled = true
    this.#onFault(reason)
  }
}
