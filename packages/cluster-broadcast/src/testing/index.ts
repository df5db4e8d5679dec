import { MemoryCluster } from './memory-cluster.ts'

export type { MemoryCluster }

/**
 * A cluster for the applications of one test: those that are registered with it as the option `cluster` meet in this process
 * without Redis. When `publish` resolves, the handlers of all of them were called. Each test makes its own.
 */
export function memoryCluster (): MemoryCluster {
  return new MemoryCluster()
}
