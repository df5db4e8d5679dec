import { createDecipheriv, createHash, createHmac, hkdfSync } from 'node:crypto'
import fc from 'fast-check'
import Fastify, { type FastifyInstance } from 'fastify'
import { Binary, deserialize, serialize } from 'bson'
import type { Collection } from 'mongodb'
import t from 'tap'
import { mongo } from '../../../test/helpers/mongo.ts'
import cursorPagination, { linkHeader, type PaginateOptions } from '../src/index.ts'
import { referenceCompare } from './reference-order.js'

const app = Fastify()
t.teardown(() => app.close())
await app.register(cursorPagination, { secret: 'mixed releases' })
const { paginate } = app

/** The ids of a walk, and its longest cursor. */
async function walk (paginate: FastifyInstance['paginate'], source: Item[] | Collection<Item>, options: PaginateOptions<Item>) {
  const ids: unknown[] = []
  let longest = 0
  for await (const { items, pageInfo } of paginate.pages(source as Item[], options)) {
    ids.push(...items.map(({ _id }) => _id))
    longest = Math.max(longest, ...[pageInfo.nextCursor, pageInfo.prevCursor, pageInfo.endCursor].map((cursor) => cursor?.length ?? 0))
    if (ids.length > 200) break
  }
  return { ids, longest }
}

interface Item { _id: unknown, [name: string]: unknown }

t.test('a cursor stays below 2 kB whatever its values hold, and its walk is whole', async (t) => {
  const { db } = await mongo(t)
  const long = 'x'.repeat(7000)
  const textOf = (id: unknown) => JSON.stringify(id)
  const sets: Record<string, (i: number) => Item> = {
    'a title of 7,000 characters': (i) => ({ _id: i, a: i === 4 ? long : `t${i}` }),
    'titles that differ at their end': (i) => ({ _id: i, a: `${long}${i % 4}` }),
    'titles of other alphabets': (i) => ({ _id: i, a: `${['\u{1F600}', '\uD7FF', '\u{10FFFF}', 'ä'][i % 4]}`.repeat(3000 + i % 2) }),
    'objects and bytes': (i) => ({ _id: i, a: i % 2 ? { x: long, y: i } : new Binary(Buffer.alloc(5000, i)) }),
    'keys of 3,000 characters': (i) => ({ _id: `${'k'.repeat(3000)}${i}`, a: i % 2 }),
    'an object as the key': (i) => ({ _id: { x: long, i }, a: 1 })
  }
  for (const [what, make] of Object.entries(sets)) {
    const items = Array.from({ length: 11 }, (_, i) => make(i))
    const collection = db.collection<Item>('long')
    await collection.deleteMany({})
    await collection.insertMany(items)
    for (const [name, source] of [['array', items], ['collection', collection]] as const) {
      for (const a of [1, -1] as const) {
        const whole = (await paginate(source as Item[], { sort: { a }, limit: 100 })).items.map(({ _id }) => _id)
        const there = await walk(paginate, source, { sort: { a }, limit: 2 })
        const back = await walk(paginate, source, { sort: { a }, last: 2 })
        t.same(there.ids, whole, `${what}, ${name} ${a}`)
        t.same(back.ids.map(textOf).sort(), whole.map(textOf).sort(), 'backwards')
        t.ok(there.longest < 2000 && back.longest < 2000, `${there.longest} characters`)
      }
    }
  }
})

t.test('a Link header beside long values passes proxies that take 4 KiB', async (t) => {
  const items = Array.from({ length: 9 }, (_, _id) => ({ _id, a: `${_id}${'y'.repeat(1200)}` }))
  const first = await paginate(items, { sort: { a: 1 }, limit: 3 })
  const page = await paginate(items, { sort: { a: 1 }, limit: 3, cursor: first.pageInfo.nextCursor })
  t.ok(linkHeader(page, { originalUrl: '/users?limit=3&sort=a' }).length < 4096 - 200)
})

