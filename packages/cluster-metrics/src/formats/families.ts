import { Type, type Static } from 'typebox'
import { finite, LONGEST_TEXT, MOST_FAMILIES } from './limits.ts'

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
  /** The instance has it no more: it was registered anew, as another kind or with other buckets. */
  former: Type.Optional(Type.Boolean()),
  samples: Type.Array(Type.Tuple([Type.Record(Type.String(), Str), Type.Array(Num, { maxItems: 502 })]))
})

/** Gauges of one name, and how the instances' become one: `last` is that of the youngest instance, `instance` keeps them apart. */
export const GaugesSchema = Type.Object({
  name: Str,
  help: Str,
  rule: Type.Enum(['sum', 'avg', 'min', 'max', 'first', 'last', 'instance']),
  samples: Type.Array(Type.Tuple([Type.Record(Type.String(), Str), Num]))
})

/** An example of what was counted, of a trace for instance, and when it was, in seconds since 1970. */
export interface Exemplar {
  labels: Labels
  value: number
  timestamp: number | undefined
}

export type Family = Static<typeof FamilySchema>
export type Gauges = Static<typeof GaugesSchema>
export type Labels = Record<string, string>

/** The same for equal labels, in whatever order. */
export const keyOf = (labels: Labels): string => JSON.stringify(Object.entries(labels).sort(([a], [b]) => a < b ? -1 : 1))

/** Without those that have no value: that is the same series for Prometheus, and earlier releases wrote them. */
export const valued = (labels: Labels): Labels => Object.values(labels).includes('') ? Object.fromEntries(Object.entries(labels).filter(([, value]) => value !== '')) : labels

interface Sum extends Omit<Family, 'samples' | 'former'> {
  samples: Map<string, [labels: Labels, values: number[]]>
}

/** Sets of buckets of one name that are kept apart. */
const MOST_VARIANTS = 8

/**
 * Adds up families by name, type, buckets and labels: where a release made another kind of a name, or gave it other buckets, the
 * counts of both are kept. Beyond the bound of samples all label values are `__other__`, so that the sum is kept.
 */
export class FamilySum {
  readonly #sums = new Map<string, Sum[]>()
  readonly #most: number
  /** Sets of labels that had no place of their own. */
  folded = 0
  #families = 0
  #size = 0

  constructor (most = Infinity) {
    this.#most = most
  }

  add (family: Family, factor: number): void {
    const sum = this.#sumOf(family)
    if (sum === undefined) return
    for (const [labels, given] of family.samples) {
      const values = family.type === 'histogram' ? rebucket(given, family.bounds, sum.bounds) : given
      const its = this.#sampleOf(sum, valued(labels), family.type === 'counter' ? 1 : family.type === 'summary' ? 2 : values.length)
      for (let index = 0; index < its.length; index++) its[index] = finite(its[index]! + factor * (values[index] ?? 0))
    }
  }

  read (): Family[] {
    return [...this.#sums.values()].flat().map(({ samples, ...family }) => ({ ...family, samples: [...samples.values()] }))
  }

  /** One too many is added to another one of its name; where there is none, it is left out. */
  #sumOf ({ name, help, type, bounds }: Family): Sum | undefined {
    const ofName = this.#sums.get(`${type} ${name}`) ?? []
    const known = ofName.find((one) => sameBounds(one.bounds, bounds))
    if (known !== undefined) return known
    if (this.#families >= MOST_FAMILIES || ofName.length >= MOST_VARIANTS) return ofName[0]
    const made: Sum = { name, help, type, ...(bounds === undefined ? {} : { bounds }), samples: new Map() }
    this.#sums.set(`${type} ${name}`, [...ofName, made])
    this.#families++
    return made
  }

  #sampleOf (sum: Sum, given: Labels, length: number): number[] {
    const found = sum.samples.get(keyOf(given))
    if (found !== undefined) return found[1]
    const full = this.#size >= this.#most
    const labels = full ? Object.fromEntries(Object.keys(given).map((name) => [name, '__other__'])) : given
    if (keyOf(labels) !== keyOf(given)) this.folded++
    const other = full ? sum.samples.get(keyOf(labels)) : undefined
    if (other !== undefined) return other[1]
    const values = new Array<number>(length).fill(0)
    sum.samples.set(keyOf(labels), [labels, values])
    this.#size++
    return values
  }
}

export const sameBounds = (a: readonly number[] = [], b: readonly number[] = []): boolean => a.length === b.length && a.every((bound, index) => bound === b[index])

/** Sum and counts by other bounds. What is counted up to a bound is what surely lies below it: exact where `from` has the bound too. */
export function rebucket (values: readonly number[], from: readonly number[] = [], to: readonly number[] = []): readonly number[] {
  if (sameBounds(from, to)) return values
  const [sum = 0, ...counts] = values
  const result = new Array<number>(to.length + 2).fill(0)
  result[0] = sum
  counts.forEach((count, index) => {
    const bucket = index < from.length ? to.findIndex((bound) => bound >= from[index]!) : -1
    result[bucket === -1 ? to.length + 1 : bucket + 1]! += count
  })
  return result
}
