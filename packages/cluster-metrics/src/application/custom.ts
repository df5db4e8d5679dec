import { checkCall } from '@jpulse/plugin-kit'
import { FST_ERR_CLUSTER_METRICS_DUPLICATE, FST_ERR_CLUSTER_METRICS_INVALID_ARGUMENT, FST_ERR_CLUSTER_METRICS_TOO_MANY } from '../errors.ts'
import { redactJson, type Faults } from '../failures/index.ts'
import { BOUNDS, checkReduce, checkValue, counterName, finite, isOurs, keyOf, type Family, type Labels, type Reduce } from '../formats/index.ts'
import { checkName, invalidOption, labelsOf, type MetricLabels } from './names.ts'
import { plain, Source, type SourceTimes } from './source.ts'

/** Value and how to reduce it, by name. */
export type GaugeValues = Record<string, [reduce: Reduce, value: unknown]>

/** Bucket bounds and help of a histogram. */
export interface HistogramOptions {
  /** Upper bounds, ascending, 1 to 100. @default those of OpenTelemetry for durations in seconds: 0.005 to 10 */
  buckets?: readonly number[]
  help?: string
}

type Kind = 'counter' | 'gauge' | 'histogram'

const MOST = 500
const MOST_LABELS = 1000
/** Of all of them together: a counter has one for each set of labels, a histogram one for each bucket and two more. */
const MOST_VALUES = 20_000
/** Characters of the labels of all of them together. */
const MOST_LABEL_TEXT = 1_000_000
/** Sets of names of labels whose values are counted as `__other__`, of one metric. */
const MOST_OTHERS = 20
const MOST_BUCKETS = 100

interface OwnFamily extends Family {
  byLabels: Map<string, number[]>
  /** Of sets of labels that have no place of their own. */
  others: number[][]
}

/** Counters, gauges and histograms of the application. */
export class CustomMetrics {
  /** Counters without labels. */
  readonly counters = new Map<string, number>()
  /** Sums over the labels of those that have some. */
  readonly labelledSums = new Map<string, number>()
  readonly #gauges = new Map<string, { source: Source<unknown>, reduce: Reduce }>()
  readonly #families = new Map<string, OwnFamily>()
  /** Every name that Prometheus sees of these, and whose it is. */
  readonly #taken = new Map<string, { kind: Kind, name: string }>()
  readonly #faults: Faults
  readonly #times: SourceTimes
  #count = 0
  #values = 0
  #labelText = 0

  constructor (times: SourceTimes, faults: Faults) {
    this.#times = times
    this.#faults = faults
  }

