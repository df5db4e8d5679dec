import { createHash } from 'node:crypto'
import { canonical } from './values.ts'

/**
 * The version of a value that a read returned, whatever the order of its properties: what `ifVersion` of a write takes, and the
 * ETag of the HTTP routes. Equal values have equal versions, and so has no document: that of null.
 */
export function versionOf (value: unknown): string {
  return createHash('sha256').update(canonical(value ?? null)).digest('base64url').slice(0, 22)
}

/** Of which versions a document must be one: `*` is any, null is no document. */
export type Versions = string | readonly string[] | null

/** Whether a document is of one of the versions; null is none. */
export function isOf (versions: Versions, value: unknown): boolean {
  if (versions === null) return value === null
  const list = typeof versions === 'string' ? [versions] : versions
  return (value !== null && list.includes('*')) || list.includes(versionOf(value))
}
