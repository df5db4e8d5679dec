import type { Collection, CountDocumentsOptions, FindOptions, Hint } from 'mongodb'
import type { PageDriverOptions } from '../mongo/driver-options.ts'
import { InvalidOptionsError } from '../errors.ts'
import type { PlanObserver } from '../mongo/plan-observer.ts'
import { inDialect, rowsOf, serverQuery } from '../mongo/query.ts'
import { defined } from '../options.ts'
import type { Query, Row, Source, Stretch } from './source.ts'

/** What is passed on to the driver. */
export interface DriverOptions {
  hint?: Hint | undefined
  driverOptions?: PageDriverOptions | undefined
  /** Looks at the plan of each shape of query. */
  observer?: PlanObserver | undefined
}

/** Whether a value is a collection of the driver, of whichever copy of it. */
export function isCollection (value: unknown): value is Collection {
  const { find, namespace } = (value ?? {}) as Partial<Collection>
  return typeof find === 'function' && typeof namespace === 'string'
}

/** A collection of MongoDB. */
export class CollectionSource implements Source {
  readonly name: string
  readonly countsExactly = false
  readonly stages = []
  readonly #collection: Collection
  readonly #query: Query
  readonly #driver: DriverOptions

  constructor (collection: Collection, query: Query, driver: DriverOptions) {
    refuseKeyFunction(query)
    this.name = collection.namespace
    this.#collection = collection
    this.#query = query
    this.#driver = driver
  }

  async read (stretch: Stretch): Promise<Row[]> {
    const documents = await inDialect(this.#collection, async (dialect) => {
      const { filter, sort } = serverQuery(this.#query, stretch, dialect)
      const find = () => this.#collection.find(filter, {
        ...this.#options(),
        ...defined({ sort, limit: stretch.take, skip: stretch.skip, projection: this.#query.projection.server })
      })
      const found = await find().toArray()
      await this.#driver.observer?.observe(this.name, this.#query, () => find().explain('queryPlanner'))
      return found
    })
    return rowsOf(documents, this.#query)
  }

  count (cap?: number): Promise<number> {
    return this.#collection.countDocuments(this.#query.filter, { ...this.#options(), ...defined({ limit: cap }) } as CountDocumentsOptions)
  }

  async estimate (): Promise<number | undefined> {
    return Object.keys(this.#query.filter).length === 0 ? this.#collection.estimatedDocumentCount() : undefined
  }

  #options (): FindOptions {
    return { ...this.#driver.driverOptions, ...defined({ collation: this.#query.collation, hint: this.#driver.hint }) } as FindOptions
  }
}

/** A server knows fields only. */
export function refuseKeyFunction ({ keyOf }: Query): void {
  if (keyOf !== undefined) throw new InvalidOptionsError('"key" is a function, which only arrays take')
}
