/** A request, as far as it is looked at here. */
export interface Lasting {
  readonly request: { readonly raw: { readonly destroyed: boolean, readonly socket: { readonly destroyed: boolean } } }
  keepAlive (afterMs: number): Promise<void>
}

const MOST_MS = 60_000
const LEAST_MS = 20

/**
 * The requests in progress that have a stored session. Activity counts from when a request comes, so a session does not time
 * out while a request of it runs, however long that takes.
 */
export class InProgress {
  readonly #states = new Set<Lasting>()
  readonly #timer: NodeJS.Timeout

  constructor (idleTimeoutMs: number) {
    // At most half of the timeout is over when a request has its session, so a quarter each leaves time.
    const quarter = Math.floor(idleTimeoutMs / 4)
    this.#timer = setInterval(() => this.#sweep(quarter), Math.min(MOST_MS, Math.max(LEAST_MS, quarter))).unref()
  }

  add (state: Lasting): void {
    this.#states.add(state)
  }

  delete (state: Lasting): void {
    this.#states.delete(state)
  }

  stop (): void {
    clearInterval(this.#timer)
  }

  #sweep (afterMs: number): void {
    for (const state of this.#states) {
      // An aborted request may never come to its end.
      if (state.request.raw.destroyed && state.request.raw.socket.destroyed) this.#states.delete(state)
      else state.keepAlive(afterMs)
    }
  }
}

const MOST_RECENT = 10_000

/** What was added less than some time ago. */
export class Recent {
  readonly #ms: number
  #until = 0
  #older = new Set<string>()
  #newer = new Set<string>()

  constructor (ms: number) {
    this.#ms = ms
  }

  has (name: string): boolean {
    this.#turn()
    return this.#newer.has(name) || this.#older.has(name)
  }

  add (name: string): void {
    this.#newer.add(name)
  }

  /** Half of the time per set. */
  #turn (): void {
    const now = performance.now()
    if (now < this.#until && this.#newer.size < MOST_RECENT) return
    this.#older = now < this.#until + this.#ms / 2 ? this.#newer : new Set()
    this.#newer = new Set()
    this.#until = now + this.#ms / 2
  }
}
