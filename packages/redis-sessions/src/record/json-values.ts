import type { Fields } from './fields.ts'

// Values that JSON.parse made and that several requests share: each gets copies, and what it changed is found by comparing.

/** A value of more parts than this is copied when it is asked for. Copying this many takes less time than making the accessor that waits. */
const SMALL = 40

/** Names of the fields that are copied only where a request asks for them. */
export function largeOf (fields: Fields): ReadonlySet<string> {
  return new Set(Object.keys(fields).filter((name) => partsOf(fields[name], SMALL) > SMALL))
}

/** A copy that shares nothing with the value. */
export function copyOf (value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(copyOf)
  const copy: Fields = {}
  for (const name of Object.keys(value)) {
    // As JSON.parse makes it: a property like any other.
    if (name === '__proto__') Object.defineProperty(copy, name, { value: copyOf((value as Fields)[name]), writable: true, enumerable: true, configurable: true })
    else copy[name] = copyOf((value as Fields)[name])
  }
  return copy
}

/**
 * Whether whatever the application left has the JSON text of a value that JSON.parse made. Where it says no, that may be so all
 * the same.
 */
export function isSameValue (left: unknown, value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return left === value
  if (typeof left !== 'object' || left === null || 'toJSON' in left) return false
  if (Array.isArray(value)) {
    if (!Array.isArray(left) || left.length !== value.length) return false
    for (let index = 0; index < value.length; index++) if (!isSameValue(left[index], value[index])) return false
    return true
  }
  if (Object.getPrototypeOf(left) !== Object.prototype) return false
  const names = Object.keys(value)
  const given = Object.keys(left)
  if (given.length !== names.length) return false
  for (let index = 0; index < names.length; index++) {
    const name = names[index]!
    if (given[index] !== name || !isSameValue((left as Fields)[name], (value as Fields)[name])) return false
  }
  return true
}

/** @param most where counting may end */
function partsOf (value: unknown, most: number): number {
  if (typeof value !== 'object' || value === null) return 1
  let parts = 1
  for (const part of Object.values(value)) {
    parts += partsOf(part, most - parts)
    if (parts > most) break
  }
  return parts
}
