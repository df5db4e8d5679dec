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
        const cure = problem === LATE_SORT ? 'move the stages that only the rows of a page need into the option "page"' : `create the index ${JSON.stringify(index.key)} on ${namespace}`
        this.#log.warn({ namespace, problem, index }, `${problem}; ${cure}`)
      }
      return readsOf(explained)
    } catch (err) {
      if (this.#isNew(JSON.stringify([namespace, 'unexplained']))) this.#log.warn({ err, namespace }, `the server did not explain a query of ${namespace}, so "explain" tells nothing of its plan: see the error, or leave the option out`)
      return {}
    }
  }

  /** Says once per pipeline which of its stages each page runs for the whole result. */
  warnOfBlocking (namespace: string, stages: readonly string[]): void {
    if (stages.length === 0 || !this.#isNew(JSON.stringify([namespace, stages]))) return
    this.#log.warn({ namespace, stages }, `each page of this pipeline on ${namespace} computes ${stages.join(', ')} for the whole result; what only its rows need belongs into the option "page"`)
  }

  #isNew (shape: string): boolean {
    if (this.#seen.has(shape) || this.#seen.size >= MAX_SHAPES) return false
    this.#seen.add(shape)
    return true
  }
}

/** No index sorts what stages have made: MongoDB tells such a sort as a stage of its own, others as part of a plan. */
const LATE_SORT = 'the query sorts in memory what the stages of its pipeline yield'

/** What is wrong with an explained plan of MongoDB; undefined for a good one, and for a plan of unknown form. */
export function problemOf (explained: unknown): string | undefined {
  const names = new Set(valuesOf(explained, 'winningPlan').flatMap((plan) => valuesOf(plan, 'stage')))
  if (names.has('COLLSCAN')) return 'the query scans the whole collection'
  if (names.has('SORT')) return 'the query sorts in memory'
  return valuesOf(explained, 'stages').flat().some((stage) => isObject(stage) && '$sort' in stage) ? LATE_SORT : undefined
}

/**
 * What an explained execution examined: the sum of what its parts did, which are several where shards answer an aggregation
 * or a stage reads another collection.
 */
export function readsOf (explained: unknown): Pick<IntervalRead, 'keys' | 'documents'> {
  const totals = totalsOf(explained)
  const sum = (name: 'totalKeysExamined' | 'totalDocsExamined') => totals.reduce((sum, total) => sum + Number(total[name] ?? 0), 0)
  return totals.length === 0 ? {} : { keys: sum('totalKeysExamined'), documents: sum('totalDocsExamined') }
}

interface Totals {
  totalKeysExamined?: unknown
  totalDocsExamined?: unknown
}

/** The outermost totals of each part: what stands within them adds up to them already. */
function totalsOf (node: unknown): Totals[] {
  if (!isObject(node)) return []
  if ('totalKeysExamined' in node || 'totalDocsExamined' in node) return [node]
  return Object.entries(node).flatMap(([key, value]) => PLANS_NOT_TAKEN.has(key) ? [] : totalsOf(value))
}

const PLANS_NOT_TAKEN = new Set(['rejectedPlans', 'allPlansExecution'])

const isObject = (value: unknown) => typeof value === 'object' && value !== null

/** All values of a name, wherever they stand: plans are nested, and a sharded, slot-based or piped one wraps them. */
function valuesOf (node: unknown, name: string): unknown[] {
  if (!isObject(node)) return []
  return Object.entries(node).flatMap(([key, value]) => key === name ? [value] : PLANS_NOT_TAKEN.has(key) ? [] : valuesOf(value, name))
}
