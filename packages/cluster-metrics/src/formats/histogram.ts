/**
 * Latencies in fixed logarithmic buckets: eight per doubling, from 10 µs up. Every process has the same ones, so the
 * histograms of many processes are merged by adding, and a percentile of the sum is off by at most 4.5% (half a bucket),
 * however skewed the load is. Averages of percentiles have no such bound.
 */
const PER_OCTAVE = 8
const LOWEST_MS = 0.01
const OCTAVES = 28

/** The last one holds everything from 45 minutes up. */
export const BUCKETS = 1 + OCTAVES * PER_OCTAVE

/**
 * The buckets that are not empty: number and count in turn, ascending, in digits with one space between. A text, because
 * an array of as many numbers takes JSON.parse five times as long, and the reports of hundreds of instances hold millions.
 */
export type Sparse = string

/** Which bucket a latency in milliseconds belongs to. */
export function bucketOf (ms: number): number {
  if (!(ms > LOWEST_MS)) return 0
  const bucket = 1 + Math.floor(Math.log2(ms / LOWEST_MS) * PER_OCTAVE)
  return bucket < BUCKETS ? bucket : BUCKETS - 1
}

/** The latency that stands for a bucket: its geometric middle, in milliseconds. */
function middleOf (bucket: number): number {
  return bucket === 0 ? LOWEST_MS : LOWEST_MS * 2 ** ((bucket - 0.5) / PER_OCTAVE)
}

/** Upper bounds of OpenTelemetry's buckets for `http.server.request.duration`, in seconds. */
export const BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10] as const

/** An empty histogram. */
export const emptyHistogram = (): Float64Array => new Float64Array(BUCKETS)

/** Adds `from` to `to`; buckets that no process of ours can have written are left out. */
export function addSparse (to: Float64Array, from: Sparse): void {
  let number = 0
  let bucket = -1
  for (let i = 0; i <= from.length; i++) {
    const digit = i < from.length ? from.charCodeAt(i) - 48 : -1
    if (digit >= 0 && digit <= 9) {
      number = number * 10 + digit
      continue
    }
    if (bucket === -1) {
      bucket = number
    } else {
      if (bucket < BUCKETS) to[bucket]! += number
      bucket = -1
    }
    number = 0
  }
}

/** The buckets of `a` plus `b` less `minus` that are not empty. */
export function toSparse (a: Float64Array, b?: Float64Array, minus?: Float64Array): Sparse {
  const sparse: number[] = []
  for (let bucket = 0; bucket < BUCKETS; bucket++) {
    const count = a[bucket]! + (b?.[bucket] ?? 0) - (minus?.[bucket] ?? 0)
    if (count > 0) sparse.push(bucket, count)
  }
  return sparse.join(' ')
}

/** Percentiles in milliseconds; 0 where nothing was counted. */
export interface Percentiles {
  p50: number
  p95: number
  p99: number
}

export function percentiles (counts: Float64Array): Percentiles {
  let total = 0
  for (const count of counts) total += count
  return { p50: percentile(counts, total, 0.5), p95: percentile(counts, total, 0.95), p99: percentile(counts, total, 0.99) }
}

function percentile (counts: Float64Array, total: number, share: number): number {
  if (total <= 0) return 0
  const rank = Math.max(1, Math.ceil(total * share))
  let seen = 0
  for (let bucket = 0; bucket < BUCKETS; bucket++) {
    seen += counts[bucket]!
    if (seen >= rank) return round(middleOf(bucket))
  }
  return round(middleOf(BUCKETS - 1))
}

/** Four significant digits: more would pretend to know. */
function round (ms: number): number {
  return Number(ms.toPrecision(4))
}
