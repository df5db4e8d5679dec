import type { Paginate } from '@jpulse/cursor-pagination'
import { Turn } from '@jpulse/plugin-kit'
import { MAX_TIME_MS, type Database } from './database.ts'
import { entriesOf, fieldsInOrder } from './entries.ts'
import { ENTRY_FIELDS, type Entry, type EntryFields } from './entry.ts'
import type { Search } from './search.ts'
import { hasPhrase } from './words.ts'

export interface PageRequest {
  limit: number
  skip: number
  /** Where the page before ended; it counts in the place of `skip`. */
  cursor?: string | undefined
}

export interface EntryPage {
  readonly entries: readonly Entry[]
  /** Whether more follows. */
  readonly more: boolean
  /** Where it follows: to go on there is exact, whatever was written meanwhile. Of a search there is none. */
  readonly cursor: string | null
}

const TIMED = { maxTimeMS: MAX_TIME_MS }
/** A page has at most so many characters of JSON, or one object: with more of them it ends early, and the rest follows on the next one. */
const MAX_CHARACTERS = 4 * 1024 * 1024
/** A search looks at this many matches, in the order of their creation, to find the best ones; to fewer where it reads the words of each. */
const MAX_MATCHES = 10_000
const MAX_ANY_MATCHES = 2000
const MAX_PHRASE_MATCHES = 1000
const BATCH = 200
const TEXT_BATCH = 10

/** A page of what matches a filter, in the order of creation. */
export async function queryPage (db: Database, paginate: Paginate, filter: Record<string, unknown>, { limit, skip, cursor }: PageRequest): Promise<EntryPage> {
  const place = cursor !== undefined ? { cursor } : skip > 0 ? { offset: skip } : {}
  const { items, pageInfo } = await paginate(db.objects, { filter, sort: { _id: 1 }, limit, projection: ENTRY_FIELDS, driverOptions: TIMED, ...place })
  const fields = items as unknown as EntryFields[]
  const { entries, isCut } = await entriesOf(db, fields, { maxCharacters: MAX_CHARACTERS })
  if (!isCut) return { entries, more: pageInfo.hasNext, cursor: pageInfo.nextCursor }
  const last = fields.findIndex(({ _id }) => _id === entries.at(-1)!.id)
  return { entries, more: true, cursor: pageInfo.cursorOf(items[last]!) }
}

/** A page of what has the words, best first. */
export async function searchPage (db: Database, search: Search, { limit, skip }: PageRequest): Promise<EntryPage> {
  const scores = search.phrase === undefined ? await wordScores(db, search) : await phraseScores(db, search, search.phrase)
  const ranked = [...scores].sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1)).slice(skip, skip + limit + 1).map(([id]) => id)
  const { entries, isCut } = await entriesOf(db, fieldsInOrder(db, ranked.slice(0, limit)), { scores, maxCharacters: MAX_CHARACTERS })
  // What was deleted meanwhile is no match any more.
  return { entries: entries.filter(({ version }) => version !== null), more: isCut || ranked.length > limit, cursor: null }
}

/** A match is worth the more, the more of the words it has and the fewer others. */
async function wordScores (db: Database, { words, match }: Search): Promise<Map<string, number>> {
  const scores = new Map<string, number>()
  // What has all words has as many of them as another: only how many others there are tells them apart.
  const { condition, projection, limit, batchSize } = match === 'all'
    ? { condition: { words: { $all: [...words] } }, projection: { wordCount: 1 }, limit: MAX_MATCHES, batchSize: BATCH }
    : { condition: { words: { $in: [...words] } }, projection: { wordCount: 1, words: 1 }, limit: MAX_ANY_MATCHES, batchSize: TEXT_BATCH }
  const turn = new Turn()
  for await (const { _id, wordCount, words: has } of db.objects.find(condition, { projection, sort: { _id: 1 }, limit, batchSize, ...TIMED })) {
    const hits = match === 'all' ? words.length : words.filter((word) => has.includes(word)).length
    scores.set(_id, rounded(hits * weight(wordCount)))
    if (turn.isOver) await turn.next()
  }
  return scores
}

async function phraseScores (db: Database, { words }: Search, { tokens, slop }: NonNullable<Search['phrase']>): Promise<Map<string, number>> {
  const scores = new Map<string, number>()
  const found = db.objects.find({ words: { $all: [...words] } }, { projection: { lines: 1, wordCount: 1 }, sort: { _id: 1 }, limit: MAX_PHRASE_MATCHES, batchSize: TEXT_BATCH, ...TIMED })
  const turn = new Turn()
  for await (const { _id, lines = '', wordCount } of found) {
    if (hasPhrase(lines, tokens, slop)) scores.set(_id, rounded(words.length * weight(wordCount)))
    if (turn.isOver) await turn.next()
  }
  return scores
}

const weight = (wordCount = 100): number => 1 / Math.sqrt(Math.max(1, wordCount))
const rounded = (score: number): number => Math.round(score * 10_000) / 10_000
