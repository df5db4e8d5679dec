import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import Fastify, { type FastifyInstance } from 'fastify'
import { Decimal128, ObjectId } from 'bson'
import type { Collection, Document } from 'mongodb'
import { Mongoose } from 'mongoose'
import t from 'tap'
import { mongo } from '../../../test/helpers/mongo.ts'
import cursorPagination, { PageQuery, paginateOptions, type PaginateOptions } from '../src/index.ts'

/**
 * What the tests of mongo-cursor-pagination 9 demand of it, demanded of this package: one test for each row of
 * docs/pagination-mongo-cursor-pagination.md, written anew from the names and the expectations of theirs.
 */
const app = Fastify()
t.teardown(() => app.close())
await app.register(cursorPagination, { secret: 'peer', maxLimit: 300 })
const { url, db } = await mongo(t)

interface Call {
  query?: object
  limit?: number
  next?: string | null
  previous?: string | null
  after?: unknown
  before?: unknown
  paginatedField?: string
  paginatedFields?: Array<[field: string, ascending: boolean]>
  sortAscending?: boolean
  sortCaseInsensitive?: boolean
  collation?: { locale: string }
  fields?: Record<string, 0 | 1>
  hint?: string
  aggregation?: object[]
  key?: string
}

/** Their calls made of ours: descending by default, `_id` only where it is asked for, ids in the place of cursors of items. */
function peer (source: Collection<Document> | Document[], paginate = app.paginate) {
  const cursors = new Map<string, string>()
  return async (call: Call) => {
    const { query: filter = {}, paginatedField = '_id', sortAscending = false, limit, next, previous, after, before, fields, hint, key, aggregation } = call
    const sort = (call.paginatedFields ?? [[paginatedField, sortAscending]]).map(([field, ascending]) => [field, ascending ? 1 : -1] as const)
    const collation = call.collation ?? (call.sortCaseInsensitive ? { locale: 'en', strength: 2 } : undefined)
    const cursor = next ?? previous
    const options: PaginateOptions = {
      filter,
      sort,
      hint,
      collation,
      ...(limit === undefined ? {} : { limit }),
      ...(cursor == null ? {} : { cursor }),
      ...(after === undefined ? {} : { after: cursors.get(String(after)) }),
      ...(before === undefined ? {} : { before: cursors.get(String(before)) }),
      ...(fields === undefined ? {} : { projection: { _id: 0, ...fields } }),
      ...(key === undefined ? {} : { key })
    }
    const page = await (aggregation === undefined ? paginate(source as Document[], options) : paginate.pipeline(source as Collection<Document>, aggregation, options))
    for (const item of page.items) cursors.set(String(item['_id']), page.pageInfo.cursorOf(item))
    const { hasNext, hasPrev: hasPrevious, nextCursor, prevCursor, endCursor } = page.pageInfo
    return { results: page.items, hasNext, hasPrevious, next: nextCursor, previous: prevCursor, end: endCursor }
  }
}

type Find = ReturnType<typeof peer>
type Step = [to: 'first' | 'forward' | 'back', limit: number, counters: number[], hasPrevious: boolean, hasNext: boolean]

/** Goes from page to page, by tokens of pages or by the ids of their last and first rows. */
async function walk (find: Find, call: Call, steps: Step[], by: 'tokens' | 'ids') {
  let page: Awaited<ReturnType<Find>> | undefined
  for (const [to, limit, counters, hasPrevious, hasNext] of steps) {
    const place = to === 'first' ? {} : by === 'tokens' ? { [to === 'forward' ? 'next' : 'previous']: page?.[to === 'forward' ? 'next' : 'previous'] } : { [to === 'forward' ? 'after' : 'before']: page?.results.at(to === 'forward' ? -1 : 0)?.['_id'] }
    page = await find({ ...call, limit, ...place })
    assert.deepEqual([page.results.map(({ counter }) => counter), page.hasPrevious, page.hasNext], [counters, hasPrevious, hasNext], `${by}: ${to} ${limit}`)
  }
}