t.test('a Link header passes them also where whoever asks sent a long query: it names the next page, or says that it cannot', async (t) => {
  const items = Array.from({ length: 9 }, (_, _id) => ({ _id }))
  const first = await paginate(items, { sort: { _id: 1 }, limit: 3 })
  const url = (length: number) => ({ originalUrl: `/users?limit=3&q=${'x'.repeat(length)}` })
  const rels = (page: typeof first, length: number) => {
    const header = linkHeader(page, url(length))
    t.ok(header.length <= 3000, `${header.length}`)
    return [...header.matchAll(/rel="(\w+)"/g)].map(([, rel]) => rel)
  }
  for (const page of [await paginate(items, { sort: { _id: 1 }, limit: 3, cursor: first.pageInfo.nextCursor }), await paginate(items, { limit: 3, offset: 3 })]) {
    t.same([rels(page, 500), rels(page, 1300), rels(page, 2600)], [['first', 'prev', 'next'], ['prev', 'next'], ['next']])
    t.throws(() => linkHeader(page, url(3000)), { code: 'FST_ERR_CURSOR_PAGINATION_QUERY_TOO_LONG', statusCode: 414 })
  }
  const last = await paginate(items, { limit: 3, offset: 6 })
  t.same([rels(last, 1300), rels(last, 2600), rels(last, 3000)], [['first', 'prev'], ['prev'], []], 'where none follows nothing is missed')
})

t.test('where the document of a shortened cursor is gone, nothing is lost and the walk ends', async (t) => {
  const make = (key: (i: number) => Partial<Item>) => Array.from({ length: 12 }, (_, i) => ({ _id: i, a: `${'z'.repeat(2000)}${String(i).padStart(2, '0')}`, ...key(i) }))
  for (const items of [make(() => ({})), make((i) => ({ _id: `${'k'.repeat(3000)}${i}` })), make((i) => ({ a: { x: 'z'.repeat(3000), i } }))] as Item[][]) {
    for (const a of [1, -1] as const) {
      const whole = (await paginate(items, { sort: { a } })).items
      for (const [as, at] of [['after', 4], ['before', 7]] as const) {
        const anchor = whole[at] as Item
        const cursor = (await paginate(items, { sort: { a } })).pageInfo.cursorOf(anchor)
        t.same((await paginate(items, { sort: { a }, [as]: cursor })).items, as === 'after' ? whole.slice(5) : whole.slice(0, 7), 'as long as it is there')
        const left = items.filter((item) => item !== anchor)
        const rest = (await paginate(left, { sort: { a }, [as]: cursor })).items
        for (const item of as === 'after' ? whole.slice(5) : whole.slice(0, 7)) t.ok(rest.includes(item), `${as} ${a}`)
      }
    }
  }
})

/** Texts of 2,000 characters that differ after 300 or only at their end; the first of those are told apart within a cursor. */
const texts = fc.uniqueArray(fc.tuple(fc.constantFrom('a', 'b', 'bb', 'é', '\uFF5E', '\u{1F600}', ''), fc.constantFrom('x', 'y')), { minLength: 2, maxLength: 9, selector: String })

t.test('a shortened cursor goes on exactly without its document where the next one differs in its first kilobyte, here and beside release 0.1', async () => {
  await fc.assert(fc.asyncProperty(texts, fc.constantFrom(1 as const, -1 as const), fc.integer({ min: 1, max: 3 }), async (parts, a, limit) => {
    const items = parts.map(([early, late], _id) => ({ _id, early, a: `${'p'.repeat(300)}${early}${'q'.repeat(1700)}${late}` }))
    const whole = (await paginate(items, { sort: { a } })).items
    for (const backwards of [false, true]) {
      const ordered = backwards ? [...whole].reverse() : whole
      for await (const page of paginate.pages(items, { sort: { a }, ...(backwards ? { last: limit } : { limit }) })) {
        const cursor = backwards ? page.pageInfo.prevCursor : page.pageInfo.nextCursor
        if (cursor === null) continue
        const at = ordered.indexOf(page.items.at(backwards ? 0 : -1) as typeof items[0])
        const expected = ordered.slice(at + 1)
        const gone = (await paginate(items.filter((item) => item !== ordered[at]), { sort: { a }, cursor })).items
        const { k = [] } = openOf01(cursor, 'mixed releases', { source: '', filter: [], stages: [], sort: [{ field: 'a', direction: a }, { field: '_id', direction: a }], collation: null, scope: null })
        const direction = backwards ? -a : a
        const by01 = ordered.filter((item) => (referenceCompare(item.a, k[0]) || referenceCompare(item._id, k[1] ?? null)) * direction > 0)
        for (const [who, rows] of [['here', backwards ? [...gone].reverse() : gone], ['0.1', by01]] as const) {
          const exact = ordered[at]?.early !== ordered[at + 1]?.early
          const ids = rows.map(({ _id }) => _id)
          if (exact ? String(ids) !== String(expected.map(({ _id }) => _id)) : expected.some((item) => !rows.includes(item))) throw new Error(`${who}: ${ids} after ${ordered[at]?._id} of ${ordered.map(({ _id }) => _id)}`)
        }
      }
    }
  }), { numRuns: 60 })
})

