import { LONGEST_MS, shortened } from '../time.ts'

/** TTL of a value on either level, in milliseconds. */
export interface Ttls {
  readonly hereMs: number
  readonly sharedMs: number
}

/** The TTLs of a read: two durations, or a function of the value in place of both. */
export interface TtlOptions {
  readonly ttlMs: number
  readonly l2TtlMs: number
  readonly ttlOf?: ((value: unknown) => number) | undefined
  /** Whether the caller gave the TTL: then a value expires on all levels together. */
  readonly isOwn?: boolean | undefined
}

/**
 * The TTLs of a value; null where it is not to be kept, because its function returned 0.
 *
 * @param jitter largest random share that is taken off
 * @throws what the function throws; RangeError where it returns no duration
 */
export function ttlsOf ({ ttlMs, l2TtlMs, ttlOf }: TtlOptions, value: unknown, jitter: number): Ttls | null {
  if (ttlOf === undefined) return { hereMs: shortened(ttlMs, jitter), sharedMs: shortened(l2TtlMs, jitter) }
  const returned: unknown = ttlOf(value)
  if (returned === 0) return null
  if (!Number.isInteger(returned) || Number(returned) < 0 || Number(returned) > LONGEST_MS) throw new RangeError(`must return a whole number of milliseconds, from 0 to a year, not ${String(returned)}`)
  return { hereMs: shortened(Number(returned), jitter), sharedMs: shortened(Number(returned), jitter) }
}
