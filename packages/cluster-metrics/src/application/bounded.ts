import { fit, type Family, type Gauges } from '../formats/index.ts'
import type { Collected } from './registry.ts'

const MOST_BYTES = 1_048_576
const MOST_BOUNDS = 500

/** What of a registry goes into the report. */
export interface Reported {
  families: Family[]
  labelled: Gauges[]
  /** Series that are beyond the bound. */
  cut: number
}

/** As many series as the bound allows, the smallest families first, so that one with too many labels cuts itself; numbers that JSON does not have are left out. */
export function bounded ({ grows, gauges }: Pick<Collected, 'grows' | 'gauges'>, maxSeries: number): Reported {
  let series = 0
  let bytes = 0
  let cut = 0
  const fits = (weight: number, sample: unknown) => {
    const size = JSON.stringify(sample).length
    if (series + weight > maxSeries || bytes + size > MOST_BYTES) {
      cut += weight
      return false
    }
    series += weight
    bytes += size
    return true
  }
  const result: Reported = { families: [], labelled: [], cut: 0 }
  const smallest = [...grows.map((family) => ({ family })), ...gauges.filter(({ rule }) => String(rule) !== 'omit').map((one) => ({ one }))].sort((a, b) => sizeOf(a) - sizeOf(b))
  for (const entry of smallest) {
    if ('one' in entry) {
      const samples = entry.one.samples.filter((sample) => Number.isFinite(sample[1]) && fits(1, sample))
      if (samples.length > 0) result.labelled.push({ ...entry.one, help: fit(entry.one.help), samples })
    } else if ((entry.family.bounds?.length ?? 0) <= MOST_BOUNDS) {
      const samples = entry.family.samples.filter((sample) => sample[1].every(Number.isFinite) && fits(sample[1].length, sample))
      if (samples.length > 0) result.families.push({ ...entry.family, help: fit(entry.family.help), samples })
    }
  }
  return { ...result, cut }
}

const sizeOf = (entry: { one: Gauges } | { family: Family }): number => 'one' in entry ? entry.one.samples.length : entry.family.samples.length