  increment (name: string, by: number, given?: MetricLabels): void {
    // A text would be appended to the sum, which readers then take for no report.
    if (!(typeof by === 'number' && by >= 0 && by <= Number.MAX_SAFE_INTEGER)) throw new FST_ERR_CLUSTER_METRICS_INVALID_ARGUMENT('by', `a number from 0 to ${Number.MAX_SAFE_INTEGER}: what also falls is a gauge`)
    const labels = given === undefined ? undefined : labelsOf(given)
    if (!this.#isKnown('counter', name)) this.#take('counter', name)
    if (labels === undefined) {
      this.counters.set(name, (this.counters.get(name) ?? 0) + by)
    } else {
      this.#sampleOf(this.#familyOf({ name: counterName(name), help: `Counter ${name} of the application`, type: 'counter', samples: [] }), labels, 1)[0]! += by
      this.labelledSums.set(name, (this.labelledSums.get(name) ?? 0) + by)
    }
  }

  gauge (name: string, read: () => unknown, reduce: Reduce): void {
    checkName('The name', name)
    if (typeof read !== 'function') throw new FST_ERR_CLUSTER_METRICS_INVALID_ARGUMENT('fn', 'a function')
    checkReduce(reduce)
    this.#take('gauge', name)
    this.#gauges.set(name, { source: new Source(read, (value) => valueOf(value, reduce), this.#times, (err) => { this.#faults.note('gauge', name, err) }), reduce })
  }

  histogram (name: string, options: HistogramOptions): void {
    checkCall(options, ['buckets', 'help'], invalidOption)
    const { buckets = BOUNDS, help = `Histogram ${name} of the application` } = options
    checkName('The name', name)
    const ascending = Array.isArray(buckets) && buckets.every((bound, index) => Number.isFinite(bound) && (index === 0 || bound > buckets[index - 1]))
    if (!ascending || buckets.length === 0 || buckets.length > MOST_BUCKETS) throw new FST_ERR_CLUSTER_METRICS_INVALID_ARGUMENT('buckets', `1 to ${MOST_BUCKETS} ascending numbers`)
    this.#take('histogram', name)
    this.#familyOf({ name, help: String(help).slice(0, 500), type: 'histogram', bounds: [...buckets], samples: [] })
  }

  observe (name: string, value: number, given: MetricLabels = {}): void {
    if (!Number.isFinite(value)) throw new FST_ERR_CLUSTER_METRICS_INVALID_ARGUMENT('value', 'a finite number')
    const labels = labelsOf(given)
    if (!this.#isKnown('histogram', name)) this.histogram(name, {})
    const family = this.#families.get(name)!
    const bounds = family.bounds!
    const values = this.#sampleOf(family, labels, bounds.length + 2)
    const bucket = bounds.findIndex((bound) => value <= bound)
    values[0] = finite(values[0]! + value)
    values[bucket === -1 ? bounds.length + 1 : bucket + 1]! += 1
  }

  /** Waits for gauges that have never answered, at most `checkTimeoutMs`, and once for each. */
  async first (): Promise<void> {
    await Source.askAll([...this.#gauges.values()].map(({ source }) => source).filter(({ known }) => !known), this.#times.timeoutMs)
  }

  /** Asks all gauges, and waits for those that take time, at most `checkTimeoutMs`. */
  async refresh (): Promise<void> {
    await Source.askAll([...this.#gauges.values()].map(({ source }) => source), this.#times.timeoutMs)
  }

  /** A gauge that throws, or has no JSON form, has no value now; one that takes time has its last one, for `ttlMs` at most. */
  readGauges (): GaugeValues {
    const values: GaugeValues = {}
    for (const [name, { source, reduce }] of this.#gauges) {
      source.ask()
      if (source.last !== null) values[name] = [reduce, source.last]
    }
    return values
  }

  /** Every name of a series that Prometheus sees of these. */
  names (): ReadonlySet<string> {
    return new Set(this.#taken.keys())
  }

  /** Counters with labels, and histograms. */
  families (): Family[] {
    return [...this.#families.values()].filter(({ samples }) => samples.length > 0).map(({ byLabels: _, others: __, ...family }) => family)
  }

  #familyOf (family: Family): OwnFamily {
    const known = this.#families.get(family.name)
    if (known !== undefined) return known
    const made = { ...family, byLabels: new Map<string, number[]>(), others: [] }
    this.#families.set(family.name, made)
    return made
  }

  #sampleOf (family: OwnFamily, labels: Labels, length: number): number[] {
    const found = family.byLabels.get(keyOf(labels))
    if (found !== undefined) return found
    const hasRoom = this.#values + length <= MOST_VALUES && this.#labelText + keyOf(labels).length <= MOST_LABEL_TEXT
    if (hasRoom && family.samples.length < MOST_LABELS) return this.#newSample(family, labels, length)
    this.#faults.tellFull(family.name)
    const kept = Object.fromEntries(Object.keys(labels).map((name) => [name, '__other__']))
    const other = family.byLabels.get(keyOf(kept))
    if (other !== undefined) return other
    // One is there for each metric, however full the rest is.
    if (family.others.length > 0 && (!hasRoom || family.others.length >= MOST_OTHERS)) return family.others[0]!
    const made = this.#newSample(family, kept, length)
    family.others.push(made)
    return made
  }

  #newSample (family: OwnFamily, labels: Labels, length: number): number[] {
    const values = new Array<number>(length).fill(0)
    const key = keyOf(labels)
    family.byLabels.set(key, values)
    family.samples.push([labels, values])
    this.#values += length
    this.#labelText += key.length
    return values
  }

  #isKnown (kind: Kind, name: string): boolean {
    const known = this.#taken.get(exposedAs(kind, String(name))[0]!)
    return known?.kind === kind && known.name === name
  }

  /** Two names that Prometheus would see as one are an error: one of them would be missing. */
  #take (kind: Kind, name: string): void {
    checkName('The name', name)
    const exposed = exposedAs(kind, name)
    for (const one of exposed) {
      const taken = this.#taken.get(one)
      if (taken !== undefined) throw new FST_ERR_CLUSTER_METRICS_DUPLICATE(taken.kind, taken.name)
      if (isOurs(one)) throw new FST_ERR_CLUSTER_METRICS_DUPLICATE('metric of the plugin itself', one)
    }
    if (this.#count >= MOST) throw new FST_ERR_CLUSTER_METRICS_TOO_MANY('counters, gauges and histograms', MOST)
    this.#count++
    for (const one of exposed) this.#taken.set(one, { kind, name })
  }
}

function valueOf (given: unknown, reduce: Reduce): unknown {
  const value = plain(given)
  checkValue('a gauge', reduce, value)
  return redactJson(value)
}

/** The names of the series that Prometheus sees, and the bare one of a counter, which the document has. */
function exposedAs (kind: Kind, name: string): string[] {
  if (kind === 'gauge') return [name]
  if (kind === 'counter') return [...new Set([counterName(name), name])]
  return [name, ...['_bucket', '_sum', '_count'].map((suffix) => name + suffix)]
}
