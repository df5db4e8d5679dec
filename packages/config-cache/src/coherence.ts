import type { Handed } from './handed.ts'
import type { CacheMode } from './stats.ts'

/** What keeps the instances of a site coherent, or says that nothing is cached. */
export interface Coherence {
  readonly mode: CacheMode
  /** @throws as `WritePath.write` */
  write<T> (tags: readonly string[], work: () => Promise<T>, handOn?: (value: T) => readonly Handed[]): Promise<T>
  held (): { entries: number, bytes: number, blocks: number }
  clear (): Promise<void>
  close (): Promise<void>
}
