import { types } from 'node:util'
import { isPlain } from '@jpulse/plugin-kit'
import { compareBson, Kind, kindOf, tagOf } from '../bson/index.ts'
import { InvalidKeyError, InvalidOptionsError } from '../errors.ts'
import { compareKeys, readerOf, reversed, type Reader, type SortField } from '../order/index.ts'
import type { Query, Row, Source, Stretch } from './source.ts'
import { TopRows } from './top-rows.ts'

type Items = Iterable<unknown> | AsyncIterable<unknown>
type Test = (item: object) => boolean

/** Whether a value can be a source of documents. */
export function isItems (value: unknown): value is Items {
  return typeof value === 'object' && value !== null && (Symbol.iterator in value || Symbol.asyncIterator in value)
}

/**
 * Refuses what can be iterated only once, or is already in the middle of it: generators and other iterators, streams,
 * cursors of a driver. A page reads its source from the beginning, so each would give another part of it.
 *
 * @throws FST_ERR_CURSOR_PAGINATION_INVALID_OPTIONS
 */
function refuseOneShot (items: Items): void {
  if (Array.isArray(items)) return
  const isOneShot = ['next', 'pipe', 'getReader', 'read', 'on'].some((name) => typeof Reflect.get(items, name) === 'function')
  const [one, other] = Symbol.iterator in items ? [items[Symbol.iterator](), items[Symbol.iterator]()] : []
  if (isOneShot || (one !== undefined && one === other)) throw new InvalidOptionsError('the source can be iterated only once (a generator, an iterator, a stream, a cursor or a query of mongoose): give an array, a collection, a model, or an object whose iterator begins anew each time')
}

/**
 * A document as mingo sees it: numbers of bson, a bigint and a Map, of which it would see nothing, as plain numbers and objects. The
 * value itself where there are none. Above 2^53 the nearest number stands for one; what a class holds stays as it is.
 */
function plainly (value: unknown): unknown {
  if (typeof value === 'bigint') return Number(value)
  if (typeof value !== 'object' || value === null) return value
  if (types.isMap(value)) return plainly(Object.fromEntries([...value].map(([name, one]) => [String(name), one])))
  if (tagOf(value) !== undefined) return kindOf(value) === Kind.number ? Number(String(value)) : value
  if (!Array.isArray(value) && !isPlain(value)) return value
  let copy: Record<string, unknown> | undefined
  for (const name in value) {
    const one = (value as Record<string, unknown>)[name]
    const plain = plainly(one)
    if (plain !== one) (copy ??= (Array.isArray(value) ? [...value] : { ...value }) as Record<string, unknown>)[name] = plain
  }
  return copy ?? value
}

/** A cursor keeps the types of numbers; here they only cost time. */
function plainNumber (value: unknown): unknown {
  const tag = typeof value === 'object' && value !== null ? tagOf(value) : undefined
  return tag === 'Int32' || tag === 'Double' ? Number(value) : value
}

/**
 * Documents in the process. Nothing is kept between pages, so the array may change at any time: each page reads all
 * items once and holds on to the few that make the page, which costs the same at any depth.
 */
export class ArraySource implements Source {
  readonly name = ''
  readonly stages = []
  readonly countsExactly = true
  readonly #items: Items
  readonly #query: Query

  constructor (items: Items, query: Query) {
    const [computed] = query.projection.computed
    if (computed !== undefined) throw new InvalidOptionsError(`the projection of "${computed}" is an expression, which only a server evaluates`)
    refuseOneShot(items)
    this.#items = items
    this.#query = query
  }

  async read ({ position, backwards, take, skip = 0 }: Stretch): Promise<Row[]> {
    const { fields: forwards, strings, projection } = this.#query
    const fields = backwards ? reversed(forwards) : forwards
    const order = (a: Row, b: Row) => compareKeys(a.key, b.key, fields, strings)
    const rows = new TopRows<Row>(take + skip, order)
    const from = position === undefined ? undefined : { document: {}, key: position.key.map(plainNumber) }
    const least = position?.inclusive === true ? 0 : 1
    const readers = fields.map((field) => this.#readerOf(field))
    const key = Array.from<unknown>({ length: readers.length })
    const candidate: Row = { document: {}, key }
    // Hot: benchmarks/cursor-pagination/deep-page.bench.js. Most items fail here, so nothing is allocated for them.
    await this.#each((document) => {
      for (let i = 0; i < readers.length; i++) key[i] = (readers[i] as Reader)(document)
      if (rows.admits(candidate) && (from === undefined || order(candidate, from) >= least)) rows.add({ document, key: [...key] })
    })
    return rows.sorted().slice(skip).map(({ document, key }) => ({ document: projection.shape(document), key }))
  }

  async at (id: unknown): Promise<Row[]> {
    const { fields, keyName, strings } = this.#query
    const at = fields.findIndex(({ field }) => field === keyName)
    const readers = fields.map((field) => this.#readerOf(field))
    const rows: Row[] = []
    await this.#each((document) => {
      if (compareBson((readers[at] as Reader)(document), id, strings) === 0) rows.push({ document, key: readers.map((read) => read(document)) })
    })
    return rows
  }

  async enrich (): Promise<never> {
    throw new InvalidOptionsError('"page" is a list of stages, which only a server runs: give a function of the rows')
  }

  async count (): Promise<number> {
    let count = 0
    await this.#each(() => { count++ })
    return count
  }

  estimate (): Promise<undefined> {
    return Promise.resolve(undefined)
  }

  async #each (visit: (item: object) => void): Promise<void> {
    const test = await this.#filter()
    const { signal } = this.#query
    signal?.throwIfAborted()
    const check = (item: unknown) => {
      if (typeof item !== 'object' || item === null) throw new InvalidOptionsError('an item of the array is not an object')
      if (test === undefined || test(item)) visit(item)
    }
    // `for await` would also take arrays, and spend a promise on each item.
    if (Symbol.iterator in this.#items) for (const item of this.#items) check(item)
    else {
      for await (const item of this.#items) {
        signal?.throwIfAborted()
        check(item)
      }
    }
  }

  /** mingo is loaded for the first filter only. */
  async #filter (): Promise<Test | undefined> {
    const { filter } = this.#query
    if (Object.keys(filter).length === 0) return undefined
    const { Query } = await import('mingo')
    try {
      const query = new Query(plainly(filter) as Record<string, unknown>)
      return (item) => query.test(plainly(item) as Record<string, unknown>)
    } catch (err) {
      throw new InvalidOptionsError(`the filter is not valid: ${(err as Error).message}`)
    }
  }

  #readerOf (field: SortField): Reader {
    const { keyName, keyOf } = this.#query
    const read = readerOf(field)
    if (field.field !== keyName) return read
    return (document) => {
      const value = read(keyOf === undefined ? document : { [keyName]: keyOf(document) })
      if (value === null) throw new InvalidKeyError(keyName, 'is missing in an item: name the field that tells items apart with the option "key"')
      return value
    }
  }
}
