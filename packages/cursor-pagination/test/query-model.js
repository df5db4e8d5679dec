import { at, referenceCompare } from './reference-order.js'

/**
 * The few query operators that predicates are made of, as MongoDB's manual documents them, on documents without arrays:
 * ranges match within the operand's type only, null equals missing, and negation matches whatever does not match,
 * missing fields included. The predicate test holds it against the server for the types that the server has; for the
 * others (NaN, Decimal128, MinKey, …) it stands in for one.
 *
 * Sources: MongoDB manual, reference/operator/query/{gt,lt,not,type,exists}, "Comparison/Sort Order" (type bracketing);
 * NaN is in no range but those of NaN itself: mongodb/mongo, jstests/core/nan.js.
 */

/** @type {Record<string, string[]>} */
const ALIASES = { number: ['number'], string: ['string'], symbol: [], array: [], javascript: [], javascriptWithScope: [], regex: [] }

/** @param {any} value */
function typeOf (value) {
  if (value === undefined) return 'missing'
  if (value === null) return 'null'
  if (value instanceof Date) return 'date'
  if (typeof value === 'boolean') return 'bool'
  if (typeof value !== 'object') return typeof value
  switch (value._bsontype) {
    case 'Int32': case 'Double': case 'Long': case 'Decimal128': return 'number'
    case 'MinKey': return 'minKey'
    case 'MaxKey': return 'maxKey'
    case 'ObjectId': return 'objectId'
    case 'Binary': return 'binData'
    case 'Timestamp': return 'timestamp'
  }
  return 'object'
}

const isNull = (/** @type {unknown} */ value) => value === undefined || value === null
const isNaNumber = (/** @type {any} */ value) => typeOf(value) === 'number' && /nan/i.test(String(value))

/** @param {unknown} value @param {unknown} operand */
function comparable (value, operand) {
  return isNull(value) ? isNull(operand) : typeOf(value) === typeOf(operand)
}

/** @param {any} value @param {string} operator @param {any} operand @param {boolean} nanInRanges @returns {boolean} */
function test (value, operator, operand, nanInRanges) {
  if (operator === '$not') return !matchesValue(value, operand, nanInRanges)
  if (operator === '$ne') return !test(value, '$eq', operand, nanInRanges)
  if (operator === '$exists') return (value !== undefined) === operand
  if (operator === '$type') return [operand].flat().some((/** @type {string} */ name) => (ALIASES[name] ?? [name]).includes(typeOf(value)))
  if (operator === '$in') return operand.some((/** @type {any} */ one) => one === null ? isNull(value) : test(value, '$eq', one, nanInRanges))
  if (Array.isArray(operand) || !comparable(value, operand)) return false
  if (isNaNumber(operand)) return isNaNumber(value) && ['$eq', '$gte', '$lte'].includes(operator)
  // Whether `$lt: 5` matches NaN is the one thing that no source settles, so predicates must be right either way.
  if (isNaNumber(value) && !nanInRanges) return false
  const order = referenceCompare(value, operand)
  switch (operator) {
    case '$eq': return order === 0
    case '$gt': return order > 0
    case '$gte': return order >= 0
    case '$lt': return order < 0
    case '$lte': return order <= 0
  }
  throw new Error(`the model does not know ${operator}`)
}

/** @param {any} value @param {any} condition @param {boolean} nanInRanges */
function matchesValue (value, condition, nanInRanges) {
  if (condition === null) return isNull(value)
  return Object.entries(condition).every(([operator, operand]) => test(value, operator, operand, nanInRanges))
}

/**
 * @param {any} document
 * @param {any} query
 * @param {boolean} [nanInRanges] NaN counts as below every number in ranges
 * @returns {boolean}
 */
export function matches (document, query, nanInRanges = false) {
  return Object.entries(query).every(([field, condition]) => {
    switch (field) {
      case '$and': return condition.every((/** @type {any} */ part) => matches(document, part, nanInRanges))
      case '$or': return condition.some((/** @type {any} */ part) => matches(document, part, nanInRanges))
      case '$nor': return !condition.some((/** @type {any} */ part) => matches(document, part, nanInRanges))
    }
    return matchesValue(at(document, field), condition, nanInRanges)
  })
}
