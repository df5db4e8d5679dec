import { InvalidOptionsError } from '../errors.ts'
import { documentsOf, inDialect, withCondition, type Clause, type Dialect, type DriverCollection } from '../mongo/index.ts'
import type { Query } from './source.ts'
import { ServerSource, type Asked, type DriverOptions } from './server.ts'

/** Stages that yield a row as soon as they have read one: behind any other, each read computes the whole result. */
const STREAMING = new Set(['$match', '$project', '$addFields', '$set', '$unset', '$unwind', '$lookup', '$replaceRoot', '$replaceWith', '$redact'])

/** Stages that MongoDB takes at the beginning of a pipeline only, where a filter has no place before them. */
const FIRST = new Set(['$geoNear', '$search', '$vectorSearch', '$collStats', '$indexStats', '$planCacheStats', '$documents'])

/** What an aggregation pipeline yields. */
export class PipelineSource extends ServerSource {
  readonly stages: readonly object[]

  constructor (collection: DriverCollection, stages: readonly object[], query: Query, driver: DriverOptions) {
    refuseWrites(stages)
    super(collection, query, driver)
    this.stages = stages
  }

  /** The stages that are run for the whole result on each page. */
  get blocking (): string[] {
    return this.stages.flatMap((stage) => Object.keys(stage)).filter((name) => !STREAMING.has(name))
  }

  protected override queriesOf (intervals: Clause[]): Clause[] {
    return this.blocking.length === 0 || intervals.length < 2 ? intervals : [{ $or: intervals }]
  }

  protected ask ({ interval, sort, limit, skip }: Asked, dialect: Dialect) {
    const { server } = this.query.projection
    // The filter stands before the stages, the position after them: it is one of what they yield.
    const stages = [
      ...(Object.keys(interval).length === 0 ? [] : [{ $match: withCondition({}, interval, dialect) }]),
      { $sort: new Map(sort) },
      ...(skip ? [{ $skip: skip }] : []),
      { $limit: limit },
      ...(server === undefined ? [] : [{ $project: server }])
    ]
    const run = () => this.#run(stages, this.query.filter, dialect)
    return { documents: () => documentsOf(run()), explain: () => run().explain('executionStats') }
  }

  protected aggregate (stages: object[], filter: Record<string, unknown>, dialect: Dialect): Promise<object[]> {
    return documentsOf(this.#run(stages, filter, dialect))
  }

  async count (cap?: number): Promise<number> {
    const stages = [...(cap === undefined ? [] : [{ $limit: cap }]), { $group: { _id: null, count: { $sum: 1 } } }]
    const [counted] = await inDialect(this.collection, (dialect) => this.#run(stages, this.query.filter, dialect).toArray()) as Array<{ count?: unknown }>
    return Number(counted?.count ?? 0)
  }

  estimate (): Promise<undefined> {
    return Promise.resolve(undefined)
  }

  #run (more: object[], filter: Record<string, unknown>, dialect: Dialect) {
    return this.collection.aggregate([...filtered(this.stages, withCondition(filter, {}, dialect)), ...more], this.options())
  }
}

/** The stages with a filter before them, or where that is not allowed, as early as it is. */
function filtered (stages: readonly object[], filter: Record<string, unknown>): object[] {
  const [first, ...rest] = stages as [{ $geoNear?: { query?: object } }?, ...object[]]
  if (Object.keys(filter).length === 0) return [...stages]
  if (first === undefined || !Object.keys(first).some((name) => FIRST.has(name))) return [{ $match: filter }, ...stages]
  if (first.$geoNear === undefined) return [first, { $match: filter }, ...rest]
  const { query } = first.$geoNear
  return [{ $geoNear: { ...first.$geoNear, query: query === undefined ? filter : { $and: [query, filter] } } }, ...rest]
}

function refuseWrites (stages: unknown): void {
  if (!Array.isArray(stages)) throw new InvalidOptionsError('the stages of a pipeline must be a list')
  for (const stage of stages) {
    if (typeof stage !== 'object' || stage === null) throw new InvalidOptionsError('a stage of a pipeline must be an object')
    if ('$out' in stage || '$merge' in stage) throw new InvalidOptionsError('a pipeline that writes ($out, $merge) has no pages')
  }
}
