import { within } from '@jpulse/plugin-kit'
import { FST_ERR_REDIS_LINK_TIMEOUT } from '../errors.ts'

const FIRST_MS = 50
const CAP_MS = 3000

/** Rejects with FST_ERR_REDIS_LINK_TIMEOUT where a promise is not settled within `ms`, by `deadline`. */
export function bounded<T> (promise: Promise<T>, ms: number): Promise<T> {
  return within(ms, promise, () => new FST_ERR_REDIS_LINK_TIMEOUT(ms))
}

/**
 * Pause before reconnection attempt `attempt` (from 1), in milliseconds: exponential up to 3 s, the upper half of it
 * random, so that the processes of a cluster do not return in step ("equal jitter" in M. Brooker, Exponential Backoff
 * And Jitter, AWS Architecture Blog, 2015).
 */
export function backoff (attempt: number): number {
  const ceiling = Math.min(CAP_MS, FIRST_MS * 2 ** Math.min(attempt - 1, 16))
  return Math.round(ceiling / 2 + Math.random() * ceiling / 2)
}
