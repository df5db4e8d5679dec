import { createInterface } from 'node:readline'
import { Readable } from 'node:stream'
import { inspect } from 'node:util'
import { Decimal128, Double, Int32, Long } from 'bson'
import t from 'tap'
import { mongo } from '../../../test/helpers/mongo.ts'
import type { Page, PaginateOptions } from '../src/index.ts'
import { build, code, ids, items, wrong, type Item } from './build.ts'
import { missingIn } from './subjects.js'

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
    new Map([['a', -1]]), { a: { order: 1, type: 'text' } }, { a: { order: 1, types: 'date' } }, [['a', 1], ['a', -1]], ['a'], [['a']], [[1, 1]],
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
  for (const options of [null, 'x', 5, new Map([['limit', 1]])]) await t.rejects(paginate(items(1), options as unknown as object), { code: code('INVALID_OPTIONS') })
  // A Map has no properties: taken for an object, it would be a filter that lets everything pass.
  for (const name of ['filter', 'projection', 'driverOptions']) {
    const options = { [name]: new Map([['a', 1]]) }
    for (const refused of [paginate(items(1), options), paginate(db.collection('x'), options), paginate.pipeline(db.collection('x'), [], options), paginate.pages(items(1), options).next()] as Array<Promise<unknown>>) {
      await t.rejects(refused, { code: code('INVALID_OPTIONS'), message: new RegExp(`"${name}" is a Map`) })
    }
  }
  class Given { get tenant () { return 1 } }
  for (const [name, value] of [['filter', new Given()], ['filter', Object.create({ tenant: 1 })], ['filter', Object.assign(Object.create({ tenant: 1 }), { a: 1 })], ['filter', new Date()], ['sort', Object.create({ a: 1 })], ['projection', new Given()]] as Array<[string, object]>) {
    for (const source of [items(1), db.collection('x')]) await t.rejects(paginate(source, { [name]: value }), { code: code('INVALID_OPTIONS'), message: new RegExp(`"${name}" has fields that are not its own, or none`) })
  }
  for (const options of [Object.create({ limit: 2, filter: { a: 0 } }), new (class { limit = 2; get filter () { return { a: 0 } } })()]) t.same(ids(await paginate(items(9), options)), [0, 3], 'options that are inherited, or given by a class, are options')
  await t.rejects(paginate('text' as unknown as object[]), { code: code('INVALID_OPTIONS') })
  await t.rejects(paginate(db.collection('x'), { key: () => 1 }), { code: code('INVALID_OPTIONS') })
  await t.rejects(paginate(db.collection('x'), { projection: { a: { $concat: ['$a', 'x'] } }, sort: { a: 1 } }), { code: code('INVALID_OPTIONS') })
})

t.test('the filter of an array sees numbers of every type, and what is in a Map', async (t) => {
  const numbers = [5, 5n, Long.fromNumber(5), new Int32(5), new Double(5), Decimal128.fromString('5.0')]
  const rows = [...numbers, 6, '5', null].map((a, _id) => ({ _id, a, map: new Map([['x', a]]), list: [{ a }] })) as unknown as Item[]
  const same = numbers.map((_, i) => i)
  for (const five of numbers) {
    for (const filter of [{ a: five }, { a: { $in: [five] } }, { a: { $gte: five, $lt: 6 } }, { 'map.x': five }, { map: { x: five } }, { list: { $elemMatch: { a: five } } }, { $or: [{ 'list.a': five }] }]) {
      t.same(ids(await paginate(rows, { filter: filter as object })), same, inspect(filter))
    }
  }
  t.equal((await paginate(rows, { filter: { a: 5 } })).items[2], rows[2], 'the items are those that were given')
  t.same(ids(await paginate([new Map<string, unknown>([['_id', 1], ['a', 5n]]), new Map([['_id', 2]])] as unknown as Item[], { filter: { a: 5 } })).length, 1)
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

t.test('fields that a class gives by getters are sorted by, filtered and projected like others, methods and inherited names are none', async (t) => {
  class User {
    readonly #name: string
    readonly born: number
    constructor (name: string, born: number) { this.#name = name; this.born = born }
    get _id () { return this.#name }
    get inner () { return { name: this.#name } }
    shout () { return this.#name.toUpperCase() }
  }
  const users = [new User('b', 1), new User('a', 2), new User('c', 1)]
  const seen = []
  for await (const { items } of paginate.pages(users, { sort: { born: 1, 'inner.name': -1 }, limit: 1 })) seen.push(...items)
  t.same(seen.map(({ _id }) => _id), ['c', 'b', 'a'])
  t.equal(seen[0], users[2], 'the instances themselves')
  t.same((await paginate(users, { filter: { 'inner.name': 'b' }, sort: { _id: 1 } })).items.map(({ _id }) => _id), ['b'])
  t.strictSame((await paginate(users, { projection: { inner: 1 } })).items[0], { _id: 'a', inner: { name: 'a' } } as unknown as User)
  for (const name of ['shout', 'toString', 'constructor', '__proto__']) t.same((await paginate(users, { sort: [[name, 1]] })).items.map(({ _id }) => _id), ['a', 'b', 'c'], name)
})
