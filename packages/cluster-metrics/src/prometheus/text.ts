/** One line of a family: suffix of its name, labels, value. */
export type Sample = [suffix: string, labels: Record<string, string>, value: number]

/** Metrics of one name. */
export interface Family {
  name: string
  help: string
  type: 'counter' | 'gauge' | 'histogram'
  samples: Sample[]
}

/** Writes families in Prometheus' text format, version 0.0.4; those without a sample are left out. */
export function exposition (families: readonly Family[]): string {
  return families.filter(({ samples }) => samples.length > 0).map(({ name, help, type, samples }) => [
    `# HELP ${name} ${help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}`,
    `# TYPE ${name} ${type}`,
    ...samples.map(([suffix, labels, value]) => `${name}${suffix}${labelsOf(labels)} ${numberOf(value)}`)
  ].join('\n') + '\n').join('')
}

function labelsOf (labels: Record<string, string>): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escape(value)}"`)
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`
}

function escape (value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
}

function numberOf (value: number): string {
  if (Number.isNaN(value)) return 'NaN'
  if (!Number.isFinite(value)) return value > 0 ? '+Inf' : '-Inf'
  return String(value)
}
