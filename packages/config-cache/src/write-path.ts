import type { Handed } from './handed.ts'

/** The way every mutation goes: nobody serves the old value while the work runs, nor once it has resolved. */
export interface WritePath {
  /**
   * @param tags of everything that the work changes
   * @param handOn what entries are once the work returned this; without it the next read loads them
   * @throws FST_ERR_CONFIG_CACHE_UNREACHABLE before the work was begun; FST_ERR_CONFIG_CACHE_UNCONFIRMED after it; what the work throws
   */
  write<T> (tags: readonly string[], work: () => Promise<T>, handOn?: (value: T) => readonly Handed[]): Promise<T>
  close (): Promise<void>
}