const THROUGH: Step[] = [['first', 3, [8, 7, 6], false, true], ['forward', 3, [5, 4, 3], true, true], ['forward', 3, [2, 1], true, false], ['back', 3, [5, 4, 3], true, true], ['back', 3, [8, 7, 6], false, true]]
const UPWARDS: Step[] = THROUGH.map(([to, limit, counters, ...has]) => [to, limit, counters.map((n) => 9 - n), ...has])
const TO_THE_END: Step[] = [['first', 4, [8, 7, 6, 5], false, true], ['forward', 3, [4, 3, 2], true, true], ['forward', 2, [1], true, false]]
const TO_THE_BEGINNING: Step[] = [['first', 4, [8, 7, 6, 5], false, true], ['forward', 3, [4, 3, 2], true, true], ['back', 100, [8, 7, 6, 5], false, true]]
const BY_TWO: Step[] = [['first', 2, [6, 5], false, true], ['forward', 2, [4, 3], true, true], ['forward', 2, [2, 1], true, false], ['back', 2, [4, 3], true, true]]
const BY_TWO_UPWARDS: Step[] = BY_TWO.map(([to, limit, counters, ...has]) => [to, limit, counters.map((n) => 7 - n), ...has])
const DATES: Step[] = [['first', 2, [4, 3], false, true], ['forward', 2, [2, 1], true, false], ['back', 2, [4, 3], false, true]]

/** A collection of its own with documents. */
async function filled (name: string, documents: Document[]): Promise<Collection<Document>> {
  const collection = db.collection<Document>(name)
  await collection.insertMany(documents)
  return collection
}

const counted = Array.from({ length: 8 }, (_, i) => ({ counter: i + 1, ...(i > 2 ? { color: 'blue' } : {}) }))
const ids = Array.from({ length: 8 }, (_, i) => new ObjectId(`64cb29a1b2a41fc8221041b${i}`))
const bases = await Promise.all([
  filled('objectIds', counted.map((one, i) => ({ _id: ids[i], ...one }))),
  filled('stringIds', counted.map((one, i) => ({ _id: String(ids[i]), ...one })))
])
const both = (run: (find: Find) => Promise<void>) => async () => { for (const base of bases) await run(peer(base)) }
const walks = (finds: Find[], call: Call, steps: Step[]) => async () => { for (const find of finds) for (const by of ['tokens', 'ids'] as const) await walk(find, call, steps, by) }
const based = bases.map((base) => peer(base))
const throughPipeline = (find: Find): Find => (call) => find({ aggregation: [], ...call })
const piped = throughPipeline(peer(bases[0]))
const byTime = peer(await filled('custom', [6, 5, 4, 3, 2, 1].map((counter) => ({ counter, timestamp: 1477347755654 + counter * 1000 }))))
const tied = peer(await filled('tied', [6, 5, 4, 3, 2, 1].map((counter) => ({ _id: counter, counter, timestamp: counter > 3 ? 1477347800603 : 1477347772077 }))))
const dates = [2, 3, 4, 1].map((counter) => ({ counter, date: new Date(counter * 1e12 / 4), start: { date: new Date(counter * 1e12 / 4) } }))
const dated = peer(await filled('dates', dates))
const six = peer(await filled('six', [6, 5, 4, 3, 2, 1].map((counter) => ({ counter }))))
const names = ['Alpha', 'gimel', 'Beta', 'bet', 'Gamma', 'aleph'].map((name, _id) => ({ _id, name }))
// The test server has no collations: what needs one is asked of an array.
const [sorting, collated] = [peer(await filled('names', names)), peer(names)]
const nulls = [undefined, undefined, undefined, null, null, 'Alice', 'Bob', 'alpha', 'bravo'].map((name, i) => name === undefined ? { _id: i + 1 } : { _id: i + 1, name })
const people = [['1', 'Aguste', 'Teasey', 1921, 'potatoes'], ['2', 'Aguste', 'Pedden', 1922, 'pizza'], ['0', 'Aguste', 'Saunt', 1923, 'potatoes'], ['8', 'Graig', 'Maciunas', 1921, 'potatoes'], ['4', "D'arcy", 'Sachno', 1922, 'pizza'],
  ['6', 'Wilmar', 'Petrazzi', 1923, 'potatoes'], ['3', 'Flore', 'Ternouth', 1921, 'potatoes'], ['7', 'Ines', 'Richarson', 1922, 'pizza'], ['5', 'Carmencita', 'Hallibone', 1923, 'potatoes'], ['9', 'Wilmar', 'Petrov', 1921, 'pizza']]
  .map(([id, first, last, year, food], i) => ({ _id: id, title: i < 5 ? 'Mr' : 'Mrs', first, last, year, food }))
