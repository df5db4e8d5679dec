import { types } from 'node:util'

/**
 * The places of BSON's types in the comparison order, lowest first. Types of one place are compared by value.
 *
 * Source: MongoDB manual, "Comparison/Sort Order" (reference/bson-type-comparison-order).
 */
export const Kind = {
  minKey: 0,
  null: 1,
  number: 2,
  string: 3,
  object: 4,
  array: 5,
  binary: 6,
  objectId: 7,
  boolean: 8,
  date: 9,
  timestamp: 10,
  regex: 11,
  code: 12,
  codeWithScope: 13,
  maxKey: 14
} as const

/** A place in the comparison order. */
export type Place = typeof Kind[keyof typeof Kind]

const NAMES = Object.keys(Kind) as Array<keyof typeof Kind>

/** What a kind is called in error messages. */
export const nameOf = (kind: Place): string => NAMES[kind] ?? 'an unknown type'

const TAGGED: Record<string, Place> = {
  MinKey: Kind.minKey,
  Int32: Kind.number,
  Double: Kind.number,
  Long: Kind.number,
  Decimal128: Kind.number,
  BSONSymbol: Kind.string,
  DBRef: Kind.object,
  Binary: Kind.binary,
  ObjectId: Kind.objectId,
  ObjectID: Kind.objectId,
  Timestamp: Kind.timestamp,
  BSONRegExp: Kind.regex,
  MaxKey: Kind.maxKey
}

/** The tag by which the bson library knows its own classes, across its versions and copies. */
export function tagOf (value: object): string | undefined {
  const tag = (value as { _bsontype?: unknown })._bsontype
  return typeof tag === 'string' ? tag : undefined
}

/**
 * The place of a JavaScript value in the order, as the driver would store it: undefined, functions and symbols are left
 * out of documents, which is as good as null.
 */
export function kindOf (value: unknown): Place {
  switch (typeof value) {
    case 'number': case 'bigint': return Kind.number
    case 'string': return Kind.string
    case 'boolean': return Kind.boolean
    case 'object': return value === null ? Kind.null : kindOfObject(value)
    default: return Kind.null
  }
}

function kindOfObject (value: object): Place {
  if (value instanceof Date) return Kind.date
  const tag = tagOf(value)
  if (tag !== undefined) {
    if (tag === 'Code') return (value as { scope?: unknown }).scope == null ? Kind.code : Kind.codeWithScope
    return TAGGED[tag] ?? Kind.object
  }
  if (types.isDate(value)) return Kind.date
  if (Array.isArray(value)) return Kind.array
  if (types.isUint8Array(value) || types.isAnyArrayBuffer(value)) return Kind.binary
  if (types.isRegExp(value)) return Kind.regex
  return Kind.object
}

/** Whether a value is an embedded document, rather than a list or a value such as a date or an ObjectId. */
export function isDocument (value: unknown): value is object {
  return typeof value === 'object' && value !== null && tagOf(value) === undefined && kindOf(value) === Kind.object
}

/**
 * A field of a document: its own, or one that its class gives by a getter, as mongoose does for hydrated documents; methods
 * and what every object has are none.
 */
export function fieldOf (document: object, name: string): unknown {
  if (document instanceof Map) return document.get(name)
  if (Object.hasOwn(document, name)) return (document as Record<string, unknown>)[name]
  for (let type: unknown = Object.getPrototypeOf(document); type !== null && type !== Object.prototype; type = Object.getPrototypeOf(type)) {
    const { get } = Object.getOwnPropertyDescriptor(type, name) ?? {}
    if (get !== undefined) return get.call(document)
  }
  return undefined
}
