import { createHash } from 'node:crypto'
import { isLiving, type Stored } from './document.ts'

/**
 * What the cached answers depend on.
 *
 * An object's answer has its own tag. A query or a search has the tag of one thing that a document must have to match it (a
 * property of some value, a word), and a write touches the tags of all that its documents have, before and after. So no
 * write can make a document match, or no longer match, or change what a match shows, without touching the query.
 *
 * The tags of properties and words share a fixed number of names, because each name costs memory in Redis for a while: to
 * share one costs a query that is dropped in vain.
 */
const BUCKETS = 16_384
const MAX_LEAVES = 400

/** Of queries that no single property narrows. Every write touches it. */
export const ANY = 'q:any'
/** Of every query and search, for writes with more properties than can be named. */
export const ALL = 'q:all'

export const objectTag = (id: string): string => `object:${id}`
export const slugTag = (slug: string): string => `slug:${slug}`
export const propertyTag = (path: string, value: Scalar): string => bucket(`p${path}\0${JSON.stringify(value)}`)
export const wordTag = (word: string): string => bucket(`w${word}`)

export type Scalar = string | number | boolean

/** A document that a write puts in the place of another, or of nothing. */
export interface Change { before: Stored | null, after: Stored }

/** Everything that depends on the changed documents. */
export function tagsOf (changes: readonly Change[]): string[] {
  const own = new Set<string>([ANY])
  const found = new Set<string>()
  for (const { before, after } of changes) {
    own.add(objectTag(after._id))
    // A name that leads to a document now, or did.
    for (const slug of [before?.slug, after.slug]) if (slug !== undefined && before?.slug !== after.slug) own.add(slugTag(slug))
    for (const stored of [before, after]) if (stored !== null) addFound(stored, found)
  }
  return found.size > MAX_LEAVES ? [...own, ALL] : [...own, ...found]
}

function addFound (stored: Stored, found: Set<string>): void {
  addLeaves(stored.object, '', found)
  if (isLiving(stored)) for (const word of stored.words) if (found.size <= MAX_LEAVES) found.add(wordTag(word))
}

/** Filters look through arrays without naming a place in them, and so do these paths. */
function addLeaves (value: unknown, path: string, found: Set<string>): void {
  if (value === null || found.size > MAX_LEAVES) return
  if (Array.isArray(value)) for (const part of value) addLeaves(part, path, found)
  else if (typeof value === 'object') for (const [name, part] of Object.entries(value)) addLeaves(part, path === '' ? name : `${path}.${name}`, found)
  else found.add(propertyTag(path, value as Scalar))
}

function bucket (text: string): string {
  return `q:${createHash('sha256').update(text).digest().readUInt32LE(0) % BUCKETS}`
}
