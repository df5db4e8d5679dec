import { fit, LONGEST_TEXT, MOST_EXEMPLARS, MOST_FAMILIES, type Family, type Gauges, type Report } from '../formats/index.ts'
import { MonotonicFamilies, type Budget } from './monotonic.ts'
import type { Collected } from './registry.ts'

const MOST_BYTES = 1_048_576

/** What of a registry goes into the report. */
export interface Reported {
  families: Family[]
  labelled: Gauges[]
  exemplars: NonNullable<Report['exemplars']>
  /** Series that are beyond the bound, by metric. */
  cut: ReadonlyMap<string, number>
  /** Gauges that JSON has no number for: NaN, and what is infinite. */
  endless: number
}

/** What the cluster is told of the registries: within a bound of series and bytes. */
export class BoundedRegistry {
  readonly #monotonic: MonotonicFamilies

  constructor (maxSeries: number) {
    this.#monotonic = new MonotonicFamilies({ series: maxSeries, bytes: MOST_BYTES })
  }

  take ({ grows, gauges, unknown, exemplars }: Pick<Collected, 'grows' | 'gauges' | 'unknown' | 'exemplars'>): Reported {
    const cut = this.#monotonic.take(grows, unknown)
    const bounded = boundedGauges(gauges.filter(({ rule }) => String(rule) !== 'omit'), this.#monotonic.left)
    return { families: this.#monotonic.read(), labelled: bounded.labelled, exemplars: latest(exemplars), cut: new Map([...cut, ...bounded.cut]), endless: bounded.endless }
  }
}

/** As many gauges as there is room for, those with the fewest labels first; numbers that JSON does not have are left out. */
function boundedGauges (gauges: readonly Gauges[], { series, bytes }: Budget): Pick<Reported, 'labelled' | 'cut' | 'endless'> {
  const cut = new Map<string, number>()
  const labelled: Gauges[] = []
  let endless = 0
  for (const one of gauges.toSorted((a, b) => a.samples.length - b.samples.length)) {
    const finite = one.samples.filter(([, value]) => Number.isFinite(value))
    endless += one.samples.length - finite.length
    const hasRoom = labelled.length < MOST_FAMILIES
    const samples = finite.filter((sample) => {
      const size = JSON.stringify(sample).length
      if (!hasRoom || series < 1 || bytes < size) return false
      series--
      bytes -= size
      return true
    })
    if (samples.length > 0) labelled.push({ ...one, help: fit(one.help), samples })
    if (samples.length < finite.length) cut.set(one.name, finite.length - samples.length)
  }
  return { labelled, cut, endless }
}

/** As many exemplars as there is room for, the latest first. */
function latest (exemplars: Collected['exemplars']): Reported['exemplars'] {
  return [...exemplars].filter(([series]) => series.length <= LONGEST_TEXT)
    .sort(([, a], [, b]) => (b.timestamp ?? 0) - (a.timestamp ?? 0)).slice(0, MOST_EXEMPLARS)
    .map(([series, { labels, value, timestamp }]) => [series, labels, value, timestamp ?? null])
}
