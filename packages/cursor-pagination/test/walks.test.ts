import t from 'tap'
import { mongo } from '../../../test/helpers/mongo.ts'
import type { PaginateOptions } from '../src/index.ts'
import { build, code, ids, items, type Item } from './build.ts'

const { paginate } = await build()
const { db } = await mongo(t)

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
      [{ first: 0 }, [], false, true],
      [{ last: 0 }, [], true, false],
      [{ first: 0, after: at(8) }, [], true, false],
      [{ first: 3, last: 0 }, [], true, true],
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
    for (const odd of [{ first: -1 }, { last: -1 }, { limit: 0 }, { first: 2, limit: 2 }, { last: 'x' }, { cursor: at(1), last: 2 }]) await t.rejects(paginate(source, odd), { code: code('INVALID_LIMIT'), statusCode: 400 })
    for (const [options, expected] of [[{ first: 0 }, 0], [{ first: 0, after: at(3) }, 4], [{ last: 0 }, 8], [{ last: 0, before: at(3) }, 2]] as Array<[PaginateOptions<Item>, number]>) {
      const { pageInfo } = await paginate(source, options)
      t.same(ids(await paginate(source, { cursor: 'last' in options ? pageInfo.prevCursor : pageInfo.nextCursor, limit: 1 })), [expected], 'a page without rows leads to where it would have begun')
    }
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

t.test('a pipeline is read by intervals where its stages stream, and asked once where one computes the whole result, which is said', async (t) => {
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
