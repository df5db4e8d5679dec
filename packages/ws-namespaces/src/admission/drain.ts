import { Close } from '../codes.ts'
import type { QueuedSocket } from '../delivery/queued-socket.ts'

const SLICES = 10
const LEAST = 50
const LOOK_MS = 20

/** Closes the sockets of a process that shuts down, in slices, so that the clients do not reconnect all at once. */
export class Drain {
  readonly #sockets: ReadonlySet<QueuedSocket>
  readonly #ms: number
  #done: Promise<void> | undefined
  #end = 0

  constructor (sockets: ReadonlySet<QueuedSocket>, ms: number) {
    this.#sockets = sockets
    this.#ms = ms
  }

  /** Whether nobody is let in any more. */
  get active (): boolean {
    return this.#done !== undefined
  }

  /** What is left of `drainMs`. */
  get leftMs (): number {
    return Math.max(0, this.#end - performance.now())
  }

  /** Resolves when all connections are closed, within `drainMs`. Further calls return the same promise. */
  start (): Promise<void> {
    this.#done ??= this.#run()
    return this.#done
  }

  async #run (): Promise<void> {
    const end = this.#end = performance.now() + this.#ms
    const all = [...this.#sockets]
    const size = Math.max(LEAST, Math.ceil(all.length / SLICES))
    for (let first = 0; first < all.length && performance.now() < end; first += size) {
      for (const socket of all.slice(first, first + size)) socket.owner.shutdown(Close.goingAway, 'going away')
      // Half of the time is for the slices, the rest for the clients' close frames.
      if (first + size < all.length) await pause(this.#ms / 2 / SLICES)
    }
    while (this.#sockets.size > 0 && performance.now() < end) await pause(LOOK_MS)
    for (const socket of [...this.#sockets]) socket.ws.terminate()
    if (this.#sockets.size > 0) await pause(0)
  }
}

function pause (ms: number): Promise<void> {
  return new Promise((resolve) => { setTimeout(resolve, ms) })
}
