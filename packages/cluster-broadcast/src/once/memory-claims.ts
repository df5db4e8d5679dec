import type { Claim, Claims } from './once.ts'
import { Waiters } from './waiters.ts'

interface Held { readonly holder: string, readonly until: number, done: boolean }

const MOST = 10_000

/** Claims within the process, for where no Redis is configured. */
export class MemoryClaims implements Claims {
  readonly #held = new Map<string, Held>()
  readonly #waiters = new Waiters()
  #closed = false

  async take (name: string, token: string, ttlMs: number, awaited: string): Promise<Claim | null> {
    if (this.#closed) return null
    const now = performance.now()
    const held = this.#held.get(name)
    if (held !== undefined && (held.until > now || (held.done && held.holder === awaited))) {
      return { state: held.done ? 'done' : 'running', leftMs: Math.ceil(held.until - now), holder: held.holder }
    }
    this.#prune(now)
    this.#held.set(name, { holder: token, until: now + ttlMs, done: false })
    return { state: 'won', leftMs: ttlMs, holder: token }
  }

  /** Here every claim is known. */
  async giveBack (): Promise<void> {}

  async forgo (name: string, token: string): Promise<void> {
    if (this.#held.get(name)?.holder !== token) return
    this.#held.delete(name)
    this.#waiters.wake(name)
  }

  async done (name: string, token: string): Promise<void> {
    const held = this.#held.get(name)
    if (held?.holder !== token) return
    held.done = true
    this.#waiters.wake(name)
  }

  wait (name: string, ms: number): Promise<void> {
    return this.#closed ? Promise.resolve() : this.#waiters.wait(name, ms)
  }

  close (): void {
    this.#closed = true
    this.wakeAll()
  }

  /** All who wait look again. */
  wakeAll (): void {
    this.#waiters.wakeAll()
  }

  #prune (now: number): void {
    if (this.#held.size < MOST) return
    for (const [name, { until }] of this.#held) if (until <= now) this.#held.delete(name)
  }
}
