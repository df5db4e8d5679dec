/** What is used of a request. */
export interface InFlightRequest {
  readonly request: { readonly raw: { readonly destroyed: boolean, readonly socket: { readonly destroyed: boolean } } }
  /** Its index among the requests in flight; -1 where it is none of them. */
  position: number
  /** How often it is looked at while it is one of them. */
  everyMs: number
  readonly reply: { readonly raw: { readonly headersSent: boolean } } | null
  /** Gives the request its session, which notes at the reply's end that it was seen. */
  look (): unknown
  /** Notes its session as seen where a quarter of its idle timeout is over. */
  keepAlive (): Promise<void>
}

/** A reply that the application took over says nothing of its end: so long at most it is held here when it has begun. */
const MOST_MS = 1000
const LEAST_MS = 20

/**
 * The requests in flight that have a stored session. Activity counts from when a request comes, so a session does not time
 * out while a request of it runs, however long that takes.
 *
 * Hot path: no Set, whose tables are thrown away as entries come and go. Those of the old generation keep alive what they held,
 * which costs the garbage collector a third of a read's time (2.9 kB promoted per request, 0.8 with an array).
 */
export class InFlight {
  readonly #states: InFlightRequest[] = []
  readonly #usualMs: number
  #timer: NodeJS.Timeout | undefined
  #everyMs: number
  #isStopped = false

  constructor (idleTimeoutMs: number) {
    this.#everyMs = this.#usualMs = paceOf(idleTimeoutMs)
    this.#sweepEvery(this.#usualMs)
  }

  /** @param ownIdleTimeoutMs the idle timeout that the login of its session asked for */
  add (state: InFlightRequest, ownIdleTimeoutMs?: number): void {
    state.everyMs = ownIdleTimeoutMs === undefined ? this.#usualMs : paceOf(ownIdleTimeoutMs)
    if (state.everyMs < this.#everyMs) this.#sweepEvery(state.everyMs)
    if (state.position === -1) state.position = this.#states.push(state) - 1
  }

  delete (state: InFlightRequest): void {
    const { position } = state
    if (position === -1) return
    state.position = -1
    const last = this.#states.pop()!
    if (last === state) return
    this.#states[position] = last
    last.position = position
  }

  stop (): void {
    this.#isStopped = true
    clearInterval(this.#timer)
  }

  #sweepEvery (ms: number): void {
    if (this.#isStopped) return
    this.#everyMs = ms
    clearInterval(this.#timer)
    this.#timer = setInterval(() => this.#sweep(), ms).unref()
  }

  #sweep (): void {
    let everyMs = this.#usualMs
    for (const state of [...this.#states]) {
      // An aborted request may never come to its end.
      if (state.request.raw.destroyed && state.request.raw.socket.destroyed) this.delete(state)
      // What streams for days, such as server-sent events, is no activity.
      else if (state.reply?.raw.headersSent === true) {
        // Only a hijacked reply is not over by then: it counts at its end, whether or not anybody looked.
        state.look()
        this.delete(state)
      } else {
        everyMs = Math.min(everyMs, state.everyMs)
        state.keepAlive()
      }
    }
    // Those whose sessions are short-lived are over.
    if (everyMs > this.#everyMs) this.#sweepEvery(everyMs)
  }
}

/** At most half of the timeout is over when a request has its session, so a quarter each leaves time. */
function paceOf (idleTimeoutMs: number): number {
  return Math.min(MOST_MS, Math.max(LEAST_MS, Math.floor(idleTimeoutMs / 4)))
}
