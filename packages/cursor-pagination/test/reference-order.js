/**
 * MongoDB's documented order once more, written for the tests and on purpose in another way than the package: every
 * value becomes a list of comparable parts. Slow and plain. It knows the types that `documents.js` makes.
 *
 * Source: MongoDB manual, reference/bson-type-comparison-order.
 *
 * @typedef {{ rank: number, parts: Array<bigint | string | Part> }} Part
 */

/** @param {any} value @returns {Part} */
function partOf (value) {
  if (value === undefined || value === null) return { rank: 5, parts: [] }
  if (typeof value === 'string') return { rank: 15, parts: [Buffer.from(value, 'utf8').toString('hex')] }
  if (typeof value === 'boolean') return { rank: 40, parts: [value ? 1n : 0n] }
  if (value instanceof Date) return { rank: 45, parts: [BigInt(value.getTime())] }
  if (typeof value === 'number') return { rank: 10, parts: numberParts(value) }
  switch (value._bsontype) {
    case 'MinKey': return { rank: 0, parts: [] }
    case 'MaxKey': return { rank: 127, parts: [] }
    case 'Int32': case 'Double': return { rank: 10, parts: numberParts(Number(value)) }
    case 'Long': return { rank: 10, parts: [1n, value.toBigInt() * DENOMINATOR] }
    case 'Decimal128': return { rank: 10, parts: decimalParts(value.toString()) }
    case 'ObjectId': return { rank: 35, parts: [value.toHexString()] }
    case 'Binary': return { rank: 30, parts: [BigInt(value.length()), BigInt(value.sub_type), Buffer.from(value.value()).toString('hex')] }
    case 'Timestamp': return { rank: 47, parts: [BigInt(value.t), BigInt(value.i)] }
  }
  return { rank: 20, parts: Object.entries(value).flatMap(([name, field]) => [BigInt(partOf(field).rank), Buffer.from(name).toString('hex'), partOf(field)]) }
}

// The tests' decimals have at most 40 places and their doubles at most 60 binary ones: all are whole over this.
const DENOMINATOR = 10n ** 40n * 2n ** 60n

/** @param {number} value */
function numberParts (value) {
  if (Number.isNaN(value)) return [0n]
  if (value === Infinity) return [2n]
  if (value === -Infinity) return [1n, -(10n ** 7000n) * DENOMINATOR]
  let scaled = 0
  let exact = value
  while (!Number.isInteger(exact)) { exact *= 2; scaled++ }
  return [1n, BigInt(exact) * DENOMINATOR / 2n ** BigInt(scaled)]
}

/** @param {string} text */
function decimalParts (text) {
  if (/nan/i.test(text)) return [0n]
  if (/^-inf/i.test(text)) return numberParts(-Infinity)
  if (/inf/i.test(text)) return [2n]
  const [digits = '', exponent = '0'] = text.split('E')
  const [whole = '', fraction = ''] = digits.split('.')
  const power = Number(exponent) - fraction.length
  const coefficient = BigInt(whole + fraction)
  return [1n, power >= 0 ? coefficient * 10n ** BigInt(power) * DENOMINATOR : coefficient * DENOMINATOR / 10n ** BigInt(-power)]
}

/** @param {Part} a @param {Part} b @returns {number} */
function compareParts (a, b) {
  if (a.rank !== b.rank) return a.rank - b.rank
  for (const [i, part] of a.parts.entries()) {
    const other = b.parts[i]
    if (other === undefined) return 1
    if (typeof part === 'object' && typeof other === 'object') {
      const order = compareParts(part, other)
      if (order !== 0) return order
    } else if (part !== other) return part < other ? -1 : 1
  }
  return a.parts.length - b.parts.length
}

/** @type {WeakMap<object, Part>} */
const objects = new WeakMap()
/** @type {Map<unknown, Part>} */
const primitives = new Map()

/** The same few values are compared over and over. @param {unknown} value @returns {Part} */
function remembered (value) {
  const memory = /** @type {Map<unknown, Part>} */ (typeof value === 'object' && value !== null ? objects : primitives)
  let part = memory.get(value)
  if (part === undefined) memory.set(value, part = partOf(value))
  return part
}

/** Compares two values as MongoDB sorts them. @param {unknown} a @param {unknown} b */
export const referenceCompare = (a, b) => compareParts(remembered(a), remembered(b))

/** @param {any} document @param {string} path @returns {unknown} */
export const at = (document, path) => path.split('.').reduce((value, name) => value?.[name], document)

/**
 * A sorted copy, with `_id` as the last field.
 *
 * @param {any[]} documents @param {Record<string, 1 | -1>} sort
 * @returns {any[]}
 */
export function referenceSort (documents, sort) {
  const fields = Object.entries({ ...sort, ...(sort['_id'] === undefined ? { _id: Object.values(sort).at(-1) ?? 1 } : {}) })
  return [...documents].sort((a, b) => {
    for (const [field, direction] of fields) {
      const order = referenceCompare(at(a, field), at(b, field)) * direction
      if (order !== 0) return order
    }
    return 0
  })
}
