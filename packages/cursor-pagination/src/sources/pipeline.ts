import type { AggregateOptions, Collection, Document } from 'mongodb'
import { refuseKeyFunction, type DriverOptions } from './collection.ts'
import { InvalidOptionsError } from '../errors.ts'
import { inDialect, rowsOf, serverQuery } from '../mongo/query.ts'
import { defined } from '../options.ts'
import type { Query, Row, Source, Stretch } from './source.ts'

/** What an aggregation pipeline yields. */
export class PipelineSource implements Source {
  readonly name: string
  readonly countsExactly = false
  readonly stages: readonly Document[]
  readonly #collection: Collection
  readonly #query: Query
  readonly #driver: DriverOptions

  constructor (collection: Collection, stages: readonly Document[], query: Query, driver: DriverOptions) {
    refuseKeyFunction(query)
    refuseWrites(stages)
    this.name = collection.namespace
    this.stages = stages
    this.#collection = collection
    this.#query = query
    this.#driver = driver
  }

  async read (stretch: Stretch): Promise<Row[]> {
    const documents = await inDialect(this.#collection, (dialect) => {
      // The filter stands before the stages, the position after them: it is one of what they yield.
      const { filter, sort } = serverQuery({ ...this.#query, filter: {} }, stretch, dialect)
      const { server } = this.#query.projection
      return this.#aggregate([
        ...(stretch.position === undefined ? [] : [{ $match: filter }]),
        { $sort: new Map(sort) },
        ...(stretch.skip ? [{ $skip: stretch.skip }] : []),
        { $limit: stretch.take },
        ...(server === undefined ? [] : [{ $project: server }])
      ])
    })
    return rowsOf(documents, this.#query)
  }

  async count (cap?: number): Promise<number> {
    const [counted] = await this.#aggregate([...(cap === undefined ? [] : [{ $limit: cap }]), { $group: { _id: null, count: { $sum: 1 } } }])
    return Number(counted?.['count'] ?? 0)
  }

  estimate (): Promise<undefined> {
    return Promise.resolve(undefined)
  }

  #aggregate (more: Document[]): Promise<Document[]> {
    const { filter, collation } = this.#query
    const first = Object.keys(filter).length === 0 ? [] : [{ $match: filter }]
    const options = { ...this.#driver.driverOptions, ...defined({ collation, hint: this.#driver.hint }) } as AggregateOptions
    return this.#collection.aggregate([...first, ...this.stages, ...more], options).toArray()
  }
}

function refuseWrites (stages: unknown): void {
  if (!Array.isArray(stages)) throw new InvalidOptionsError('the stages of a pipeline must be a list')
  for (const stage of stages) {
    if (typeof stage !== 'object' || stage === null) throw new InvalidOptionsError('a stage of a pipeline must be an object')
    if ('$out' in stage || '$merge' in stage) throw new InvalidOptionsError('a pipeline that writes ($out, $merge) has no pages')
  }
}
