import { setTimeout as sleep } from 'node:timers/promises'

const FIRST_MS = 500
const LONGEST_MS = 15_000

/** Does something each time it is woken, one after the other, and tries again, less and less often, where that fails: at once when it is woken meanwhile. */
export class Repeated {
  readonly #work: () => Promise<void>
  readonly #onFailure: (err: unknown) => void
  readonly #closing = new AbortController()
  #running: Promise<void> | undefined
  #isDue = false
  #pause = new AbortController()

  /** @param onFailure told of the first of failures in a row */
  constructor (work: () => Promise<void>, onFailure: (err: unknown) => void) {
    this.#work = work
    this.#onFailure = onFailure
  }

  /** Resolves when it has been done. Who wakes while it is tried again waits with the others. */
  wake (): Promise<void> {
    this.#isDue = true
    this.#pause.abort()
    this.#running ??= this.#run()
    return this.#running
  }

  close (): void {
    this.#closing.abort()
  }

  async #run (): Promise<void> {
    const { signal } = this.#closing
    let failures = 0
    while (this.#isDue && !signal.aborted) {
      this.#isDue = false
      try {
        await this.#work()
        failures = 0
      } catch (err) {
        if (failures === 0 && !signal.aborted) this.#onFailure(err)
        const wasWoken = this.#isDue
        this.#isDue = true
        this.#pause = new AbortController()
        // Who woke it during the try may know that it works again.
        const pauseMs = wasWoken ? FIRST_MS : Math.min(LONGEST_MS, FIRST_MS * 2 ** failures)
        failures++
        await sleep(pauseMs, undefined, { ref: false, signal: AbortSignal.any([signal, this.#pause.signal]) }).catch(() => {})
      }
    }
    this.#running = undefined
  }
}
