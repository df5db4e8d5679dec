import type { Collection, Document } from 'mongodb'
import { boundOf } from './bound.ts'
import { afterPosition, RARE, type Clause, type Dialect } from './predicate.ts'
import { reversed, type SortField } from '../order/sort.ts'
import { readerOf } from '../order/sort-key.ts'
import type { Query, Row, Stretch } from '../sources/source.ts'

/** What is asked of a server for one stretch. */
export interface ServerQuery {
  /** The caller's filter and, beside it, where to begin: never less than the filter demands. */
  filter: Clause
  sort: Array<[field: string, direction: 1 | -1]>
}

/**
 * The conditions of a stretch: those of the filter, the documents after the position, and a redundant bound on the
 * first field.
 */
export function serverQuery ({ filter, fields: forwards }: Pick<Query, 'filter' | 'fields'>, { position, backwards }: Pick<Stretch, 'position' | 'backwards'>, dialect: Dialect): ServerQuery {
  const fields = backwards ? reversed(forwards) : forwards
  const clauses = Object.keys(filter).length === 0 ? [] : [filter]
  if (position !== undefined) {
    clauses.push(...boundOf(fields[0] as SortField, position.key[0]), afterPosition(fields, position.key, dialect, position.inclusive))
  }
  return {
    filter: clauses.length > 1 ? { $and: clauses } : clauses[0] ?? {},
    sort: fields.map(({ field, direction }) => [field, direction])
  }
}

/** Reads the sort values of documents, then hides what was fetched for them only. */
export function rowsOf (documents: readonly Document[], { fields, projection }: Query): Row[] {
  const readers = fields.map(readerOf)
  return documents.map((document) => ({
    key: readers.map((read) => read(document)),
    document: projection.shape(document)
  }))
}

/** Clients of servers that refused a query for a name of a type. */
const commonTypesOnly = new WeakSet<object>()

/**
 * Asks with all types of MongoDB; a server of its protocol that does not know the rare ones stores none of them
 * either, and is asked without them from then on.
 */
export async function inDialect<T> (collection: Collection, ask: (dialect: Dialect) => Promise<T>): Promise<T> {
  const client = (collection as { db?: { client?: object } }).db?.client ?? collection
  if (commonTypesOnly.has(client)) return ask('common types')
  try {
    return await ask('all types')
  } catch (err) {
    if (!isUnknownType(err)) throw err
    commonTypesOnly.add(client)
    return ask('common types')
  }
}

const BAD_VALUE = 2

function isUnknownType (err: unknown): boolean {
  const { code, message } = err as { code?: unknown, message?: unknown }
  // Only a name that is ours to leave out: a wrong one in the caller's filter says nothing about the server.
  const [, alias = ''] = /type name alias: (\w+)/i.exec(String(message)) ?? []
  return code === BAD_VALUE && RARE.has(alias)
}
