import { isPlain } from '@jpulse/plugin-kit'
import { FST_ERR_CLUSTER_METRICS_INVALID_ARGUMENT, FST_ERR_CLUSTER_METRICS_INVALID_NAME, FST_ERR_CLUSTER_METRICS_INVALID_OPTION } from '../errors.ts'
import { redact } from '../failures/index.ts'
import { fit, type Labels } from '../formats/index.ts'

/** Labels of a metric of the application. One without a value, or with an empty one, is none, as for Prometheus. */
export type MetricLabels = Readonly<Record<string, string | number | boolean | null | undefined>>

const NAME = /^[a-zA-Z_][a-zA-Z0-9_]{0,63}$/
const MOST_LABELS = 20

/** The error of an option of a call. */
export const invalidOption = (option: string, problem: string): Error => new FST_ERR_CLUSTER_METRICS_INVALID_OPTION(option, problem)

/** Names go into Redis keys and into Prometheus' text, so they are what both take as it is. @throws FST_ERR_CLUSTER_METRICS_INVALID_NAME */
export function checkName (what: string, name: unknown): asserts name is string {
  if (typeof name !== 'string' || !NAME.test(name) || name === '__proto__') {
    throw new FST_ERR_CLUSTER_METRICS_INVALID_NAME(what, '1 to 64 letters, digits and _, and not begin with a digit')
  }
}

/** Labels as Prometheus takes them, without secrets. @throws FST_ERR_CLUSTER_METRICS_INVALID_NAME, _INVALID_ARGUMENT */
export function labelsOf (given: MetricLabels): Labels {
  const entries = Object.entries(given ?? {})
  // Of a Map they would all be lost, and counted as one.
  if (entries.length === 0 && !(typeof given === 'object' && given !== null && isPlain(given))) throw new FST_ERR_CLUSTER_METRICS_INVALID_ARGUMENT('labels', 'an object of names and values')
  if (entries.length > MOST_LABELS) throw new FST_ERR_CLUSTER_METRICS_INVALID_ARGUMENT('labels', `at most ${MOST_LABELS} labels`)
  return Object.fromEntries(entries.flatMap(([name, value]) => {
    checkName('The label', name)
    if (name.startsWith('__') || name === 'le' || name === 'quantile') throw new FST_ERR_CLUSTER_METRICS_INVALID_NAME('The label', 'another one: Prometheus uses it itself')
    if (value === undefined || value === null || value === '') return []
    if (!['string', 'number', 'boolean'].includes(typeof value)) throw new FST_ERR_CLUSTER_METRICS_INVALID_ARGUMENT(`The label ${name}`, 'a string, number or boolean')
    return [[name, safeLabel(String(value))]]
  }))
}

const safe = new Map<string, string>()

/** A label value without secrets, as long as readers take. Values come again and again, so the last ones are known. */
export function safeLabel (value: string): string {
  const known = safe.get(value)
  if (known !== undefined) return known
  if (safe.size > 5000) safe.clear()
  const made = fit(redact(value))
  safe.set(value, made)
  return made
}
