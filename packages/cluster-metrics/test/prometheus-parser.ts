/** One line of Prometheus' text. */
export interface Line {
  name: string
  labels: Record<string, string>
  value: number
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*/
const VALUE = /^(?:[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?|[+-]?Inf|NaN)$/i
const SUFFIXES = { histogram: ['_bucket', '_sum', '_count'], summary: ['', '_sum', '_count'], counter: [''], gauge: [''], untyped: [''] } as const

/**
 * Parses text format 0.0.4 as strictly as its specification is: throws at the first line that a scraper might refuse.
 * Also what promtool complains about: samples before their TYPE, families in two pieces, series that come twice,
 * counters without `_total`, histograms whose buckets do not ascend or do not end in +Inf.
 */
export function parsePrometheus (text: string): Map<string, { type: string, help: string, lines: Line[] }> {
  if (!text.endsWith('\n')) throw new Error('the last line does not end')
  const families = new Map<string, { type: string, help: string, lines: Line[] }>()
  const helped = new Map<string, string>()
  const seen = new Set<string>()
  let present = ''
  for (const line of text.slice(0, -1).split('\n')) {
    if (line === '') continue
    const [, what, about = '', rest = ''] = /^# (HELP|TYPE) (\S+) ?(.*)$/.exec(line) ?? []
    if (what === 'HELP') {
      if (helped.has(about)) throw new Error(`second HELP: ${line}`)
      helped.set(about, rest)
    } else if (what === 'TYPE') {
      if (families.has(about) || NAME.exec(about)?.[0] !== about || !Object.hasOwn(SUFFIXES, rest)) throw new Error(`bad TYPE: ${line}`)
      families.set(present = about, { type: rest, help: helped.get(about) ?? '', lines: [] })
    } else if (line.startsWith('#')) {
      throw new Error(`neither HELP nor TYPE: ${line}`)
    } else {
      const sample = parseSample(line)
      const family = families.get(present)
      const suffixes: readonly string[] = SUFFIXES[family?.type as keyof typeof SUFFIXES] ?? []
      if (!suffixes.some((suffix) => sample.name === present + suffix)) throw new Error(`not of the family ${present}: ${line}`)
      const identity = JSON.stringify([sample.name, Object.entries(sample.labels).sort()])
      if (seen.has(identity)) throw new Error(`second time: ${line}`)
      seen.add(identity)
      family!.lines.push(sample)
    }
  }
  for (const [name, { type, lines }] of families) {
    if (!helped.has(name)) throw new Error(`no HELP: ${name}`)
    if (type === 'counter' && !name.endsWith('_total')) throw new Error(`counter without _total: ${name}`)
    if (type === 'counter' && lines.some(({ value }) => !(value >= 0))) throw new Error(`negative counter: ${name}`)
    if (type === 'histogram') checkHistogram(name, lines)
  }
  return families
}

function parseSample (line: string): Line {
  const name = NAME.exec(line)?.[0]
  if (name === undefined) throw new Error(`no name: ${line}`)
  const labels: Record<string, string> = {}
  let rest = line.slice(name.length)
  if (rest.startsWith('{')) {
    rest = rest.slice(1)
    while (!rest.startsWith('}')) {
      const [whole, label, escaped] = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)",?/.exec(rest) ?? []
      if (whole === undefined || Object.hasOwn(labels, label!)) throw new Error(`bad labels: ${line}`)
      labels[label!] = escaped!.replace(/\\(.)/g, (_, char: string) => char === 'n' ? '\n' : char)
      rest = rest.slice(whole.length)
    }
    rest = rest.slice(1)
  }
  const value = rest.slice(1)
  if (rest[0] !== ' ' || !VALUE.test(value)) throw new Error(`bad value: ${line}`)
  return { name, labels, value: Number(value.replace(/inf/i, 'Infinity')) }
}

function checkHistogram (name: string, lines: Line[]): void {
  const series = new Map<string, { buckets: Array<[le: number, count: number]>, sum?: number, count?: number }>()
  for (const line of lines) {
    const { le, ...labels } = line.labels
    const key = JSON.stringify(Object.entries(labels).sort())
    const one = series.get(key) ?? { buckets: [] }
    if (line.name === `${name}_bucket`) one.buckets.push([Number(le!.replace('Inf', 'Infinity')), line.value])
    if (line.name === `${name}_sum`) one.sum = line.value
    if (line.name === `${name}_count`) one.count = line.value
    series.set(key, one)
  }
  for (const [key, { buckets, sum, count }] of series) {
    const ascending = buckets.every(([le, value], index) => index === 0 || (le > buckets[index - 1]![0] && value >= buckets[index - 1]![1]))
    const [le, total] = buckets.at(-1) ?? []
    if (!ascending || le !== Infinity || total !== count || !Number.isFinite(sum)) throw new Error(`bad histogram ${name} ${key}`)
  }
}