t.test('cursors of release 0.1 are taken, and it takes those of this one', async (t) => {
  const items = Array.from({ length: 23 }, (_, _id) => ({ _id, a: _id % 3, b: `v${_id % 5}` }))
  const given = [
    { filter: { a: 1 }, next: 'AbpjoRt04MOOjmofof_qe4xuW2sMy-zI59egFoNcKt2Vmumy87tDEoQnSlTRzWNpIRx4kmaO_P0dUx4Vm4RiIARVm1djCA', prev: 'AWCWQEZ6KTRJ5k0IXh5W5guj1tIEgvUwzGeOocPzGuGJ4LVDq9XxCcKLFn8gD7Ru9BYXca-cLHVZojq_xTPGU076HgitZw', first: [19, 4, 13, 22], second: [7, 16, 1, 10] },
    { filter: { a: { $in: [2, 0] } }, next: 'AXr2rQWORmtSCh-yXDkFRv4ZVVsUprWze_KoEWwq5wprdkO0HKPNW096SlzEKAS0ggFD8xWdKg0dri1W-lMuWOSojQzv0Q', prev: 'AfABygSyNnO90wdtXWd348RxXRS6p8jGaHeXIslxYrXw_YpR_5IalG6yLeQ4pIabhNq07lSUF0lCqUhFTrQ5Dqq2SfVK5w', first: [14, 9, 18, 8], second: [3, 17, 12, 2] }
  ]
  for (const { filter, next, prev, first, second } of given) {
    const options = { filter, sort: { b: -1 as const }, scope: 'ann', limit: 4 }
    t.same((await paginate(items, { ...options, cursor: next })).items.map(({ _id }) => _id), second)
    t.same((await paginate(items, { ...options, cursor: prev })).items.map(({ _id }) => _id), first)
    const { pageInfo: { nextCursor } } = await paginate(items, options)
    t.same(openOf01(String(nextCursor), 'mixed releases', { source: '', filter: Object.entries(filter), stages: [], sort: [{ field: 'b', direction: -1 }, { field: '_id', direction: -1 }], collation: null, scope: 'ann' }).k, openOf01(next, 'mixed releases', { source: '', filter: Object.entries(filter), stages: [], sort: [{ field: 'b', direction: -1 }, { field: '_id', direction: -1 }], collation: null, scope: 'ann' }).k)
  }
})

/** What release 0.1 did to open a cursor. */
function openOf01 (token: string, secret: string, query: object): { k?: unknown[] } {
  const bytes = Buffer.from(token, 'base64url')
  const keys = Buffer.from(hkdfSync('sha256', secret, '', '@jpulse/cursor-pagination cursor', 64))
  const tag = bytes.subarray(1, 33)
  const plain = createDecipheriv('aes-256-ctr', keys.subarray(32), tag.subarray(0, 16)).update(bytes.subarray(33))
  const binding = createHash('sha256').update(serialize(query, { serializeFunctions: true, ignoreUndefined: false })).digest()
  if (!createHmac('sha256', keys.subarray(0, 32)).update(Buffer.of(1)).update(binding).update(plain).digest().equals(tag)) throw new Error('it was not given for this query')
  return deserialize(plain)
}
