import { finite, fit, keyOf, MOST_FAMILIES, type Family, type Labels } from '../formats/index.ts'

const MOST_BOUNDS = 500
/** The rest are of metrics that are not the registry's. */
const MOST_OF_REGISTRY = MOST_FAMILIES - 1000

/** One series as it was told: what was counted until it fell last, and since. */
interface Series {
  labels: Labels
  before: number[]
  now: number[]
}

/** Metrics of one name, type and buckets. */
interface Known {
  family: Omit<Family, 'samples'>
  series: Map<string, Series>
  weight: number
  /** Whether the registries have it no more. */
  former: boolean
}

/** Bounds of what the cluster is told of. */
export interface Budget {
  series: number
  bytes: number
}

/**
 * What of the registries only grows, as the cluster is told of it. A sum over instances may not fall because the application
 * resets, removes or registers a metric anew, nor because others need the room: so what was told of once stays, and what
 * falls begins anew on top of what it had.
 *
 * New series are taken while there is room, the smallest metrics first, and half of the room at most for one metric.
 */
export class MonotonicFamilies {
  readonly #known = new Map<string, Known>()
  readonly #budget: Budget
  #used: Budget = { series: 0, bytes: 0 }

  constructor (budget: Budget) {
    this.#budget = budget
  }

  /** The room that is left. */
  get left (): Budget {
    return { series: this.#budget.series - this.#used.series, bytes: this.#budget.bytes - this.#used.bytes }
  }

  /**
   * Takes what the registries say now. Returns how many series there was no room for, by metric.
   *
   * @param unknown names of metrics that have not answered: what they count goes on where it was, while a series that is
   *   missing from one that has answered was reset or removed
   */
  take (families: readonly Family[], unknown: ReadonlySet<string> = new Set()): Map<string, number> {
    this.#endMissing(families, unknown)
    const cut = new Map<string, number>()
    for (const family of families.toSorted((a, b) => a.samples.length - b.samples.length)) {
      const hasTooMany = (family.bounds?.length ?? 0) > MOST_BOUNDS
      const left = family.samples.filter((sample) => sample[1].every(Number.isFinite) && (hasTooMany || !this.#add(family, sample)))
      if (left.length > 0) cut.set(family.name, left.reduce((sum, [, values]) => sum + values.length, 0))
    }
    return cut
  }

  read (): Family[] {
    return [...this.#known.values()].map(({ family, series, former }) => ({
      ...family,
      ...(former ? { former } : {}),
      samples: [...series.values()].map(({ labels, before, now }) => [labels, now.map((value, index) => finite(value + before[index]!))])
    }))
  }

  #endMissing (families: readonly Family[], unknown: ReadonlySet<string>): void {
    const present = new Map(families.map((family) => [familyKey(family), new Set(family.samples.map(([labels]) => keyOf(labels)))]))
    for (const [key, known] of this.#known) {
      if (unknown.has(known.family.name)) continue
      const labels = present.get(key)
      known.former = labels === undefined
      for (const [series, one] of known.series) if (labels?.has(series) !== true) end(one)
    }
  }

  #add (family: Family, [labels, values]: Family['samples'][number]): boolean {
    const known = this.#known.get(familyKey(family)) ?? begun(family)
    const key = keyOf(labels)
    const one = known.series.get(key)
    if (one !== undefined) {
      if (hasFallen(family.type, one.now, values)) end(one)
      one.now = values
      return true
    }
    const bytes = JSON.stringify([labels, values]).length
    const { left } = this
    if (values.length > left.series || bytes > left.bytes || known.weight + values.length > this.#budget.series / 2) return false
    if (known.weight === 0 && this.#known.size >= MOST_OF_REGISTRY) return false
    // Other buckets are another family of the name, of which readers show what both have.
    this.#known.set(familyKey(family), known)
    known.series.set(key, { labels, before: values.map(() => 0), now: values })
    known.weight += values.length
    this.#used = { series: this.#used.series + values.length, bytes: this.#used.bytes + bytes }
    return true
  }
}

const begun = ({ samples: _, ...family }: Family): Known => ({ family: { ...family, help: fit(family.help) }, series: new Map(), weight: 0, former: false })

const familyKey = ({ name, type, bounds }: Omit<Family, 'samples'>): string => JSON.stringify([name, type, bounds])

/** What comes next begins at nothing. */
function end (one: Series): void {
  one.before = one.before.map((value, index) => finite(value + one.now[index]!))
  one.now = one.now.map(() => 0)
}

/** A sum may fall by itself where negative values are observed; a count cannot. */
function hasFallen (type: Family['type'], before: readonly number[], now: readonly number[]): boolean {
  const firstCount = type === 'counter' ? 0 : 1
  return before.some((value, index) => index >= firstCount && now[index]! < value)
}
