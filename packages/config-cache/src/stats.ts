/** What this process counted since its start. */
export interface Counters {
  /** Reads answered from this process. */
  l1Hits: number
  /** Reads answered from Redis. */
  l2Hits: number
  /** Reads that joined a load in flight. */
  joined: number
  /** Loads from the source. */
  loads: number
  /** Writes that resolved. */
  writes: number
  /** Writes refused before the database was touched. */
  refused: number
  /** Writes that the cluster could not be told of in time. */
  unconfirmed: number
  /** Reads and writes of documents that were refused, because the source is private to a process and another one has them. */
  foreign: number
  /** Values that were handed out without being kept: too large, or without a JSON form. */
  unkept: number
  /** Values that Redis did not take: every instance loads them. */
  unshared: number
  /** Writes with `ifVersion` that found another version. */
  conflicts: number
  /** How often caching ended. */
  interruptions: number
  /** Reads that failed or were slow, answered with the last known value (`staleOnError`) or the default of a flag. */
  stale: number
  /** Messages and values of a newer release that this one could not read. */
  unknown: number
}

export const counters = (): Counters => ({ l1Hits: 0, l2Hits: 0, joined: 0, loads: 0, writes: 0, refused: 0, unconfirmed: 0, foreign: 0, unkept: 0, unshared: 0, conflicts: 0, interruptions: 0, stale: 0, unknown: 0 })

/** `coherent`: caching under a lease. `local`: caching alone in this process. `bypass`: every read goes to the source. */
export type CacheMode = 'coherent' | 'local' | 'bypass'

/** What an instance holds now. */
export interface Held {
  readonly entries: number
  readonly bytes: number
  /** Writes under way in the cluster, as this instance knows. */
  readonly blocks: number
}

/** An instance that a write of this one waited for. */
export interface Slowest {
  /** `<pid>@<place>`. */
  readonly instance: string
  readonly waitMs: number
}

/** What `stats()` returns. */
export interface CacheStats extends Counters, Held {
  readonly mode: CacheMode
  /** Why nothing is cached; null where something is. */
  readonly reason: string | null
  /** Whom writes of this instance waited for longest, within a minute or so; null without writes. */
  readonly slowest: Slowest | null
  /** Reads answered without the source, of all reads; 0 without reads. */
  readonly hitRate: number
}
