import { compareBson, fieldOf, isDocument, isNaNValue, Kind, kindOf, nameOf, type Place, type StringOrder } from '../bson/index.ts'
import { ArrayFieldError, InvalidKeyError, TypeMismatchError, UnsortableValueError } from '../errors.ts'
import type { DeclaredType, SortField } from './sort.ts'

/** The values by which a document is sorted, in the order of the sort fields. */
export type SortKey = readonly unknown[]

const DECLARED: Record<DeclaredType, Place> = {
  number: Kind.number,
  string: Kind.string,
  date: Kind.date,
  objectId: Kind.objectId,
  boolean: Kind.boolean,
  binary: Kind.binary
}

/** Reads one sort value of a document. */
export type Reader = (document: object) => unknown

/**
 * Makes the reader of a sort field, which checks what it reads and gives null for missing.
 *
 * The reader throws FST_ERR_CURSOR_PAGINATION_ARRAY_FIELD, _TYPE_MISMATCH, _UNSORTABLE_VALUE.
 */
export function readerOf ({ field, type }: SortField): Reader {
  const path = field.split('.')
  return (document) => {
    const value = path.length === 1 ? child(document, field, field) : valueAt(document, path, field)
    // Hot in arrays: benchmarks/cursor-pagination/deep-page.bench.js
    if (type === undefined && (typeof value === 'string' || typeof value === 'number')) return value
    return checked(value, field, type)
  }
}

/** The value at a path, undefined where it is missing. */
function valueAt (document: object, path: readonly string[], field: string): unknown {
  let value: unknown = document
  for (const name of path) {
    if (!isDocument(value)) return undefined
    value = child(value, name, field)
  }
  return value
}

function child (document: object, name: string, field: string): unknown {
  const value = fieldOf(document, name)
  if (Array.isArray(value)) throw new ArrayFieldError(field)
  return value
}

function checked (value: unknown, field: string, type: DeclaredType | undefined): unknown {
  const kind = kindOf(value)
  if (type !== undefined && (kind !== DECLARED[type] || (kind === Kind.number && isNaNValue(value)))) {
    throw new TypeMismatchError(field, type, kind === Kind.number ? 'NaN' : nameOf(kind))
  }
  // MongoDB takes no regular expression in $gt and $lt, and the driver reads a date outside JavaScript's range as NaN.
  if (kind === Kind.regex) throw new UnsortableValueError(field, 'a regular expression')
  if (kind === Kind.date && Number.isNaN(Number(value))) throw new UnsortableValueError(field, 'a date outside JavaScript\'s range')
  if (typeof value === 'bigint' && BigInt.asIntN(64, value) !== value) throw new UnsortableValueError(field, 'an integer beyond 64 bits')
  return kind === Kind.null ? null : value
}

/** Compares two sort keys in the order of the fields; beyond the end of the shorter one they are equal. */
export function compareKeys (a: SortKey, b: SortKey, fields: readonly SortField[], strings?: StringOrder): number {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    const order = compareBson(a[i], b[i], strings)
    if (order !== 0) return order * (fields[i] as SortField).direction
  }
  return 0
}

/**
 * Refuses two neighbours of one order that share every sort value: which comes first would be left to chance, and one
 * of them could be lost between two pages.
 *
 * @throws FST_ERR_CURSOR_PAGINATION_INVALID_KEY
 */
export function refuseTies (keys: readonly SortKey[], fields: readonly SortField[], key: string, strings?: StringOrder): void {
  for (let i = 1; i < keys.length; i++) {
    if (compareKeys(keys[i - 1] as SortKey, keys[i] as SortKey, fields, strings) === 0) {
      throw new InvalidKeyError(key, 'is the same in two documents of this order')
    }
  }
}
