import { AsyncLocalStorage } from 'node:async_hooks'
import { FST_ERR_CONFIG_CACHE_REENTRANT } from '../errors.ts'
import type { Load } from '../coherence/index.ts'

/** A load in flight. */
export interface Flight {
  readonly key: string
  readonly load: Load
  readonly tags: readonly string[]
  readonly promise: Promise<unknown>
  /** Resolves when it is over, however. */
  readonly over: Promise<void>
  /** The load that begins when this one is over, for reads that came too late to join it. */
  next: Promise<unknown> | null
  /** What its loader waits for now. */
  readonly waitsFor: Set<Flight>
}

/** The load whose loader runs. */
const running = new AsyncLocalStorage<Flight>()

/** The loads of a process, one for each key, and which of them wait for which. */
export class Flights {
  readonly #flights = new Map<string, Flight>()
  #running = 0

  get (key: string): Flight | undefined {
    return this.#flights.get(key)
  }

  begin (flight: Flight): void {
    this.#flights.set(flight.key, flight)
  }

  end (flight: Flight): void {
    if (this.#flights.get(flight.key) === flight) this.#flights.delete(flight.key)
  }

  /** Calls a loader such that the reads in it are known to be its own. */
  run<T> (flight: Flight, loader: () => T): T {
    this.#running++
    // Node 20 follows every promise of the process while this is on.
    flight.over.then(() => { if (--this.#running === 0) running.disable() })
    return running.run(flight, loader)
  }

  /**
   * Notes that whoever asks now will wait for a flight.
   *
   * @throws FST_ERR_CONFIG_CACHE_REENTRANT where that flight waits for whoever asks
   */
  wait (flight: Flight): void {
    const mine = running.getStore()
    if (mine === undefined || this.#flights.get(mine.key) !== mine) return
    if (reaches(flight, mine)) throw new FST_ERR_CONFIG_CACHE_REENTRANT(mine.key, flight.key)
    mine.waitsFor.add(flight)
    flight.over.then(() => { mine.waitsFor.delete(flight) })
  }
}

function reaches (from: Flight, to: Flight, seen = new Set<Flight>()): boolean {
  if (from === to) return true
  if (seen.has(from)) return false
  seen.add(from)
  for (const next of from.waitsFor) if (reaches(next, to, seen)) return true
  return false
}
