import { createHash } from 'node:crypto'
import { serialize } from 'bson'
import { inVersion, isDocument, kindOf, Kind, OWN_VERSION, plainestNumber } from '../bson/index.ts'

/** Operators whose operand is a list of conditions of which the order means nothing. */
const PARTS = new Set(['$and', '$or', '$nor'])

/** Operators whose operand is a set of values. */
const SETS = new Set(['$in', '$nin', '$all'])

/**
 * One form for all filters that say the same by another order of their parts or another type of the same number:
 * `{ a: 1, b: 2 }` and `{ b: 2, a: 1 }`, `$in: [1, 2]` and `$in: [2, 1]`, 1 and a Long of 1. A filter in this form already
 * stays as it is.
 */
export function canonicalFilter (filter: object): Array<[name: string, condition: unknown]> {
  return Object.entries(filter).sort(([a], [b]) => a < b ? -1 : 1).map(([name, condition]) => [name, PARTS.has(name) ? partsOf(condition) : conditionOf(condition)])
}

function partsOf (parts: unknown): unknown {
  return Array.isArray(parts) ? ordered(parts.map((part: unknown) => isDocument(part) ? Object.fromEntries(canonicalFilter(part)) : part)) : parts
}

/** What is asked of one field: a value, or operators. */
function conditionOf (condition: unknown): unknown {
  if (!isDocument(condition)) return valueOf(condition)
  const operators = entriesOf(condition)
  if (operators.length === 0 || !operators.every(([name]) => name.startsWith('$'))) return valueOf(condition)
  const [[name, operand] = []] = operators
  // A regular expression is a search as a value, and itself under $eq.
  if (operators.length === 1 && name === '$eq' && kindOf(operand) !== Kind.regex) return valueOf(operand)
  return Object.fromEntries(operators.sort(([a], [b]) => a < b ? -1 : 1).map(([name, operand]) => [name, operandOf(name, operand)]))
}

function operandOf (operator: string, operand: unknown): unknown {
  if (SETS.has(operator) && Array.isArray(operand)) return ordered(operand.map(valueOf))
  if (operator === '$not' || operator === '$elemMatch') return conditionOf(operand)
  return valueOf(operand)
}

/** A value whose numbers are in one form; fields keep their order, which counts in MongoDB. */
function valueOf (value: unknown): unknown {
  if (kindOf(value) === Kind.number) return plainestNumber(value)
  if (Array.isArray(value)) return value.map(valueOf)
  // What a value makes of itself in BSON only its own method knows.
  if (!isDocument(value) || typeof (value as { toBSON?: unknown }).toBSON === 'function') return value
  return Object.fromEntries(entriesOf(value).map(([name, one]) => [name, valueOf(one)]))
}

const entriesOf = (document: object) => document instanceof Map ? [...document] as Array<[string, unknown]> : Object.entries(document)

function ordered (values: unknown[]): unknown[] {
  const keyed = values.map((value) => ({ value, text: bytesOf({ value }).toString('latin1') }))
  keyed.sort((a, b) => a.text < b.text ? -1 : 1)
  return keyed.filter(({ text }, i) => text !== keyed[i - 1]?.text).map(({ value }) => value)
}

/** A document in BSON, which keeps types that JSON would merge; undefined counts as null, as the driver sends it. */
export function bytesOf (document: object): Buffer {
  return Buffer.from(serialize(inVersion(document, OWN_VERSION), { serializeFunctions: true, ignoreUndefined: false }))
}

/** A short fingerprint of sort values, the same for equal numbers of other types. */
export function digestOf (values: readonly unknown[]): Buffer {
  return createHash('sha256').update(bytesOf({ values: values.map(valueOf) })).digest().subarray(0, 16)
}
