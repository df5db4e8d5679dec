import { types } from 'node:util'
import { isPlain } from '@jpulse/plugin-kit'
import { FST_ERR_REDIS_SESSIONS_NOT_SERIALIZABLE, FST_ERR_REDIS_SESSIONS_RESERVED_FIELD } from '../errors.ts'

/** What the application keeps in a session. */
export type Fields = Record<string, unknown>

/** What a request changed: per top-level field its new JSON text, null where it was deleted. */
export type Changes = Map<string, string | null>

/** Names that a session object has, or that would change its prototype. */
const RESERVED = new Set(['__proto__', 'constructor', 'cookie', 'sessionId', 'encryptedSessionId', 'options', 'touch', 'regenerate',
  'get', 'set', 'destroy', 'reload', 'save', 'isModified', 'isSaved'])

export function isReserved (name: string): boolean {
  return RESERVED.has(name)
}

/** An object literal, or one that was made by JSON.parse: no array, no Date. */
export function isRecord (value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && isPlain(value)
}

/**
 * A copy of the fields that a login is given. Of a Map, or of what has its content behind getters, nothing would be in it.
 *
 * @throws FST_ERR_REDIS_SESSIONS_NOT_SERIALIZABLE
 */
export function fieldsGiven (data: object): Fields {
  const fields: Fields = { ...data }
  if (data !== null && !isRecord(data) && Object.keys(fields).length === 0) throw lost('data', `a ${data?.constructor?.name ?? typeof data}`)
  return fields
}

/** @throws FST_ERR_REDIS_SESSIONS_RESERVED_FIELD */
export function checkNames (names: Iterable<string>): void {
  for (const name of names) if (isReserved(name)) throw new FST_ERR_REDIS_SESSIONS_RESERVED_FIELD(name)
}

/** The application's fields of a session object. */
export function fieldsOf (session: object): Fields {
  const fields: Fields = {}
  for (const name of Object.keys(session)) if (name !== 'cookie') fields[name] = (session as Fields)[name]
  return fields
}

export function hasNoFields (session: object): boolean {
  for (const name in session) if (name !== 'cookie' && Object.hasOwn(session, name)) return false
  return true
}

/** The JSON text of the fields of a session object; null where one has none. */
export function jsonOf (session: object): string | null {
  try {
    return toJson(fieldsOf(session))
  } catch {
    return null
  }
}

/** Whether no field holds an object, so that a copy of the fields shares nothing with them. */
export function isFlat (fields: Fields): boolean {
  for (const name in fields) if (typeof fields[name] === 'object' && fields[name] !== null) return false
  return true
}

/** Whether the fields of a session object still have this JSON text. */
export function isSame (json: string, session: object): boolean {
  return jsonOf(session) === json
}

/**
 * The JSON text of the fields.
 *
 * @throws FST_ERR_REDIS_SESSIONS_NOT_SERIALIZABLE naming the field
 */
export function toJson (fields: Fields): string {
  try {
    const json = JSON.stringify(fields)
    for (const name in fields) checkValue(name, fields[name])
    return json
  } catch (err) {
    for (const [name, value] of Object.entries(fields)) fieldJson(name, value)
    throw err
  }
}

/**
 * What differs between the stored JSON text and the fields now. Compared as JSON, so a change inside a nested object is
 * one of its top-level field.
 *
 * @throws FST_ERR_REDIS_SESSIONS_NOT_SERIALIZABLE naming the field
 */
export function changesOf (json: string, fields: Fields): Changes {
  const changes: Changes = new Map()
  if (toJson(fields) === json) return changes
  const before = JSON.parse(json) as Fields
  for (const [name, value] of Object.entries(fields)) {
    const now = fieldJson(name, value)
    if (now !== undefined && now !== (Object.hasOwn(before, name) ? JSON.stringify(before[name]) : undefined)) changes.set(name, now)
  }
  for (const name of Object.keys(before)) if (fields[name] === undefined) changes.set(name, null)
  return changes
}

/** The JSON text of the fields with the changes made. */
export function applyChanges (json: string, changes: Changes): string {
  const fields = JSON.parse(json) as Fields
  for (const [name, value] of changes) {
    if (value === null) delete fields[name]
    else fields[name] = JSON.parse(value)
  }
  return JSON.stringify(fields)
}

function fieldJson (name: string, value: unknown): string | undefined {
  try {
    const json = JSON.stringify(value)
    checkValue(name, value)
    return json
  } catch (err) {
    if (err instanceof FST_ERR_REDIS_SESSIONS_NOT_SERIALIZABLE) throw err
    throw new FST_ERR_REDIS_SESSIONS_NOT_SERIALIZABLE(name, (err as Error).message.split('\n', 1)[0]!)
  }
}

/** JSON would empty these without a word. Called where JSON could be made, so there is no cycle. */
function checkValue (name: string, value: unknown): void {
  if (typeof value === 'function' || typeof value === 'symbol') throw lost(name, `a ${typeof value}`)
  if (typeof value !== 'object' || value === null) return
  const json: unknown = 'toJSON' in value && typeof value.toJSON === 'function' ? value.toJSON(name) : value
  if (json !== value) return checkValue(name, json)
  if (Array.isArray(value)) {
    for (const item of value) checkValue(name, item)
    return
  }
  const names = Object.keys(value)
  if (!isPlain(value) && (names.length === 0 || isEmptied(value))) {
    throw lost(name, `a ${(value as { constructor?: { name?: string } }).constructor?.name || 'class instance'}`)
  }
  for (const each of names) checkValue(name, (value as Fields)[each])
}

/** Has its content elsewhere than in its properties. */
function isEmptied (value: object): boolean {
  return types.isMap(value) || types.isSet(value) || value instanceof Error || types.isNativeError(value) || types.isPromise(value) ||
    types.isRegExp(value) || types.isArrayBufferView(value)
}

function lost (name: string, what: string): Error {
  return new FST_ERR_REDIS_SESSIONS_NOT_SERIALIZABLE(name, `${what} has no JSON form`)
}
