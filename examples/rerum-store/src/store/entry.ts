import { createHash } from 'node:crypto'
import type { Turn } from '@jpulse/plugin-kit'
import { Binary } from 'mongodb'
import type { Body } from './body.ts'
import { isTombstone, type Living, type Rerum, type Stored, type StoredJson, type Tombstone } from './document.ts'
import { formOf, isAnnotation, mapsId, type Form } from './identity.ts'

/** What reads know of an object. */
export interface Entry {
  readonly id: string
  readonly uri: string
  /** As clients see it: its JSON, a long one in several texts, none of which holds the process while it is worked on. */
  readonly texts: readonly string[]
  /** Of its JSON in UTF-8. */
  readonly bytes: number
  readonly etag: string
  readonly form: Form
  readonly annotation?: { readonly skip: number }
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

/** Of the JSON that is stored; to be raised with every change of it. */
const JSON_VERSION = 2
/** Characters of a text that stands among the other fields. */
const LONG = 32 * 1024
/** Bytes of a long text that become a text of the entry at once. */
const PIECE = 64 * 1024

/** The JSON to store beside an object. A long one is stored as its bytes, which the driver hands over without decoding them. */
export function storedJson (object: Living | Tombstone): { json: StoredJson, large?: Binary } {
  const { text, ...json } = encoded(object)
  return text.length > LONG ? { json, large: new Binary(Buffer.from(text)) } : { json: { ...json, text } }
}

function encoded (object: Living | Tombstone): StoredJson & { text: string } {
  const { __rerum: _rerum, '@context': context, '@id': id, ...content } = object as Body
  const isMapped = mapsId(object as Body)
  if (isMapped) delete content.id
  // Put together here, because of an object the properties that are numbers would come first.
  const first = context === undefined ? '{' : `{"@context":${JSON.stringify(context)},`
  const name = isMapped ? '"id":' : '"@id":'
  const rest = JSON.stringify(content)
  return {
    version: JSON_VERSION,
    of: stateOf(object),
    text: `${first}${name}${JSON.stringify(id)}${rest === '{}' ? '}' : `,${rest.slice(1)}`}`,
    form: formOf(object),
    ...(isAnnotation(object as Body) && { annotation: { skip: first.length + name.length } })
  }
}

/** The entry of a whole document, whoever wrote it. */
export const entryOfAll = (stored: EntryFields, score?: number): Entry => entryOf(stored, score) ?? entryOf({ ...stored, json: encoded(stored.object) }, score)!

/** Undefined where the text is long or absent, or of another state than the object, or made in another way. */
export function entryOf (fields: EntryFields, score?: number): Entry | undefined {
  const { json, object } = fields
  if (json?.text === undefined || !isCurrent(json, object)) return undefined
  const rerum = rerumOf(object, score)
  const text = rerum === undefined ? json.text : withRerum(json.text, rerum)
  return made(fields, json, [text], { bytes: Buffer.byteLength(text), etag: etagOf(text) })
}

/** As `entryOf`, of a long text, in turns. */
export async function longEntryOf (fields: EntryFields, turn: Turn, score?: number): Promise<Entry | undefined> {
  const { json, large, object } = fields
  if (json === undefined || large === undefined || !isCurrent(json, object)) return undefined
  const rerum = rerumOf(object, score)
  const hash = createHash('sha256')
  const texts: string[] = []
  const stored = large.value()
  let bytes = rerum === undefined ? stored.length : stored.length - 1
  for (const piece of pieces(stored.subarray(0, bytes))) {
    hash.update(piece)
    texts.push(piece.toString())
    if (turn.isOver) await turn.next()
  }
  if (rerum !== undefined) {
    const end = rerumText(rerum)
    hash.update(end)
    texts.push(end)
    bytes += Buffer.byteLength(end)
  }
  return made(fields, json, texts, { bytes, etag: tagOf(hash.digest('base64url')) })
}

function made ({ _id, tree, parent, modified, object }: EntryFields, { form, annotation }: StoredJson, texts: string[], { bytes, etag }: Pick<Entry, 'bytes' | 'etag'>): Entry {
  const rerum = isTombstone(object) ? undefined : object.__rerum
  return {
    id: _id,
    uri: object['@id'],
    texts,
    bytes,
    etag,
    form,
    ...(annotation !== undefined && { annotation }),
    version: rerum?.isOverwritten ?? null,
    tree,
    parent: rerum === undefined ? null : parent,
    next: (rerum?.history.next ?? []).map((uri) => uri.slice(uri.lastIndexOf('/') + 1)),
    modified: Math.floor(Date.parse(modified ?? lastTimeIn(object)) / 1000)
  }
}

/** Bytes of UTF-8 in pieces of about the same length, each whole characters. */
function * pieces (bytes: Uint8Array): Generator<Buffer> {
  const all = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  for (let at = 0; at < all.length;) {
    let end = Math.min(at + PIECE, all.length)
    while (end < all.length && (all[end]! & 0xC0) === 0x80) end--
    yield all.subarray(at, end)
    at = end
  }
}

/** An object as clients see it, and its strong entity tag: those of a read that follows. */
export function jsonOf (object: Living): { json: string, etag: string } {
  const json = withRerum(encoded(object).text, object.__rerum)
  return { json, etag: etagOf(json) }
}

export const charactersIn = ({ texts }: Entry): number => texts.length === 1 ? texts[0]!.length : texts.reduce((sum, text) => sum + text.length, 0)

export const etagOf = (text: string): string => tagOf(createHash('sha256').update(text).digest('base64url'))
const tagOf = (digest: string): string => `"${digest.slice(0, 27)}"`

type Scored = Rerum & { score?: number }
const rerumOf = (object: Living | Tombstone, score: number | undefined): Scored | undefined =>
  isTombstone(object) ? undefined : score === undefined ? object.__rerum : { ...object.__rerum, score }
const rerumText = (rerum: Scored): string => `,"__rerum":${JSON.stringify(rerum)}}`
const withRerum = (text: string, rerum: Scored): string => text.slice(0, -1) + rerumText(rerum)
const stateOf = (object: Living | Tombstone): string => isTombstone(object) ? `deleted ${object.__deleted.time}` : object.__rerum.isOverwritten

const isCurrent = ({ version, of }: StoredJson, object: Living | Tombstone): boolean => version === JSON_VERSION && of === stateOf(object)

/** For documents that do not say when they changed. */
export function lastTimeIn (object: Living | Tombstone): string {
  if (isTombstone(object)) return object.__deleted.time
  const { createdAt, isOverwritten, isReleased } = object.__rerum
  return [createdAt, isOverwritten, isReleased].reduce((last, time) => time > last ? time : last)
}
