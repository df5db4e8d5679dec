import fc from 'fast-check'
import { Binary, Decimal128, Double, Int32, Long, MaxKey, MinKey, ObjectId, Timestamp } from 'bson'

/**
 * What a server or a library may not be able to store or do, by name.
 *
 * @typedef {'decimal' | 'nan' | 'infinity' | 'minKey' | 'timestamp' | 'several fields' | 'mixed types' | 'hidden fields' | 'arrays refused' | 'binding'} Feature
 */

/** Small pools of values, so that equal ones meet. @type {Array<[Feature | null, unknown[]]>} */
const POOLS = [
  [null, [0, 1, -1, 0.5, 2, new Int32(1), new Double(1), 2 ** 53, -0.25, Long.fromNumber(1)]],
  [null, [Long.fromString('9223372036854775807'), Long.fromString('9223372036854775806'), 2 ** 63, Long.fromString('9007199254740993'), Long.MIN_VALUE]],
  ['decimal', ['1', '1.0', '0.1', '-0', '9223372036854775807', '9007199254740992.5', '1E+30', '-Infinity', 'NaN', 'Infinity'].map((text) => Decimal128.fromString(text))],
  ['nan', [NaN, new Double(NaN)]],
  ['infinity', [Infinity, -Infinity]],
  [null, ['', 'a', 'A', 'ab', 'é', '\u{1F600}', '\uFF5E', 'a\0b', 'null']],
  [null, [true, false]],
  [null, [new Date(0), new Date(-62135596800000), new Date(8.64e15), new Date(1)]],
  [null, ['000000000000000000000000', '00ff00000000000000000000', 'ffffffffffffffffffffffff'].map((hex) => new ObjectId(hex))],
  [null, [new Binary(Buffer.from('')), new Binary(Buffer.from('b')), new Binary(Buffer.from('a'), 5), new Binary(Buffer.from('ab'))]],
  [null, [{}, { x: 1 }, { x: 'a' }, { x: 1, y: 1 }, { y: 0 }, { x: null }]],
  ['timestamp', [new Timestamp({ t: 1, i: 2 }), new Timestamp({ t: 1, i: 3 }), new Timestamp({ t: 4294967295, i: 0 })]],
  ['minKey', [new MinKey(), new MaxKey()]]
]

/**
 * A value of any type, null and missing (undefined) often.
 *
 * @param {ReadonlySet<Feature>} without
 */
export function anyValue (without) {
  const pools = POOLS.filter(([feature]) => feature === null || !without.has(feature)).map(([, values]) => fc.constantFrom(...values))
  const some = without.has('mixed types') ? fc.constantFrom(1, 2, 3, 0.5) : fc.oneof(...pools)
  return fc.oneof({ weight: 1, arbitrary: fc.constantFrom(null, undefined) }, { weight: 4, arbitrary: some })
}

/** @param {number} i */
const ids = (i) => [i, `id${i}`, new ObjectId(i.toString(16).padStart(24, '0')), Long.fromString(`90071992547409${93 + i}`), new Date(i)]

/**
 * Documents with the fields a, b and n.c, and keys of several types.
 *
 * @param {ReadonlySet<Feature>} without
 * @param {number} [maxLength]
 */
export function anyDocuments (without, maxLength = 20) {
  const value = anyValue(without)
  return fc.array(fc.tuple(value, value, value, fc.nat(4)), { maxLength }).map((rows) => rows.map(([a, b, c, kind], i) => {
    /** @type {any} */
    const document = { _id: without.has('mixed types') ? i : ids(i)[kind] }
    if (a !== undefined) document.a = a
    if (b !== undefined) document.b = b
    if (c !== undefined) document.n = { c }
    return document
  }))
}

/**
 * A sort of 1 to 3 fields in mixed directions.
 *
 * @param {ReadonlySet<Feature>} without
 * @returns {fc.Arbitrary<Record<string, 1 | -1>>}
 */
export function anySort (without) {
  const maxLength = without.has('several fields') ? 1 : 3
  const direction = /** @type {fc.Arbitrary<1 | -1>} */ (fc.constantFrom(1, -1))
  return fc.uniqueArray(fc.tuple(fc.constantFrom('a', 'b', 'n.c', '_id'), direction), { minLength: 1, maxLength, selector: ([field]) => field })
    .map((pairs) => Object.fromEntries(pairs))
}
