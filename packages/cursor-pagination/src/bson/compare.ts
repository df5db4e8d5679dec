import { Kind, kindOf, tagOf, type Place } from './kind.ts'
import { compareNumbers } from './number.ts'

/** How two strings compare: by bytes, or by a collation. */
export type StringOrder = (a: string, b: string) => number

/**
 * Compares two values in the order in which MongoDB sorts them: first by type, then by value; missing counts as null.
 *
 * @param strings order of strings. @default their UTF-8 bytes
 * @returns a number below, equal to or above 0
 */
export function compareBson (a: unknown, b: unknown, strings: StringOrder = compareStrings): number {
  // The common pairs, without asking for their kinds: benchmarks/cursor-pagination/deep-page.bench.js
  if (typeof a === 'string' && typeof b === 'string') return strings(a, b)
  if (typeof a === 'number' && typeof b === 'number') return compareNumbers(a, b)
  if (a instanceof Date && b instanceof Date) return a.getTime() - b.getTime()
  const kind = kindOf(a)
  const other = kindOf(b)
  return kind === other ? compareWithin(kind, a, b, strings) : kind - other
}

function compareWithin (kind: Place, a: unknown, b: unknown, strings: StringOrder): number {
  switch (kind) {
    case Kind.number: return compareNumbers(a, b)
    case Kind.string: return strings(String(a), String(b))
    case Kind.object: return compareEntries(entriesOf(a as object), entriesOf(b as object), strings)
    case Kind.array: return compareEntries([...(a as unknown[]).entries()], [...(b as unknown[]).entries()], strings)
    case Kind.binary: return compareBinaries(binary(a as object), binary(b as object))
    case Kind.objectId: return Buffer.compare((a as { id: Uint8Array }).id, (b as { id: Uint8Array }).id)
    case Kind.boolean: return Number(a) - Number(b)
    case Kind.date: return Number(a) - Number(b)
    case Kind.timestamp: return compareTimestamps(a as Timestamp, b as Timestamp)
    case Kind.regex: return compareLists(regex(a as object), regex(b as object))
    case Kind.code: case Kind.codeWithScope: return compareCode(a as Code, b as Code, strings)
    default: return 0
  }
}

type Entry = readonly [name: string | number, value: unknown]

/** Field by field: the types, then the names, then the values; of equal beginnings the shorter comes first. */
function compareEntries (a: Entry[], b: Entry[], strings: StringOrder): number {
  for (const [i, [name, value]] of a.entries()) {
    const other = b[i]
    if (other === undefined) return 1
    const order = kindOf(value) - kindOf(other[1]) || compareStrings(String(name), String(other[0])) || compareBson(value, other[1], strings)
    if (order !== 0) return order
  }
  return a.length - b.length
}

/** The fields of a value as the driver stores them: functions and symbols are left out, undefined becomes null. */
function entriesOf (value: object): Entry[] {
  if (value instanceof Map) return [...value]
  if (tagOf(value) === 'DBRef') {
    const { collection, oid, db, fields } = value as { collection: string, oid: unknown, db?: string, fields?: object }
    return [['$ref', collection], ['$id', oid], ...(db === undefined ? [] : [['$db', db] as const]), ...Object.entries(fields ?? {})]
  }
  return Object.entries(value).filter(([, field]) => typeof field !== 'function' && typeof field !== 'symbol')
}

interface Bytes {
  length: number
  subtype: number
  bytes: Uint8Array
}

function binary (value: object): Bytes {
  if (tagOf(value) !== 'Binary') {
    const bytes = value instanceof Uint8Array ? value : new Uint8Array(value as ArrayBuffer)
    return { length: bytes.length, subtype: 0, bytes }
  }
  const { buffer, position, sub_type: subtype } = value as { buffer: Uint8Array, position: number, sub_type: number }
  // The old subtype 2 repeats its length in four bytes of its own, and those count.
  return { length: position + (subtype === 2 ? 4 : 0), subtype, bytes: buffer.subarray(0, position) }
}

const compareBinaries = (a: Bytes, b: Bytes) => a.length - b.length || a.subtype - b.subtype || Buffer.compare(a.bytes, b.bytes)

interface Timestamp {
  t: number
  i: number
}

const compareTimestamps = (a: Timestamp, b: Timestamp) => a.t - b.t || a.i - b.i

/** Pattern and sorted options; BSON knows i, m and s (which the driver writes for g), never u, v, y or d. */
function regex (value: object): [pattern: string, options: string] {
  if (value instanceof RegExp) return [value.source, [value.ignoreCase && 'i', value.multiline && 'm', value.global && 's'].filter(Boolean).join('')]
  const { pattern, options } = value as { pattern: string, options: string }
  return [pattern, [...options].sort().join('')]
}

const compareLists = (a: [string, string], b: [string, string]) => compareStrings(a[0], b[0]) || compareStrings(a[1], b[1])

interface Code {
  code: unknown
  scope?: object | null
}

function compareCode (a: Code, b: Code, strings: StringOrder): number {
  return compareStrings(String(a.code), String(b.code)) || compareEntries(entriesOf(a.scope ?? {}), entriesOf(b.scope ?? {}), strings)
}

/**
 * Compares strings by their UTF-8 bytes, as MongoDB does without a collation. JavaScript's `<` compares UTF-16 units,
 * which puts U+FF5E after the emoji U+1F600 (units D83D DE00); in UTF-8, EF BD 9E comes before F0 9F 98 80.
 */
export function compareStrings (a: string, b: string): number {
  if (a === b) return 0
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i)
    const y = b.charCodeAt(i)
    if (x === y) continue
    // Outside the surrogates, units and UTF-8 bytes agree; a lone surrogate is stored as U+FFFD.
    return isSurrogate(x) || isSurrogate(y) ? Buffer.compare(Buffer.from(a), Buffer.from(b)) : x - y
  }
  return a.length - b.length
}

const isSurrogate = (unit: number) => unit >= 0xd800 && unit <= 0xdfff
