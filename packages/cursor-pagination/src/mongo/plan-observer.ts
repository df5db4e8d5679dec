import type { FastifyBaseLogger } from 'fastify'
import type { Collation } from '../bson/index.ts'
import type { SortField } from '../order/index.ts'
import type { Clause } from './intervals.ts'
import { indexFor } from './suggest-index.ts'

/** What one interval of the order cost. */
export interface IntervalRead {
  /** The condition that was put beside the filter; empty for the beginning of the order. */
  interval: Clause
  /** Rows that it gave. */
  rows: number
  /** Keys of an index that the server examined; undefined where it does not say. */
  keys?: number
  /** Documents that the server examined; undefined where it does not say. */
  documents?: number
}

/** The part of a query that decides its plan. */
interface Shape {
  filter: object
  fields: readonly SortField[]
  collation: Collation | undefined
}

/** Shapes remembered, so that filters with names made of data cannot fill the memory. */
const MAX_SHAPES = 1000

/**
 * The development aid behind `explain: true`: has each interval explained, says what it read, and warns once per shape of
 * query where the plan will not scale. It never fails a page.
 */
export class PlanObserver {
  readonly #log: FastifyBaseLogger
  readonly #seen = new Set<string>()

  constructor (log: FastifyBaseLogger) {
    this.#log = log
  }

  async observe (namespace: string, { filter, fields, collation }: Shape, explain: () => Promise<unknown>): Promise<Pick<IntervalRead, 'keys' | 'documents'>> {
    const index = indexFor(filter, fields, collation)
    try {
      const explained = await explain()
      const problem = problemOf(explained)
      if (problem !== undefined && this.#isNew(JSON.stringify([namespace, index]))) {
        this.#log.warn({ namespace, problem, index }, `${problem}; create the index ${JSON.stringify(index.key)} on ${namespace}`)
      }
      return readsOf(explained)
    } catch (err) {
      this.#log.debug({ err, namespace }, 'the server did not explain the query')
      return {}
    }
  }

  /** Says once per pipeline which of its stages each page runs for the whole result. */
  whole (namespace: string, stages: readonly string[]): void {
    if (stages.length === 0 || !this.#isNew(JSON.stringify([namespace, stages]))) return
    this.#log.warn({ namespace, stages }, `each page of this pipeline on ${namespace} computes ${stages.join(', ')} for the whole result; what only its rows need belongs into the option "page"`)
  }

  #isNew (shape: string): boolean {
    if (this.#seen.has(shape) || this.#seen.size >= MAX_SHAPES) return false
    this.#seen.add(shape)
    return true
  }
}

/** What is wrong with an explained plan of MongoDB; undefined for a good one, and for a plan of unknown form. */
export function problemOf (explained: unknown): string | undefined {
  const stages = new Set(valuesOf(explained, 'winningPlan').flatMap((plan) => valuesOf(plan, 'stage')))
  if (stages.has('COLLSCAN')) return 'the query scans the whole collection'
  if (stages.has('SORT')) return 'the query sorts in memory'
  return undefined
}

/** What an explained execution examined. */
function readsOf (explained: unknown): Pick<IntervalRead, 'keys' | 'documents'> {
  const [stats] = valuesOf(explained, 'executionStats')
  const { totalKeysExamined: keys, totalDocsExamined: documents } = (stats ?? {}) as { totalKeysExamined?: unknown, totalDocsExamined?: unknown }
  return { ...(keys === undefined ? {} : { keys: Number(keys) }), ...(documents === undefined ? {} : { documents: Number(documents) }) }
}

/** All values of a name, wherever they stand: plans are nested, and a sharded, slot-based or piped one wraps them. */
function valuesOf (node: unknown, name: string): unknown[] {
  if (typeof node !== 'object' || node === null) return []
  return Object.entries(node).flatMap(([key, value]) => key === name ? [value] : key === 'rejectedPlans' ? [] : valuesOf(value, name))
}
