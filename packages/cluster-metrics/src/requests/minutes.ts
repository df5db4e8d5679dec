import type { Series } from './series.ts'

const MINUTE_MS = 60_000
/** As long as Redis keeps them. */
const MOST_MINUTES = 60

/** Requests by `route:status`. */
export type Counts = Map<string, number>

/** Requests of this process in each minute of the last hour, by Redis' time as far as it is known. */
export class Minutes {
  readonly #minutes = new Map<number, Counts>()
  readonly #dirty = new Set<number>()
  readonly #seen = new WeakMap<Series, number>()

  /** Takes what was counted since the last call. */
  collect (series: readonly Series[], now: number): void {
    const minute = now - now % MINUTE_MS
    for (const one of series) {
      const since = one.count - (this.#seen.get(one) ?? 0)
      if (since === 0) continue
      this.#seen.set(one, one.count)
      const counts = this.#minutes.get(minute) ?? new Map<string, number>()
      const field = `${one.route}:${one.status}`
      counts.set(field, (counts.get(field) ?? 0) + since)
      this.#minutes.set(minute, counts)
      this.#dirty.add(minute)
    }
    for (const old of this.#minutes.keys()) if (old <= minute - MOST_MINUTES * MINUTE_MS) this.#drop(old)
  }

  /** Minutes that Redis does not know as they are. Whole counts, not steps: to write them twice does no harm. */
  unsaved (): Array<[minute: number, counts: Counts]> {
    return [...this.#dirty].map((minute) => [minute, new Map(this.#minutes.get(minute))])
  }

  /** Redis knows these counts; what was counted meanwhile is still to be written. */
  saved (written: Array<[minute: number, counts: Counts]>): void {
    for (const [minute, counts] of written) {
      const now = this.#minutes.get(minute)
      if (now === undefined || [...now].every(([field, count]) => counts.get(field) === count)) this.#dirty.delete(minute)
    }
  }

  /** The counts of the last minutes, the present one included. */
  last (count: number, now: number): Counts[] {
    return minutesOf(count, now).map((minute) => this.#minutes.get(minute)).filter((counts) => counts !== undefined)
  }

  #drop (minute: number): void {
    this.#minutes.delete(minute)
    this.#dirty.delete(minute)
  }
}

/** The first milliseconds of the last minutes, the present one first. */
export function minutesOf (count: number, now: number): number[] {
  const present = now - now % MINUTE_MS
  return Array.from({ length: count }, (_, index) => present - index * MINUTE_MS)
}
