import { BOUNDS, bucketOf, emptyHistogram } from '../formats/index.ts'

const BOUNDS_MS = BOUNDS.map((seconds) => seconds * 1000)

/** Requests of one method, route and status since the start of the process. */
export class Series {
  readonly method: string
  readonly route: string
  readonly status: number
  /** Event streams too, which are in no bucket. */
  count = 0
  sumMs = 0
  /** Requests per bucket of `BOUNDS`, not cumulative; the last one is above them. */
  readonly buckets = new Float64Array(BOUNDS.length + 1)

  constructor (method: string, route: string, status: number) {
    this.method = method
    this.route = route
    this.status = status
  }

  /** @param ms null for an event stream: it is counted, and is no latency */
  add (ms: number | null): void {
    this.count++
    if (ms === null) return
    let bucket = 0
    while (bucket < BOUNDS_MS.length && ms > BOUNDS_MS[bucket]!) bucket++
    this.buckets[bucket]!++
    this.sumMs += ms
  }
}

/** Latencies of one method and route over the last five to ten minutes, and its requests since the start of the process. */
export class RouteStats {
  readonly method: string
  readonly route: string
  requests = 0
  errors = 0
  recent = emptyHistogram()
  older = emptyHistogram()

  constructor (method: string, route: string) {
    this.method = method
    this.route = route
  }

  add (ms: number | null, status: number): void {
    this.requests++
    if (status >= 500) this.errors++
    if (ms !== null) this.recent[bucketOf(ms)]!++
  }

  rotate (): void {
    const { older } = this
    this.older = this.recent
    this.recent = older.fill(0)
  }
}
