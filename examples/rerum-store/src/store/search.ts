import { Type } from 'typebox'
import { Value } from 'typebox/value'
import { FST_ERR_RERUM_INVALID_SEARCH } from '../errors.ts'
import { wordTag } from './tags.ts'
import { HALF_PAIR, isWellFormed } from './text.ts'
import { wordsIn } from './words.ts'

export interface Search {
  readonly words: readonly string[]
  /** Whether an object must have one of the words, or all. */
  readonly match: 'any' | 'all'
  readonly tags: readonly string[]
}

const MAX_WORDS = 20
const Body = Type.Union([
  Type.String(),
  Type.Object({
    searchText: Type.String(),
    options: Type.Optional(Type.Object({ match: Type.Optional(Type.Enum(['any', 'all'])) }, { additionalProperties: false }))
  }, { additionalProperties: false })
])

/** @throws FST_ERR_RERUM_INVALID_SEARCH */
export function readSearch (body: unknown): Search {
  if (!Value.Check(Body, body)) throw new FST_ERR_RERUM_INVALID_SEARCH('must be a text, or { searchText, options: { match: "any" | "all" } }')
  const text = typeof body === 'string' ? body : body.searchText
  if (!isWellFormed(text)) throw new FST_ERR_RERUM_INVALID_SEARCH(HALF_PAIR)
  const match = typeof body === 'string' ? 'all' : body.options?.match ?? 'all'
  const words = wordsIn(text).sort()
  if (words.length === 0 || words.length > MAX_WORDS) throw new FST_ERR_RERUM_INVALID_SEARCH(`must have 1 to ${MAX_WORDS} words`)
  // Every match has one of these words: of all of them, the longest will do.
  const needed = match === 'any' ? words : [words.reduce((longest, word) => word.length > longest.length ? word : longest)]
  return { words, match, tags: needed.map(wordTag) }
}
