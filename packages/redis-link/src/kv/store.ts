/** Where `kv` keeps its JSON texts: in Redis, or in the process. Keys are whole. */
export interface KvStore {
  /** The stored text, null where there is none. */
  get (key: string): Promise<string | null>
  /** @param ttlMs 0 for no expiry */
  set (key: string, json: string, ttlMs: number): Promise<void>
  /** @returns whether there was one */
  del (key: string): Promise<boolean>
  exists (key: string): Promise<boolean>
  /**
   * Adds atomically to an integer, which is 0 where there is none.
   *
   * @param ttlMs 0 for none; otherwise a counter without expiry gets this one, and one with an expiry keeps its own
   * @throws FST_ERR_REDIS_LINK_NOT_A_COUNTER
   */
  increment (key: string, by: number, ttlMs: number): Promise<number>
}
