/** What a loader gets. */
export interface LoaderContext {
  /** Aborted when the load has taken too long: nobody waits for it any more. */
  readonly signal: AbortSignal
}

/** A document of a source. */
export interface ConfigDocument {
  readonly key: string
  readonly value: unknown
}

/**
 * Where the documents live. Reads must be linearizable: once `save` or `remove` resolved, every later `load` of any process
 * returns that value or a newer one.
 */
export interface ConfigSource {
  /**
   * Whether no other process sees what is saved here, as in `memorySource`. Where instances share a Redis, the first that writes a document
   * has them then, and the others refuse to write and to load any (`warmup` loads none). @default false
   */
  readonly isPrivate?: boolean | undefined
  /** The value, or null where there is none. `context.signal` is aborted when nobody waits for it any more. */
  load (collection: string, key: string, context?: LoaderContext): Promise<unknown>
  /** Creates or replaces. What `load` then returns is this value as JSON keeps it: `set` hands it to readers without asking. */
  save (collection: string, key: string, value: unknown): Promise<void>
  /** Whether there was one. */
  remove (collection: string, key: string): Promise<boolean>
  /**
   * Changes a document such that nobody writes between the reading and the writing: writes what `change` makes of the value, null
   * where there is none; undefined removes it. Whether it was written: false where somebody else wrote meanwhile. What `change`
   * throws is thrown, and nothing written; it may be called again. Needed for `ifVersion` only.
   */
  update? (collection: string, key: string, change: (current: unknown) => unknown): Promise<boolean>
  /** The documents whose keys match a glob (`*` any characters, `?` one), at most `limit`, in the order of their keys. */
  list (collection: string, glob: string, limit?: number): Promise<ConfigDocument[]>
}

/** A glob as a regular expression for the whole key. */
export function globToRegExp (glob: string): RegExp {
  const pattern = glob.replaceAll(/[\\^$.|+()[\]{}]/g, '\\$&').replaceAll('*', '.*').replaceAll('?', '.')
  return new RegExp(`^${pattern}$`, 'su')
}
