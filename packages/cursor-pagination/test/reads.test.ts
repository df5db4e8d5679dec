import Fastify from 'fastify'
import t from 'tap'
import { mongo } from '../../../test/helpers/mongo.ts'
import cursorPagination, { suggestIndex, type Page, type PaginateOptions } from '../src/index.ts'
import { FULL } from './conformance.js'
import { finds } from './explained.js'
import { matches } from './query-model.js'
import { missingIn } from './subjects.js'

type Doc = Record<string, unknown>

const DOCUMENTS = 100_000
const LIMIT = 20
/** Keys and documents that a page may read: twice itself, and a few where an interval begins and ends. */
const MOST = 2 * LIMIT + 10

const app = Fastify()
t.teardown(() => app.close())
await app.register(cursorPagination, { secret: 'reads', maxOffset: DOCUMENTS, explain: false })
const { paginate } = app

interface Case {
  /** The i-th document in the order of the index. */
  document: (i: number) => Doc
  sort: Record<string, 1 | -1 | { order: 1 | -1, type: 'number' }>
  filter?: Doc
}

const half = (i: number) => i < DOCUMENTS / 2
const cases: Record<string, Case> = {
  'a unique sort': { sort: { a: 1 }, document: (i) => ({ a: i }) },
  'a sort of two values': { sort: { a: 1 }, document: (i) => ({ a: half(i) ? 0 : 1 }) },
  'a sort of two values, of declared types': { sort: { a: { order: 1, type: 'number' }, _id: { order: 1, type: 'number' } }, document: (i) => ({ a: half(i) ? 0 : 1 }) },
  'nulls in half': { sort: { a: 1 }, document: (i) => half(i) ? i % 2 ? {} : { a: null } : { a: i } },
  'mixed types': { sort: { a: 1 }, document: (i) => ({ a: [i, `s${String(i).padStart(6, '0')}`, { x: i }, new Date(i)][Math.floor(i * 4 / DOCUMENTS)] }) },
  'three fields in mixed directions': { sort: { a: 1, b: -1 }, document: (i) => ({ a: Math.floor(i / 1000), b: -Math.floor(i / 30) }) },
  'a filter of equality': { sort: { a: 1 }, filter: { k: { $eq: 'x' } }, document: (i) => ({ k: i < 1000 ? 'a' : 'x', a: Math.floor(i / 700) }) },
  'a filter with $in': { sort: { a: 1 }, filter: { k: { $in: [0, 1] } }, document: (i) => ({ k: i % 4, a: Math.floor(i / 700) }) },
  'a filter with $or': { sort: { a: 1 }, filter: { $or: [{ k: 0 }, { k: 3 }] }, document: (i) => ({ k: i % 4, a: Math.floor(i / 700) }) },
  'a filter of a range': { sort: { a: 1 }, filter: { k: { $gte: 1 } }, document: (i) => ({ k: i % 4, a: Math.floor(i / 700) }) }
}

/**
 * An index as a collection of which only `find` is asked: it counts the entries that it visits from where an interval
 * begins to where its limit is reached.
 *
 * @param given the filter of the caller
 * @param first the field of the filter that the index begins with
 */
function indexed (documents: Doc[], given: Doc, first?: string) {
  const read = { keys: 0, finds: 0 }
  let last = 0
  let matching: Doc[] | undefined
  /** @param at walks the index from the end where the order begins */
  function * entries (filter: Doc, at: (i: number) => Doc): Generator<Doc> {
    const interval = Object.fromEntries(Object.entries(filter).filter(([name]) => !Object.hasOwn(given, name) || name === first))
    const inside = (i: number) => matches(at(i), interval)
    let begin = 0
    // By steps, then one by one: an index finds the place without visiting what is before it.
    while (begin < documents.length && !inside(begin)) begin += 97
    if (begin >= documents.length) begin = documents.findIndex((_, i) => inside(i))
    if (begin === -1) return
    while (begin > 0 && inside(begin - 1)) begin--
    for (let i = begin; i < documents.length; i++) {
      read.keys++
      if (!inside(i)) return
      if (matches(at(i), given)) yield at(i)
    }
  }
  const replies = Object.values(finds)
  const find = (filter: Doc, { sort, limit, skip = 0 }: { sort: Array<[string, number]>, limit: number, skip?: number }) => {
    return {
      toArray: async () => {
        read.finds++
        const before = read.keys
        const isForwards = sort[0]?.[1] === 1
        // Offset mode only finds the place of a page here: its reads are not what is counted.
        if (skip > 0) return (matching ??= documents.filter((one) => matches(one, given))).slice(skip, skip + limit)
        const rows: Doc[] = []
        for (const row of entries(filter, (i) => documents[isForwards ? i : documents.length - 1 - i] as Doc)) {
          if (rows.push(row) === limit) break
        }
        last = read.keys - before
        return rows
      },
      // In turn as each version of MongoDB says it, an index of the order being read: each key leads to a document.
      explain: async () => replies[read.finds % replies.length]?.(last, last)
    }
  }
  return { read, collection: { namespace: 'test.indexed', find, aggregate () {}, insertOne: (document: { _id: number, a?: unknown }) => document, countDocuments () {} } }
}

