import { createHash } from 'node:crypto'
import type { Body } from './body.ts'
import { isTombstone, type Living, type Rerum, type Stored, type StoredJson, type Tombstone } from './document.ts'
import { formOf, isAnnotation, shown, type Form } from './identity.ts'

/** What reads know of an object. */
export interface Entry {
  readonly id: string
  readonly uri: string
  /** As clients see it. */
  readonly json: string
  readonly etag: string
  readonly form: Form
  readonly annotation?: { readonly context: number }
  /** Time of the last overwrite; null for a tombstone. */
  readonly version: string | null
  readonly tree: string
  readonly parent: string | null
  readonly next: readonly string[]
  /** In seconds. */
  readonly modified: number
}

/** What an entry is made of, but for long texts: so what lists read at once has a bound. */
export type EntryFields = Pick<Stored, '_id' | 'tree' | 'parent' | 'modified' | 'json' | 'large' | 'object'>
export const ENTRY_FIELDS = { tree: 1, parent: 1, modified: 1, json: 1, 'object.@id': 1, 'object.__rerum': 1, 'object.__deleted.time': 1 } as const

const LONG = 32 * 1024

/** The JSON to store beside an object. */
export function storedJson (object: Living | Tombstone): { json: StoredJson, large?: string } {
  const { text, ...json } = encoded(object)
  return text.length > LONG ? { json, large: text } : { json: { ...json, text } }
}

function encoded (object: Living | Tombstone): StoredJson & { text: string } {
  const { __rerum: _rerum, ...rest } = object as Body
  const seen = shown(rest)
  const form = formOf(object)
  const mapped = 'id' in seen && !('@id' in seen)
  return {
    of: stateOf(object),
    text: JSON.stringify(seen),
    form,
    ...(isAnnotation(rest) && { annotation: { context: mapped ? JSON.stringify(seen['@context']).length + '"@context":,'.length : 0 } })
  }
}

/** The entry of a whole document, whoever wrote it. */
export const entryOfAll = (stored: EntryFields, score?: number): Entry => entryOf(stored, score) ?? entryOf({ ...stored, json: encoded(stored.object) }, score)!

/** Undefined where the text is not among the fields, or of another state than the object. */
export function entryOf ({ _id, tree, parent, modified, json, large, object }: EntryFields, score?: number): Entry | undefined {
  const stored = json?.text ?? large
  if (json === undefined || stored === undefined || json.of !== stateOf(object)) return undefined
  const rerum = isTombstone(object) ? undefined : object.__rerum
  const text = rerum === undefined ? stored : withRerum(stored, score === undefined ? rerum : { ...rerum, score })
  return {
    id: _id,
    uri: object['@id'],
    json: text,
    etag: etagOf(text),
    form: json.form,
    ...(json.annotation !== undefined && { annotation: json.annotation }),
    version: rerum?.isOverwritten ?? null,
    tree,
    parent: rerum === undefined ? null : parent,
    next: (rerum?.history.next ?? []).map((uri) => uri.slice(uri.lastIndexOf('/') + 1)),
    modified: Math.floor(Date.parse(modified ?? lastTimeIn(object)) / 1000)
  }
}

/** An object as clients see it, and its strong entity tag: those of a read that follows. */
export function jsonOf (object: Living): { json: string, etag: string } {
  const json = withRerum(encoded(object).text, object.__rerum)
  return { json, etag: etagOf(json) }
}

export const etagOf = (text: string): string => `"${createHash('sha256').update(text).digest('base64url').slice(0, 27)}"`

const withRerum = (text: string, rerum: Rerum & { score?: number }): string => `${text.slice(0, -1)},"__rerum":${JSON.stringify(rerum)}}`
const stateOf = (object: Living | Tombstone): string => isTombstone(object) ? `deleted ${object.__deleted.time}` : object.__rerum.isOverwritten

/** For documents that do not say when they changed. */
export function lastTimeIn (object: Living | Tombstone): string {
  if (isTombstone(object)) return object.__deleted.time
  const { createdAt, isOverwritten, isReleased } = object.__rerum
  return [createdAt, isOverwritten, isReleased].reduce((last, time) => time > last ? time : last)
}
