import { keyOf, type Exemplar, type Labels } from '../formats/index.ts'

/** One line of a family: suffix of its name, labels, value. */
export type Sample = [suffix: string, labels: Labels, value: number]

/** Metrics of one name. */
export interface TextFamily {
  name: string
  help: string
  type: 'counter' | 'gauge' | 'histogram' | 'summary'
  samples: Sample[]
  /** Whether Prometheus' own labels are renamed in it. */
  isExported?: boolean
}

/** Labels of the scraped target. With `honor_labels`, which `scope=cluster` needs, a metric's own would take their place. */
export const TARGET_LABELS = ['instance', 'job'] as const

/** Labels with the given names put behind `exported_`, as Prometheus does it without `honor_labels`. */
export function exported (labels: Labels, names: readonly string[]): Labels {
  if (!names.some((name) => labels[name] !== undefined)) return labels
  return Object.fromEntries(Object.entries(labels).map(([name, value]) => {
    let free = name
    if (names.includes(name)) do free = `exported_${free}`; while (labels[free] !== undefined)
    return [free, value]
  }))
}

/** What a scraper can read: Prometheus' text 0.0.4, or OpenMetrics 1.0, which has exemplars. */
export type Format = 'prometheus' | 'openmetrics'

export const CONTENT_TYPES: Record<Format, string> = {
  prometheus: 'text/plain; version=0.0.4; charset=utf-8',
  openmetrics: 'application/openmetrics-text; version=1.0.0; charset=utf-8'
}

/** Writes families; those without a sample are left out. */
export function exposition (families: readonly TextFamily[], format: Format, exemplars: ReadonlyMap<string, Exemplar> = new Map()): string {
  const text = distinct(families.filter(({ samples }) => samples.length > 0), format).map((family) => familyText(family, format, exemplars)).join('')
  return format === 'openmetrics' ? `${text}# EOF\n` : text
}

const SUFFIXES = { counter: [''], gauge: [''], summary: ['', '_sum', '_count'], histogram: ['', '_bucket', '_sum', '_count'] } as const

/** The first family of each name: a scraper refuses all of a document in which two have a name in common, that of a series or, in OpenMetrics, of a family. */
function distinct (families: readonly TextFamily[], format: Format): TextFamily[] {
  const taken = new Set<string>()
  return families.filter(({ name, type }) => {
    const base = format === 'openmetrics' && type === 'counter' ? name.replace(/_total$/, '') : name
    const names = type === 'counter' && format === 'openmetrics' ? [base, `${base}_total`, `${base}_created`] : SUFFIXES[type].map((suffix) => base + suffix)
    if (names.some((one) => taken.has(one))) return false
    for (const one of names) taken.add(one)
    return true
  })
}

function familyText ({ name, help, type, samples, isExported = false }: TextFamily, format: Format, exemplars: ReadonlyMap<string, Exemplar>): string {
  const open = format === 'openmetrics'
  // In OpenMetrics a counter's name has no `_total`, and its series always has.
  const base = open && type === 'counter' ? name.replace(/_total$/, '') : name
  const escapedHelp = help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')
  const lines = samples.map(([suffix, labels, value]) => {
    const series = open && type === 'counter' ? `${base}_total` : name + suffix
    const exemplar = open && (suffix === '_bucket' || type === 'counter') ? exemplars.get(`${name}${suffix} ${keyOf(labels)}`) : undefined
    const tail = exemplar === undefined ? '' : ` # {${pairsOf(exemplar.labels)}} ${numberOf(exemplar.value)}${exemplar.timestamp === undefined ? '' : ` ${numberOf(exemplar.timestamp)}`}`
    const shown = isExported ? exported(labels, TARGET_LABELS) : labels
    return `${series}${labelsOf(open ? canonical(shown) : shown)} ${numberOf(value)}${tail}`
  })
  return [`# HELP ${base} ${open ? escapedHelp.replaceAll('"', '\\"') : escapedHelp}`, `# TYPE ${base} ${type}`, ...lines].join('\n') + '\n'
}

/** OpenMetrics has one way to write a bound: `1.0`, where Prometheus' text has `1` too. */
function canonical (labels: Labels): Labels {
  const { le, quantile } = labels
  if (le === undefined && quantile === undefined) return labels
  const written = (bound: string) => /^-?\d+$/.test(bound) ? `${bound}.0` : bound
  return { ...labels, ...(le === undefined ? {} : { le: written(le) }), ...(quantile === undefined ? {} : { quantile: written(quantile) }) }
}

function labelsOf (labels: Labels): string {
  const pairs = pairsOf(labels)
  return pairs === '' ? '' : `{${pairs}}`
}

function pairsOf (labels: Labels): string {
  return Object.entries(labels).map(([name, value]) => `${name}="${escape(value)}"`).join(',')
}

function escape (value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
}

function numberOf (value: number): string {
  if (Number.isNaN(value)) return 'NaN'
  if (!Number.isFinite(value)) return value > 0 ? '+Inf' : '-Inf'
  return String(value)
}
