import cluster from 'node:cluster'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import Fastify from 'fastify'
import fastifyMongodb from '@fastify/mongodb'
import { Decimal128, Long } from 'bson'
import t from 'tap'
import { mongo } from '../../../test/helpers/mongo.ts'
import cursorPagination, { PageQuery, paginateOptions, toJpulse, type FastifyCursorPaginationOptions, type Page, type PaginateOptions } from '../src/index.ts'
import { missingIn } from './subjects.js'

interface Item {
  _id: number
  a?: unknown
  b?: string
}

const code = (name: string) => `FST_ERR_CURSOR_PAGINATION_${name}`
const items = (n: number): Item[] => Array.from({ length: n }, (_, _id) => ({ _id, a: _id % 3, b: `v${_id}` }))
const ids = (page: Page<{ _id?: unknown }>) => page.items.map(({ _id }) => _id)
const wrong = (options: object) => options as PaginateOptions<Item>

async function build (options: FastifyCursorPaginationOptions = { secret: 's' }) {
  const lines: Array<{ level: number, msg: string, index?: unknown }> = []
  const app = Fastify({ logger: { level: 'debug', stream: { write: (line: string) => { lines.push(JSON.parse(line)) } } } })
  t.teardown(() => app.close())
  await app.register(cursorPagination, options)
  return { paginate: app.paginate, lines }
}

const { paginate } = await build()
const { db } = await mongo(t)

t.test('a limit that is no positive integer is refused with 400', async (t) => {
  const odd = [0, -1, 1.5, NaN, Infinity, -Infinity, null, true, '', '0', '-1', '1.5', '1e2', '0x10', ' 5', '+5', 'ten', [], [5], ['5', '6'], {}, 5n]
  for (const limit of odd) await t.rejects(paginate(items(3), wrong({ limit })), { code: code('INVALID_LIMIT'), statusCode: 400 }, String(limit))
})

t.test('a limit above the maximum is lowered to it, or refused where the application says so', async (t) => {
  const { paginate } = await build({ secret: 's', maxLimit: 4, defaultLimit: 3 })
  for (const limit of [4, 5, 1e9, Number.MAX_SAFE_INTEGER, '99999999999999999999999']) {
    const page = await paginate(items(9), { limit })
    t.same([page.items.length, page.pageInfo.limit], [4, 4])
  }
  t.equal((await paginate(items(9))).items.length, 3, 'the default')
  t.equal((await paginate(items(9), { limit: '2' })).items.length, 2, 'digits of a query string')
  const strict = await build({ secret: 's', maxLimit: 4, strictLimit: true })
  await t.rejects(strict.paginate(items(9), { limit: 5 }), { code: code('INVALID_LIMIT'), statusCode: 400 })
  t.equal((await paginate(items(9), { limit: 4 })).items.length, 4)
})

t.test('without a choice, a page has 50 rows and a limit of 1000', async (t) => {
  t.equal((await paginate(items(60))).items.length, 50)
  t.equal((await paginate(items(1100), { limit: 1001 })).items.length, 1000)
})

t.test('offset mode skips, tells its neighbours and hands over to cursors', async (t) => {
  const users = db.collection<Item>('offset')
  await users.insertMany(items(9))
  for (const source of [items(9), users] as Item[][]) {
    const page = await paginate(source, { offset: 4, limit: 3, sort: { _id: -1 } })
    t.same([ids(page), page.pageInfo.hasPrev, page.pageInfo.hasNext, page.pageInfo.offset, page.pageInfo.prevCursor], [[4, 3, 2], true, true, 4, null])
    t.same(ids(await paginate(source, { cursor: page.pageInfo.nextCursor, limit: 3, sort: { _id: -1 } })), [1, 0])
    const first = await paginate(source, { offset: 0, limit: 9 })
    t.same([first.items.length, first.pageInfo.hasPrev, first.pageInfo.hasNext], [9, false, false])
    const past = await paginate(source, { offset: '20', limit: 3 })
    t.same([past.items, past.pageInfo.hasPrev, past.pageInfo.hasNext], [[], true, false])
  }
})

t.test('an offset that is negative, a fraction, too large or beside a cursor is refused with 400', async (t) => {
  for (const offset of [-1, 1.5, NaN, '', '-1', 'x', null, [1], 10001]) {
    await t.rejects(paginate(items(3), wrong({ offset })), { code: code('INVALID_OFFSET'), statusCode: 400 }, String(offset))
  }
  const { pageInfo: { nextCursor: cursor } } = await paginate(items(3), { limit: 1 })
  await t.rejects(paginate(items(3), { offset: 0, cursor }), { code: code('INVALID_OFFSET'), statusCode: 400 })
})

