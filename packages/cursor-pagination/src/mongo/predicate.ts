import { Kind, kindOf, type Place } from '../bson/kind.ts'
import { isNaNValue } from '../bson/number.ts'
import type { Direction, SortField } from '../order/sort.ts'
import type { SortKey } from '../order/sort-key.ts'

/** A query document of MongoDB. */
export type Clause = Record<string, unknown>

/**
 * Names of types for `$type` by their place in the order. Null is not among them: `$type: 'null'` misses documents
 * without the field.
 */
const TYPES: ReadonlyArray<readonly [Place, ...string[]]> = [
  [Kind.minKey, 'minKey'],
  [Kind.number, 'number'],
  [Kind.string, 'string', 'symbol'],
  [Kind.object, 'object'],
  [Kind.array, 'array'],
  [Kind.binary, 'binData'],
  [Kind.objectId, 'objectId'],
  [Kind.boolean, 'bool'],
  [Kind.date, 'date'],
  [Kind.timestamp, 'timestamp'],
  [Kind.regex, 'regex'],
  [Kind.code, 'javascript'],
  [Kind.codeWithScope, 'javascriptWithScope'],
  [Kind.maxKey, 'maxKey']
]

/** Types that some servers of MongoDB's protocol neither store nor know by name. */
export const RARE: ReadonlySet<string> = new Set(['minKey', 'symbol', 'javascript', 'javascriptWithScope', 'maxKey'])

/** Which types the server knows. */
export type Dialect = 'all types' | 'common types'

/**
 * The documents that come strictly after a position in the order: one branch for every prefix of the sort fields that
 * is equal to the position while the next field is beyond it. Ranges in MongoDB only match values of the operand's own
 * type, so a field of undeclared type has one more branch for the types beyond.
 *
 * @param inclusive also the document at the position itself
 */
export function afterPosition (fields: readonly SortField[], key: SortKey, dialect: Dialect, inclusive = false): Clause {
  const branches: Clause[] = []
  const equal: Clause[] = []
  for (const [i, sortField] of fields.entries()) {
    for (const clause of beyond(sortField, key[i], dialect)) branches.push(and([...equal, clause]))
    equal.push(equals(sortField.field, key[i]))
  }
  if (inclusive) branches.push(and(equal))
  // Every value of every field is the last of its order: nothing comes after, and $or must not be empty.
  if (branches.length === 0) return { $nor: [{}] }
  return branches.length === 1 ? branches[0] as Clause : { $or: branches }
}

/** One object where every clause is of another field, which reads better in logs and profiles. */
function and (clauses: Clause[]): Clause {
  const merged = Object.fromEntries(clauses.flatMap((clause) => Object.entries(clause)))
  return Object.keys(merged).length === clauses.length ? merged : { $and: clauses }
}

/** `$eq` by name: an operand that is a regular expression or has `$` in its field names is then a value, not a query. */
function equals (field: string, value: unknown): Clause {
  if (kindOf(value) !== Kind.null) return { [field]: { $eq: value } }
  // Below an array, "a.b" is sorted as null and yet not equal to null. $exists finds those documents, to refuse them.
  return field.includes('.') ? { $or: [{ [field]: null }, { [field]: { $exists: false } }] } : { [field]: null }
}

function beyond ({ field, direction, type }: SortField, value: unknown, dialect: Dialect): Clause[] {
  // Of one declared type, "not up to here" is exact, and brings every document that breaks the declaration to be refused.
  if (type !== undefined) return [{ [field]: { $not: direction === 1 ? { $lte: value } : { $gte: value } } }]
  const kind = kindOf(value)
  const range = rangeWithin(kind, value, direction)
  const clauses: Clause[] = range === undefined ? [] : [{ [field]: range }]
  const types = typesBeyond(kind, direction, dialect)
  if (types.length > 0) clauses.push({ [field]: { $type: types } })
  if (direction === 1 ? kind < Kind.null : kind > Kind.null) clauses.push(equals(field, null))
  // An empty array is sorted between MinKey and null: found here, to be refused.
  if (direction === 1 ? kind < Kind.null : kind >= Kind.null) clauses.push({ [field]: { $eq: [] } })
  return clauses
}

/** The values of the operand's own type that are beyond it. */
function rangeWithin (kind: Place, value: unknown, direction: Direction): Clause | undefined {
  if (kind === Kind.minKey || kind === Kind.null || kind === Kind.maxKey) return undefined
  if (kind !== Kind.number) return direction === 1 ? { $gt: value } : { $lt: value }
  // NaN is the lowest number, and yet neither above nor below anything to $gt and $lt.
  if (isNaNValue(value)) return direction === 1 ? { $gte: -Infinity } : undefined
  return direction === 1 ? { $gt: value } : { $type: 'number', $not: { $gte: value } }
}

function typesBeyond (kind: Place, direction: Direction, dialect: Dialect): string[] {
  return TYPES.filter(([place]) => direction === 1 ? place > kind : place < kind)
    .flatMap(([, ...names]) => names)
    .filter((name) => dialect === 'all types' || !RARE.has(name))
}
