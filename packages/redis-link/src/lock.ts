import { randomUUID } from 'node:crypto'
import { checkKey, checkMs } from './check.ts'
import type { Run } from './script/script.ts'
import { extend, release } from './script/scripts.ts'

/** A lock that this process holds, until its time is over. */
export interface Lock {
  /** Gives the lock back. False, and nothing changed, where it was lost before. Never rejects for an outage. */
  release (): Promise<boolean>
  /** Holds it for `ttlMs` from now. False where it was lost, or Redis cannot be asked. @default the lock's own ttlMs */
  extend (ttlMs?: number): Promise<boolean>
}

/** Takes locks by name. */
export interface Locks {
  /** Null where somebody else holds it, or it cannot be told. */
  tryLock (name: string, ttlMs: number): Promise<Lock | null>
}

/** A lock is a key with the holder's token, which expires by itself (Redis documentation, "Distributed locks", single instance). */
export class RedisLocks implements Locks {
  readonly #run: Run
  readonly #prefix: string

  constructor (run: Run, prefix: string) {
    this.#run = run
    this.#prefix = prefix
  }

  async tryLock (name: string, ttlMs: number): Promise<Lock | null> {
    checkKey('The name of a lock', name)
    checkMs('ttlMs', ttlMs)
    const key = this.#prefix + name
    const token = randomUUID()
    const taken = await this.#run((client) => client.set(key, token, 'PX', ttlMs, 'NX')).catch(() => null)
    if (taken === null) return null
    return {
      release: () => this.#run((_client, call) => call(release, { keys: [key], args: [token] })).then((held) => held === 1, () => false),
      extend: async (ms = ttlMs) => {
        checkMs('ttlMs', ms)
        return this.#run((_client, call) => call(extend, { keys: [key], args: [token, ms] })).then((held) => held === 1, () => false)
      }
    }
  }
}

/** The same within the process, for where no Redis is configured. */
export class MemoryLocks implements Locks {
  readonly #until = new Map<string, { token: symbol, until: number }>()

  async tryLock (name: string, ttlMs: number): Promise<Lock | null> {
    checkKey('The name of a lock', name)
    checkMs('ttlMs', ttlMs)
    this.#prune()
    if (this.#until.has(name)) return null
    const token = Symbol(name)
    const held = () => {
      this.#prune()
      return this.#until.get(name)?.token === token
    }
    this.#until.set(name, { token, until: performance.now() + ttlMs })
    return {
      release: async () => held() && this.#until.delete(name),
      extend: async (ms = ttlMs) => {
        checkMs('ttlMs', ms)
        if (!held()) return false
        this.#until.set(name, { token, until: performance.now() + ms })
        return true
      }
    }
  }

  #prune (): void {
    const now = performance.now()
    for (const [name, { until }] of this.#until) if (until <= now) this.#until.delete(name)
  }
}
