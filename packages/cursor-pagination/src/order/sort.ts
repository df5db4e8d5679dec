import { types } from 'node:util'
import { InvalidSortError } from '../errors.ts'

/** 1 ascending, -1 descending. */
export type Direction = 1 | -1

/** The types that a sort field may be declared to hold, in every document. */
export type DeclaredType = 'number' | 'string' | 'date' | 'objectId' | 'boolean' | 'binary'

/** A sort field whose values are all of one type and never null or missing. */
export interface DeclaredField {
  order: Direction
  /**
   * The type of the field in every document. The query then needs one plain bound for it; a document that breaks the
   * declaration is an error that names the field, never a lost row. NaN breaks 'number'.
   */
  type?: DeclaredType
}

/** The fields of a document, and paths below them. */
type FieldOf<T> = T extends unknown ? string extends keyof T ? string : (keyof T & string) | '_id' | `${keyof T & string}.${string}` : never

/** Sort fields in order of weight: an object, or pairs where names look like integers (which objects reorder). */
export type SortSpec<T = any> = { [F in FieldOf<T>]?: Direction | DeclaredField } | ReadonlyArray<readonly [field: string, order: Direction | DeclaredField]>

/** One field of the order. */
export interface SortField {
  field: string
  direction: Direction
  type?: DeclaredType
}

/** MongoDB's own limit on the fields of a compound index. */
const MAX_FIELDS = 32
const TYPES: readonly string[] = ['number', 'string', 'date', 'objectId', 'boolean', 'binary'] satisfies DeclaredType[]

/**
 * Reads a sort specification and makes it total: the key is added as the last field, with the direction of the one
 * before it, so that an index serves the order from both ends.
 *
 * @param spec nothing means the key alone, ascending
 * @param key the unique field. @default '_id'
 * @throws FST_ERR_CURSOR_PAGINATION_INVALID_SORT
 */
export function parseSort (spec: SortSpec | undefined, key = '_id'): SortField[] {
  const fields = pairsOf(spec).map(([field, order]) => parseField(field, order))
  const seen = new Set<string>()
  for (const { field } of fields) {
    if (seen.has(field)) throw new InvalidSortError(`the field "${field}" is there twice`)
    seen.add(field)
  }
  if (!seen.has(key)) fields.push(parseField(key, fields.at(-1)?.direction ?? 1))
  if (fields.length > MAX_FIELDS) throw new InvalidSortError(`more than ${MAX_FIELDS} fields`)
  return fields
}

/** The same order from its other end. */
export const reversed = (fields: readonly SortField[]): SortField[] =>
  fields.map((field) => ({ ...field, direction: field.direction === 1 ? -1 : 1 }))

/**
 * Reads the sort of a URL: field names by commas, the most significant first, a minus sign before a descending one.
 *
 * @example parseSortText('-createdAt,name') // { createdAt: -1, name: 1 } as pairs
 * @throws FST_ERR_CURSOR_PAGINATION_INVALID_SORT
 */
export function parseSortText (text: unknown): Array<[field: string, order: Direction]> {
  if (typeof text !== 'string') throw new InvalidSortError('it is not a string')
  return text.split(',').map((part) => part.startsWith('-') ? [checkName(part.slice(1)), -1] : [checkName(part), 1])
}

function pairsOf (spec: SortSpec | undefined): Array<readonly [string, unknown]> {
  if (spec === undefined) return []
  if (Array.isArray(spec)) {
    if (!spec.every((pair) => Array.isArray(pair) && pair.length === 2)) throw new InvalidSortError('a list must hold [field, order] pairs')
    return spec
  }
  if (typeof spec !== 'object' || spec === null || types.isMap(spec)) throw new InvalidSortError('it is neither an object nor a list of pairs')
  return Object.entries(spec)
}

function parseField (field: unknown, order: unknown): SortField {
  const name = checkName(field)
  const { order: direction, type, ...rest } = (typeof order === 'object' && order !== null ? order : { order }) as Record<string, unknown>
  const [unknown] = Object.keys(rest)
  if (unknown !== undefined) throw new InvalidSortError(`"${unknown}" is not known for the field "${name}"`)
  if (direction !== 1 && direction !== -1) throw new InvalidSortError(`the order of "${name}" must be 1 or -1`)
  if (type === undefined) return { field: name, direction }
  if (!TYPES.includes(type as string)) throw new InvalidSortError(`the type of "${name}" must be one of ${TYPES.join(', ')}`)
  return { field: name, direction, type: type as DeclaredType }
}

function checkName (field: unknown): string {
  if (typeof field !== 'string') throw new InvalidSortError('a field name must be a string')
  if (field.split('.').some((part) => part === '' || part.startsWith('$')) || field.includes('\0')) {
    throw new InvalidSortError(`"${field.slice(0, 100)}" is not a field name`)
  }
  return field
}
