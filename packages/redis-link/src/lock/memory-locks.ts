import { checkKey, checkMs } from '../check.ts'
import type { HeldLock, Locks } from './locks.ts'

interface Holding {
  readonly token: number
  until: number
}

/** Locks within the process, for where no Redis is configured. */
export class MemoryLocks implements Locks {
  readonly #held = new Map<string, Holding>()
  #token = 0

  async tryLock (name: string, ttlMs: number): Promise<HeldLock | null> {
    checkKey('The name of a lock', name)
    checkMs('ttlMs', ttlMs)
    this.#prune()
    if (this.#held.has(name)) return null
    const holding = { token: this.#token = Math.max(this.#token + 1, Date.now() * 1000), until: performance.now() + ttlMs }
    this.#held.set(name, holding)
    const isHeld = (): boolean => {
      this.#prune()
      return this.#held.get(name) === holding
    }
    const extend = async (ms = ttlMs): Promise<boolean> => {
      checkMs('ttlMs', ms)
      if (!isHeld()) return false
      holding.until = performance.now() + ms
      return true
    }
    return {
      token: holding.token,
      get until () { return holding.until },
      release: async () => isHeld() && this.#held.delete(name),
      extend,
      prolong: () => extend()
    }
  }

  #prune (): void {
    const now = performance.now()
    for (const [name, { until }] of this.#held) if (until <= now) this.#held.delete(name)
  }
}
