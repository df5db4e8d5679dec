import { randomUUID } from 'node:crypto'
import { checkCall } from '@jpulse/plugin-kit'
import { LRUCache } from 'lru-cache'
import { checkCount, checkKey, checkMs, invalid } from './check.ts'
import { isOutage } from './connection/refusals.ts'
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

export interface RateLimitOptions {
  /** How many events this one counts for, 0 to `max`; 0 looks and counts nothing. @default 1 */
  cost?: number
  /** Who is refused is refused for so long, in milliseconds, whatever the window says; 0 for no longer than that. @default 0 */
  blockMs?: number
}

/** Most places that one limit may have: each allowed event is remembered for its window. */
const MOST = 10_000

/** @throws FST_ERR_REDIS_LINK_INVALID_KEY, FST_ERR_REDIS_LINK_INVALID_NUMBER, FST_ERR_REDIS_LINK_INVALID_OPTION */
export function checkRateLimit (name: string, max: number, windowMs: number, options: RateLimitOptions): void {
  checkCall(options, ['cost', 'blockMs'], invalid)
  const { cost = 1, blockMs = 0 } = options
  checkKey('The name of a limit', name)
  checkCount('max', max, MOST)
  checkMs('windowMs', windowMs)
  checkCount('cost', cost, max, 0)
  checkMs('blockMs', blockMs, 0)
}

/** Counts in Redis, for all processes together; null while it is away. */
export async function rateLimitInRedis (run: Run, key: string, max: number, windowMs: number, { cost = 1, blockMs = 0 }: RateLimitOptions): Promise<RateLimitResult | null> {
  try {
    const [allowed, remaining, retryAfterMs] = await run((_client, call) => call(rateLimit, { keys: [key], args: [max, windowMs, randomUUID(), cost, blockMs] }))
    return { allowed: allowed === 1, remaining, retryAfterMs, degraded: false }
  } catch (err) {
    if (isOutage(err)) return null
    throw err
  }
}

interface Counted {
  times: number[]
  blockedUntil: number
}

/** Of all limits together; beyond it those that were asked for least recently are forgotten. */
const MOST_BYTES = 32 * 1024 * 1024
const BYTES_EACH = 200

/** Counts in the process, by the same rule: any window holds at most `max` allowed events. */
export class MemoryRateLimit {
  readonly #limits: LRUCache<string, Counted>

  constructor (maxBytes = MOST_BYTES) {
    this.#limits = new LRUCache({ max: 10_000, maxSize: maxBytes, sizeCalculation: ({ times }, name) => BYTES_EACH + 2 * name.length + 8 * times.length })
  }

  take (name: string, max: number, windowMs: number, { cost = 1, blockMs = 0 }: RateLimitOptions, degraded: boolean): RateLimitResult {
    const now = performance.now()
    const { times: all, blockedUntil } = this.#limits.get(name) ?? { times: [], blockedUntil: -Infinity }
    if (blockedUntil > now) return { allowed: false, remaining: 0, retryAfterMs: Math.ceil(blockedUntil - now), degraded }
    const times = all.filter((time) => time > now - windowMs)
    const excess = times.length + Math.max(cost, 1) - max
    if (excess > 0) {
      const isBlocked = cost > 0 && blockMs > 0
      this.#limits.set(name, { times, blockedUntil: isBlocked ? now + blockMs : -Infinity }, { ttl: Math.max(windowMs, blockMs) })
      const retryAfterMs = isBlocked ? blockMs : Math.max(1, Math.ceil(times[excess - 1]! + windowMs - now))
      return { allowed: false, remaining: isBlocked ? 0 : Math.max(0, max - times.length), retryAfterMs, degraded }
    }
    for (let event = 0; event < cost; event++) times.push(now)
    if (cost > 0) this.#limits.set(name, { times, blockedUntil: -Infinity }, { ttl: windowMs })
    return { allowed: true, remaining: max - times.length, retryAfterMs: 0, degraded }
  }
}
