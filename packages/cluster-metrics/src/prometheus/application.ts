import { counterName, keyOf, reduce, TotalsSum, valued, type Exemplar, type Family, type Gauges, type Labels, type Reduce, type Report, type Totals } from '../formats/index.ts'
import { bucketsInUse, byBuckets, type Buckets } from './buckets.ts'
import { exported, TARGET_LABELS, type Sample, type TextFamily } from './text.ts'

/**
 * Counters and histograms, of the application's own and of its registry: what one release counts here and another there is one
 * series, and a histogram has one set of buckets.
 */
export function growing ({ counters, families = [] }: Totals, buckets: ReadonlyMap<string, Buckets> = bucketsInUse(families, [])): Family[] {
  const plain = Object.entries(counters).map(([name, value]): Family => ({ name: counterName(name), help: `Counter ${name} of the application`, type: 'counter', samples: [[{}, [value]]] }))
  const shown = families.map((family) => family.type === 'histogram' ? byBuckets(family, buckets.get(family.name)!) : family)
  return new TotalsSum([{ instanceId: '', counters: {}, series: [], families: [...plain, ...shown] }]).read().families ?? []
}

/** What of these grows still, and what only those counted that ended. A release may have made another kind of such a name. */
export function apart (families: readonly Family[], living: readonly Totals[]): { current: Family[], former: Family[] } {
  const names = new Set(living.flatMap(({ counters, families = [] }) => [
    ...Object.keys(counters).map((name) => `counter ${counterName(name)}`),
    ...families.filter(({ former }) => former !== true).map(({ name, type }) => `${type} ${name}`)
  ]))
  const isCurrent = ({ name, type }: Family): boolean => names.has(`${type} ${name}`)
  return { current: families.filter(isCurrent), former: families.filter((family) => !isCurrent(family)) }
}

export function familyOf ({ name, help, type, bounds = [], samples }: Family): TextFamily {
  return {
    name,
    help,
    type,
    samples: samples.flatMap(([labels, values]): Sample[] => {
      if (type === 'counter') return [['', labels, values[0] ?? 0]]
      if (type === 'summary') return [['_sum', labels, values[0] ?? 0], ['_count', labels, values[1] ?? 0]]
      return histogramSamples(labels, values[0] ?? 0, values.slice(1), bounds)
    })
  }
}

export function histogramSamples (labels: Labels, sum: number, buckets: readonly number[], bounds: readonly number[]): Sample[] {
  let count = 0
  const samples = buckets.map((one, index): Sample => {
    count += one
    return ['_bucket', { ...labels, le: index < bounds.length ? String(bounds[index]) : '+Inf' }, count]
  })
  return [...samples, ['_sum', labels, sum], ['_count', labels, count]]
}

/** Gauges of the application that are numbers; the others are in the JSON document only. */
export function customGauges (reports: readonly Report[]): TextFamily[] {
  const ways = new Map<string, Reduce>()
  for (const { gauges } of reports) for (const [name, [how]] of Object.entries(gauges)) ways.set(name, how)
  return [...ways].flatMap(([name, how]): TextFamily[] => {
    const value = reduce(how, reports.map(({ gauges }) => gauges[name]?.[1]))
    return typeof value === 'number' ? [{ name, help: `Gauge ${name} of the application`, type: 'gauge', samples: [['', {}, value]] }] : []
  })
}

/** Gauges of the application's registry, of the oldest instance first. */
export function registryGauges (reports: readonly Report[]): TextFamily[] {
  const byName = new Map<string, { gauges: Gauges, values: Map<string, [Labels, number[]]> }>()
  for (const { instanceId, bootId, labelled = [] } of reports) {
    for (const gauges of labelled) {
      const known = byName.get(gauges.name) ?? { gauges, values: new Map() }
      byName.set(gauges.name, known)
      for (const [written, value] of gauges.samples) {
        const given = valued(written)
        // The boot id, because two processes may bear one instance id.
        const labels = known.gauges.rule === 'instance' ? { ...exported(given, ['instance', 'boot', 'job']), instance: instanceId, boot: bootId } : exported(given, TARGET_LABELS)
        const sample = known.values.get(keyOf(labels)) ?? [labels, []]
        sample[1].push(value)
        known.values.set(keyOf(labels), sample)
      }
    }
  }
  return [...byName.values()].map(({ gauges: { name, help, rule }, values }) => ({
    name,
    help,
    type: 'gauge',
    samples: [...values.values()].map(([labels, all]): Sample => ['', labels, rule === 'last' || rule === 'instance' ? all.at(-1)! : Number(reduce(rule, all))])
  }))
}

/** The latest exemplar of each series. */
export function latestExemplars (reports: readonly Report[]): ReadonlyMap<string, Exemplar> {
  const latest = new Map<string, Exemplar>()
  for (const [series, labels, value, timestamp] of reports.flatMap(({ exemplars = [] }) => exemplars)) {
    if ((latest.get(series)?.timestamp ?? -1) < (timestamp ?? 0)) latest.set(series, { labels, value, timestamp: timestamp ?? undefined })
  }
  return latest
}