t.test('totals are none, exact, capped, estimated or of the first page, and say whether they are exact', async (t) => {
  const { paginate } = await build({ secret: 's', totalCap: 5 })
  const users = db.collection<Item>('totals')
  await users.insertMany(items(12))
  const total = async (options: PaginateOptions<Item>, source: unknown = users) => {
    const { pageInfo } = await paginate(source as Item[], { limit: 2, ...options })
    return [pageInfo.total, pageInfo.totalIsExact]
  }
  const filter = { a: 1 }
  const { pageInfo: { nextCursor: cursor } } = await paginate(users, { limit: 2 })
  t.same(await total({}), [undefined, undefined])
  t.same(await total({ total: 'exact' }), [12, true])
  t.same(await total({ total: 'exact', filter }), [4, true])
  t.same(await total({ total: 'capped' }), [5, false])
  t.same(await total({ total: 'capped', filter }), [4, true])
  t.same(await total({ total: 'estimated' }), [12, false])
  t.same(await total({ total: 'estimated', filter }), [4, true])
  t.same(await total({ total: 'firstPage' }), [12, true])
  t.same(await total({ total: 'firstPage', cursor }), [undefined, undefined])
  for (const mode of ['exact', 'capped', 'estimated', 'firstPage'] as const) t.same(await total({ total: mode }, items(12)), [12, true], `array, ${mode}`)
})

t.test('after and before take the cursor of an item, in whichever direction', async (t) => {
  const page = await paginate(items(9), { limit: 5 })
  const [, , third] = page.items
  const at = page.pageInfo.cursorOf(third as Item)
  t.same(ids(await paginate(items(9), { after: at, limit: 2 })), [3, 4])
  const before = await paginate(items(9), { before: at, limit: 5 })
  t.same([ids(before), before.pageInfo.hasPrev, before.pageInfo.hasNext], [[0, 1], false, true])
  t.same(ids(await paginate(items(9), { before: String(page.pageInfo.nextCursor), limit: 2 })), [2, 3], 'a page\'s cursor is a position too')
  t.equal(page.pageInfo.cursorOf(page.items[4] as Item), page.pageInfo.nextCursor)
  t.throws(() => page.pageInfo.cursorOf({ _id: 2 }), TypeError)
  const none = await paginate(items(9), { before: page.pageInfo.cursorOf(page.items[0] as Item) })
  t.same([ids(none), none.pageInfo.hasPrev, none.pageInfo.hasNext], [[], false, true])
})

t.test('arrays take any iterable that can be iterated again, synchronous or not', async (t) => {
  const rows = items(5)
  const source = { async * [Symbol.asyncIterator] () { yield * rows } }
  const first = await paginate(source, { limit: 3, sort: { _id: -1 } })
  t.same(ids(first), [4, 3, 2])
  t.same(ids(await paginate(source, { limit: 3, sort: { _id: -1 }, cursor: first.pageInfo.nextCursor })), [1, 0])
  t.same(ids(await paginate(new Set(rows), { limit: 2 })), [0, 1])
  t.equal(first.items[0], rows[4], 'items are not copied')
})

t.test('a source that can be iterated only once is refused by name, whatever it is', async (t) => {
  const rows = items(25)
  const shared = rows.values()
  const stream = Readable.from(rows)
  const web = new ReadableStream()
  const text = Readable.from(['a line'])
  const oneShot: Record<string, unknown> = {
    'a generator': (function * () { yield * rows })(),
    'an async generator': (async function * () { yield * rows })(),
    'an iterator': rows.values(),
    'the values of a map': new Map(rows.map((row) => [row._id, row])).values(),
    'an iterator behind another name': { [Symbol.iterator]: () => shared },
    'a stream': stream,
    'a web stream': web,
    'a cursor of the driver': db.collection('totals').find(),
    'lines of a file': createInterface({ input: text })
  }
  for (const [what, source] of Object.entries(oneShot)) await t.rejects(paginate(source as Item[], { total: 'exact' }), { code: code('INVALID_OPTIONS'), message: /only once|neither/ }, what)
  stream.destroy()
  for (const again of [new Set(rows), { [Symbol.iterator]: () => rows.values() }, { async * [Symbol.asyncIterator] () { yield * rows } }, new Map(rows.map((row) => [row, row])).keys]) {
    if (typeof again !== 'function') t.same((await paginate(again as Item[], { limit: 2, total: 'exact' })).pageInfo.total, 25)
  }
})

t.test('Relay\'s arguments: first, last, after and before, alone and together', async (t) => {
  const users = db.collection<Item>('relay')
  await users.insertMany(items(9))
  for (const source of [items(9), users] as Item[][]) {
    const { items: rows, pageInfo } = await paginate(source)
    const at = (i: number) => pageInfo.cursorOf(rows[i] as Item)
    const cases: Array<[PaginateOptions<Item>, number[], hasPrev: boolean, hasNext: boolean]> = [
      [{ first: 3 }, [0, 1, 2], false, true],
      [{ first: 3, after: at(4) }, [5, 6, 7], true, true],
      [{ first: 9, after: at(4) }, [5, 6, 7, 8], true, false],
      [{ last: 3 }, [6, 7, 8], true, false],
      [{ last: 20 }, [0, 1, 2, 3, 4, 5, 6, 7, 8], false, false],
      [{ last: 3, before: at(4) }, [1, 2, 3], true, true],
      [{ first: 2, before: at(4) }, [0, 1], false, true],
      [{ first: 9, before: at(4) }, [0, 1, 2, 3], false, true],
      [{ last: 2, after: at(4) }, [7, 8], true, false],
      [{ first: 2, after: at(1), before: at(6) }, [2, 3], true, true],
      [{ last: 2, after: at(1), before: at(6) }, [4, 5], true, true],
      [{ after: at(1), before: at(6) }, [2, 3, 4, 5], true, true],
      [{ first: 4, last: 2 }, [2, 3], true, true],
      [{ first: 2, after: at(3), before: at(4) }, [], true, true],
      [{ first: 2, after: at(5), before: at(2) }, [], true, true],
      [{ first: 2, last: null, after: '', before: null }, [0, 1], false, true]
    ]
    for (const [options, expected, hasPrev, hasNext] of cases) {
      const page = await paginate(source, options)
      const name = JSON.stringify(options, (key, value) => key === 'after' || key === 'before' ? '…' : value)
      t.same([ids(page), page.pageInfo.hasPrev, page.pageInfo.hasNext], [expected, hasPrev, hasNext], name)
      const next = page.pageInfo.nextCursor === null ? [] : ids(await paginate(source, { cursor: page.pageInfo.nextCursor, limit: 1 }))
      if (expected.length > 0 && hasNext) t.same(next, [Number(expected.at(-1)) + 1], `${name}, next`)
      const prev = page.pageInfo.prevCursor === null ? [] : ids(await paginate(source, { cursor: page.pageInfo.prevCursor, limit: 1 }))
      if (expected.length > 0 && hasPrev) t.same(prev, [Number(expected[0]) - 1], `${name}, prev`)
    }
    for (const odd of [{ first: 0 }, { last: -1 }, { first: 2, limit: 2 }, { last: 'x' }, { cursor: at(1), last: 2 }]) await t.rejects(paginate(source, odd), { code: code('INVALID_LIMIT'), statusCode: 400 })
    await t.rejects(paginate(source, { last: 2, offset: 1 }), { code: code('INVALID_OFFSET') })
  }
})