const deep = peer(await filled('people', people))
const two = async (find: Find, call: Call) => {
  const one = await find({ limit: 3, ...call })
  return [...one.results, ...(await find({ limit: 3, ...call, next: one.next })).results]
}
const caseless = { paginatedField: 'name', sortCaseInsensitive: true, sortAscending: true, limit: 2 }
const namesOf = ({ results }: { results: Document[] }) => results.map(({ name }) => name)
const code = (name: string) => ({ code: `FST_ERR_CURSOR_PAGINATION_${name}`, statusCode: 400 })

async function visited (run: (app: FastifyInstance) => Promise<void>, query = PageQuery({ maxLimit: 3 })) {
  const app = Fastify()
  t.teardown(() => app.close())
  app.register(cursorPagination, { secret: 's' })
  app.get('/', { schema: { querystring: query } }, async (request) => {
    const { items, pageInfo } = await app.paginate(bases[0], { ...paginateOptions(request.query), sort: { _id: -1 }, projection: { counter: 1, _id: 0 } })
    return { items: items.map(({ counter }) => counter), ...pageInfo }
  })
  await run(app)
}

/** @see docs/pagination-mongo-cursor-pagination.md */
const behaviours: Record<string, () => Promise<void>> = {
  'queries first few pages with next/previous, after/before': walks(based, {}, THROUGH),
  'handles hitting the end': walks(based, {}, TO_THE_END),
  'handles hitting the beginning': walks(based, {}, TO_THE_BEGINNING),
  'uses passed-in criteria': both(async (find) => {
    const { results, hasNext, hasPrevious } = await find({ query: { color: 'blue' } })
    assert.deepEqual([results.map(({ color }) => color), hasNext, hasPrevious], [Array(5).fill('blue'), false, false])
  }),
  'uses the hint parameter': async () => {
    await bases[0]?.createIndex({ color: 1 }, { name: 'color_1' })
    assert.equal((await peer(bases[0])({ query: { color: 'blue' }, hint: 'color_1' })).results.length, 5)
  },
  'uses the "fields" parameter': both(async (find) => {
    for (const row of (await find({ query: { color: 'blue' }, fields: { _id: 1 } })).results) assert.deepEqual(Object.keys(row), ['_id'])
  }),
  'does not return "next" or "previous" if there are no results': both(async (find) => {
    assert.deepEqual(await find({ limit: 3, query: { nonexistantfield: true } }), { results: [], hasNext: false, hasPrevious: false, next: null, previous: null, end: null })
  }),
  'respects sortAscending option': walks(based, { sortAscending: true }, UPWARDS),
  'when paginating on custom fields: queries the first few pages': walks([byTime], { paginatedField: 'timestamp' }, BY_TWO),
  'does not include the paginatedField in the results if not desired': async () => {
    const { results: [row], hasNext } = await byTime({ limit: 1, fields: { counter: 1 }, paginatedField: 'timestamp' })
    assert.deepEqual([row, hasNext], [{ counter: 6 }, true])
  },
  'pagination works with custom paginatedField and projection without _id': () => walk(byTime, { paginatedField: 'timestamp', fields: { counter: 1 } }, BY_TWO, 'tokens'),
  'does not overwrite $or used in a query': walks([byTime], { paginatedField: 'timestamp', query: { $or: [{ counter: { $gt: 3 } }] } }, [['first', 2, [6, 5], false, true], ['forward', 2, [4], true, false]]),
  'when there are duplicate values for the paginated field: queries the first few pages': walks([tied], { paginatedField: 'timestamp' }, BY_TWO),
  'does not include fields not desired': async () => { assert.deepEqual((await tied({ limit: 1, fields: { counter: 1 }, paginatedField: 'timestamp' })).results, [{ counter: 6 }]) },
  'respects sortAscending with duplicates': walks([tied], { paginatedField: 'timestamp', sortAscending: true }, BY_TWO_UPWARDS),
  'when sorting using dates': walks([dated], { paginatedField: 'date' }, DATES),
  'when the paginated fields is a date and using dot notation': walks([dated], { paginatedField: 'start.date' }, DATES),
  'when using alphabetical sorting: a collation of the call': async () => {
    assert.deepEqual(namesOf(await sorting({ paginatedField: 'name', sortAscending: true })), ['Alpha', 'Beta', 'Gamma', 'aleph', 'bet', 'gimel'])
    assert.deepEqual(namesOf(await collated({ paginatedField: 'name', sortAscending: true, collation: { locale: 'en' } })), ['aleph', 'Alpha', 'bet', 'Beta', 'Gamma', 'gimel'])
  },
  'when default limits are hit: sets a default limit, allows overriding the limit': async () => {
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(cursorPagination, { secret: 's', defaultLimit: 2, maxLimit: 4 })
    const limits = [undefined, 3, 999].map(async (limit) => (await app.paginate(bases[0] as Collection<Document>, limit === undefined ? {} : { limit })).items.length)
    assert.deepEqual(await Promise.all(limits), [2, 3, 4])
  },
  'when max limits are hit: clamps to the max limit': async () => { assert.equal((await six({ limit: 999 })).results.length, 6) },
  'clamps to the lower limit': async () => { await assert.rejects(six({ limit: -1 }), code('INVALID_LIMIT')) },
  'sorts capital letters first': async () => { assert.deepEqual(namesOf(await sorting({ ...caseless, sortCaseInsensitive: false })), ['Alpha', 'Beta']) },
  'sorts null and undefined values at the start': async () => {
    const collection = await filled('nulls', nulls)
    for (const find of [peer(collection), throughPipeline(peer(collection))]) {
      const pages: Array<Awaited<ReturnType<Find>>> = []
      const call = { paginatedField: 'name', sortAscending: true, limit: 2 }
      for (let next: string | null | undefined; next !== null; next = pages.at(-1)?.next) pages.push(await find({ ...call, next: next ?? null }))
      assert.deepEqual(pages.map(({ results }) => results.map(({ _id }) => _id)), [[1, 2], [3, 4], [5, 6], [7, 8], [9]])
      for (let i = pages.length - 1; i > 0; i--) {
        const back = await find({ ...call, previous: pages[i]?.previous ?? null })
        assert.deepEqual(back, pages[i - 1], 'the page before is the one that was read, its tokens too')
      }
    }
  },
  'with the sortCaseInsensitive parameter: sorts case-insensitively, pages correctly forward and backward': async () => {
    const first = await collated(caseless)
    const second = await collated({ ...caseless, next: first.next })
    assert.deepEqual([namesOf(first), namesOf(second), first.hasPrevious, second.hasPrevious], [['aleph', 'Alpha'], ['bet', 'Beta'], false, true])
    assert.deepEqual(await collated({ ...caseless, previous: second.previous }), first)
    assert.deepEqual(Object.keys(first.results[0] ?? {}), ['_id', 'name'], 'no temporary field')
  },
  'aggregate: queries the first few pages, handles hitting the end and the beginning': async () => {
    for (const steps of [THROUGH, TO_THE_END, TO_THE_BEGINNING]) await walks([piped], {}, steps)()
    await walks([piped], { sortAscending: true }, UPWARDS)()
  },
  'aggregate: uses passed-in simple aggregation': async () => {
    const { results, hasNext, hasPrevious } = await piped({ aggregation: [{ $match: { color: 'blue' } }] })
    assert.deepEqual([results.length, hasNext, hasPrevious], [5, false, false])
    const none = await piped({ limit: 3, aggregation: [{ $match: { nonexistantfield: true } }] })
    assert.deepEqual([none.results, none.next, none.previous], [[], null, null])
  },
  'aggregate: returns results from the aggregation': async () => {
    const planets = peer(await filled('planets', [{ _id: 1, planets: ['jupiter', 'mars', 'saturn'] }, { _id: 2, planets: ['venus', 'mars'] }]))
    const call = { aggregation: [{ $match: { planets: 'mars' } }, { $unwind: '$planets' }], paginatedFields: [['_id', true], ['planets', true]] as Array<[string, boolean]>, key: 'planets' }
    assert.deepEqual((await two(planets, call)).map(({ planets }) => planets), ['jupiter', 'mars', 'saturn', 'mars', 'venus'])
  },
  'aggregate: invokes aggregate with a hint': async () => { await (piped({ aggregation: [{ $match: { color: 'blue' } }], hint: 'color_1' })) },
  'findMulti: paginates by multiple fields': async () => {
    const call = { limit: 3, paginatedFields: [['first', true], ['last', true]] as Array<[string, boolean]> }
    const pages = [await deep(call)]
    while (pages.at(-1)?.hasNext) pages.push(await deep({ ...call, next: pages.at(-1)?.next ?? null }))
    assert.deepEqual(pages[0]?.results.map(({ last }) => last), ['Pedden', 'Saunt', 'Teasey'])
    assert.deepEqual(pages[3]?.results.map(({ last }) => last), ['Petrov'])
    const blank = await app.paginate(db.collection('people'), { filter: {}, sort: [['first', 1], ['last', 1]], after: pages[3]?.end })
    assert.deepEqual([blank.items, blank.pageInfo.hasPrev, blank.pageInfo.hasNext], [[], true, false], 'behind the last one')
  },
  'findMulti: handles a bunch of nested sorts': async () => {
    const rows = await two(deep, { paginatedFields: ['title', 'food', 'year', 'first', 'last'].map((field) => [field, true]) })
    assert.deepEqual(rows.map(({ _id }) => _id), ['2', '4', '1', '8', '0', '9'])
    assert.deepEqual(rows.slice(-3).map(({ title }) => title), ['Mr', 'Mr', 'Mrs'])
  },
  'findMulti: sorts by _id by default, and the other way': async () => {
    assert.deepEqual((await two(deep, {})).map(({ _id }) => _id), ['9', '8', '7', '6', '5', '4'])
    assert.deepEqual((await two(deep, { sortAscending: true })).map(({ _id }) => _id), ['0', '1', '2', '3', '4', '5'])
  },
  'findMulti: sorts by _id after all other sorts in the same direction as last sort': async () => {
    assert.deepEqual((await two(deep, { paginatedField: 'first', sortAscending: true })).map(({ _id }) => _id), ['0', '1', '2', '5', '4', '3'])
    assert.deepEqual((await two(deep, { paginatedField: 'first' })).map(({ _id }) => _id), ['9', '6', '7', '8', '3', '4'])
  },
  'findWithReq: queries first few pages, handles empty values': () => visited(async (app) => {
    const first = (await app.inject('/?limit=2&cursor=')).json()
    const second = (await app.inject(`/?limit=1&cursor=${first.nextCursor}`)).json()
    assert.deepEqual([first.items, second.items, (await app.inject(`/?limit=1&cursor=${second.prevCursor}`)).json().items], [[8, 7], [6], [7]])
    assert.equal((await app.inject('/?limit=&cursor=')).json().items.length, 3)
  }),
  'findWithReq: does not allow a limit to be specified that is higher than params.limit': () => visited(async (app) => { assert.equal((await app.inject('/?limit=5')).json().items.length, 3) }),
  'findWithReq: handles bad value for limit': () => visited(async (app) => { assert.equal((await app.inject('/?limit=aaa')).statusCode, 400) }),
  'findWithReq: fields': () => visited(async (app) => { assert.deepEqual((await app.inject('/?fields=color&limit=1')).json().items, [8]) }),
  'mongoose plugin: returns data in the expected format': async () => {
    const mongoose = new Mongoose()
    await mongoose.connect(url, { dbName: db.databaseName })
    t.teardown(() => mongoose.disconnect())
    const Counted = mongoose.model('Counted', new mongoose.Schema({ counter: Number }), 'objectIds')
    const { items, pageInfo } = await app.paginate(Counted, { sort: { counter: -1 }, limit: 2 })
    assert.deepEqual([items.map(({ counter }) => counter), pageInfo.hasNext, pageInfo.hasPrev, typeof pageInfo.nextCursor, pageInfo.prevCursor], [[8, 7], true, false, 'string', null])
  },
  'search: queries the first few pages': async () => { await assert.rejects(app.paginate(bases[0] as Collection<Document>, { sort: { score: { $meta: 'textScore' } as unknown as 1 } }), code('INVALID_SORT')) },
  'bson url encoding: encodes and decodes objects, strings, dates, Binary, Decimal128': async () => {
    const rows = [new ObjectId(), 'complex String &$##$-/?', '', new Date(0), Buffer.from('test'), Decimal128.fromString('123.456'), { first: 'O’Leary', list: 1 }, 1].map((_id) => ({ _id }))
    const seen: unknown[] = []
    for await (const { items } of app.paginate.pages(rows, { limit: 1 })) if (seen.push(...items) > rows.length) break
    assert.equal(new Set(seen).size, rows.length)
  }
}

for (const [name, run] of Object.entries(behaviours)) t.test(name, () => run())

t.test('the table of their behaviours names each of these tests, and no other', async (t) => {
  const page = readFileSync(new URL('../../../docs/pagination-mongo-cursor-pagination.md', import.meta.url), 'utf8')
  const rows = [...page.matchAll(/^\| ([^|]+?) \| [^|]+ \|$/gm)].map(([, name]) => name?.replaceAll('`', '')).slice(1)
  t.strictSame(rows, Object.keys(behaviours))
})
