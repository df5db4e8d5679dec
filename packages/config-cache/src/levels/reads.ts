import { callWithin, textOf, within } from '@jpulse/plugin-kit'
import type { Load, View } from '../coherence/index.ts'
import { hits, loads, misses } from '../events.ts'
import { FST_ERR_CONFIG_CACHE_INVALID_VALUE, FST_ERR_CONFIG_CACHE_LOADER_TIMEOUT } from '../errors.ts'
import type { LoaderContext } from '../sources/index.ts'
import type { Notices } from '../notices.ts'
import type { Counters } from '../stats.ts'
import { now } from '../time.ts'
import { fromText, toText } from '../values.ts'
import { Flights, type Flight } from './flights.ts'
import { bears, type Entry, type L1 } from './l1.ts'
import type { L2 } from './l2.ts'
import type { LastKnown } from './last-known.ts'
import { ttlsOf, type TtlOptions, type Ttls } from './ttls.ts'

/** What is asked for. */
export interface Wanted extends TtlOptions {
  readonly key: string
  /** The key and every other tag. */
  readonly tags: readonly string[]
  /** Whether the shared level is used. */
  readonly l2: boolean
  /** Longest run of the loader. */
  readonly timeoutMs: number
  /** Whether its last value is of no use once it is dropped. @default false */
  readonly isForgotten?: boolean
}

export type Loader = (context: LoaderContext) => unknown

/** A fill of the cache that the caller completes: `done` or `drop` must follow. */
export interface Fill {
  readonly load: Load
  readonly generations: string | null
  /** Ends the load and hands the value to the reads that joined; undefined where there is none. */
  readonly settle: (value: unknown) => void
}

export interface ReadOptions {
  readonly maxValueBytes: number
  /** Largest random share that is taken off a TTL. */
  readonly ttlJitter: number
}

/** The way of a read: this process, Redis, the source. */
export class Reads {
  readonly #view: View
  readonly #l1: L1
  readonly #l2: L2 | null
  readonly #lastKnown: LastKnown
  readonly #counters: Counters
  readonly #notices: Notices
  readonly #options: ReadOptions
  readonly #flights = new Flights()

  constructor (view: View, l1: L1, l2: L2 | null, lastKnown: LastKnown, counters: Counters, notices: Notices, options: ReadOptions) {
    this.#view = view
    this.#l1 = l1
    this.#l2 = l2
    this.#lastKnown = lastKnown
    this.#counters = counters
    this.#notices = notices
    this.#options = options
  }

  hit (key: string, tags?: string | readonly string[]): Promise<unknown> | undefined {
    return this.entry(key, tags)?.promise
  }

  /**
   * What this process holds, where it may be served at this moment. One look at the clock decides lease and age.
   *
   * @param tags that it must bear: an entry without one of them is not dropped by a write of it
   */
  entry (key: string, tags?: string | readonly string[]): Entry | undefined {
    const time = now()
    if (time >= this.#view.leaseUntil) return undefined
    const entry = this.#l1.get(key, time)
    if (entry === undefined || (tags !== undefined && !bears(entry.tags, key, tags))) return undefined
    this.#counters.l1Hits++
    if (hits.hasSubscribers) hits.publish({ key, level: 'process' })
    return entry
  }

  /**
   * Loads through the levels. A read joins a load in flight where that cannot return what was before this call, and otherwise
   * the one that begins when that is over: of one key at most one load runs at a time, with a lease or without.
   */
  miss (wanted: Wanted, loader: Loader): Promise<unknown> {
    const flight = this.#flights.get(wanted.key)
    if (flight === undefined) return this.#startLoad(wanted, loader)
    this.#flights.wait(flight)
    if (this.#mayJoin(flight, wanted)) {
      this.#joined(wanted.key)
      return this.#unlessAborted(flight.promise, wanted, loader)
    }
    if (flight.next === null) {
      flight.next = flight.over.then(() => this.miss(wanted, loader))
      return flight.next
    }
    this.#joined(wanted.key)
    return this.#unlessAborted(flight.next, wanted, loader)
  }

  #joined (key: string): void {
    this.#counters.joined++
    if (hits.hasSubscribers) hits.publish({ key, level: 'flight' })
  }

