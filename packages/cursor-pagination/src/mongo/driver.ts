import { Turn } from '@jpulse/plugin-kit'
import type { PageDriverOptions } from './options.ts'

/**
 * What is asked of MongoDB's driver, described by its shape: the package compiles without the driver, and takes collections
 * of its versions 6 and 7 alike.
 */
export interface DriverCollection {
  readonly namespace: string
  /** How the collection decodes where a call says nothing. */
  readonly bsonOptions?: PageDriverOptions
  find (filter: object, options?: object): DriverCursor
  aggregate (stages: object[], options?: object): DriverCursor
  countDocuments (filter: object, options?: object): Promise<number>
  estimatedDocumentCount (options?: object): Promise<number>
}

interface DriverCursor {
  toArray (): Promise<object[]>
  [Symbol.asyncIterator]? (): AsyncIterator<object>
  /** Of what the server sent already: decodes so many documents. */
  readBufferedDocuments? (number: number): object[]
  /** What `cursor.map` was given: no part of the driver's API, but where each of its versions keeps it. */
  readonly transform?: unknown
  explain (verbosity: string): Promise<unknown>
}

/** A collection of mongoose, which wraps one of the driver once its connection is open. */
interface MongooseCollection {
  readonly name: string
  readonly collection?: unknown
  readonly conn: { readonly readyState: number, readonly db?: { collection (name: string): unknown }, asPromise (): Promise<unknown> }
}

/** Whether a value is a collection of the driver, of whichever copy of it. */
export function isDriverCollection (value: unknown): value is DriverCollection {
  const { find, aggregate, namespace } = (value ?? {}) as Partial<DriverCollection>
  return typeof find === 'function' && typeof aggregate === 'function' && typeof namespace === 'string'
}

/** Whether a value is a collection of mongoose: `Model.collection`, `connection.collection(name)`. */
export function isMongooseCollection (value: unknown): value is MongooseCollection {
  const { conn, name } = (value ?? {}) as Partial<MongooseCollection>
  return typeof value === 'object' && typeof name === 'string' && typeof conn?.asPromise === 'function'
}

/** The driver's collection; of mongoose's, once the connection is open, as mongoose's own operations wait for it. */
export async function driverCollection (value: DriverCollection | MongooseCollection): Promise<DriverCollection> {
  if (!isMongooseCollection(value)) return value
  const { conn, name } = value
  if (conn.readyState !== 1) await conn.asPromise()
  return (value.collection ?? conn.db?.collection(name)) as DriverCollection
}

/** Documents that are decoded before the clock is looked at. */
const SLICE = 4

/** What a cursor yields. Documents are decoded in turns: all of a page in one go would keep the process from others for as long as they are large. */
export async function documentsOf (cursor: DriverCursor): Promise<object[]> {
  const iterable = cursor[Symbol.asyncIterator] === undefined ? undefined : cursor as AsyncIterable<object>
  // Buffered documents do not go through `cursor.map`, which a collection that wraps another one may have called: toArray applies it to each.
  if (iterable === undefined || cursor.readBufferedDocuments === undefined || cursor.transform != null) return cursor.toArray()
  const documents: object[] = []
  for await (const first of iterable) {
    const turn = new Turn()
    documents.push(first)
    for (let next = cursor.readBufferedDocuments(SLICE); next.length > 0; next = cursor.readBufferedDocuments(SLICE)) {
      documents.push(...next)
      if (turn.isOver) await turn.next()
    }
  }
  return documents
}
