import { rebucket, sameBounds, type Family, type Totals } from '../formats/index.ts'

/** Bounds of one histogram: those that all living instances have, and those that only some of them have. */
export interface Buckets {
  shown: readonly number[]
  hidden: readonly number[]
}

/** By name of the histogram. Those that no living instance has keep the buckets that came last. */
export function bucketsInUse (families: readonly Family[], living: readonly Totals[]): ReadonlyMap<string, Buckets> {
  const inUse = new Map<string, Buckets>()
  for (const { left, families: its = [] } of living) {
    if (left === true) continue
    for (const { name, type, bounds = [], former } of its) {
      if (type !== 'histogram' || former === true) continue
      const known = inUse.get(name) ?? { shown: bounds, hidden: [] }
      inUse.set(name, sameBounds(known.shown, bounds) ? known : withBounds(known, bounds))
    }
  }
  const gone = families.filter(({ name, type }) => type === 'histogram' && !inUse.has(name))
  return new Map([...gone.map(({ name, bounds = [] }) => [name, { shown: bounds, hidden: [] }] as const), ...inUse])
}

function withBounds ({ shown, hidden }: Buckets, bounds: readonly number[]): Buckets {
  const all = new Set([...shown, ...hidden, ...bounds])
  const common = shown.filter((bound) => bounds.includes(bound))
  return { shown: common, hidden: [...all].filter((bound) => !common.includes(bound)).sort((a, b) => a - b) }
}

/** A histogram by these bounds. The counts of one that has them are exact; of another one, what surely lies below a bound is counted there. */
export function byBuckets (family: Family, { shown, hidden }: Buckets): Family {
  const help = hidden.length === 0 ? family.help : `${family.help} (without the buckets ${hidden.join(', ')}, which not all instances have)`
  const samples = family.samples.map(([labels, values]): Family['samples'][number] => [labels, [...rebucket(values, family.bounds, shown)]])
  return { ...family, help, bounds: [...shown], samples }
}

/** Series that are not shown because only some of the living instances have the bucket. */
export function hiddenSeries (families: readonly Family[], inUse: ReadonlyMap<string, Buckets>): number {
  return families.filter(({ type }) => type === 'histogram').reduce((sum, { name, samples }) => sum + samples.length * (inUse.get(name)?.hidden.length ?? 0), 0)
}
