import { Close } from '../codes.ts'
import type { Line } from '../delivery/line.ts'

const SLICES = 10
const LEAST = 50
const LOOK_MS = 20

/** Ends the sockets of a process that is about to end, in slices, so that the clients do not come back all at once. */
export class Drain {
  readonly #lines: ReadonlySet<Line>
  readonly #ms: number
  #done: Promise<void> | undefined

  constructor (lines: ReadonlySet<Line>, ms: number) {
    this.#lines = lines
    this.#ms = ms
  }

  /** Whether nobody is let in any more. */
  get active (): boolean {
    return this.#done !== undefined
  }

  /** Resolves when all connections are closed, within `drainMs`. Further calls return the same promise. */
  start (): Promise<void> {
    this.#done ??= this.#run()
    return this.#done
  }

  async #run (): Promise<void> {
    const end = performance.now() + this.#ms
    const all = [...this.#lines]
    const size = Math.max(LEAST, Math.ceil(all.length / SLICES))
    for (let first = 0; first < all.length && performance.now() < end; first += size) {
      for (const line of all.slice(first, first + size)) line.owner.shutdown(Close.goingAway, 'going away')
      // Half of the time is for the slices, the rest for answers.
      if (first + size < all.length) await pause(this.#ms / 2 / SLICES)
    }
    while (this.#lines.size > 0 && performance.now() < end) await pause(LOOK_MS)
    for (const line of [...this.#lines]) line.socket.terminate()
    if (this.#lines.size > 0) await pause(0)
  }
}

function pause (ms: number): Promise<void> {
  return new Promise((resolve) => { setTimeout(resolve, ms) })
}
