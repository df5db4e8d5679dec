import { randomUUID } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { checkCount, checkKey, checkMs } from './check.ts'
import type { Run } from './script/script.ts'
import { rateLimit } from './script/scripts.ts'

export interface RateLimitResult {
  allowed: boolean
  /** How many more are allowed at this moment. */
  remaining: number
  /** Milliseconds until the next is allowed; 0 where this one was. */
  retryAfterMs: number
  /** True where Redis is configured but away, so that only this process counted. */
  degraded: boolean
}

/** Most places that one limit may have: each allowed event is remembered for its window. */
const MOST = 10_000

/** @throws FST_ERR_REDIS_LINK_INVALID_KEY, FST_ERR_REDIS_LINK_INVALID_NUMBER */
export function checkRateLimit (name: string, max: number, windowMs: number): void {
  checkKey('The name of a limit', name)
  checkCount('max', max, MOST)
  checkMs('windowMs', windowMs)
}

/** Counts in Redis, for all processes together. */
export async function rateLimitInRedis (run: Run, key: string, max: number, windowMs: number): Promise<RateLimitResult> {
  const [allowed, remaining, retryAfterMs] = await run((_client, call) => call(rateLimit, { keys: [key], args: [max, windowMs, randomUUID()] }))
  return { allowed: allowed === 1, remaining, retryAfterMs, degraded: false }
}

/** Counts in the process, by the same rule: any window holds at most `max` allowed events. */
export class MemoryRateLimit {
  readonly #events = new LRUCache<string, number[]>({ max: 10_000 })

  take (name: string, max: number, windowMs: number, degraded: boolean): RateLimitResult {
    const now = performance.now()
    const events = (this.#events.get(name) ?? []).filter((time) => time > now - windowMs)
    const allowed = events.length < max
    const retryAfterMs = allowed ? 0 : Math.max(1, Math.ceil(events[events.length - max]! + windowMs - now))
    if (allowed) events.push(now)
    this.#events.set(name, events, { ttl: windowMs })
    return { allowed, remaining: Math.max(0, max - events.length), retryAfterMs, degraded }
  }

  clear (): void {
    this.#events.clear()
  }
}
