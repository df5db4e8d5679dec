import type { Faults } from '../failures/index.ts'
import { isOurs, keyOf, LONGEST_TEXT, type Exemplar, type Family, type Gauges, type Labels } from '../formats/index.ts'
import { safeLabel } from './names.ts'
import { Source, type SourceTimes } from './source.ts'

/** What we need of prom-client's Registry, or of its successor's. */
export interface MetricsRegistry {
  getMetricsAsArray (): unknown[]
}

/** How the gauges of the instances become one. `omit`: not at `scope=cluster`. */
export type GaugeRule = 'sum' | 'avg' | 'min' | 'max' | 'first' | 'last' | 'instance' | 'omit'

/** What a registry says now. */
export interface Collected {
  /** Counters, histograms, and sum and count of summaries. */
  grows: Family[]
  gauges: Gauges[]
  /** Of summaries, by name: they cannot be merged. */
  quantiles: Map<string, Array<[labels: Labels, value: number]>>
  /** Names of metrics that have not answered, or answered with an error. */
  unknown: Set<string>
  /** By name of the series and labels. */
  exemplars: Map<string, Exemplar>
}

/** One metric as prom-client gives it. */
interface Metric {
  name: string
  help: string
  type: string
  aggregator: unknown
  values: Array<{ labels: Labels, value: number, metricName: string, exemplar: unknown }>
}

const RULES: Record<string, GaugeRule> = { sum: 'sum', average: 'avg', min: 'min', max: 'max', first: 'first', omit: 'omit' }
const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/
/** By OpenMetrics, in characters of names and values. */
const LONGEST_EXEMPLAR = 128
/** Ids of W3C's and of Zipkin's traces, which look as random as a secret does. */
const TRACE_NAME = /^(?:trace|span)[_-]?(?:id)?$/i
const TRACE_ID = /^(?:[0-9a-f]{16}|[0-9a-f]{32})$/i
const LABEL = /^[a-zA-Z_][a-zA-Z0-9_]*$/

/** Reads the application's own registries. A metric that throws or hangs is left out, and the others are read. */
export class Registries {
  readonly #registries: () => readonly MetricsRegistry[]
  readonly #rules: Readonly<Record<string, GaugeRule>>
  readonly #times: SourceTimes
  readonly #faults: Faults
  readonly #sources = new WeakMap<object, Source<Metric>>()

  constructor (registries: () => readonly MetricsRegistry[], gaugeRules: Readonly<Record<string, GaugeRule>>, times: SourceTimes, faults: Faults) {
    this.#registries = registries
    this.#rules = gaugeRules
    this.#times = times
    this.#faults = faults
  }

  /** What the registries say. @param taken names of series that others have; ours are taken anyway, since a name that comes twice makes a scrape invalid */
  async collect (taken: ReadonlySet<string>, timeoutMs = this.#times.timeoutMs): Promise<{ collected: Collected, leftOut: number }> {
    const sources = this.#registries().flatMap((registry) => this.#sourcesOf(registry))
    await Source.askAll(sources.map(([, source]) => source), timeoutMs)
    const collected: Collected = { grows: [], gauges: [], quantiles: new Map(), exemplars: new Map(), unknown: new Set() }
    const names = new Set<string>()
    let leftOut = 0
    for (const [name, source] of sources) {
      const metric = source.pending ? null : source.last
      if (metric === null) collected.unknown.add(name)
      if (!source.pending && source.isForeign) leftOut++
      if (metric === null) continue
      const series = [metric.name, ...metric.values.map(({ metricName }) => metricName)]
      if (names.has(metric.name) || series.some((name) => isOurs(name) || taken.has(name))) {
        leftOut++
        continue
      }
      names.add(metric.name)
      this.#take(metric, collected)
    }
    return { collected, leftOut }
  }

  #sourcesOf (registry: MetricsRegistry): Array<[name: string, source: Source<Metric>]> {
    try {
      const defaults = (registry as { _defaultLabels?: Labels })._defaultLabels ?? {}
      return registry.getMetricsAsArray().filter((metric): metric is { name?: unknown, get (): unknown } => typeof (metric as { get?: unknown } | null)?.get === 'function').map((metric) => {
        const known = this.#sources.get(metric)
        if (known !== undefined) return [String(metric.name), known]
        const source = new Source<Metric>(() => metric.get(), (value) => metricOf(value, defaults, (metric as { upperBounds?: unknown }).upperBounds), this.#times, (err) => { this.#faults.note('registry', String(metric.name), err) })
        this.#sources.set(metric, source)
        return [String(metric.name), source]
      })
    } catch (err) {
      this.#faults.note('registry', 'registry', err)
      return []
    }
  }

