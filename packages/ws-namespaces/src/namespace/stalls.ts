/** So long without a message and without the timer that fires every 250 ms is a stall of the event loop. */
const STALL_MS = 500
/** Stalls closer than this count as one. */
const APART_MS = 1000

/**
 * How long the event loop stalled just now. What clients sent meanwhile is read at once afterwards, so that a client within its limit of
 * messages per window would seem to exceed it.
 */
export class Stalls {
  #aliveAt = performance.now()
  #ms = 0
  #endedAt = -Infinity

  /** Called at each message, and by a timer. */
  look (now = performance.now()): void {
    const quietMs = now - this.#aliveAt
    this.#aliveAt = now
    if (quietMs < STALL_MS) return
    this.#ms = now - quietMs - this.#endedAt < APART_MS ? this.#ms + quietMs : quietMs
    this.#endedAt = now
  }

  /** Times the limit that may be read in a window: in the first one after a stall, one more for each window that it took. */
  windows (now: number, windowMs: number): number {
    return now - this.#endedAt < windowMs ? 1 + Math.round(this.#ms / windowMs) : 1
  }
}
