import type { Member } from './members.ts'

/** Leases for which a process may live beside the one that it replaces: while PM2 reloads, and until the lease of one that was killed ends. */
const HANDOVER_LEASES = 12

/**
 * Finds instance ids that two processes bear for good. Two bear one for some seconds where a process is replaced, so a pair
 * counts only where both are still members after a minute (with the default lease).
 */
export class DuplicateWatch {
  /** Boot ids by instance id. */
  readonly #bearers = new Map<string, Set<string>>()
  readonly #handoverMs: number
  readonly #onDuplicate: (instanceId: string) => void
  readonly #told = new Set<string>()
  readonly #timers = new Set<NodeJS.Timeout>()

  /** @param onDuplicate called once for each instance id */
  constructor (leaseMs: number, onDuplicate: (instanceId: string) => void) {
    this.#handoverMs = HANDOVER_LEASES * leaseMs
    this.#onDuplicate = onDuplicate
  }

  /** Watches a process that has become a member, and the members that bear its id. */
  joined ({ instanceId, bootId }: Member): void {
    const bearers = this.#bearers.get(instanceId) ?? new Set<string>()
    const others = [...bearers].filter((other) => other !== bootId)
    this.#bearers.set(instanceId, bearers.add(bootId))
    if (others.length === 0 || this.#told.has(instanceId)) return
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      const still = this.#bearers.get(instanceId)
      if (this.#told.has(instanceId) || still?.has(bootId) !== true || !others.some((other) => still.has(other))) return
      this.#told.add(instanceId)
      this.#onDuplicate(instanceId)
    }, this.#handoverMs).unref()
    this.#timers.add(timer)
  }

  left ({ instanceId, bootId }: Member): void {
    const bearers = this.#bearers.get(instanceId)
    if (bearers?.delete(bootId) === true && bearers.size === 0) this.#bearers.delete(instanceId)
  }

  close (): void {
    for (const timer of this.#timers) clearTimeout(timer)
    this.#timers.clear()
  }
}
