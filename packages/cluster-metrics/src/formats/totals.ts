import { Type, type Static } from 'typebox'
import Compile from 'typebox/compile'
import { FamilySchema, FamilySum } from './families.ts'
import { finite, LONGEST_TEXT, MOST_FAMILIES, parse } from './limits.ts'

const Num = Type.Number()
const Str = Type.String({ maxLength: LONGEST_TEXT })

/** Everything of an instance that only grows, since its start. What is optional was added later. */
const TotalsSchema = Type.Object({
  instanceId: Str,
  counters: Type.Record(Type.String(), Num),
  /** Of counters that have labels, which are among the families: the sums over these. */
  sums: Type.Optional(Type.Record(Type.String(), Num)),
  /** Method, route, status, sum in milliseconds, requests per bucket of `BOUNDS`. */
  series: Type.Array(Type.Tuple([Str, Str, Num, Num, Type.Array(Num, { minItems: 15, maxItems: 15 })]), { maxItems: 200_000 }),
  /** Counts the writes of one process. */
  seq: Type.Optional(Num),
  /** The last ones of a process that leaves. */
  left: Type.Optional(Type.Boolean()),
  /** Counters of the process itself, under their names for Prometheus. */
  process: Type.Optional(Type.Record(Type.String(), Num)),
  /** Metrics of the application that have labels or buckets. */
  families: Type.Optional(Type.Array(FamilySchema, { maxItems: MOST_FAMILIES }))
})

export type Totals = Static<typeof TotalsSchema>

/** What one process counted. */
export type TotalsOfOne = Totals & { bootId: string }

/** What everybody counted whose counts are kept apart, and the sum of those that ended; null where it cannot be read. */
export interface EverybodysTotals {
  living: TotalsOfOne[]
  ended: Totals | null
  /** Series of those that ended that are counted as `__other__`: the most of one of them. */
  folded: number
}

const check = Compile(TotalsSchema)

/** Null where the text is not one: another version wrote it, or somebody else did. */
export function readTotals (text: string): Totals | null {
  const value = parse(text)
  return isTotals(value) ? value : null
}

export const isTotals = (value: unknown): value is Totals => check.Check(value)

type SeriesSum = [method: string, route: string, status: number, sumMs: number, buckets: number[]]

/** Adds up totals. What is beyond the bound of series is counted as route or label `__other__`, so that the sum is kept. */
export class TotalsSum {
  readonly #counters = new Map<string, number>()
  readonly #sums = new Map<string, number>()
  readonly #process = new Map<string, number>()
  readonly #series = new Map<string, SeriesSum>()
  readonly #families: FamilySum
  readonly #mostSeries: number
  #folded = 0

  constructor (parts: readonly Totals[] = [], mostSeries = Infinity) {
    this.#mostSeries = mostSeries
    this.#families = new FamilySum(mostSeries)
    for (const part of parts) this.add(part)
  }

  /** @param factor -1 takes away what was added */
  add ({ counters, sums = {}, series, process = {}, families = [] }: Totals, factor: 1 | -1 = 1): this {
    addAll(this.#counters, counters, factor)
    addAll(this.#sums, sums, factor)
    addAll(this.#process, process, factor)
    for (const [method, route, status, sumMs, buckets] of series) {
      const sum = this.#seriesOf(method, route, status)
      sum[3] += factor * sumMs
      buckets.forEach((count, index) => { sum[4][index]! += factor * count })
    }
    for (const family of families) this.#families.add(family, factor)
    return this
  }

  /** Series that had no place of their own. */
  get folded (): number {
    return this.#folded + this.#families.folded
  }

  read (): Totals {
    return { instanceId: '', counters: Object.fromEntries(this.#counters), sums: Object.fromEntries(this.#sums), series: [...this.#series.values()], process: Object.fromEntries(this.#process), families: this.#families.read() }
  }

  #seriesOf (method: string, route: string, status: number): SeriesSum {
    const key = `${method} ${status} ${route}`
    const known = this.#series.get(key)
    if (known !== undefined) return known
    if (this.#series.size >= this.#mostSeries && route !== OTHER) {
      this.#folded++
      return this.#seriesOf('*', OTHER, Math.floor(status / 100) * 100)
    }
    const made: SeriesSum = [method, route, status, 0, new Array<number>(15).fill(0)]
    this.#series.set(key, made)
    return made
  }
}

/** The route of requests beyond the bound of routes or series. */
export const OTHER = '__other__'

function addAll (sums: Map<string, number>, values: Record<string, number>, factor: number): void {
  for (const [name, value] of Object.entries(values)) sums.set(name, finite((sums.get(name) ?? 0) + factor * value))
}
