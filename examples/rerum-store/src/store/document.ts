import { ObjectId, type Binary } from 'mongodb'
import type { Form } from './identity.ts'

/** What the store says about an object. */
export interface Rerum {
  /** The three are for those who ask for them: where the terms are explained, and what the original calls its API. Absent in documents of before. */
  '@context'?: string
  alpha?: boolean
  APIversion?: string
  createdAt: string
  generatedBy: string
  /** Time of the last overwrite, '' without any. Never the same twice, so that it tells versions apart. */
  isOverwritten: string
  isReleased: string
  slug: string
  history: { prime: string, previous: string, next: string[] }
  releases: { previous: string, next: string[], replaces: string }
}

export interface Living { '@id': string, __rerum: Rerum, [name: string]: unknown }

export interface Tombstone { '@id': string, __deleted: { object: Living, deletor: string, time: string } }

/**
 * The JSON of an object, made when it is written and stored beside it. A read then neither decodes the object nor encodes
 * it: for one of some megabytes each would hold the process for longer than others may wait.
 */
export interface StoredJson {
  /** How it is made (entry.ts): what is of another version, or of none, is made anew from the object. */
  version?: number
  /** The state that it is of: a writer that does not know this field changes an object and leaves it as it was. */
  of: string
  /** Without `__rerum`, which changes with other versions. Absent where it is long: then it stands in `large` of the document. */
  text?: string
  form: Form
  /** Of a Web Annotation: characters before its identity in the text. In a page of several it stands as `id`, without a context of its own. */
  annotation?: { skip: number }
}

/** An object as it lies in the database: what clients see is `object` alone, and filters reach nothing else. */
export interface Stored {
  _id: string
  /** Counts the writes of this document: what a write read is what it replaces. */
  rev: number
  /** The write that made this state. */
  op: string
  /** Root of its versions. */
  tree: string
  /** The version that it was made from; null for a root. */
  parent: string | null
  /** Absent without one, so that the unique index is of those that have one. */
  slug?: string
  /** What a search finds it by. */
  words: string[]
  /** Its words in their order (words.ts). Absent in documents of before, which no phrase finds. */
  lines?: string
  /** Number of its words, for their weight. */
  wordCount?: number
  /** When anything about it changed last, its links included: whole seconds, each later than the one before. */
  modified?: string
  /** What reads show of it (entry.ts), and the text of that, in UTF-8, where it is long. */
  json?: StoredJson
  large?: Binary
  object: Living | Tombstone
}

export interface LivingStored extends Stored { object: Living }

export const isTombstone = (object: Living | Tombstone): object is Tombstone => '__deleted' in object
export const isLiving = (stored: Stored): stored is LivingStored => !isTombstone(stored.object)

/** Ids grow with time, so their order is the order of creation. */
export const newId = (): string => new ObjectId().toHexString()
export const isId = (text: string): boolean => /^[0-9a-f]{24}$/.test(text)
const isSlug = (text: string): boolean => /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/.test(text) && !/^[0-9a-f]{24}$/i.test(text)

/** Whether a text can name an object of this store, as an id or a slug. */
export const isName = (text: string): boolean => isId(text) || isSlug(text)
export { isSlug }

/** A time that is later than another one, also within a millisecond. */
export function later (than = ''): string {
  const now = new Date().toISOString()
  return now > than ? now : new Date(Date.parse(than) + 1).toISOString()
}