t.test('the cursor at the end of a feed tells later what came since, from either end', async (t) => {
  const feed = db.collection<Item>('feed')
  const rows: Item[] = []
  const add = async (...ids: number[]) => {
    rows.push(...ids.map((_id) => ({ _id })))
    await feed.insertMany(ids.map((_id) => ({ _id })))
  }
  for (const source of [rows, feed] as Item[][]) {
    const empty = await paginate(source, { limit: 5 })
    t.same([empty.pageInfo.endCursor, empty.pageInfo.startCursor], [null, null])
  }
  await add(1, 2, 3)
  const begun = await Promise.all(([rows, feed] as Item[][]).map((source) => paginate(source, { limit: 5 })))
  const newest = await Promise.all(([rows, feed] as Item[][]).map((source) => paginate(source, { limit: 5, sort: { _id: -1 } })))
  const waiting = await Promise.all(([rows, feed] as Item[][]).map((source, i) => paginate(source, { after: begun[i]?.pageInfo.endCursor })))
  t.same(waiting.map((page) => [ids(page), page.pageInfo.nextCursor]), [[[], null], [[], null]])
  await add(4, 5)
  for (const [i, source] of ([rows, feed] as Item[][]).entries()) {
    t.same(ids(await paginate(source, { after: waiting[i]?.pageInfo.endCursor })), [4, 5], 'also from the empty page')
    t.same(ids(await paginate(source, { sort: { _id: -1 }, before: newest[i]?.pageInfo.startCursor })), [5, 4])
  }
})

t.test('for await walks all pages, forwards or backwards, between two cursors, and until its signal says stop', async (t) => {
  const users = db.collection<Item>('walk')
  await users.insertMany(items(9))
  for (const source of [items(9), users] as Item[][]) {
    const walk = async (options: PaginateOptions<Item>) => {
      const seen: unknown[][] = []
      for await (const page of paginate.pages(source, options)) if (seen.push(ids(page)) > 20) throw new Error('it does not end')
      return seen
    }
    const { items: rows, pageInfo } = await paginate(source)
    const at = (i: number) => pageInfo.cursorOf(rows[i] as Item)
    t.same(await walk({ limit: 4 }), [[0, 1, 2, 3], [4, 5, 6, 7], [8]])
    t.same(await walk({ last: 4 }), [[5, 6, 7, 8], [1, 2, 3, 4], [0]])
    t.same(await walk({ first: 2, after: at(1), before: at(7) }), [[2, 3], [4, 5], [6]])
    t.same(await walk({ last: 2, after: at(1), before: at(7) }), [[5, 6], [3, 4], [2]])
    t.same(await walk({ limit: 4, offset: 3 }), [[3, 4, 5, 6], [7, 8]])
    t.same(await walk({ filter: { a: 99 } }), [[]])
    const controller = new AbortController()
    await t.rejects(async () => {
      for await (const page of paginate.pages(source, { limit: 2, signal: controller.signal })) if (page.items[0]?._id === 2) controller.abort(new Error('enough'))
    }, { message: 'enough' })
    await t.rejects(paginate(source, { signal: AbortSignal.abort(new Error('gone')) }), { message: 'gone' })
  }
})

