import { inVersion } from '../bson/index.ts'
import { InvalidKeyError, InvalidOptionsError } from '../errors.ts'
import { asClientDecodes, LOSSLESS, inDialect, intervalsAfter, type Clause, type Dialect, type DriverCollection, type IntervalRead, type PageDriverOptions, type PlanObserver } from '../mongo/index.ts'
import { readerOf, reversed } from '../order/index.ts'
import { digestOf } from '../cursor/index.ts'
import type { Query, Row, Source, Stretch } from './source.ts'

/** What is passed on to the driver. */
export interface DriverOptions {
  hint?: string | object | undefined
  driverOptions?: PageDriverOptions | undefined
  /** Explains every interval that is read. */
  observer?: PlanObserver | undefined
}

/** One question to the server: an interval of the order, in its order. */
export interface Asked {
  interval: Clause
  sort: Array<[field: string, direction: 1 | -1]>
  limit: number
  skip: number | undefined
}

/** What collections and pipelines do the same way: reading interval by interval, decoding, hiding what was fetched for the order only. */
export abstract class ServerSource implements Source {
  readonly name: string
  readonly countsExactly = false
  readonly reads: IntervalRead[] | undefined
  abstract readonly stages: readonly object[]
  protected readonly collection: DriverCollection
  protected readonly query: Query
  readonly #driver: DriverOptions
  readonly #decode: <T extends object>(document: T) => T

  constructor (collection: DriverCollection, query: Query, driver: DriverOptions) {
    if (query.keyOf !== undefined) throw new InvalidOptionsError('"key" is a function, which only arrays take')
    this.name = collection.namespace
    this.collection = collection
    this.query = query
    this.#driver = driver
    this.reads = driver.observer === undefined ? undefined : []
    this.#decode = asClientDecodes(collection, driver.driverOptions ?? {})
  }

  abstract count (cap?: number): Promise<number>
  abstract estimate (): Promise<number | undefined>
  /** The documents of one interval, and how to explain that. */
  protected abstract ask (asked: Asked, dialect: Dialect): { documents: () => Promise<object[]>, explain: () => Promise<unknown> }
  protected abstract aggregate (stages: object[], filter: Record<string, unknown>, dialect: Dialect): Promise<object[]>
  /** The intervals to be read one after the other. */
  protected queriesOf (intervals: Clause[]): Clause[] {
    return intervals
  }

  async read ({ position, backwards, take, skip }: Stretch): Promise<Row[]> {
    const fields = backwards ? reversed(this.query.fields) : this.query.fields
    const sort = fields.map(({ field, direction }): [string, 1 | -1] => [field, direction])
    return inDialect(this.collection, async (dialect) => {
      const intervals = position === undefined ? [{}] : this.queriesOf(intervalsAfter(fields, position.key, dialect.types, position.inclusive))
      const rows: Row[] = []
      for (const interval of intervals) {
        if (rows.length >= take) break
        rows.push(...await this.#interval({ interval, sort, limit: take - rows.length, skip }, dialect))
      }
      return rows
    })
  }

  at (id: unknown): Promise<Row[]> {
    const { keyName } = this.query
    return inDialect(this.collection, async (dialect) => this.#rowsOf(await this.aggregate([{ $match: inVersion({ [keyName]: { $eq: id } }, dialect.version) }, { $limit: 1 }], {}, dialect)))
  }

  async enrich (rows: readonly Row[], stages: readonly object[]): Promise<Row[]> {
    if (rows.length === 0) return []
    const { keyName, fields } = this.query
    const at = fields.findIndex(({ field }) => field === keyName)
    const textOf = (id: unknown) => digestOf([id]).toString('latin1')
    const ids = rows.map(({ key }) => key[at])
    const documents = await inDialect(this.collection, (dialect) =>
      this.aggregate([{ $match: inVersion({ [keyName]: { $in: ids } }, dialect.version) }, ...stages], this.query.filter, dialect))
    const read = readerOf({ field: keyName, direction: 1 })
    const enriched = new Map(documents.map((document) => [textOf(read(document)), document]))
    if (enriched.size !== rows.length || documents.length !== rows.length) throw new InvalidKeyError(keyName, 'must come out of the page stages once for each row: they may neither drop nor repeat one')
    return rows.map(({ key }, i) => ({ key, document: this.#decode(enriched.get(textOf(ids[i])) ?? {}) }))
  }

  /** Options of every read; the first ones are those that a call may override. */
  protected options (more: object = {}): object {
    const { hint, driverOptions } = this.#driver
    const { collation, signal } = this.query
    const given = Object.entries({ ...driverOptions, collation, hint, signal, ...more }).filter(([, value]) => value !== undefined)
    return { ...Object.fromEntries(given), ...LOSSLESS }
  }

  async #interval (asked: Asked, dialect: Dialect): Promise<Row[]> {
    this.query.signal?.throwIfAborted()
    const { documents, explain } = this.ask(asked, dialect)
    const found = await documents()
    const read = await this.#driver.observer?.observe(this.name, this.query, explain)
    if (read !== undefined) this.reads?.push({ interval: asked.interval, rows: found.length, ...read })
    return this.#rowsOf(found)
  }

  /** Reads the sort values of documents, then hides what was fetched for them only. */
  #rowsOf (documents: readonly object[]): Row[] {
    const readers = this.query.fields.map(readerOf)
    return documents.map((document) => ({
      key: readers.map((read) => read(document)),
      document: this.#decode(this.query.projection.shape(document))
    }))
  }
}
