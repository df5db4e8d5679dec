import type { SharedState } from '../coherence/index.ts'

/** How long questions are collected: an entry may outlive its value in Redis by that much. */
const COLLECT_MS = 20

/**
 * Asks for the remaining TTLs of values, each once, in one pipeline for all of some milliseconds. Asked one by one behind each hit, they
 * halved the reads that a connection can answer (benchmarks/config-cache/l2.bench.js).
 */
export class RemainingTtls {
  readonly #state: SharedState
  readonly #asked = new Map<string, Promise<number>>()
  readonly #answers = new Map<string, (ms: number) => void>()

  constructor (state: SharedState) {
    this.#state = state
  }

  /** In milliseconds; 0 where the value is gone, or Redis does not say. */
  of (name: string): Promise<number> {
    const known = this.#asked.get(name)
    if (known !== undefined) return known
    if (this.#asked.size === 0) setTimeout(() => this.#ask(), COLLECT_MS).unref()
    const asked = new Promise<number>((resolve) => { this.#answers.set(name, resolve) })
    this.#asked.set(name, asked)
    return asked
  }

  #ask (): void {
    const { connection } = this.#state
    const answers = [...this.#answers]
    this.#asked.clear()
    this.#answers.clear()
    const names = answers.map(([name]) => name)
    // In a pipeline of a Redis Cluster all keys would have to share a node.
    const told: Promise<unknown[]> = connection.isCluster
      ? connection.run((client) => Promise.all(names.map((name) => client.pttl(name))))
      : connection.run((client) => client.pipeline(names.map((name) => ['pttl', name])).exec()).then((all) => (all ?? []).map(([, ms]) => ms))
    const answer = (all: readonly unknown[]) => answers.forEach(([, resolve], index) => resolve(Math.max(0, Number(all[index] ?? 0))))
    told.then(answer, () => answer([]))
  }
}
