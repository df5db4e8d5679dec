import type { RedisLink } from '@jpulse/redis-link'
import { DAY_STEP_MS, dayPoint, lastDayStep, type HistoryPoint } from '../picture/index.ts'
import type { History } from '../requests/index.ts'
import type { Store } from '../store/index.ts'

const MOST_STEPS = 360
/** Of the step and the one before, which tells what was deployed. */
const MINUTES = Math.ceil(4 * DAY_STEP_MS / 60_000)

/** The cluster's last day in steps of minutes: the points of the instances are kept for `keepMs` only, and those of who ended are soon nobody's. */
export class Days {
  /** Of this process alone, for the time without Redis. */
  own: HistoryPoint[] = []
  readonly #link: RedisLink
  readonly #store: Store
  readonly #history: History
  readonly #everyMs: number
  #sharedUntil = 0

  constructor (link: RedisLink, store: Store, history: History, everyMs: number) {
    this.#link = link
    this.#store = store
    this.#history = history
    this.#everyMs = everyMs
  }

  collect (): void {
    const begin = lastDayStep(this.#store.now(), this.#everyMs)
    if (Date.parse(this.own.at(-1)?.timestamp ?? '') === begin) return
    const point = dayPoint([this.#history.points], begin)
    if (point !== null) this.own = [...this.own, point].slice(-MOST_STEPS)
  }

  /** Adds a step that is complete, by one of the instances. */
  async share (): Promise<void> {
    const begin = lastDayStep(this.#store.now(), this.#everyMs)
    if (begin === this.#sharedUntil) return
    this.#sharedUntil = begin
    if (await this.#link.tryLock(`metrics:days:${begin}`, 2 * DAY_STEP_MS) === null) return
    const point = dayPoint([this.#history.points, ...await this.#store.history(MINUTES)], begin)
    if (point !== null) await this.#store.addDay(begin, JSON.stringify(point))
  }
}
