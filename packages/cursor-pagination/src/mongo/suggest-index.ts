import { isDocument, type Collation } from '../bson/index.ts'
import { types } from 'node:util'
import { parseSort, type Direction, type SortField, type SortSpec } from '../order/index.ts'

/** An index as `createIndex(key, options)` takes it. */
export interface SuggestedIndex {
  key: Record<string, Direction>
  options: { collation?: Collation }
}

/** The part of the options of a call that decides its index. */
export interface IndexedOptions {
  filter?: object
  sort?: SortSpec
  key?: string
  collation?: Collation
}

/**
 * The index that serves a listing: the fields that the filter holds at one value, then the order with its key, then the
 * fields of which the filter wants a range. It sorts from both ends and lets each page begin where the last one ended.
 *
 * Source of the rule: MongoDB manual, "The ESR (Equality, Sort, Range) Guideline".
 *
 * @throws FST_ERR_CURSOR_PAGINATION_INVALID_SORT
 */
export function suggestIndex ({ filter = {}, sort, key, collation }: IndexedOptions): SuggestedIndex {
  return indexFor(filter, parseSort(sort, key), collation)
}

/** The same, of a sort already read. */
export function indexFor (filter: object, fields: readonly SortField[], collation?: Collation): SuggestedIndex {
  const equal = new Set<string>()
  const ranged = new Set<string>()
  collect(filter, equal, ranged)
  const key = new Map<string, Direction>()
  for (const field of equal) key.set(field, 1)
  for (const { field, direction } of fields) if (!key.has(field)) key.set(field, direction)
  for (const field of ranged) if (!key.has(field)) key.set(field, 1)
  return { key: Object.fromEntries(key), options: collation === undefined ? {} : { collation } }
}

function collect (filter: object, equal: Set<string>, ranged: Set<string>): void {
  for (const [field, condition] of Object.entries(filter) as Array<[string, unknown]>) {
    if (field === '$and' && Array.isArray(condition)) for (const part of condition) collect(part as object, equal, ranged)
    else if (!field.startsWith('$')) (isEquality(condition) ? equal : ranged).add(field)
  }
}

function isEquality (condition: unknown): boolean {
  if (types.isRegExp(condition)) return false
  if (!isDocument(condition)) return true
  const operators = Object.keys(condition).filter((name) => name.startsWith('$'))
  return operators.length === 0 || operators.includes('$eq')
}
