import { now } from '../time.ts'

interface Waiting {
  readonly at: number
  isOver: boolean
  readonly end: () => void
}

/**
 * One limit for many operations, kept by one coarse timer: setting and clearing a timer for each read costs more than
 * the rest of the read's own work.
 */
export class Deadlines {
  readonly #ms: number
  readonly #tick: number
  /** All have the same limit, so the first is the first to be over. */
  #waiting: Waiting[] = []
  #timer: NodeJS.Timeout | undefined
  #afterReading: NodeJS.Immediate | undefined

  constructor (ms: number) {
    this.#ms = ms
    this.#tick = Math.max(1, Math.ceil(ms / 8))
  }

  /**
   * What the promise resolves to; null where it rejects or takes longer than the limit, by at most an eighth more.
   *
   * @param onFault hears why it is null
   */
  within<T> (promise: Promise<T>, onFault: (reason: string) => void): Promise<T | null> {
    return new Promise((resolve) => {
      const fail = (reason: string): void => {
        onFault(reason)
        resolve(null)
      }
      const waiting: Waiting = { at: now() + this.#ms, isOver: false, end: () => fail(`Redis took longer than ${this.#ms} ms`) }
      promise.then((value) => {
        waiting.isOver = true
        resolve(value)
      }, (err: Error) => {
        waiting.isOver = true
        fail(err.message)
      })
      this.#waiting.push(waiting)
      // Referenced: a process that waits for nothing else must get its answer.
      this.#timer ??= setInterval(() => this.#check(), this.#tick)
    })
  }

  /** After a stall of this process a reply may lie unread in its socket, and timers run before sockets are read: so expiry waits for one turn of reading. */
  #check (): void {
    this.#afterReading ??= setImmediate(() => {
      this.#afterReading = undefined
      this.#expire()
    })
  }

  #expire (): void {
    const time = now()
    this.#waiting = this.#waiting.filter((one) => {
      if (one.isOver) return false
      if (time < one.at) return true
      one.end()
      return false
    })
    if (this.#waiting.length > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}