  #take (metric: Metric, { grows, gauges, quantiles, exemplars }: Collected): void {
    const { name, help, type, values } = metric
    if (type === 'gauge') {
      const rule = Object.hasOwn(this.#rules, name) ? this.#rules[name]! : RULES[String(metric.aggregator)] ?? 'sum'
      gauges.push({ name, help, rule: rule as Gauges['rule'], samples: distinct(values.map(({ labels, value }) => [labels, value]), (_before, value) => value) })
    } else if (type === 'counter') {
      grows.push({ name, help, type, samples: distinct(values.map(({ labels, value }) => [labels, value]), (before, value) => before + value).map(([labels, value]) => [labels, [value]]) })
    } else if (type === 'histogram') grows.push(histogramOf(metric))
    else if (type === 'summary') {
      grows.push(summaryOf(metric))
      quantiles.set(name, values.filter(({ labels }) => labels.quantile !== undefined).map(({ labels, value }) => [labels, value]))
    }
    for (const { exemplar, metricName, labels } of values) {
      const one = exemplar === undefined || exemplar === null ? null : exemplarOf(exemplar as Record<string, unknown>)
      if (one !== null) exemplars.set(`${metricName} ${keyOf(labels)}`, one)
    }
  }
}

/** Null where it is not a metric that Prometheus takes. @throws RangeError where a histogram counts wrongly by itself: prom-client takes any buckets */
function metricOf (given: unknown, defaults: Labels, bounds: unknown): Metric | null {
  if (Array.isArray(bounds) && bounds.some((bound, index) => index > 0 && !(bound > bounds[index - 1]))) throw new RangeError('buckets of a histogram ascend, each once')
  const { name, help, type, aggregator, values } = (given ?? {}) as Record<string, unknown>
  if (typeof name !== 'string' || name.length > LONGEST_TEXT || !NAME.test(name) || !Array.isArray(values)) return null
  return {
    name,
    help: String(help ?? ''),
    type: String(type),
    aggregator,
    values: (values as Array<Record<string, unknown>>).map(({ labels, sharedLabels, value, metricName, exemplar }) => ({
      labels: labelsOf({ ...sharedLabels as Labels, ...labels as Labels, ...defaults, ...sharedLabels as Labels, ...labels as Labels }),
      value: Number(value),
      metricName: typeof metricName === 'string' ? metricName : name,
      exemplar
    }))
  }
}

/** Bounds and quantiles are numbers that the histogram made; the rest may be anything. An empty label is none for Prometheus, and with it and without it a series would be there twice. */
function labelsOf (given: Record<string, unknown>): Labels {
  return Object.fromEntries(Object.entries(given).filter(([name, value]) => LABEL.test(name) && value !== undefined && value !== '')
    .map(([name, value]) => [name, name === 'le' || name === 'quantile' ? String(value) : safeLabel(String(value))]))
}

/** Values without a secret may be the same as others. */
function distinct (samples: Array<[Labels, number]>, merge: (before: number, value: number) => number): Array<[Labels, number]> {
  const byLabels = new Map<string, [Labels, number]>()
  for (const [labels, value] of samples) {
    const known = byLabels.get(keyOf(labels))
    if (known === undefined) byLabels.set(keyOf(labels), [labels, value])
    else known[1] = merge(known[1], value)
  }
  return [...byLabels.values()]
}

function histogramOf ({ name, help, values }: Metric): Family {
  const bounds = [...new Set(values.filter(({ metricName, labels }) => metricName === `${name}_bucket` && labels.le !== '+Inf').map(({ labels }) => Number(labels.le)))].filter(Number.isFinite).sort((a, b) => a - b)
  const samples = new Map<string, [Labels, { sum: number, cumulative: number[] }]>()
  for (const { metricName, labels: { le, ...labels }, value } of values) {
    const sample = samples.get(keyOf(labels)) ?? [labels, { sum: 0, cumulative: new Array<number>(bounds.length + 1).fill(0) }]
    samples.set(keyOf(labels), sample)
    if (metricName === `${name}_sum`) sample[1].sum += value
    else if (metricName === `${name}_bucket`) sample[1].cumulative[le === '+Inf' ? bounds.length : bounds.indexOf(Number(le))]! += value
  }
  return { name, help, type: 'histogram', bounds, samples: [...samples.values()].map(([labels, { sum, cumulative }]) => [labels, [sum, ...cumulative.map((count, index) => count - (cumulative[index - 1] ?? 0))]]) }
}

function summaryOf ({ name, help, values }: Metric): Family {
  const samples = new Map<string, [Labels, [sum: number, count: number]]>()
  for (const { metricName, labels: { quantile, ...labels }, value } of values) {
    if (quantile !== undefined) continue
    const sample = samples.get(keyOf(labels)) ?? [labels, [0, 0]]
    samples.set(keyOf(labels), sample)
    sample[1][metricName === `${name}_sum` ? 0 : 1] += value
  }
  return { name, help, type: 'summary', samples: [...samples.values()] }
}

/** Null where it is none: a scraper refuses all of a document with an exemplar that has no labels, or more than 128 characters of them. */
function exemplarOf ({ labelSet, value, timestamp }: Record<string, unknown>): Exemplar | null {
  const given = (labelSet ?? {}) as Labels
  const traced = Object.entries(given).filter(([name, id]) => TRACE_NAME.test(name) && TRACE_ID.test(String(id)))
  const labels = { ...labelsOf(given), ...Object.fromEntries(traced) }
  const length = Object.entries(labels).flat().reduce((sum, text) => sum + [...text].length, 0)
  if (length === 0 || length > LONGEST_EXEMPLAR || !Number.isFinite(Number(value))) return null
  return { labels, value: Number(value), timestamp: Number.isFinite(timestamp) ? timestamp as number : undefined }
}
