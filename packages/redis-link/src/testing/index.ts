import { MemoryStore } from './memory-store.ts'

export type { MemoryStore }

/**
 * `kv`, locks and limits for the applications of one test and one site: those that are registered with it as the option `store` share them in
 * this process, without Redis. Each test makes its own.
 */
export function memoryStore (): MemoryStore {
  return new MemoryStore()
}