t.test('page is done for the rows of the page only, by a function or by stages', async (t) => {
  const orders = db.collection<Item>('page')
  await orders.insertMany(items(9))
  const calls: number[][] = []
  const named = (rows: Array<{ _id: number, a?: unknown }>) => {
    calls.push(rows.map(({ _id }) => _id))
    return rows.map(({ _id, a }) => ({ id: _id, label: `a is ${a}` }))
  }
  for (const source of [items(9), orders] as Item[][]) {
    const page = await paginate(source, { limit: 2, sort: { _id: -1 }, page: async (rows) => named(rows) })
    t.strictSame(page.items, [{ id: 8, label: 'a is 2' }, { id: 7, label: 'a is 1' }])
    const [, second] = page.items
    t.same((await paginate(source, { sort: { _id: -1 }, limit: 1, after: page.pageInfo.cursorOf(second as typeof page.items[0]) })).items[0]?._id, 6)
    await t.rejects(paginate(source, { page: (rows) => rows.slice(1) }), { code: code('INVALID_OPTIONS') })
  }
  t.strictSame(calls, [[8, 7], [8, 7]])
  // Instead of a $lookup, which the test server does not know.
  const join = [{ $project: { b: 1 } }]
  const asked: object[][] = []
  const watched = new Proxy(orders, {
    get: (target, name) => name !== 'aggregate'
      ? Reflect.get(target, name, target)
      : (stages: object[], options: object) => {
          asked.push(stages)
          return target.aggregate(stages, options)
        }
  })
  for (const read of [(options: object) => paginate(watched, options), (options: object) => paginate.pipeline(watched, [{ $match: { _id: { $lt: 8 } } }], options)]) {
    asked.length = 0
    const { items: [first, ...others], pageInfo } = await read({ sort: { a: -1 }, limit: 2, page: join })
    t.strictSame([first, others.length], [{ _id: first?._id, b: `v${first?._id}` }, 1])
    const joins = asked.filter((stages) => JSON.stringify(stages).includes('$project'))
    t.strictSame(joins.map((stages) => stages.find((stage) => JSON.stringify(stage).includes('$in'))), [{ $match: { _id: { $in: pageInfo.nextCursor === null ? [] : [first?._id, (others[0] as Item)._id] } } }])
    t.equal((await read({ sort: { a: -1 }, limit: 2, page: join, cursor: pageInfo.nextCursor })).items.length, 2)
    await t.rejects(read({ page: [{ $match: { _id: 0 } }] }), { code: code('INVALID_KEY') }, 'a row that is dropped')
    await t.rejects(read({ page: [{ $project: { _id: 0 } }] }), { code: code('INVALID_KEY') }, 'a key that is dropped')
    await t.rejects(read({ page: join, projection: { a: 1 } }), { code: code('INVALID_OPTIONS') })
  }
  await t.rejects(paginate(items(3), { page: join }), { code: code('INVALID_OPTIONS') })
})

t.test('what MongoDB takes in one place only is left there: $near in the filter, $geoNear and $search as first stages', async (t) => {
  const asked: unknown[] = []
  const cursor = { toArray: async () => items(3).map((item) => ({ ...item, d: item._id })), explain: async () => ({}) }
  const collection = { namespace: 'a.b', insertOne (document: Item) {}, countDocuments () {}, find: (filter: object) => { asked.push(filter); return cursor }, aggregate: (stages: object) => { asked.push(stages); return cursor } }
  const near = { place: { $near: { $geometry: { type: 'Point', coordinates: [0, 0] } } } }
  const { pageInfo } = await paginate(collection, { filter: near, sort: { a: 1 }, limit: 2 })
  await paginate(collection, { filter: near, sort: { a: 1 }, limit: 2, cursor: pageInfo.nextCursor })
  t.match(asked, [near, { ...near, a: { $eq: 1 }, _id: { $gt: 1 } }])
  asked.length = 0
  const both = await paginate(collection, { filter: { a: 0, $and: [{ b: 'x' }] }, sort: { a: 1 }, limit: 2 })
  await paginate(collection, { filter: { a: 0, $and: [{ b: 'x' }] }, sort: { a: 1 }, limit: 2, cursor: both.pageInfo.nextCursor })
  t.match(asked[1], { a: 0, $and: [{ b: 'x' }, { a: { $eq: 1 }, _id: { $gt: 1 } }] })
  asked.length = 0
  const geo = { near: { type: 'Point', coordinates: [0, 0] }, distanceField: 'd', query: { open: true } }
  await paginate.pipeline(collection, [{ $geoNear: geo }], { filter: { a: 1 }, sort: { d: 1 } })
  await paginate.pipeline(collection, [{ $geoNear: { ...geo, query: undefined } }], { filter: { a: 1 }, sort: { d: 1 } })
  await paginate.pipeline(collection, [{ $search: { text: {} } }, { $set: { x: 1 } }], { filter: { a: 1 } })
  t.match(asked, [
    [{ $geoNear: { ...geo, query: { $and: [{ open: true }, { a: 1 }] } } }, { $sort: new Map([['d', 1], ['_id', 1]]) }],
    [{ $geoNear: { query: { a: 1 } } }],
    [{ $search: {} }, { $match: { a: 1 } }, { $set: {} }]
  ])
})

t.test('a pipeline is peeled where its stages stream, and asked once where one computes the whole result, which is said', async (t) => {
  const { paginate, lines } = await build({ secret: 's', explain: true })
  const asked: object[][] = []
  const cursor = { toArray: async () => items(3), explain: async () => ({}) }
  const collection = { namespace: 'a.b', insertOne (document: Item) {}, countDocuments () {}, find: () => cursor, aggregate: (stages: object[]) => { asked.push(stages); return cursor } }
  for (const [stages, expected] of [[[{ $set: { x: 1 } }], '_id'], [[{ $group: { _id: '$a' } }], '$or']] as Array<[object[], string]>) {
    const { pageInfo } = await paginate.pipeline(collection, stages, { limit: 2 })
    asked.length = 0
    await paginate.pipeline(collection, stages, { limit: 2, cursor: pageInfo.nextCursor })
    t.equal(Object.keys((asked[0]?.[1] as { $match: object }).$match)[0], expected)
  }
  t.match(lines.filter(({ level }) => level === 40).map(({ msg }) => msg), [/computes \$group for the whole result/])
})