  /**
   * For callers whose load is no function, such as routes: the value, or the begin of a fill, to be completed with the value.
   *
   * @param joins whether a load in flight is worth waiting for
   */
  async lookup (wanted: Wanted, joins: boolean): Promise<{ value: unknown } | { fill: Fill }> {
    const hit = this.hit(wanted.key, wanted.tags)
    if (hit !== undefined) return { value: await hit }
    const flight = this.#flights.get(wanted.key)
    if (joins && flight !== undefined && this.#mayJoin(flight, wanted)) {
      const value = await within(wanted.timeoutMs, flight.promise, () => new FST_ERR_CONFIG_CACHE_LOADER_TIMEOUT(wanted.key, wanted.timeoutMs)).catch(() => undefined)
      if (value !== undefined) {
        this.#joined(wanted.key)
        return { value }
      }
    }
    return this.#fill(wanted)
  }

  /** Completes a fill: keeps the value where nothing touched its tags since the fill began. False for one that is too long to be kept. */
  done (wanted: Wanted, { load, generations, settle }: Fill, value: unknown): boolean {
    let kept: unknown
    try {
      const text = toText(value)
      const bytes = Buffer.byteLength(text)
      kept = this.#keep(wanted, load, generations, text, bytes)
      return bytes <= this.#options.maxValueBytes
    } finally {
      settle(kept)
    }
  }

  drop ({ settle }: Fill): void {
    settle(undefined)
  }

