import type { FastifyBaseLogger } from 'fastify'
import { FST_ERR_CLUSTER_METRICS_DUPLICATE, FST_ERR_CLUSTER_METRICS_INVALID_ARGUMENT, FST_ERR_CLUSTER_METRICS_TOO_MANY } from '../errors.ts'
import { checkReduce, type Reduce } from '../formats/index.ts'
import { plain } from './custom.ts'
import { checkName } from './names.ts'

/** Fields of one component, by name. */
export type Fields = Record<string, unknown>

/** Fields of a component and how to reduce them; fields without a way are shown per instance only. */
export interface ComponentReport {
  fields: Fields
  reduce: Record<string, Reduce>
}

/** Returns the fields of a component, null where it is not there now. */
export type Provider = () => Fields | null | Promise<Fields | null>

interface Registered {
  read: Provider
  reduce: Record<string, Reduce>
  running: Promise<void> | null
  last: Fields | null
}

const MOST = 50
const MAX_BYTES = 16_384

/** What the parts of the application say about themselves. */
export class Components {
  readonly #providers = new Map<string, Registered>()
  readonly #log: FastifyBaseLogger
  readonly #timeoutMs: number

  constructor (timeoutMs: number, log: FastifyBaseLogger) {
    this.#timeoutMs = timeoutMs
    this.#log = log
  }

  add (name: string, read: Provider, reduce: Record<string, Reduce>): void {
    checkName('The component', name)
    if (typeof read !== 'function') throw new FST_ERR_CLUSTER_METRICS_INVALID_ARGUMENT('fn', 'a function')
    for (const way of Object.values(reduce)) checkReduce(way)
    if (this.#providers.has(name)) throw new FST_ERR_CLUSTER_METRICS_DUPLICATE('component', name)
    if (this.#providers.size >= MOST) throw new FST_ERR_CLUSTER_METRICS_TOO_MANY('components', MOST)
    this.#providers.set(name, { read, reduce: { ...reduce }, running: null, last: null })
  }

  /** Asks all providers; one that hangs keeps its last fields and is not asked again before it is done. */
  async refresh (): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    const time = new Promise((resolve) => { timer = setTimeout(resolve, this.#timeoutMs) })
    const asked = [...this.#providers].map(([name, provider]) => (provider.running ??= this.#ask(name, provider)))
    await Promise.race([Promise.all(asked), time])
    clearTimeout(timer)
  }

  /** What they said last. */
  read (): Record<string, ComponentReport> {
    const report: Record<string, ComponentReport> = {}
    for (const [name, { last, reduce }] of this.#providers) if (last !== null) report[name] = { fields: last, reduce }
    return report
  }

  async #ask (name: string, provider: Registered): Promise<void> {
    try {
      const fields = await provider.read()
      provider.last = fields === null ? null : checked(plain(fields))
    } catch (err) {
      provider.last = null
      this.#log.warn({ err, component: name }, 'a component could not be read')
    } finally {
      provider.running = null
    }
  }
}

function checked (fields: unknown): Fields {
  if (typeof fields !== 'object' || fields === null || Array.isArray(fields)) throw new TypeError('a provider returns an object of fields')
  if (JSON.stringify(fields).length > MAX_BYTES) throw new RangeError(`the fields of a component are longer than ${MAX_BYTES} characters`)
  return fields as Fields
}
