import { canonical } from '../values.ts'

/** What tells requests apart, as a text; null where two that differ might have the same one: of a stream, or an instance that shows nothing of what it holds. */
export function told (parts: unknown): string | null {
  try {
    return canonical(parts, (part) => {
      if (typeof (part as { pipe?: unknown }).pipe === 'function' || isOpaque(part)) throw new TypeError('cannot be told')
    })
  } catch {
    return null
  }
}

/** Neither a plain object, with a prototype or without, nor one with properties of its own. */
function isOpaque (part: object): boolean {
  const prototype: object | null = Object.getPrototypeOf(part)
  return prototype !== null && Object.getPrototypeOf(prototype) !== null && Object.keys(part).length === 0
}