  async #fill (wanted: Wanted): Promise<{ value: unknown } | { fill: Fill }> {
    let settle: Fill['settle'] = () => {}
    const { load } = this.#startFlight(wanted, new Promise((resolve) => { settle = resolve }))
    const found = await this.#shared(wanted, load)
    if ('generations' in found) {
      this.#missed(wanted.key)
      return { fill: { load, generations: found.generations, settle } }
    }
    settle(found.value)
    return found
  }

  #mayJoin (flight: Flight, { tags }: Wanted): boolean {
    return this.#view.isClean(flight.load, flight.tags) && this.#view.isClean(flight.load, tags)
  }

  /** A load that another reader's signal aborted says nothing to this reader, who loads anew. */
  #unlessAborted (promise: Promise<unknown>, wanted: Wanted, loader: Loader): Promise<unknown> {
    return promise.catch((err: unknown) => {
      if ((err as Error | undefined)?.name === 'AbortError') return this.miss(wanted, loader)
      throw err
    })
  }

  #startLoad (wanted: Wanted, loader: Loader): Promise<unknown> {
    let settle: (value: unknown) => void = () => {}
    const flight = this.#startFlight(wanted, new Promise((resolve) => { settle = resolve }))
    this.#flights.wait(flight)
    settle(this.#load(wanted, flight, loader))
    return flight.promise
  }

  /** Begins a flight, and ends it in a later microtask than the one in which it began, whatever the load does. */
  #startFlight (wanted: Wanted, promise: Promise<unknown>): Flight {
    const over = promise.then(() => {}, () => {}).then(() => {
      this.#flights.end(flight)
      this.#view.end()
    })
    const flight: Flight = { key: wanted.key, load: this.#view.begin(), tags: wanted.tags, promise, over, next: null, waitsFor: new Set() }
    if (this.#flights.get(wanted.key) === undefined) this.#flights.begin(flight)
    return flight
  }

  async #load (wanted: Wanted, flight: Flight, loader: Loader): Promise<unknown> {
    const known = wanted.isForgotten === true ? asItIs : this.#lastKnown.noting(wanted.key)
    const found = await this.#shared(wanted, flight.load)
    if ('value' in found) return known(found.value, found.bytes)
    this.#missed(wanted.key)
    const value = await this.#timed(wanted.key, this.#call(wanted, flight, loader))
    let text: string
    try {
      text = toText(value)
    } catch (err) {
      if (!(err instanceof FST_ERR_CONFIG_CACHE_INVALID_VALUE)) throw err
      this.#notices.unkept(wanted.key, err.message)
      return value
    }
    const bytes = Buffer.byteLength(text)
    return known(this.#keep(wanted, flight.load, found.generations, text, bytes), bytes)
  }

  #missed (key: string): void {
    this.#counters.loads++
    if (misses.hasSubscribers) misses.publish({ key })
  }

  async #timed<T> (key: string, load: Promise<T>): Promise<T> {
    if (!loads.hasSubscribers) return load
    const began = now()
    try {
      const value = await load
      loads.publish({ key, ms: now() - began })
      return value
    } catch (err) {
      loads.publish({ key, ms: now() - began, err })
      throw err
    }
  }

  async #call ({ key, timeoutMs }: Wanted, flight: Flight, loader: Loader): Promise<unknown> {
    const controller = new AbortController()
    const late = () => {
      const err = new FST_ERR_CONFIG_CACHE_LOADER_TIMEOUT(key, timeoutMs)
      controller.abort(err)
      return err
    }
    return callWithin(timeoutMs, () => this.#flights.run(flight, () => loader({ signal: controller.signal })), late)
  }

  /**
   * The value of the shared level, or the generations for a fill, null where it is not to be filled. It proves a value current
   * only to who holds a lease: the lease vouches for the epoch.
   */
  async #shared (wanted: Wanted, load: Load): Promise<{ value: unknown, bytes: number } | { generations: string | null }> {
    if (this.#l2 === null || !wanted.l2 || !this.#view.isClean(load, wanted.tags)) return { generations: null }
    const found = await this.#l2.read(wanted.key, wanted.tags)
    if (found === null || load.term !== this.#view.term) return { generations: null }
    if (found.text === undefined) return found
    try {
      const value = fromText(found.text)
      const bytes = Buffer.byteLength(found.text)
      const ttls = this.#ttlsOf(wanted, value)
      if (ttls !== null && this.#view.isClean(load, wanted.tags)) {
        const entry = this.#keepHere(wanted, value, bytes, ttls.hereMs)
        if (wanted.isOwn === true && entry !== undefined) this.#expireWithRedis(wanted.key, entry)
      }
      this.#counters.l2Hits++
      if (hits.hasSubscribers) hits.publish({ key: wanted.key, level: 'redis' })
      return { value, bytes }
    } catch {
      // Written by a newer release in a format that cannot be read: a miss, which does not overwrite it.
      this.#counters.unknown++
      return { generations: null }
    }
  }

  #keep (wanted: Wanted, load: Load, generations: string | null, text: string, bytes: number): unknown {
    if (bytes > this.#options.maxValueBytes) {
      this.#notices.unkept(wanted.key, `its JSON has ${bytes} bytes, more than maxValueBytes`)
      return fromText(text)
    }
    const value = fromText(text)
    const ttls = this.#ttlsOf(wanted, value)
    if (ttls === null || !this.#view.isClean(load, wanted.tags)) return value
    this.#keepHere(wanted, value, bytes, ttls.hereMs)
    if (generations !== null) this.#l2?.write(wanted.key, generations, text, ttls.sharedMs)
    return value
  }

  /** In the background: the entry expires here when it does in Redis. */
  #expireWithRedis (key: string, entry: Entry): void {
    this.#l2?.remainingMs(key).then((leftMs) => { entry.expiresAt = Math.min(entry.expiresAt, now() + leftMs) }, () => {})
  }

  #keepHere (wanted: Wanted, value: unknown, bytes: number, ttlMs: number): Entry | undefined {
    const others = wanted.tags.length === 1 ? NONE : wanted.tags.filter((tag) => tag !== wanted.key)
    return this.#l1.set(wanted.key, value, bytes, others, now() + ttlMs)
  }

  /** Null where a value is not to be kept, also where its function fails: the reader gets the value all the same. */
  #ttlsOf (wanted: Wanted, value: unknown): Ttls | null {
    try {
      return ttlsOf(wanted, value, this.#options.ttlJitter)
    } catch (err) {
      this.#notices.unkept(wanted.key, `its ttlMs ${textOf((err as Error | undefined)?.message ?? err)}`)
      return null
    }
  }
}

const NONE: readonly string[] = []

const asItIs = <T>(value: T): T => value
