import type { FastifyBaseLogger } from 'fastify'
import { FST_ERR_CLUSTER_METRICS_DUPLICATE, FST_ERR_CLUSTER_METRICS_INVALID_ARGUMENT, FST_ERR_CLUSTER_METRICS_TOO_MANY } from '../errors.ts'
import { checkReduce, type Reduce } from '../formats/index.ts'
import { checkName } from './names.ts'

/** Value and how to reduce it, by name. */
export type GaugeValues = Record<string, [reduce: Reduce, value: unknown]>

const MOST = 500

/** Counters and gauges of the application. */
export class CustomMetrics {
  readonly counters = new Map<string, number>()
  readonly #gauges = new Map<string, { read: () => unknown, reduce: Reduce }>()
  readonly #log: FastifyBaseLogger

  constructor (log: FastifyBaseLogger) {
    this.#log = log
  }

  increment (name: string, by: number): void {
    const known = this.counters.get(name)
    if (known === undefined) this.#checkNew('counter', name)
    if (!(by >= 0 && by <= Number.MAX_SAFE_INTEGER)) throw new FST_ERR_CLUSTER_METRICS_INVALID_ARGUMENT('by', 'a number from 0: what also falls is a gauge')
    this.counters.set(name, (known ?? 0) + by)
  }

  gauge (name: string, read: () => unknown, reduce: Reduce): void {
    this.#checkNew('gauge', name)
    if (typeof read !== 'function') throw new FST_ERR_CLUSTER_METRICS_INVALID_ARGUMENT('fn', 'a function')
    checkReduce(reduce)
    this.#gauges.set(name, { read, reduce })
  }

  /** A gauge that throws, or has no JSON form, has no value now. */
  readGauges (): GaugeValues {
    const values: GaugeValues = {}
    for (const [name, { read, reduce }] of this.#gauges) {
      try {
        values[name] = [reduce, plain(read())]
      } catch (err) {
        this.#log.warn({ err, gauge: name }, 'a gauge could not be read')
      }
    }
    return values
  }

  #checkNew (what: 'counter' | 'gauge', name: string): void {
    checkName('The name', name)
    if (this.#gauges.has(name) || this.counters.has(name)) throw new FST_ERR_CLUSTER_METRICS_DUPLICATE(this.#gauges.has(name) ? 'gauge' : 'counter', name)
    if (this.#gauges.size + this.counters.size >= MOST) throw new FST_ERR_CLUSTER_METRICS_TOO_MANY('counters and gauges', MOST)
  }
}

/** A copy that consists of JSON only. */
export function plain (value: unknown): unknown {
  return value === undefined ? null : JSON.parse(JSON.stringify(value) ?? 'null')
}
