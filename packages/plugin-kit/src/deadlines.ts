import { AsyncResource } from 'node:async_hooks'
import { BUSY_MS, LONGEST_MS } from './calls.ts'

/** What somebody waits for. */
export interface Awaited {
  readonly isSettled: boolean
}

interface Waiting<T> {
  readonly awaited: T
  at: number
  isExtended: boolean
}

/** Places of what is settled that are kept at the front before the list is made shorter. */
const SPARE = 64
/** Below so many nobody looks for what is settled behind the first. */
const MANY = 1024

/**
 * Ends the time of many things that all have the same, so that the first begun is the first that is late: one timer looks at the
 * first that is left. A timer for each command of Redis costs a tenth of what the command takes. As `deadline`: where this process
 * was busy when the time was over, the answer may lie unread in a socket, because timers come before sockets; then once more as
 * long as the timer was late, at most the same time again. Its timer keeps no process: what is waited for has a socket that does.
 */
export class Deadlines<T extends Awaited> {
  readonly #ms: number
  readonly #onLate: (late: T) => void
  #waiting: Array<Waiting<T> | undefined> = []
  /** Before it there are empty places. */
  #first = 0
  #timer: NodeJS.Timeout | undefined
  /** With so many, what is settled behind the first is looked for. */
  #many = MANY
  /** In the context in which this was made: a timer would keep that of the request that happens to be first. */
  readonly #wakeAt = AsyncResource.bind((due: number, delay: number): NodeJS.Timeout => setTimeout(this.#check, delay, due).unref())

  /** @param onLate what ends the wait; it must settle what it is given, and not throw */
  constructor (ms: number, onLate: (late: T) => void) {
    this.#ms = Math.min(ms, LONGEST_MS)
    this.#onLate = onLate
  }

  /** Begins the time of something, which is forgotten when it is settled. */
  add (awaited: T): void {
    this.#skipSettled()
    if (this.#waiting.length - this.#first >= this.#many) this.#forgetSettled()
    const at = performance.now() + this.#ms
    this.#waiting.push({ awaited, at, isExtended: false })
    this.#timer ??= this.#wakeAt(at, this.#ms)
  }

  readonly #check = (due: number): void => {
    this.#timer = undefined
    const time = performance.now()
    const lateMs = time - due
    const extended: Array<Waiting<T>> = []
    for (let one = this.#skipSettled(); one !== undefined && one.at <= time; one = this.#skipSettled()) {
      this.#drop()
      if (lateMs <= Math.min(BUSY_MS, this.#ms / 8) || one.isExtended) this.#onLate(one.awaited)
      else extended.push({ awaited: one.awaited, at: time + Math.min(this.#ms, lateMs), isExtended: true })
    }
    if (extended.length > 0) this.#insert(extended)
    // Something may have been added meanwhile.
    clearTimeout(this.#timer)
    const next = this.#waiting[this.#first]
    this.#timer = next === undefined ? undefined : this.#wakeAt(next.at, Math.max(1, next.at - time))
  }

  /** One that takes long, as the first, would keep all that came after it. */
  #forgetSettled (): void {
    this.#waiting = this.#waiting.slice(this.#first).filter((one) => !one!.awaited.isSettled)
    this.#first = 0
    this.#many = Math.max(MANY, this.#waiting.length * 2)
  }

  /** The first that is not settled. */
  #skipSettled (): Waiting<T> | undefined {
    for (;;) {
      const one = this.#waiting[this.#first]
      if (one === undefined || !one.awaited.isSettled) return one
      this.#drop()
    }
  }

  #drop (): void {
    this.#waiting[this.#first++] = undefined
    if (this.#first === this.#waiting.length) this.#waiting.length = 0
    else if (this.#first > SPARE && this.#first * 2 > this.#waiting.length) this.#waiting.splice(0, this.#first)
    else return
    this.#first = 0
  }

  /** Behind those that end before them, so that none waits for another. */
  #insert (extended: Array<Waiting<T>>): void {
    this.#waiting = [...this.#waiting.slice(this.#first), ...extended].sort((a, b) => a!.at - b!.at)
    this.#first = 0
  }
}
