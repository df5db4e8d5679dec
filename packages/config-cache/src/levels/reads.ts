import { fromText, toText } from '../values.ts'
import type { L1 } from './l1.ts'
import type { L2 } from './l2.ts'
import type { Counters } from '../stats.ts'
import { now } from '../time.ts'
import type { Load, View } from '../coherence/index.ts'

/** What is asked for. */
export interface Wanted {
  readonly key: string
  /** The key and every other tag. */
  readonly tags: readonly string[]
  readonly ttlMs: number
  readonly l2TtlMs: number
  /** Whether the shared level is used. */
  readonly l2: boolean
}

/** A load that may be kept when it is done; `done` or `drop` must follow. */
export interface Ticket {
  readonly load: Load
  readonly generations: string | null
  /** Ends the load and hands the value to the reads that joined; undefined where there is none. */
  readonly settle: (value: unknown) => void
}

interface Flight {
  readonly load: Load
  readonly tags: readonly string[]
  readonly promise: Promise<unknown>
}

/** The way of a read: this process, Redis, the source. */
export class Reads {
  readonly #view: View
  readonly #l1: L1
  readonly #l2: L2 | null
  readonly #counters: Counters
  readonly #maxValueBytes: number
  readonly #flights = new Map<string, Flight>()

  constructor (view: View, l1: L1, l2: L2 | null, counters: Counters, maxValueBytes: number) {
    this.#view = view
    this.#l1 = l1
    this.#l2 = l2
    this.#counters = counters
    this.#maxValueBytes = maxValueBytes
  }

  /** The value of this process where it may be served at this moment. One look at the clock decides lease and age. */
  hit (key: string): Promise<unknown> | undefined {
    const time = now()
    if (time >= this.#view.leaseUntil) return undefined
    const entry = this.#l1.get(key, time)
    if (entry === undefined) return undefined
    this.#counters.l1Hits++
    return entry.promise
  }

  /** Loads through the levels; joins a load in flight only where that cannot return what was before this call. */
  miss (wanted: Wanted, loader: () => Promise<unknown>): Promise<unknown> {
    const flight = this.#flights.get(wanted.key)
    if (flight !== undefined && this.#view.isClean(flight.load, flight.tags)) {
      this.#counters.joined++
      return flight.promise
    }
    const load = this.#view.begin()
    const promise = this.#load(wanted, load, loader)
    this.#offer(wanted, load, promise)
    return promise
  }

  /** For who cannot wrap the load in a function: the value, or a ticket for what it then gets. */
  async lookup (wanted: Wanted): Promise<{ value: unknown } | { ticket: Ticket }> {
    const hit = this.hit(wanted.key)
    if (hit !== undefined) return { value: await hit }
    const flight = this.#flights.get(wanted.key)
    if (flight !== undefined && this.#view.isClean(flight.load, flight.tags)) {
      const value = await flight.promise.catch(() => undefined)
      if (value !== undefined) {
        this.#counters.joined++
        return { value }
      }
    }
    return this.#takeOff(wanted)
  }

  /** Keeps what a ticket was for, where nothing changed since. */
  done (wanted: Wanted, { load, generations, settle }: Ticket, value: unknown): void {
    let kept: unknown
    try {
      kept = this.#keep(wanted, load, generations, toText(value, this.#maxValueBytes))
    } finally {
      settle(kept)
    }
  }

  drop ({ settle }: Ticket): void {
    settle(undefined)
  }

  async #takeOff (wanted: Wanted): Promise<{ value: unknown } | { ticket: Ticket }> {
    const load = this.#view.begin()
    let settle: Ticket['settle'] = () => {}
    this.#offer(wanted, load, new Promise((resolve) => {
      settle = (value) => {
        resolve(value)
        this.#land(wanted, load)
      }
    }))
    const found = await this.#shared(wanted, load)
    if ('generations' in found) {
      this.#counters.loads++
      return { ticket: { load, generations: found.generations, settle } }
    }
    settle(found.value)
    return found
  }

  /** Lets reads join, as long as nothing is blocked. */
  #offer (wanted: Wanted, load: Load, promise: Promise<unknown>): void {
    if (!this.#view.isClean(load, wanted.tags)) return
    this.#flights.set(wanted.key, { load, tags: wanted.tags, promise })
  }

  /** Each load ends here, and never in the turn in which it began. */
  #land (wanted: Wanted, load: Load): void {
    if (this.#flights.get(wanted.key)?.load === load) this.#flights.delete(wanted.key)
    this.#view.end()
  }

  async #load (wanted: Wanted, load: Load, loader: () => Promise<unknown>): Promise<unknown> {
    try {
      const found = await this.#shared(wanted, load)
      if ('value' in found) return found.value
      this.#counters.loads++
      const text = toText(await loader(), this.#maxValueBytes)
      return this.#keep(wanted, load, found.generations, text)
    } finally {
      this.#land(wanted, load)
    }
  }

  /**
   * The value of the shared level, or the generations for a fill, null where it is not to be filled. It proves a value current
   * only to who holds a lease: the lease vouches for the epoch.
   */
  async #shared (wanted: Wanted, load: Load): Promise<{ value: unknown } | { generations: string | null }> {
    if (this.#l2 === null || !wanted.l2 || !this.#view.isClean(load, wanted.tags)) return { generations: null }
    const found = await this.#l2.read(wanted.key, wanted.tags)
    if (found === null || load.term !== this.#view.term) return { generations: null }
    if (found.text === undefined) return found
    try {
      const value = this.#keepHere(wanted, load, found.text)
      this.#counters.l2Hits++
      return { value }
    } catch {
      // Of a newer release: not ours to guess at, nor to overwrite.
      this.#counters.unknown++
      return { generations: null }
    }
  }

  #keep (wanted: Wanted, load: Load, generations: string | null, text: string): unknown {
    const value = this.#keepHere(wanted, load, text)
    if (generations !== null && this.#view.isClean(load, wanted.tags)) this.#l2?.write(wanted.key, generations, text, wanted.l2TtlMs)
    return value
  }

  #keepHere (wanted: Wanted, load: Load, text: string): unknown {
    const value = fromText(text)
    if (this.#view.isClean(load, wanted.tags)) {
      const others = wanted.tags.length === 1 ? NONE : wanted.tags.filter((tag) => tag !== wanted.key)
      this.#l1.set(wanted.key, value, Buffer.byteLength(text), others, now() + wanted.ttlMs)
    }
    return value
  }
}

const NONE: readonly string[] = []