/** @param part of the documents before the page */
async function pageAt (collection: Parameters<typeof paginate>[0], options: PaginateOptions, part: number, total: number, before: () => void) {
  const offset = Math.max(0, Math.floor(part * total) - 1)
  const { pageInfo } = part === 0 ? { pageInfo: { nextCursor: null } } : await paginate(collection, { ...options, offset, limit: 1 })
  before()
  const page = await paginate(collection, { ...options, limit: LIMIT, cursor: pageInfo.nextCursor })
  const { prevCursor, nextCursor } = page.pageInfo
  return { page, prevCursor, nextCursor }
}

/** What the intervals of a page read, as the server explained them. */
function explained ({ pageInfo: { reads = [] } }: Page) {
  const sum = (name: 'keys' | 'documents') => reads.reduce((sum, read) => sum + (read[name] ?? Infinity), 0)
  return { keys: sum('keys'), documents: sum('documents') }
}

for (const [what, { document, sort, filter = {} }] of Object.entries(cases)) {
  t.test(`a page reads at most twice itself at 0, 50 and 99% of ${DOCUMENTS} documents, both ways: ${what}`, async (t) => {
    const documents = Array.from({ length: DOCUMENTS }, (_, i) => ({ _id: i, ...document(i) }))
    if (sort['b'] === -1) documents.forEach((one, i) => { one._id = DOCUMENTS - i })
    const { read, collection } = indexed(documents, filter, what === 'a filter of equality' ? 'k' : undefined)
    const options = { sort, filter }
    const total = documents.filter((one) => matches(one, filter)).length
    const reset = () => { read.keys = read.finds = 0 }
    for (const part of [0, 0.5, 0.99]) {
      const { page, prevCursor } = await pageAt(collection, { ...options, explain: true }, part, total, reset)
      t.equal(page.items.length, LIMIT)
      t.strictSame(explained(page), { keys: read.keys, documents: read.keys }, 'explain: true tells the same')
      t.ok(read.keys <= MOST && read.finds <= 3 * (Object.keys(sort).length + 1), `${read.keys} keys by ${read.finds} questions at ${part * 100}%`)
      if (part === 0) continue
      reset()
      t.equal((await paginate(collection, { ...options, limit: LIMIT, cursor: prevCursor })).items.length, LIMIT)
      t.ok(read.keys <= MOST && read.finds <= 3 * (Object.keys(sort).length + 1), `${read.keys} keys by ${read.finds} questions back from ${part * 100}%`)
    }
  })
}

t.test('a page that reaches over a tie reads both of its intervals, and one that ends in it reads one', async (t) => {
  const { read, collection } = indexed(Array.from({ length: 1000 }, (_, i) => ({ _id: i, a: i < 500 ? 0 : 1 })), {})
  const { items, pageInfo } = await paginate(collection, { sort: { a: 1 }, limit: 490 })
  t.equal(items.length, 490)
  read.keys = read.finds = 0
  const over = await paginate(collection, { sort: { a: 1 }, limit: 20, cursor: pageInfo.nextCursor })
  // Within the tie: its numbers, then the other types; beyond it: the numbers.
  t.strictSame([over.items.map(({ _id }) => _id).slice(8, 12), read.finds, read.keys], [[498, 499, 500, 501], 3, 22])
  read.keys = read.finds = 0
  await paginate(collection, { sort: { a: 1 }, limit: 20, cursor: over.pageInfo.nextCursor })
  t.strictSame([read.finds, read.keys], [1, 21])
})

t.test('ties of 10,000 are walked whole both ways, on an array and on an index of a collection', async (t) => {
  const documents = Array.from({ length: 20_000 }, (_, _id) => ({ _id, a: _id < 10_000 ? null : 'tied' }))
  const sources: Record<string, unknown> = { array: [...documents].reverse(), index: indexed(documents, {}).collection }
  if (FULL) {
    const { db } = await mongo(t)
    const collection = db.collection<typeof documents[0]>('ties')
    await collection.insertMany(documents, { ordered: false })
    sources['collection'] = collection
  }
  for (const [name, source] of Object.entries(sources)) {
    for (const options of [{ limit: 1000 }, { last: 1000 }]) {
      const pages: unknown[][] = []
      for await (const { items } of paginate.pages(source as typeof documents, { sort: { a: 1 }, ...options })) if (pages.push(items.map(({ _id }) => _id)) > 30) break
      t.same('last' in options ? pages.reverse().flat() : pages.flat(), documents.map(({ _id }) => _id), `${name} ${Object.keys(options)[0]}`)
    }
  }
})

t.test('the same by what a server with indexes explains, where there is one', async (t) => {
  const { db } = await mongo(t)
  if ((await missingIn(db)).size > 0) return t.comment('this server has no indexes')
  for (const [what, { document, sort, filter = {} }] of Object.entries(cases)) {
    const collection = db.collection<{ _id: number }>('indexed')
    await collection.drop()
    await collection.createIndex(suggestIndex({ sort, filter: what === 'a filter of equality' ? filter : {} }).key)
    for (let from = 0; from < DOCUMENTS; from += 10_000) await collection.insertMany(Array.from({ length: 10_000 }, (_, i) => ({ _id: from + i, ...document(from + i) })))
    for (const part of [0, 0.5, 0.99]) {
      const { page } = await pageAt(collection, { sort, filter, explain: true }, part, await collection.countDocuments(filter), () => {})
      const { keys, documents } = explained(page)
      t.ok(keys <= MOST && documents <= MOST, `${what}: ${keys} keys, ${documents} documents at ${part * 100}%`)
    }
  }
})
