import { Type, type Static } from 'typebox'
import { LONGEST_TEXT, MOST_FAMILIES } from './limits.ts'

const Num = Type.Number()
const Str = Type.String({ maxLength: LONGEST_TEXT })

/**
 * Metrics of one name that only grow, with labels. The values of a sample: `counter` the count; `histogram` the sum and
 * the counts of the buckets, not cumulative, the last one above all bounds; `summary` the sum and the count.
 */
export const FamilySchema = Type.Object({
  name: Str,
  help: Str,
  type: Type.Enum(['counter', 'histogram', 'summary']),
  bounds: Type.Optional(Type.Array(Num, { maxItems: 500 })),
  samples: Type.Array(Type.Tuple([Type.Record(Type.String(), Str), Type.Array(Num, { maxItems: 502 })]))
})

/** Gauges of one name, and how the instances' become one: `last` is that of the youngest instance, `instance` keeps them apart. */
export const GaugesSchema = Type.Object({
  name: Str,
  help: Str,
  rule: Type.Enum(['sum', 'avg', 'min', 'max', 'first', 'last', 'instance']),
  samples: Type.Array(Type.Tuple([Type.Record(Type.String(), Str), Num]))
})

export type Family = Static<typeof FamilySchema>
export type Gauges = Static<typeof GaugesSchema>
export type Labels = Record<string, string>

/** The same for equal labels, in whatever order. */
export const keyOf = (labels: Labels): string => JSON.stringify(Object.entries(labels).sort(([a], [b]) => a < b ? -1 : 1))

interface Sum extends Omit<Family, 'samples'> {
  samples: Map<string, [labels: Labels, values: number[]]>
}

/**
 * Adds up families by name, type and labels: where a release made another kind of a name, the counts of both are kept. Beyond the
 * bound of samples all label values are `__other__`, so that the sum is kept.
 */
export class FamilySum {
  readonly #sums = new Map<string, Sum>()
  readonly #most: number
  #size = 0

  constructor (most = Infinity) {
    this.#most = most
  }

  add (family: Family, factor: number): void {
    const { name, type } = family
    const key = `${type} ${name}`
    let sum = this.#sums.get(key)
    if (sum === undefined) {
      // One more would be more than readers take.
      if (this.#sums.size >= MOST_FAMILIES) return
      this.#sums.set(key, sum = { ...family, samples: new Map() })
    }
    const bounds = commonBounds(sum, family)
    for (const [labels, values] of family.samples) {
      const its = this.#sampleOf(sum, labels, type === 'counter' ? 1 : type === 'summary' ? 2 : (bounds?.length ?? 0) + 2)
      const fitting = type === 'histogram' ? rebucket(values, family.bounds ?? [], bounds ?? []) : values
      for (let index = 0; index < its.length; index++) its[index]! += factor * (fitting[index] ?? 0)
    }
  }

  read (): Family[] {
    return [...this.#sums.values()].map(({ samples, ...family }) => ({ ...family, samples: [...samples.values()] }))
  }

  #sampleOf (sum: Sum, given: Labels, length: number): number[] {
    const found = sum.samples.get(keyOf(given))
    if (found !== undefined) return found[1]
    const full = this.#size >= this.#most
    const labels = full ? Object.fromEntries(Object.keys(given).map((name) => [name, '__other__'])) : given
    const other = full ? sum.samples.get(keyOf(labels)) : undefined
    if (other !== undefined) return other[1]
    const values = new Array<number>(length).fill(0)
    sum.samples.set(keyOf(labels), [labels, values])
    this.#size++
    return values
  }
}

/** Where releases have other buckets, those that both have: their counts are exact. */
function commonBounds (sum: Sum, { bounds = [] }: Family): number[] | undefined {
  const known = sum.bounds
  if (known === undefined || String(known) === String(bounds)) return known
  const common = known.filter((bound) => bounds.includes(bound))
  for (const sample of sum.samples.values()) sample[1] = rebucket(sample[1], known, common)
  sum.bounds = common
  return common
}

function rebucket ([sum = 0, ...counts]: number[], from: readonly number[], to: readonly number[]): number[] {
  const result = new Array<number>(to.length + 2).fill(0)
  result[0] = sum
  counts.forEach((count, index) => {
    const bucket = index < from.length ? to.findIndex((bound) => bound >= from[index]!) : -1
    result[bucket === -1 ? to.length + 1 : bucket + 1]! += count
  })
  return result
}
