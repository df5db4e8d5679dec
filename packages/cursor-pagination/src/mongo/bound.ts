import { ObjectId } from 'bson'
import { Kind, kindOf, type Place } from '../bson/kind.ts'
import { isNaNValue } from '../bson/number.ts'
import type { Clause } from './predicate.ts'
import type { Direction, SortField } from '../order/sort.ts'

/**
 * What selects all of a type, or nearly all, by a plain comparison that index bounds are made of. `$type` would be
 * exact, but its negation has no index bounds.
 */
const WHOLE: ReadonlyArray<readonly [Place, Clause | null]> = [
  [Kind.null, null],
  [Kind.number, { $gte: -Number.MAX_VALUE }],
  [Kind.string, { $gte: '' }],
  [Kind.objectId, { $gte: new ObjectId('000000000000000000000000') }],
  [Kind.boolean, { $gte: false }],
  [Kind.date, { $gte: new Date(-8.64e15) }]
]

/**
 * A second, redundant condition on the first sort field: it excludes only what comes before the position, so it never
 * narrows the result, and it tells the planner where to begin in the index. Beside an `$or` alone, a planner may read
 * the index from its beginning.
 *
 * It is made of negations, because only a negated comparison covers all types at once: `{ $not: { $lt: v } }` matches
 * what is v or above, and everything of another type. The commonest types that are wholly before the position are
 * excluded the same way.
 */
export function boundOf ({ field, direction, type }: SortField, value: unknown): Clause[] {
  const kind = kindOf(value)
  const bound = boundWithin(kind, value, direction)
  const clauses: Clause[] = bound === undefined ? [] : [{ [field]: { $not: bound } }]
  if (type !== undefined) return clauses
  for (const [place, whole] of WHOLE) {
    if (direction === 1 ? place < kind : place > kind) clauses.push({ [field]: whole === null ? { $ne: null } : { $not: whole } })
  }
  return clauses
}

/** The values of the operand's own type that come before it. */
function boundWithin (kind: Place, value: unknown, direction: Direction): Clause | undefined {
  if (kind === Kind.minKey || kind === Kind.null || kind === Kind.maxKey) return undefined
  if (kind === Kind.number && isNaNValue(value)) return direction === 1 ? undefined : { $gte: -Number.MAX_VALUE }
  return direction === 1 ? { $lt: value } : { $gt: value }
}
