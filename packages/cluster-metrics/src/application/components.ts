import { FST_ERR_CLUSTER_METRICS_DUPLICATE, FST_ERR_CLUSTER_METRICS_INVALID_ARGUMENT, FST_ERR_CLUSTER_METRICS_TOO_MANY } from '../errors.ts'
import { redactJson, type Faults } from '../failures/index.ts'
import { checkReduce, checkValue, type Reduce } from '../formats/index.ts'
import { checkName } from './names.ts'
import { plain, Source, type SourceTimes } from './source.ts'

/** Fields of one component, by name. */
export type Fields = Record<string, unknown>

/** Fields of a component and how to reduce them; fields without a way are shown per instance only. */
export interface ComponentReport {
  fields: Fields
  reduce: Record<string, Reduce>
}

/** Returns the fields of a component, null where it is not there now. */
export type Provider = () => Fields | null | Promise<Fields | null>

const MOST = 50
const MAX_BYTES = 16_384

/** What the parts of the application say about themselves. */
export class Components {
  readonly #providers = new Map<string, { source: Source<Fields>, reduce: Record<string, Reduce> }>()
  readonly #faults: Faults
  readonly #times: SourceTimes

  constructor (times: SourceTimes, faults: Faults) {
    this.#times = times
    this.#faults = faults
  }

  add (name: string, read: Provider, reduce: Record<string, Reduce>): void {
    checkName('The component', name)
    if (typeof read !== 'function') throw new FST_ERR_CLUSTER_METRICS_INVALID_ARGUMENT('fn', 'a function')
    for (const way of Object.values(reduce)) checkReduce(way)
    if (this.#providers.has(name)) throw new FST_ERR_CLUSTER_METRICS_DUPLICATE('component', name)
    if (this.#providers.size >= MOST) throw new FST_ERR_CLUSTER_METRICS_TOO_MANY('components', MOST)
    const note = (err: unknown) => { this.#faults.note('component', name, err) }
    const take = (fields: unknown) => fields === null ? null : checked(redactJson(plain(fields)), reduce, note)
    this.#providers.set(name, { source: new Source(read, take, this.#times, note), reduce: { ...reduce } })
  }

  /** Asks all providers; one that hangs keeps its last fields, for `ttlMs` at most. */
  refresh (): Promise<void> {
    return Source.askAll([...this.#providers.values()].map(({ source }) => source), this.#times.timeoutMs)
  }

  /** What they said last. */
  read (): Record<string, ComponentReport> {
    const report: Record<string, ComponentReport> = {}
    for (const [name, { source: { last }, reduce }] of this.#providers) if (last !== null) report[name] = { fields: last, reduce }
    return report
  }
}

/** @param onFault gets why a field is left out */
function checked (fields: unknown, reduce: Record<string, Reduce>, onFault: (err: unknown) => void): Fields {
  if (typeof fields !== 'object' || fields === null || Array.isArray(fields)) throw new TypeError('a provider returns an object of fields')
  if (JSON.stringify(fields).length > MAX_BYTES) throw new RangeError(`the fields of a component are longer than ${MAX_BYTES} characters`)
  return Object.fromEntries(Object.entries(fields).filter(([field, value]) => {
    const way = Object.hasOwn(reduce, field) ? reduce[field] : undefined
    try {
      if (way !== undefined) checkValue(`the field ${field} of a component`, way, value)
      return true
    } catch (err) {
      onFault(err)
      return false
    }
  }))
}
