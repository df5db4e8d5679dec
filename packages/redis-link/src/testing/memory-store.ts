import { MemoryKvStore } from '../kv/memory-store.ts'
import { MemoryLocks } from '../lock/memory-locks.ts'
import { MemoryRateLimit } from '../rate-limit.ts'

/** Bounds of `kv`, as those of the option `memory`. */
const BOUNDS = { maxEntries: 10_000, maxBytes: 32 * 1024 * 1024 }

/**
 * What several links of one process keep together, without Redis: `kv`, locks and limits. For tests of applications; made by
 * `memoryStore()`.
 */
export class MemoryStore {
  readonly kv = new MemoryKvStore(BOUNDS)
  readonly locks = new MemoryLocks()
  readonly limits = new MemoryRateLimit()
}