t.test('the key of array items may be a field or a function, and must tell them apart', async (t) => {
  const rows = ['c', 'a', 'b'].map((sku) => ({ sku, price: 1 }))
  for (const key of ['sku', ({ sku }: { sku: string }) => sku]) {
    const first = await paginate(rows, { key, sort: { price: -1 }, limit: 2, projection: { sku: 1 } })
    t.same(first.items, [{ sku: 'c' }, { sku: 'b' }])
    t.same((await paginate(rows, { key, sort: { price: -1 }, limit: 2, projection: { sku: 1 }, cursor: first.pageInfo.nextCursor })).items, [{ sku: 'a' }])
  }
  await t.rejects(paginate(rows, {}), { code: code('INVALID_KEY'), message: /"_id" is missing.*"key"/ })
  await t.rejects(paginate(rows, { key: 'price' }), { code: code('INVALID_KEY'), message: /same in two/ })
  await t.rejects(paginate(rows, { key: 'price', limit: 1 }), { code: code('INVALID_KEY') }, 'also where the page ends between them')
  await t.rejects(paginate([1, 2] as unknown as object[], {}), { code: code('INVALID_OPTIONS') })
})

t.test('a document that breaks a declared type is an error that names the field, never a lost row', async (t) => {
  const users = db.collection<Item>('declared')
  const without = await missingIn(db)
  for (const bad of [null, 'text', NaN, new Date(0)]) {
    for (const order of [1, -1] as const) {
      const documents = items(9).map((item) => item._id === 4 ? { ...item, a: bad } : { ...item, a: item._id })
      const storable = !Number.isNaN(bad) || !without.has('nan')
      await users.deleteMany({})
      if (storable) await users.insertMany(documents)
      for (const source of (storable ? [documents, users] : [documents]) as Item[][]) {
        const walk = async () => {
          for (let cursor: string | null | undefined; cursor !== null;) {
            const page: Page<Item> = await paginate(source, { sort: { a: { order, type: 'number' } }, limit: 2, ...(cursor === undefined ? {} : { cursor }) })
            cursor = page.pageInfo.nextCursor
          }
        }
        await t.rejects(walk(), { code: code('TYPE_MISMATCH'), statusCode: 500, message: /"a" as number/ }, `${String(bad)} ${order}`)
      }
    }
  }
})

t.test('values that no query can continue after are refused by name', async (t) => {
  for (const a of [/x/, new Date(NaN), 2n ** 64n]) {
    await t.rejects(paginate([{ _id: 1, a }], { sort: { a: 1 } }), { code: code('UNSORTABLE_VALUE'), statusCode: 500 })
  }
})

t.test('a sort is refused with 400 where it cannot be one', async (t) => {
  const odd = ['a', 5, null, { a: 0 }, { a: 'asc' }, { a: { $meta: 'textScore' } }, { $a: 1 }, { 'a..b': 1 }, { '': 1 }, { 'a.': 1 }, { 'a\0': 1 },
    { a: { order: 1, type: 'text' } }, { a: { order: 1, types: 'date' } }, [['a', 1], ['a', -1]], ['a'], [['a']], [[1, 1]],
    Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`f${i}`, 1]))]
  for (const sort of odd) await t.rejects(paginate(items(1), wrong({ sort })), { code: code('INVALID_SORT'), statusCode: 400 }, JSON.stringify(sort))
})

t.test('fields whose names look like integers keep their places in a list of pairs', async (t) => {
  const rows = [{ _id: 1, b: 1, 2: 2 }, { _id: 2, b: 2, 2: 1 }]
  t.same(ids(await paginate(rows, { sort: [['b', -1], ['2', 1]] })), [2, 1])
})

t.test('a field named __proto__ is a field like others', async (t) => {
  const rows = ['{ "_id": 1, "__proto__": 2 }', '{ "_id": 2, "__proto__": 1 }', '{ "_id": 3 }'].map((text) => JSON.parse(text))
  t.same(ids(await paginate(rows, { sort: [['__proto__', 1]], limit: 3 })), [3, 2, 1])
})

