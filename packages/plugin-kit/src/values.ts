import { types } from 'node:util'
import { textOf } from './calls.ts'

/**
 * What is in a value that its JSON says nothing of, or something else: a Map, a Set, an Error, a promise, a regular expression,
 * bytes without a form of their own, an instance of a class that shows nothing; by name, also of another realm. Null where nothing is.
 * What has a `toJSON` says itself what it is. Of a value that has a JSON form, so without cycles.
 *
 * @param withBuffers whether a Buffer is lost too, whose JSON is a list of numbers
 */
export function lossOf (value: unknown, withBuffers = false): string | null {
  if (typeof value !== 'object' || value === null) return null
  if (Array.isArray(value)) {
    if (typeof (value as { toJSON?: unknown }).toJSON === 'function') return null
    for (const one of value) {
      const lost = typeof one === 'object' ? lossOf(one, withBuffers) : null
      if (lost !== null) return lost
    }
    return null
  }
  if (!isPlain(value)) {
    if (types.isNumberObject(value) || types.isBooleanObject(value) || types.isStringObject(value)) return null
    if (isEmptied(value, withBuffers)) return value.constructor?.name ?? 'class instance'
  }
  if (typeof (value as { toJSON?: unknown }).toJSON === 'function') return null
  for (const name in value) {
    const one = (value as Record<string, unknown>)[name]
    const lost = typeof one === 'object' ? lossOf(one, withBuffers) : null
    if (lost !== null) return lost
  }
  return null
}

/**
 * The JSON of a value.
 *
 * @param refuse makes the error that is thrown where there is none, or one that loses something (see `lossOf`), from the reason
 */
export function jsonOf (value: unknown, refuse: (reason: string) => Error, withBuffers = false): string {
  let json: string | undefined
  try {
    json = JSON.stringify(value)
  } catch (err) {
    throw refuse(textOf((err as Error | null)?.message).split('\n', 1)[0]!)
  }
  if (json === undefined) throw refuse(`${typeof value} has no JSON form`)
  const lost = !withBuffers && isFlat(value, json) ? null : lossOf(value, withBuffers)
  if (lost !== null) throw refuse(`a ${lost} has no JSON form`)
  return json
}

/**
 * Holds nothing that could be lost: in JSON every object that does not say itself what it is begins with a brace. For what is published a
 * hundred thousand times a second: of the JSON of such a message the brace is sought in place of every property of the value.
 */
function isFlat (value: unknown, json: string): boolean {
  return json.indexOf('{', 1) === -1 && (typeof value !== 'object' || value === null || Array.isArray(value) || isPlain(value))
}

/** Has its content elsewhere than in its properties, and no form of its own. */
function isEmptied (value: object, withBuffers: boolean): boolean {
  if (ArrayBuffer.isView(value)) return withBuffers || !('toJSON' in value)
  if ('toJSON' in value && typeof value.toJSON === 'function') return false
  return Object.keys(value).length === 0 || types.isMap(value) || types.isSet(value) || types.isPromise(value) || types.isRegExp(value) ||
    types.isNativeError(value) || value instanceof Error
}

/** An object literal, of any realm; not what inherits of an object without a prototype, as those of `parseArgs` are. */
export function isPlain (value: object): boolean {
  const prototype = Object.getPrototypeOf(value) as object | null
  return prototype === Object.prototype || prototype === null || (Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype, 'isPrototypeOf'))
}
