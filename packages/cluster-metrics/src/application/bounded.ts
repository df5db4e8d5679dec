import { fit, MOST_FAMILIES, type Family, type Gauges } from '../formats/index.ts'
import { MonotonicFamilies, type Budget } from './monotonic.ts'
import type { Collected } from './registry.ts'

const MOST_BYTES = 1_048_576

/** What of a registry goes into the report. */
export interface Reported {
  families: Family[]
  labelled: Gauges[]
  /** Series that are beyond the bound. */
  cut: number
}

/** What the cluster is told of the registries: within a bound of series and bytes. */
export class BoundedRegistry {
  readonly #monotonic: MonotonicFamilies

  constructor (maxSeries: number) {
    this.#monotonic = new MonotonicFamilies({ series: maxSeries, bytes: MOST_BYTES })
  }

  take ({ grows, gauges, unknown }: Pick<Collected, 'grows' | 'gauges' | 'unknown'>): Reported {
    const cut = this.#monotonic.take(grows, unknown)
    const bounded = boundedGauges(gauges.filter(({ rule }) => String(rule) !== 'omit'), this.#monotonic.left)
    return { families: this.#monotonic.read(), labelled: bounded.labelled, cut: cut + bounded.cut }
  }
}

/** As many gauges as there is room for, those with the fewest labels first; numbers that JSON does not have are left out. */
function boundedGauges (gauges: readonly Gauges[], { series, bytes }: Budget): Pick<Reported, 'labelled' | 'cut'> {
  let cut = 0
  const fits = (sample: unknown) => {
    const size = JSON.stringify(sample).length
    if (series < 1 || bytes < size) {
      cut++
      return false
    }
    series--
    bytes -= size
    return true
  }
  const labelled = gauges.toSorted((a, b) => a.samples.length - b.samples.length)
    .map((one) => ({ ...one, help: fit(one.help), samples: one.samples.filter((sample) => Number.isFinite(sample[1]) && fits(sample)) }))
    .filter(({ samples }) => samples.length > 0)
  const beyond = labelled.splice(MOST_FAMILIES).reduce((sum, { samples }) => sum + samples.length, 0)
  return { labelled, cut: cut + beyond }
}
