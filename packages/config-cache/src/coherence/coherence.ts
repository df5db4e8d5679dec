import type { CacheMode, Slowest } from '../stats.ts'
import type { WrittenValue } from '../values.ts'

/** What every mutation goes through: no instance serves the old value while the work runs, nor after the write has resolved. */
export interface WritePath {
  /**
   * @param tags of everything that the work changes
   * @param valuesOf what the entries are once the work returned `value`, to be stored in Redis; without it the next read loads them
   * @throws FST_ERR_CONFIG_CACHE_UNREACHABLE before the work was begun; FST_ERR_CONFIG_CACHE_UNCONFIRMED after it; what the work throws
   */
  write<T> (tags: readonly string[], work: () => Promise<T>, valuesOf?: (value: T) => readonly WrittenValue[]): Promise<T>
  close (): Promise<void>
}

/** What keeps the instances of a site coherent, or says that nothing is cached. */
export interface Coherence extends WritePath {
  readonly mode: CacheMode
  /** Why nothing is cached; null where something is. */
  readonly reason: string | null
  readonly slowest: Slowest | null
  clear (): Promise<void>
  /** As `write`, where no other instance keeps anything of the tags, of which the work makes sure: only this process forgets. */
  writeHere<T> (tags: readonly string[], work: () => Promise<T>): Promise<T>
}

/** Refusals that do not say that nothing happens any more: a request that timed out or was given up, and a signal of redis-link's `using` that cut the work off. */
const CUT_OFF: readonly unknown[] = [408, 499, 'FST_ERR_REDIS_LINK_LOCK_LOST']

/**
 * Whether an error tells what became of the work: a 4xx is the application's own refusal. After any other, say a timeout of
 * the driver, the operation may still be on its way to the database.
 */
export function isDecided (error: unknown): boolean {
  const { statusCode, code } = (error ?? {}) as { statusCode?: unknown, code?: unknown }
  return typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500 && !CUT_OFF.includes(statusCode) && !CUT_OFF.includes(code)
}
