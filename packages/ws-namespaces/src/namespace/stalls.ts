/** A process that hears nothing for so long, though a timer rings in between, stood still. */
const STILL_MS = 500
/** A stall that follows the last one so soon is the same. */
const APART_MS = 1000

/**
 * How long this process stood still just now. What clients sent meanwhile lies in their sockets and is read at once, so that who keeps a
 * limit over time would seem to break it.
 */
export class Stalls {
  #aliveAt = performance.now()
  #ms = 0
  #endedAt = -Infinity

  /** Called whenever something is heard, and by a timer. */
  look (now = performance.now()): void {
    const quietMs = now - this.#aliveAt
    this.#aliveAt = now
    if (quietMs < STILL_MS) return
    this.#ms = now - quietMs - this.#endedAt < APART_MS ? this.#ms + quietMs : quietMs
    this.#endedAt = now
  }

  /** How many windows' worth may be read in one: one for each that the process stood still, in the first one after it. */
  windows (now: number, windowMs: number): number {
    return now - this.#endedAt < windowMs ? 1 + Math.round(this.#ms / windowMs) : 1
  }
}
