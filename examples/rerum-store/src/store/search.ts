import { Type } from 'typebox'
import { Value } from 'typebox/value'
import { FST_ERR_RERUM_INVALID_SEARCH } from '../errors.ts'
import { wordTag } from './tags.ts'
import { HALF_PAIR, isWellFormed } from './text.ts'
import { tokensIn } from './words.ts'

export interface Search {
  /** The different words, in an order of their own. */
  readonly words: readonly string[]
  /** Whether an object must have one of the words, or all. */
  readonly match: 'any' | 'all'
  /** Where the words must follow each other: in which order, and how many others may stand between two of them. */
  readonly phrase?: { readonly tokens: readonly string[], readonly slop: number }
  /** Equal searches have equal texts. */
  readonly text: string
  readonly tags: readonly string[]
}

const MAX_WORDS = 20
const DEFAULT_SLOP = 2
const Options = Type.Object({ match: Type.Optional(Type.Enum(['any', 'all'])), slop: Type.Optional(Type.Integer({ minimum: 0, maximum: 100 })) })
const Body = Type.Union([Type.String(), Type.Object({ searchText: Type.String(), options: Type.Optional(Type.Union([Type.Null(), Options])) })])
const FORM = 'must be a text, or { searchText, options: { match: "any" | "all", slop: 0 to 100 } }'

/**
 * Options that a full-text index of MongoDB Atlas takes and this one does not (`fuzzy`, `synonyms`, …) change nothing.
 *
 * @throws FST_ERR_RERUM_INVALID_SEARCH
 */
export function readSearch (body: unknown, kind: 'words' | 'phrase' = 'words'): Search {
  if (!Value.Check(Body, body)) throw new FST_ERR_RERUM_INVALID_SEARCH(FORM)
  const { searchText, options } = typeof body === 'string' ? { searchText: body } : body
  if (!isWellFormed(searchText)) throw new FST_ERR_RERUM_INVALID_SEARCH(HALF_PAIR)
  const tokens = tokensIn(searchText)
  const words = [...new Set(tokens)].sort()
  if (words.length === 0 || tokens.length > MAX_WORDS) throw new FST_ERR_RERUM_INVALID_SEARCH(`must have 1 to ${MAX_WORDS} words`)
  const match = kind === 'phrase' ? 'all' : options?.match ?? 'all'
  const phrase = kind === 'phrase' ? { tokens, slop: options?.slop ?? DEFAULT_SLOP } : undefined
  // Every match has one of these words: of all of them, the longest will do.
  const needed = match === 'any' ? words : [words.reduce((longest, word) => word.length > longest.length ? word : longest)]
  return { words, match, ...(phrase !== undefined && { phrase }), text: JSON.stringify([words, match, phrase]), tags: needed.map(wordTag) }
}
