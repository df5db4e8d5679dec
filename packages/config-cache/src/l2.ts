/** What the shared level answered: the value's text, or what a fill needs. */
export type Found =
  | { readonly text: string }
  | { readonly text?: undefined, readonly generations: string }

/** The level that all instances share. */
export interface L2 {
  /**
   * @returns null where it cannot be used now: not reachable in time, or a tag is blocked
   */
  read (key: string, tags: readonly string[]): Promise<Found | null>
  /** Stores a value under the generations that were read before its load. Never rejects. */
  write (key: string, generations: string, text: string, ttlMs: number): void
}
