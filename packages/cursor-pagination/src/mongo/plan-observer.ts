import type { FastifyBaseLogger } from 'fastify'
import type { Query } from '../sources/source.ts'
import { indexFor } from './suggest-index.ts'

/** Shapes remembered, so that filters with names made of data cannot fill the memory. */
const MAX_SHAPES = 1000

/**
 * The development aid behind `explain: true`: asks for the plan of each shape of query once and warns where it will not
 * scale. It never fails a page.
 */
export class PlanObserver {
  readonly #log: FastifyBaseLogger
  readonly #seen = new Set<string>()

  constructor (log: FastifyBaseLogger) {
    this.#log = log
  }

  async observe (namespace: string, { filter, fields, collation }: Query, explain: () => Promise<unknown>): Promise<void> {
    const index = indexFor(filter, fields, collation)
    const shape = JSON.stringify([namespace, index])
    if (this.#seen.has(shape) || this.#seen.size >= MAX_SHAPES) return
    this.#seen.add(shape)
    try {
      const problem = problemOf(await explain())
      if (problem !== undefined) this.#log.warn({ namespace, problem, index }, `${problem}; create the index ${JSON.stringify(index.key)} on ${namespace}`)
    } catch (err) {
      this.#log.debug({ err, namespace }, 'the server did not explain the query')
    }
  }
}

/** What is wrong with an explained plan of MongoDB; undefined for a good one, and for a plan of unknown form. */
export function problemOf (explained: unknown): string | undefined {
  const planner = (explained as { queryPlanner?: { winningPlan?: object } } | null)?.queryPlanner
  const stages = new Set(stagesOf(planner?.winningPlan))
  if (stages.has('COLLSCAN')) return 'the query scans the whole collection'
  if (stages.has('SORT')) return 'the query sorts in memory'
  return undefined
}

/** The names of all stages of a plan: they are nested, and a sharded or slot-based plan wraps them. */
function stagesOf (plan: unknown): string[] {
  if (typeof plan !== 'object' || plan === null) return []
  const { stage } = plan as { stage?: unknown }
  return [...(typeof stage === 'string' ? [stage] : []), ...Object.values(plan).flatMap(stagesOf)]
}
