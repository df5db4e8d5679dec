import { ObjectId } from 'bson'
import { Kind, kindOf, isNaNValue, type Place } from '../bson/index.ts'
import type { SortField, SortKey } from '../order/index.ts'

/** A query document of MongoDB. */
export type Clause = Record<string, unknown>

/** Which types the server knows. */
export type TypeNames = 'all types' | 'common types'

/**
 * Names of types for `$type` by their place in the order. Null is not among them, because `$type: 'null'` misses
 * documents without the field, nor array, because it has no bounds in an index.
 */
const TYPES: ReadonlyArray<readonly [Place, ...string[]]> = [
  [Kind.minKey, 'minKey'],
  [Kind.number, 'number'],
  [Kind.string, 'string', 'symbol'],
  [Kind.object, 'object'],
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

/**
 * What comes strictly after a position in the order, as contiguous intervals of an index, in the order of their rows:
 * the rest of the innermost tie first (equalities on all fields but the last, a range on that), then the rest of the tie
 * around it, and so on. Each is read only as far as a page needs, so no planner has to understand an `$or`.
 *
 * @param key may end before the fields do: what comes after has no say then
 * @param inclusive also the document at the position itself
 */
export function intervalsAfter (fields: readonly SortField[], key: SortKey, names: TypeNames, inclusive = false): Clause[] {
  const equal = fields.slice(0, key.length).map(({ field }, i) => equals(field, key[i]))
  const intervals = inclusive ? [and(equal)] : []
  for (let i = equal.length - 1; i >= 0; i--) {
    for (const clause of beyond(fields[i] as SortField, key[i], names)) intervals.push(and([...equal.slice(0, i), clause]))
  }
  return intervals
}

/** One object where every clause is of another field, which reads better in logs and profiles. */
function and (clauses: readonly Clause[]): Clause {
  const merged = Object.fromEntries(clauses.flatMap((clause) => Object.entries(clause)))
  if (Object.keys(merged).length === clauses.reduce((sum, clause) => sum + Object.keys(clause).length, 0) && !('$and' in merged && clauses.length > 1)) return merged
  return { $and: clauses.flatMap(({ $and, ...clause }) => [...$and as Clause[] ?? [], ...(Object.keys(clause).length === 0 ? [] : [clause])]) }
}

/** `$eq` by name: an operand that is a regular expression or has `$` in its field names is then a value, not a query. */
function equals (field: string, value: unknown): Clause {
  if (kindOf(value) !== Kind.null) return { [field]: { $eq: value } }
  if (!field.includes('.')) return { [field]: null }
  // Below an array, "a.b" is sorted as null and yet not equal to null. $exists finds those documents, to refuse them; the
  // negations repeat what it says as bounds of the index, so that nothing depends on how the $or is planned.
  return { $and: [{ $or: [{ [field]: null }, { [field]: { $exists: false } }] }, ...COMMON.map((least) => ({ [field]: { $not: { $gte: least } } }))] }
}

/** The least values of the common types: "not from here on" excludes a type by a comparison, of which bounds are made. */
const COMMON = [-Number.MAX_VALUE, '', new ObjectId('000000000000000000000000'), false, new Date(-8.64e15)]

function beyond ({ field, direction, type }: SortField, value: unknown, names: TypeNames): Clause[] {
  const past = { $not: { [direction === 1 ? '$lte' : '$gte']: value } }
  // Of one declared type, "not up to here" is exact, and brings every document that breaks the declaration to be refused.
  if (type !== undefined) return [{ [field]: past }]
  const kind = kindOf(value)
  const clauses = direction === 1 ? above(field, kind, value, past, names) : below(field, kind, value, past, names)
  // Sorted by an array within, and found by no type: read last, for it only needs to be found to be refused.
  if (names === 'all types' && field !== '_id') clauses.push({ [field]: { $gte: [] } })
  return clauses
}

/** Upwards: what is left of the value's own type, then the types above. */
function above (field: string, kind: Place, value: unknown, past: Clause, names: TypeNames): Clause[] {
  const types = { $type: typesWhere((place) => place > Math.max(kind, Kind.null), names) }
  switch (kind) {
    case Kind.minKey: return [{ [field]: { $eq: [] } }, equals(field, null), { [field]: types }]
    case Kind.null: return [{ [field]: types }]
    case Kind.maxKey: return []
    // NaN is the lowest number, and "not up to 5" would be true of it.
    case Kind.number: return [{ [field]: isNaNValue(value) ? { $gte: -Infinity } : { $gt: value } }, { [field]: types }]
    default: return [{ [field]: { ...past, $type: [...typesWhere((place) => place === kind, names), ...types.$type] } }]
  }
}

/** Downwards: what is left of the value's own type with the types below, then what is lowest. */
function below (field: string, kind: Place, value: unknown, past: Clause, names: TypeNames): Clause[] {
  if (kind === Kind.minKey || kind === Kind.null) return lowest(field, names, kind)
  // Of MaxKey and NaN nothing is left.
  const within = kind === Kind.maxKey || (kind === Kind.number && isNaNValue(value)) ? {} : past
  const types = typesWhere((place) => place > Kind.null && (place < kind || (place === kind && within === past)), names)
  return [...(types.length === 0 ? [] : [{ [field]: { ...within, $type: types } }]), ...lowest(field, names)]
}

/**
 * Null and missing with an empty array, which is sorted below them, then MinKey. It is asked for by its type, because some
 * servers end the connection on the value.
 */
function lowest (field: string, names: TypeNames, from?: Place): Clause[] {
  if (from === Kind.minKey) return []
  const isPath = field.includes('.')
  const nulls = from === Kind.null ? [] : [isPath || field === '_id' ? equals(field, null) : { [field]: { $in: [null, []] } }]
  const empty = field !== '_id' && (isPath || from === Kind.null) ? [{ [field]: { $eq: [] } }] : []
  return [...nulls, ...empty, ...(names === 'all types' ? [{ [field]: { $type: ['minKey'] } }] : [])]
}

function typesWhere (wanted: (place: Place) => boolean, names: TypeNames): string[] {
  return TYPES.filter(([place]) => wanted(place))
    .flatMap(([, ...aliases]) => aliases)
    .filter((alias) => names === 'all types' || !RARE.has(alias))
}
