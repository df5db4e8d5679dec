import { LONGEST_MS, shortened } from '../time.ts'

/** How long a value lives on either level, in milliseconds. */
export interface Lives {
  readonly here: number
  readonly shared: number
}

/** What decides how long: two durations, or a function of the value in place of both. */
export interface Lifetime {
  readonly ttlMs: number
  readonly l2TtlMs: number
  readonly ttlOf?: ((value: unknown) => number) | undefined
  /** Whether the life is the caller's own, and ends on all levels together. */
  readonly isOwn?: boolean | undefined
}

/**
 * How long a value lives; null where it is not to be kept, because its function said 0.
 *
 * @param jitter share of a life that chance may take away
 * @throws what the function throws, or where that is no duration
 */
export function livesOf ({ ttlMs, l2TtlMs, ttlOf }: Lifetime, value: unknown, jitter: number): Lives | null {
  if (ttlOf === undefined) return { here: shortened(ttlMs, jitter), shared: shortened(l2TtlMs, jitter) }
  const told: unknown = ttlOf(value)
  if (told === 0) return null
  if (!Number.isInteger(told) || Number(told) < 0 || Number(told) > LONGEST_MS) throw new RangeError(`must return a whole number of milliseconds, from 0 to a year, not ${String(told)}`)
  return { here: shortened(Number(told), jitter), shared: shortened(Number(told), jitter) }
}
