const FIRST_MS = 50
const CAP_MS = 3000

/**
 * Pause before reconnection attempt `attempt` (from 1), in milliseconds: exponential up to 3 s, the upper half of it
 * random, so that the processes of a cluster do not return in step ("equal jitter" in M. Brooker, Exponential Backoff
 * And Jitter, AWS Architecture Blog, 2015).
 */
export function backoff (attempt: number): number {
  const ceiling = Math.min(CAP_MS, FIRST_MS * 2 ** Math.min(attempt - 1, 16))
  return Math.round(ceiling / 2 + Math.random() * ceiling / 2)
}
