import { createHash } from 'node:crypto'
import { InvalidOptionsError } from '../errors.ts'
import type { SortField } from '../order/index.ts'
import { bytesOf, canonicalFilter } from './canonical.ts'

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

/** The SHA-256 of a query, twice. */
export interface Binding {
  /** The same for all filters that are equal. */
  readonly query: Buffer
  /** Of the filter as it was written, but for the order of its fields: what release 0.1 knows cursors by. */
  readonly written: Buffer
}

/**
 * The hashes of a query in BSON. The order of fields counts as it does in MongoDB, in embedded documents and pipelines; in
 * the filter it means nothing.
 *
 * @throws FST_ERR_CURSOR_PAGINATION_INVALID_OPTIONS when a value is not one of BSON
 */
export function bindingOf ({ source, filter, stages, sort, collation, scope, bind }: Bound): Binding {
  const hash = (conditions: unknown) => {
    // Neither reads like the other: conditions are a list.
    const listing = bind === undefined ? { filter: conditions, stages } : { filter: { bind } }
    return createHash('sha256').update(bytesOf({ source, ...listing, sort, collation: collation ?? null, scope: scope ?? null })).digest()
  }
  try {
    const written = hash(Object.entries(filter).sort(([a], [b]) => a < b ? -1 : 1))
    return { query: bind === undefined ? hash(canonicalFilter(filter)) : written, written }
  } catch (err) {
    throw new InvalidOptionsError(`the filter, collation, scope or bind is not BSON: ${(err as Error).message}`)
  }
}
