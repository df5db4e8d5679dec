import { createHash } from 'node:crypto'
import { serialize } from 'bson'
import { InvalidOptionsError } from '../errors.ts'
import type { SortField } from '../order/sort.ts'

/** What a cursor belongs to: it is refused beside anything else. */
export interface Bound {
  /** Namespace of the collection, '' for arrays. */
  source: string
  filter: object
  stages: readonly object[]
  sort: readonly SortField[]
  collation: object | undefined
  scope: unknown
  /** Stands for the filter and the stages. */
  bind: unknown
}

/**
 * The SHA-256 of a query in BSON, which keeps types that JSON would merge (`1` and `'1'`, a date and its text). The
 * order of fields counts as it does in MongoDB, in embedded documents and pipelines; the filter's own conditions are
 * sorted, for their order means nothing. Undefined counts as null, as the driver sends it.
 *
 * @throws FST_ERR_CURSOR_PAGINATION_INVALID_OPTIONS when a value is not one of BSON
 */
export function bindingOf ({ source, filter, stages, sort, collation, scope, bind }: Bound): Buffer {
  const conditions = Object.entries(filter).sort(([a], [b]) => a < b ? -1 : 1)
  // Neither reads like the other: conditions are a list.
  const listing = bind === undefined ? { filter: conditions, stages } : { filter: { bind } }
  const query = { source, ...listing, sort, collation: collation ?? null, scope: scope ?? null }
  try {
    return createHash('sha256').update(serialize(query, { serializeFunctions: true, ignoreUndefined: false })).digest()
  } catch (err) {
    throw new InvalidOptionsError(`the filter, collation, scope or bind is not BSON: ${(err as Error).message}`)
  }
}