t.test('options that a call does not take are errors that name them', async (t) => {
  const odd: Array<[object, RegExp]> = [[{ limits: 5 }, /"limits"/], [{ filter: 'x' }, /"filter"/], [{ filter: () => true }, /"filter"/], [{ total: 'all' }, /"total"/],
    [{ projection: 5 }, /"projection"/], [{ collation: {} }, /"collation/], [{ collation: { locale: 'no such locale' } }, /collation/], [{ key: 5 }, /"key"/],
    [{ projection: { a: 1, b: 0 } }, /"b"/], [{ projection: { a: { $slice: 1 } } }, /"a"/], [{ filter: { $nosuch: 1 } }, /filter/]]
  for (const [options, message] of odd) await t.rejects(paginate(items(1), wrong(options)), { code: code('INVALID_OPTIONS'), statusCode: 500, message })
  for (const options of [null, 'x', 5]) await t.rejects(paginate(items(1), options as unknown as object), { code: code('INVALID_OPTIONS') })
  await t.rejects(paginate('text' as unknown as object[]), { code: code('INVALID_OPTIONS') })
  await t.rejects(paginate(db.collection('x'), { key: () => 1 }), { code: code('INVALID_OPTIONS') })
  await t.rejects(paginate(db.collection('x'), { projection: { a: { $concat: ['$a', 'x'] } }, sort: { a: 1 } }), { code: code('INVALID_OPTIONS') })
})

t.test('projections give what MongoDB gives, sort fields shown or hidden', async (t) => {
  const documents = [{ _id: 1, a: { b: 1, c: [{ d: 1, e: 2 }, 3, { e: 4 }] }, f: 1 }, { _id: 2, a: { b: 0 }, f: null }, { _id: 3, f: { g: new Date(5), h: 2 } }]
  const collection = db.collection<{ _id: number }>('projections')
  await collection.insertMany(documents)
  const projections = [{ f: 1 }, { _id: 0 }, { _id: 1 }, { 'a.b': 1 }, { 'a.c.d': 1 }, { 'a.c.d': 0 }, { a: 0 }, { 'a.b': 0, f: 0 }, { _id: 0, 'f.g': 1 }, { a: 1, _id: 0 }, { 'f.g': 0 }]
  for (const projection of projections) {
    for (const sort of [{ 'a.b': 1 }, { f: -1 }] as Array<Record<string, 1 | -1>>) {
      const expected = await collection.find({}, { projection, sort: { ...sort, _id: Object.values(sort)[0] as 1 } }).toArray()
      for (const source of [documents, collection] as Array<typeof documents>) {
        t.same((await paginate(source, { projection, sort })).items, expected, JSON.stringify([projection, sort]))
      }
    }
  }
  t.same((await paginate(documents, { projection: { a: { c: { e: 1 } } } })).items, [{ _id: 1, a: { c: [{ e: 2 }, { e: 4 }] } }, { _id: 2, a: {} }, { _id: 3 }], 'nested like dotted')
})

t.test('documents pass through unchanged, with the driver\'s own types', async (t) => {
  const collection = db.collection('types')
  const document = { _id: 1 as unknown as undefined, long: Long.fromString('9223372036854775807'), list: [1, { a: [2] }], date: new Date(5) }
  await collection.insertOne({ ...document })
  t.same((await paginate(collection)).items, [document])
  t.same((await paginate([{ _id: 1, big: Decimal128.fromString('1.50') }])).items, [{ _id: 1, big: Decimal128.fromString('1.50') }])
})

t.test('a collation orders strings of arrays as its locale does, and ties are told apart by the key', async (t) => {
  const rows = ['b', 'A', 'a', 'B', 'ä', '10', '9'].map((name, _id) => ({ _id, name }))
  const walk = async (collation: { locale: string, strength?: number, numericOrdering?: boolean }) => {
    const seen = []
    for (let cursor: string | null | undefined; cursor !== null;) {
      const page: Page<{ _id: number, name: string }> = await paginate(rows, { sort: { name: 1 }, collation, limit: 2, ...(cursor === undefined ? {} : { cursor }) })
      seen.push(...page.items.map(({ name }) => name))
      cursor = page.pageInfo.nextCursor
    }
    return seen.join(' ')
  }
  t.equal(await walk({ locale: 'simple' }), '10 9 A B a b ä')
  t.equal(await walk({ locale: 'de', strength: 2 }), '10 9 A a ä b B')
  t.equal(await walk({ locale: 'sv', strength: 3, numericOrdering: true }), '9 10 a A b B ä')
})

t.test('keys that a collation makes equal are an error, for one of them could be lost', async (t) => {
  const rows = [{ _id: 'x', a: 1 }, { _id: 'X', a: 1 }]
  await t.rejects(paginate(rows, { sort: { a: 1 }, collation: { locale: 'en', strength: 2 } }), { code: code('INVALID_KEY') })
})

t.test('a pipeline is paged by what it yields', async (t) => {
  const orders = db.collection('orders')
  await orders.insertMany(Array.from({ length: 30 }, (_, i) => ({ customer: i % 10, amount: i, open: i < 25 })))
  const stages = [{ $group: { _id: '$customer', sum: { $sum: '$amount' } } }]
  const options = { filter: { open: true }, sort: { sum: -1 as const }, limit: 4, total: 'exact' as const, projection: { sum: 1, _id: 0 } }
  const expected = (await orders.aggregate([{ $match: { open: true } }, ...stages, { $sort: { sum: -1 } }]).toArray()).map(({ sum }) => ({ sum }))
  const seen: unknown[] = []
  let page = await paginate.pipeline(orders, stages, options)
  t.same([page.pageInfo.total, page.pageInfo.totalIsExact], [10, true])
  seen.push(...page.items)
  while (page.pageInfo.nextCursor !== null) {
    page = await paginate.pipeline(orders, stages, { ...options, cursor: page.pageInfo.nextCursor })
    seen.push(...page.items)
  }
  t.same(seen, expected)
  t.same((await paginate.pipeline(orders, stages, { ...options, cursor: page.pageInfo.prevCursor })).items, expected.slice(4, 8))
  t.same((await paginate.pipeline(orders, stages, { ...options, offset: 3 })).items, expected.slice(3, 7))
  t.equal((await paginate.pipeline(orders, stages, { ...options, total: 'capped' })).pageInfo.total, 10)
  for (const bad of [[{ $out: 'x' }], [{ $merge: 'x' }], ['$x'], {}]) await t.rejects(paginate.pipeline(orders, bad as object[], {}), { code: code('INVALID_OPTIONS') })
  await t.rejects(paginate.pipeline([] as never, [], {}), { code: code('INVALID_OPTIONS') })
})

t.test('after $unwind, a key that repeats is an error and another key is none', async (t) => {
  const carts = db.collection('carts')
  await carts.insertMany([{ lines: [{ sku: 'a' }, { sku: 'b' }] }, { lines: [{ sku: 'c' }] }])
  const stages = [{ $unwind: '$lines' }]
  await t.rejects(paginate.pipeline(carts, stages, { limit: 1 }), { code: code('INVALID_KEY') })
  const page = await paginate.pipeline(carts, stages, { key: 'lines.sku', limit: 2 })
  t.same(page.items.map((item) => (item as unknown as { lines: { sku: string } }).lines.sku), ['a', 'b'])
})

t.test('driverOptions, hint and session reach the driver', async (t) => {
  await t.rejects(paginate(db.collection('types'), { driverOptions: { signal: AbortSignal.abort(new Error('gone')) } as object }), { message: 'gone' })
})

t.test('driver options that would break a walk are refused by name, those that do not are taken', async (t) => {
  const users = db.collection<Item>('refused')
  await users.insertMany(items(5))
  const bad = {
    sort: { a: 1 },
    projection: { b: 1 },
    skip: 1,
    limit: 1,
    collation: { locale: 'de' },
    hint: { a: 1 },
    min: { _id: 1 },
    max: { _id: 3 },
    returnKey: true,
    singleBatch: true,
    tailable: true,
    awaitData: true,
    raw: true,
    fieldsAsRaw: { a: true },
    explain: 'queryPlanner',
    out: 'x'
  }
  for (const [name, value] of Object.entries(bad)) {
    const options = wrong({ driverOptions: { [name]: value } })
    for (const call of [() => paginate(users, options), () => paginate(items(5), options), () => paginate.pipeline(users, [], options as object)]) {
      await t.rejects(call(), { code: code('INVALID_OPTIONS'), statusCode: 500, message: new RegExp(`"driverOptions\\.${name}"`) }, name)
    }
  }
  const page = await paginate(users, wrong({ limit: 2, driverOptions: { maxTimeMS: 5000, batchSize: 1, comment: 'a page', sort: undefined } }))
  t.same(ids(page), [0, 1])
})

t.test('in a session the page and its total are read one after the other', async (t) => {
  const users = db.collection<Item>('sessions')
  await users.insertMany(items(9))
  const session = db.client.startSession()
  t.teardown(() => session.endSession())
  const calls: string[] = []
  const timed = <A>(name: string, work: () => Promise<A>) => async () => {
    calls.push(`${name} begins`)
    return work().finally(() => calls.push(`${name} ends`))
  }
  const watched = new Proxy(users, {
    get: (target, name) => {
      if (name === 'countDocuments') return (...args: Parameters<typeof users.countDocuments>) => timed('count', () => target.countDocuments(...args))()
      if (name !== 'find') return Reflect.get(target, name, target)
      return (...args: Parameters<typeof users.find>) => {
        const cursor = target.find(...args)
        t.intercept(cursor, 'toArray', { value: timed('find', () => Object.getPrototypeOf(cursor).toArray.call(cursor)) })
        return cursor
      }
    }
  })
  const { items: rows, pageInfo } = await paginate(watched, { filter: { a: 1 }, limit: 2, total: 'exact', driverOptions: { session } })
  t.same([rows.length, pageInfo.total], [2, 3])
  t.same(calls, ['find begins', 'find ends', 'count begins', 'count ends'])
})

t.test('the collections of @fastify/mongodb are paged in a route, with a hidden sort field', async (t) => {
  const { url, db: { databaseName } } = await mongo(t)
  const app = Fastify()
  t.teardown(() => app.close())
  app.register(fastifyMongodb, { url, database: databaseName })
  app.register(cursorPagination, { secret: 's' })
  app.get('/items', { schema: { querystring: PageQuery({ sortable: ['a'] }) } }, async (request) => {
    const collection = app.mongo.db?.collection('items')
    if (collection === undefined) throw new Error('no database')
    return toJpulse(await app.paginate(collection, { projection: { b: 1, _id: 0 }, limit: 2, ...paginateOptions(request.query) }))
  })
  await app.ready()
  await app.mongo.db?.collection<Item>('items').insertMany(items(3))
  const first = (await app.inject('/items?sort=-a')).json()
  t.strictSame(first.data, [{ b: 'v2' }, { b: 'v1' }])
  t.strictSame((await app.inject(`/items?sort=-a&cursor=${first.pagination.nextCursor}`)).json().data, [{ b: 'v0' }])
})

t.test('explain tells what each interval cost, warns once per shape, and never fails a page', async (t) => {
  const { paginate, lines } = await build({ secret: 's', explain: true })
  const collection = db.collection<Item>('offset')
  const plan = { queryPlanner: { winningPlan: { stage: 'SORT', inputStage: { stage: 'COLLSCAN' } }, rejectedPlans: [] }, executionStats: { totalKeysExamined: 7, totalDocsExamined: 5 } }
  const watched = new Proxy(collection, {
    get: (target, name) => {
      if (name !== 'find') return Reflect.get(target, name, target)
      return (...args: Parameters<typeof collection.find>) => {
        const cursor = target.find(...args)
        t.intercept(cursor, 'explain', { value: async () => plan })
        return cursor
      }
    }
  })
  const first = await paginate(watched, { filter: { b: { $gt: 'v1' } }, sort: { a: -1 }, limit: 1 })
  t.strictSame(first.pageInfo.reads, [{ interval: {}, rows: 2, keys: 7, documents: 5 }])
  const second = await paginate(watched, { filter: { b: { $gt: 'v1' } }, sort: { a: -1 }, limit: 4, cursor: first.pageInfo.nextCursor })
  t.ok(Number(second.pageInfo.reads?.length) > 1)
  t.match(second.pageInfo.reads?.[0], { interval: { a: { $eq: 2 }, _id: { $not: { $gte: 8 }, $type: ['number'] } }, rows: 2 })
  t.match(lines.filter(({ level }) => level === 40), [{ msg: /scans the whole collection.*\{"a":-1,"_id":-1,"b":1\}/, index: { key: { a: -1, _id: -1, b: 1 } } }])
  t.equal((await paginate(watched, { explain: false, sort: { b: 1 } })).pageInfo.reads, undefined, 'a call may say no')
  const { items, pageInfo } = await paginate(collection, { sort: { b: 1 }, limit: 2 })
  t.same([items.length, pageInfo.reads], [2, [{ interval: {}, rows: 3 }]], 'a server that explains in its own way')
})

t.test('each page is published on a diagnostics channel', async (t) => {
  const messages: unknown[] = []
  const listen = (message: unknown) => { messages.push(message) }
  subscribe('jpulse:cursor-pagination:page', listen)
  t.teardown(() => unsubscribe('jpulse:cursor-pagination:page', listen))
  const { pageInfo } = await paginate(items(5), { limit: 2 })
  await paginate(items(5), { limit: 4, cursor: pageInfo.nextCursor })
  t.strictSame(messages, [{ source: '', limit: 2, rows: 2, backwards: false, offset: undefined }, { source: '', limit: 4, rows: 3, backwards: false, offset: undefined }])
})

t.test('the plugin refuses options that it does not know, and names them', async (t) => {
  const odd: Array<[object, RegExp]> = [[{ maxlimit: 5 }, /"maxlimit"/], [{ maxLimit: 0 }, /"maxLimit"/], [{ maxLimit: 1.5 }, /"maxLimit"/], [{ defaultLimit: 20, maxLimit: 10 }, /defaultLimit 20/],
    [{ cursorTtlMs: 0 }, /"cursorTtlMs"/], [{ explain: 'yes' }, /"explain"/], [{ maxOffset: -1 }, /"maxOffset"/], [{ prefix: '/x' }, /"prefix"/]]
  for (const [options, message] of odd) await t.rejects(build({ secret: 's', ...options }), { code: code('INVALID_OPTIONS'), message })
  for (const secret of ['', [], [''], 5]) await t.rejects(build({ secret: secret as string }), { code: code('NO_SECRET'), statusCode: 500 })
})

t.test('without a secret a process that has siblings does not start', async (t) => {
  const { NODE_APP_INSTANCE, instances } = process.env
  t.teardown(() => Object.assign(process.env, { NODE_APP_INSTANCE, instances }))
  const set = (values: Record<string, string>) => {
    delete process.env['NODE_APP_INSTANCE']
    delete process.env['instances']
    Object.assign(process.env, values)
  }
  for (const values of [{ NODE_APP_INSTANCE: '1' }, { NODE_APP_INSTANCE: '0', instances: '2' }]) {
    set(values as Record<string, string>)
    await t.rejects(build({}), { code: code('NO_SECRET'), message: /several processes/ })
    await t.resolves(build({ secret: 's' }))
  }
  set({ NODE_APP_INSTANCE: '0', instances: '1' })
  await t.resolves(build({}), 'one instance under PM2 has none')
  set({})
  cluster.setupPrimary({ exec: fileURLToPath(new URL('fixtures/worker.js', import.meta.url)), execArgv: [] })
  const worker = cluster.fork()
  const [answer] = await once(worker, 'message')
  worker.kill()
  t.match(answer, { code: code('NO_SECRET') }, 'a worker of a cluster')
})

t.test('in production a secret is required, of 32 characters; elsewhere a random one is made and said so', async (t) => {
  const { NODE_ENV } = process.env
  t.teardown(() => { if (NODE_ENV === undefined) delete process.env.NODE_ENV; else process.env.NODE_ENV = NODE_ENV })
  process.env.NODE_ENV = 'production'
  await t.rejects(build({}), { code: code('NO_SECRET') })
  await t.rejects(build({ secret: 'short' }), { code: code('NO_SECRET') })
  await t.resolves(build({ secret: 'x'.repeat(32) }))
  process.env.NODE_ENV = 'test'
  const [one, two] = [await build({}), await build({})]
  t.match(one.lines, [{ level: 40, msg: /no secret/ }])
  const { pageInfo: { nextCursor: cursor } } = await one.paginate(items(3), { limit: 1 })
  await t.rejects(two.paginate(items(3), { limit: 1, cursor }), { code: code('INVALID_CURSOR') })
})
