import { FST_ERR_CLUSTER_METRICS_INVALID_ARGUMENT } from '../errors.ts'

/**
 * How the values of the instances become one: `sum`, `avg`, `max`, `min` of the numbers; `first` of the oldest instance;
 * `count` of the instances that have a value; `concat` of values and arrays into one array of at most 1000.
 */
export type Reduce = 'sum' | 'avg' | 'max' | 'min' | 'first' | 'count' | 'concat'

/** Any JSON. */
export type Reducible = unknown

const MOST = 1000

const sum = (numbers: number[]) => numbers.reduce((a, b) => a + b, 0)

const WAYS: Record<Reduce, (values: unknown[]) => unknown> = {
  sum: (values) => sum(numbersOf(values)),
  avg: (values) => {
    const numbers = numbersOf(values)
    return numbers.length === 0 ? 0 : sum(numbers) / numbers.length
  },
  max: (values) => numbersOf(values).reduce((a, b) => Math.max(a, b), -Infinity),
  min: (values) => numbersOf(values).reduce((a, b) => Math.min(a, b), Infinity),
  first: ([value]) => value,
  count: (values) => values.length,
  concat: (values) => values.flat().slice(0, MOST)
}

const isReduce = (way: unknown): way is Reduce => typeof way === 'string' && Object.hasOwn(WAYS, way)

/** @throws FST_ERR_CLUSTER_METRICS_INVALID_ARGUMENT */
export function checkReduce (way: unknown): asserts way is Reduce {
  if (!isReduce(way)) throw new FST_ERR_CLUSTER_METRICS_INVALID_ARGUMENT('reduce', `one of ${Object.keys(WAYS).join(', ')}`)
}

/** Of anything but numbers these would say 0. */
const OF_NUMBERS: ReadonlySet<Reduce> = new Set(['sum', 'avg', 'max', 'min'])

/** @throws TypeError where the way has no use for the value, which is JSON; null is no value, and none that is missing */
export function checkValue (what: string, way: Reduce, value: unknown): void {
  if (!OF_NUMBERS.has(way) || value === null || value === undefined || typeof value === 'number') return
  const kind = typeof value === 'object' ? Array.isArray(value) ? 'a list' : 'an object' : `a ${typeof value}`
  throw new TypeError(`${what} with reduce ${way} gives a number, not ${kind}`)
}

/** The one value, null where there is none. */
export function reduce (way: Reduce, values: readonly Reducible[]): Reducible {
  const value = WAYS[way](values.filter((value) => value !== null && value !== undefined))
  return value === undefined || (typeof value === 'number' && !Number.isFinite(value)) ? null : value
}

function numbersOf (values: unknown[]): number[] {
  return values.filter((value): value is number => typeof value === 'number' && Number.isFinite(value))
}

/** Counters of several processes, added up by name. */
export function sumCounters (parts: ReadonlyArray<Record<string, number>>): Record<string, number> {
  const all = new Map<string, number>()
  for (const part of parts) for (const [name, value] of Object.entries(part)) all.set(name, (all.get(name) ?? 0) + value)
  return Object.fromEntries(all)
}
