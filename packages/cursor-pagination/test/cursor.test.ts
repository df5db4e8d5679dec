import { randomBytes } from 'node:crypto'
import { inspect } from 'node:util'
import fc from 'fast-check'
import Fastify from 'fastify'
import { Binary, BSONRegExp, Decimal128, Double, Int32, Long, MaxKey, MinKey, ObjectId, Timestamp, UUID, serialize } from 'bson'
import { MongoClient } from 'mongodb'
import t from 'tap'
import { mongo } from '../../../test/helpers/mongo.ts'
import type { Scope } from '../../../test/helpers/scope.ts'
import { CursorCodec } from '../src/cursor/codec.ts'
import { bindingOf } from '../src/cursor/index.ts'
import cursorPagination, { type FastifyCursorPaginationOptions, type Page, type PaginateOptions } from '../src/index.ts'
import { anyValue } from './documents.js'
import { referenceCompare } from './reference-order.js'

const INVALID = { code: 'FST_ERR_CURSOR_PAGINATION_INVALID_CURSOR', statusCode: 400 }
const codec = new CursorCodec({ secrets: ['secret'], ttlMs: undefined, maxLength: 1792 })
const hash = randomBytes(32)
const binding = { query: hash, written: hash }
const roundTrip = (value: unknown) => codec.open(codec.seal({ key: [value], backwards: false, inclusive: false }, binding), binding).key[0]

async function paginateOf (t: Scope, options: FastifyCursorPaginationOptions = { secret: 'one' }) {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(cursorPagination, options)
  return app.paginate
}

t.test('every type of BSON comes out of a cursor bit for bit as it went in', async (t) => {
  const values = [
    Long.fromString('9223372036854775807'), Long.fromString('-9223372036854775808'), Long.fromString('9007199254740993'), new Int32(-1), new Double(5),
    0.1, -0, NaN, Infinity, 2 ** 63, Decimal128.fromString('1.0'), Decimal128.fromString('1.00'), Decimal128.fromString('-0E+3'), Decimal128.fromString('9.999999999999999999999999999999999E+6144'),
    new Date('0001-01-01T00:00:00.000Z'), new Date(8.64e15), new Date(-8.64e15), new Date(0), null, true, '', 'a\0b\u{1F600}',
    new ObjectId(), new UUID(), new Binary(randomBytes(7), 5), new Timestamp({ t: 4294967295, i: 4294967295 }), new MinKey(), new MaxKey(),
    { $oid: 'not an id', $numberLong: 1, nested: { $date: 5, r: new BSONRegExp('^a', 'i') } }
  ]
  for (const value of values) t.same(Buffer.from(serialize({ v: roundTrip(value) })), Buffer.from(serialize({ v: value })), inspect(value))
  t.equal(new Date(8.64e15).getUTCFullYear(), 275760)
  fc.assert(fc.property(anyValue(new Set()), (value) => referenceCompare(roundTrip(value), value) === 0))
})

t.test('a cursor is one URL-safe word, the same for the same position, and tells nothing of its values', async (t) => {
  const position = { key: ['salary: 100000'], backwards: false, inclusive: false }
  const token = codec.seal(position, binding)
  t.match(token, /^[\w-]+$/)
  t.equal(token, codec.seal(position, binding))
  t.notOk(Buffer.from(token, 'base64url').includes('100000'))
})

t.test('a tampered cursor is refused: every bit flip, every truncation, every addition', async (t) => {
  const token = codec.seal({ key: ['value', 1], backwards: false, inclusive: false }, binding)
  const bytes = Buffer.from(token, 'base64url')
  let refused = 0
  const refuses = (text: string) => {
    t.throws(() => codec.open(text, binding), INVALID)
    refused++
  }
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const flipped = Buffer.from(bytes)
    flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7))
    refuses(flipped.toString('base64url'))
  }
  for (let length = 0; length < token.length; length++) refuses(token.slice(0, length))
  for (const more of ['A', '=', ' ', '\n', '.', '%', '\0', token]) refuses(token + more)
  t.equal(refused, bytes.length * 8 + token.length + 8)
  t.same(codec.open(token, binding).key, ['value', 1].map((value) => typeof value === 'number' ? new Int32(value) : value), 'itself is taken')
})

t.test('two texts never stand for one cursor, in the spare bits of its last letter either', async (t) => {
  const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  for (const key of [['a'], ['ab'], ['abc']]) {
    const token = codec.seal({ key, backwards: false, inclusive: false }, binding)
    const taken = [...letters].filter((letter) => {
      try { return codec.open(token.slice(0, -1) + letter, binding) } catch { return false }
    })
    t.same(taken, [token.at(-1)])
  }
})

t.test('a cursor that is not of this query is refused before the driver sends a single command', async (t) => {
  const { url, db: { databaseName } } = await mongo(t)
  const client = new MongoClient(url, { monitorCommands: true })
  t.teardown(() => client.close())
  const commands: string[] = []
  client.on('commandStarted', ({ commandName }) => commands.push(commandName))
  const users = client.db(databaseName).collection('users')
  await users.insertMany(Array.from({ length: 9 }, (_, i) => ({ tenant: i % 2, n: i })))
  const paginate = await paginateOf(t)
  const mine: PaginateOptions = { filter: { tenant: 1 }, sort: { n: 1 }, limit: 2, scope: 'tenant 1', total: 'exact' }
  const { pageInfo } = await paginate(users, mine)
  const cursor = String(pageInfo.nextCursor)
  await paginate(users, { ...mine, cursor })

  const other = await paginateOf(t, { secret: 'two' })
  const versioned = Buffer.from(cursor, 'base64url')
  versioned[0] = 2
  const cases: Array<[string, () => Promise<unknown>]> = [
    ['a flipped bit', () => paginate(users, { ...mine, cursor: cursor.replace(/^(.{60})(.)/, (_, head, letter) => head + (letter === 'A' ? 'B' : 'A')) })],
    ['truncated', () => paginate(users, { ...mine, cursor: cursor.slice(0, -4) })],
    ['another filter', () => paginate(users, { ...mine, filter: { tenant: 2 }, cursor })],
    ['a wider filter', () => paginate(users, { ...mine, filter: {}, cursor })],
    ['a filter of another type', () => paginate(users, { ...mine, filter: { tenant: '1' }, cursor })],
    ['another sort', () => paginate(users, { ...mine, sort: { n: -1 }, cursor })],
    ['a declared type', () => paginate(users, { ...mine, sort: { n: { order: 1, type: 'number' } }, cursor })],
    ['another collation', () => paginate(users, { ...mine, collation: { locale: 'de' }, cursor })],
    ['another tenant', () => paginate(users, { ...mine, scope: 'tenant 2', cursor })],
    ['no tenant', () => paginate(users, { ...mine, scope: undefined, cursor })],
    ['another collection', () => paginate(client.db(databaseName).collection('orders'), { ...mine, cursor })],
    ['a pipeline', () => paginate.pipeline(users, [{ $match: {} }], { ...mine, cursor })],
    ['another secret', () => other(users, { ...mine, cursor })],
    ['another version', () => paginate(users, { ...mine, cursor: versioned.toString('base64url') })],
    ['1 MB', () => paginate(users, { ...mine, cursor: 'A'.repeat(2 ** 20) })],
    ['a number', () => paginate(users, { ...mine, cursor: 5 as unknown as string })],
    ['a list', () => paginate(users, { ...mine, cursor: [cursor, cursor] as unknown as string })],
    ['an object', () => paginate(users, { ...mine, cursor: { $gt: '' } as unknown as string })],
    ['before, foreign', () => paginate(users, { ...mine, scope: 'tenant 2', before: cursor })],
    ['cursor beside after', () => paginate(users, { ...mine, cursor, after: cursor })],
    ['nonsense', () => paginate(users, { ...mine, cursor: 'nonsense' })]
  ]
  commands.length = 0
  for (const [name, call] of cases) await t.rejects(call(), INVALID, name)
  t.same(commands, [], 'no command was sent')
  await paginate(users, { ...mine, cursor, limit: 3 })
  t.same([...new Set(commands)].sort(), ['aggregate', 'find'], 'commands are seen where they are sent')
})

t.test('a cursor carries no filter: beside the right one, it cannot widen it', async (t) => {
  const { db } = await mongo(t)
  const users = db.collection('users')
  await users.insertMany(Array.from({ length: 20 }, (_, i) => ({ tenant: i % 2, n: i, public: i < 15 })))
  const paginate = await paginateOf(t)
  const filter = { tenant: 1, $or: [{ public: true }, { n: { $gt: 17 } }] }
  const seen = []
  for (let cursor: string | null = null, done = false; !done; done = cursor === null) {
    const page: Page = await paginate(users, { filter, sort: { n: -1 }, limit: 2, cursor })
    seen.push(...page.items.map((item) => (item as { n?: number }).n))
    cursor = page.pageInfo.nextCursor
  }
  t.same(seen, [19, 13, 11, 9, 7, 5, 3, 1])
})

t.test('the order of a filter\'s conditions does not matter to a cursor, the order inside a document does', async (t) => {
  const paginate = await paginateOf(t)
  const items = Array.from({ length: 5 }, (_, _id) => ({ _id, a: 1, b: { x: 1, y: 2 } }))
  const { pageInfo: { nextCursor: cursor } } = await paginate(items, { filter: { a: 1, b: { x: 1, y: 2 } }, limit: 2 })
  t.same((await paginate(items, { filter: { b: { x: 1, y: 2 }, a: 1 }, limit: 2, cursor })).items.map(({ _id }) => _id), [2, 3])
  await t.rejects(paginate(items, { filter: { a: 1, b: { y: 2, x: 1 } }, limit: 2, cursor }), INVALID)
})

t.test('null, undefined and an empty text are no cursor', async (t) => {
  const paginate = await paginateOf(t)
  const items = [{ _id: 1 }, { _id: 2 }]
  for (const cursor of [null, undefined, '']) t.equal((await paginate(items, { cursor, after: cursor, before: cursor })).items.length, 2)
})

t.test('a new secret in front opens the cursors of the old one, and a removed secret ends them', async (t) => {
  const items = Array.from({ length: 5 }, (_, _id) => ({ _id }))
  const before = await paginateOf(t, { secret: 'old' })
  const rotated = await paginateOf(t, { secret: ['new', 'old'] })
  const after = await paginateOf(t, { secret: [Buffer.from('new')] })
  const { pageInfo: { nextCursor: old } } = await before(items, { limit: 2 })
  const page = await rotated(items, { limit: 2, cursor: old })
  t.same(page.items, [{ _id: 2 }, { _id: 3 }])
  t.same((await after(items, { limit: 2, cursor: page.pageInfo.nextCursor })).items, [{ _id: 4 }], 'a string and its bytes are one secret')
  await t.rejects(after(items, { limit: 2, cursor: old }), INVALID)
})

t.test('with cursorTtlMs a cursor expires, and one without an end is refused', async (t) => {
  const now = Date.now()
  const clock = t.capture(Date, 'now', () => time)
  let time = now
  const items = [{ _id: 1 }, { _id: 2 }]
  const [paginate, forever] = [await paginateOf(t, { secret: 's', cursorTtlMs: 1000 }), await paginateOf(t, { secret: 's' })]
  const { pageInfo: { nextCursor: cursor } } = await paginate(items, { limit: 1 })
  time = now + 999
  t.same((await paginate(items, { limit: 1, cursor })).items, [{ _id: 2 }])
  time = now + 1000
  await t.rejects(paginate(items, { limit: 1, cursor }), INVALID)
  t.same((await forever(items, { limit: 1, cursor })).items, [{ _id: 2 }], 'without the option nothing expires')
  const { pageInfo: { nextCursor: endless } } = await forever(items, { limit: 1 })
  await t.rejects(paginate(items, { limit: 1, cursor: endless }), INVALID)
  clock.restore()
})

t.test('undefined inside a sort value is null in its cursor, as it is in the order', async (t) => {
  const items = [{ _id: 1, o: { a: undefined } }, { _id: 2, o: { b: 1 } }, { _id: 3, o: { a: undefined, c: 1 } }, { _id: 4, o: {} }]
  const paginate = await paginateOf(t)
  const expected = (await paginate(items, { sort: { o: 1 } })).items.map(({ _id }) => _id)
  const seen: number[] = []
  for (let cursor: string | null | undefined; cursor !== null && seen.length <= items.length;) {
    const page: Page<{ _id: number }> = await paginate(items, { sort: { o: 1 }, limit: 1, cursor })
    seen.push(...page.items.map(({ _id }) => _id))
    cursor = page.pageInfo.nextCursor
  }
  t.same(seen, expected)
})

t.test('a condition or scope with undefined is not one without it', async (t) => {
  const paginate = await paginateOf(t)
  const items = Array.from({ length: 5 }, (_, _id) => ({ _id, a: {} }))
  const pairs: Array<[PaginateOptions, PaginateOptions]> = [
    [{ filter: { a: { $ne: undefined } } }, { filter: { a: {} } }],
    [{ scope: { tenant: undefined } }, { scope: {} }]
  ]
  for (const [one, other] of pairs) {
    const { pageInfo: { nextCursor: cursor } } = await paginate(items, { ...one, limit: 2 } as object)
    t.same((await paginate(items, { ...one, limit: 2, cursor } as object)).items.map(({ _id }) => _id), [2, 3])
    await t.rejects(paginate(items, { ...other, limit: 2, cursor } as object), INVALID)
  }
})

t.test('with bind, a filter with the present time keeps its cursors, and another bind does not', async (t) => {
  const { db } = await mongo(t)
  const collection = db.collection<{ _id: number, expiresAt: Date }>('expiring')
  const documents = Array.from({ length: 6 }, (_, _id) => ({ _id, expiresAt: new Date(_id * 1000) }))
  await collection.insertMany(documents)
  const paginate = await paginateOf(t)
  const at = (seconds: number): PaginateOptions<typeof documents[0]> => ({ filter: { expiresAt: { $gt: new Date(seconds * 1000) } }, limit: 2 })
  for (const source of [documents, collection] as Array<typeof documents>) {
    const plain = await paginate(source, at(0))
    await t.rejects(paginate(source, { ...at(1), cursor: plain.pageInfo.nextCursor }), INVALID, 'without it each moment is another filter')

    const { items, pageInfo: { nextCursor: cursor } } = await paginate(source, { ...at(0), bind: ['live', 'ann'] })
    t.same(items.map(({ _id }) => _id), [1, 2])
    const next = await paginate(source, { ...at(3), bind: ['live', 'ann'], cursor })
    t.same(next.items.map(({ _id }) => _id), [4, 5], 'the filter of this call is the one that is asked')
    for (const bind of [['live', 'bob'], 'live', undefined, null]) await t.rejects(paginate(source, { ...at(0), bind, cursor }), INVALID)
    await t.rejects(paginate(source, { ...at(0), bind: ['live', 'ann'], sort: { expiresAt: 1 }, cursor }), INVALID, 'all else is bound as before')
    await t.rejects(paginate(source, { ...at(0), bind: ['live', 'ann'], scope: 'ann', cursor }), INVALID)
  }
  const cyclic: { self?: object } = {}
  cyclic.self = cyclic
  await t.rejects(paginate(documents, { bind: cyclic }), { code: 'FST_ERR_CURSOR_PAGINATION_INVALID_OPTIONS' })
})

t.test('bind stands for the stages of a pipeline too', async (t) => {
  const { db } = await mongo(t)
  const collection = db.collection<{ _id: number }>('expiring')
  await collection.insertMany(Array.from({ length: 6 }, (_, _id) => ({ _id })))
  const paginate = await paginateOf(t)
  const after = (n: number) => [{ $match: { _id: { $gt: n } } }]
  const { pageInfo: { nextCursor: cursor } } = await paginate.pipeline(collection, after(0), { bind: 'after', limit: 2 })
  t.same((await paginate.pipeline(collection, after(1), { bind: 'after', limit: 2, cursor })).items.map(({ _id }) => _id), [3, 4])
  await t.rejects(paginate.pipeline(collection, after(0), { limit: 2, cursor }), INVALID)
})

t.test('equal filters are equal to a cursor, and others are not', async (t) => {
  const paginate = await paginateOf(t)
  const items = Array.from({ length: 9 }, (_, _id) => ({ _id, a: _id % 2, b: 1, o: { x: 1 } }))
  const pairs: Array<[object, object]> = [
    [{ a: { $in: [0, 1] } }, { a: { $in: [1, 0] } }],
    [{ a: { $in: [0, 1, 1] } }, { a: { $in: [1, 0] } }],
    [{ $or: [{ a: 0 }, { b: 1 }] }, { $or: [{ b: 1 }, { a: 0 }] }],
    [{ $and: [{ $or: [{ a: 0 }, { b: 1 }] }, { _id: { $gte: 0, $lt: 50 } }] }, { $and: [{ _id: { $lt: 50, $gte: 0 } }, { $or: [{ b: 1 }, { a: 0 }] }] }],
    [{ b: 1 }, { b: new Double(1) }],
    [{ b: new Int32(1) }, { b: Decimal128.fromString('1.0') }],
    [{ b: { $gte: Long.fromNumber(1) } }, { b: { $gte: 1n } }],
    [{ b: { $eq: 1 } }, { b: 1 }],
    [{ b: new Map([['$gt', 1]]) }, { b: { $gt: 1 } }],
    [{ o: { x: 1 } }, { o: { x: new Double(1) } }],
    [{ _id: { $not: { $in: [77, 78] } } }, { _id: { $not: { $in: [78, 77] } } }]
  ]
  const { pageInfo: { nextCursor: cursor } } = await paginate(items, { filter: { a: { $in: [1, 0] }, b: 1 }, limit: 2 })
  t.same((await paginate(items, { filter: { b: 1.0, a: { $in: [0, 1] } }, limit: 2, cursor })).items.map(({ _id }) => _id), [2, 3])
  class Money {
    readonly #cents: number
    constructor (cents: number) { this.#cents = cents }
    toBSON () { return { cents: this.#cents } }
  }
  const bindings = (filter: object) => bindingOf({ source: '', filter, stages: [], sort: [], collation: undefined, scope: undefined, bind: undefined }).query.toString('hex')
  for (const [one, other] of pairs) t.equal(bindings(one), bindings(other), inspect(one))
  for (const [one, other] of [
    [{ a: { $in: [0, 1] } }, { a: [0, 1] }], [{ a: [0, 1] }, { a: [1, 0] }], [{ $or: [{ a: 0 }, { b: 1 }] }, { $and: [{ a: 0 }, { b: 1 }] }],
    [{ o: { x: 1, y: 2 } }, { o: { y: 2, x: 1 } }], [{ b: 1 }, { b: '1' }], [{ b: 1 }, { b: true }], [{ b: /x/ }, { b: { $eq: /x/ } }], [{ b: new Money(1) }, { b: new Money(2) }], [{ b: { $in: [new Money(1)] } }, { b: { $in: [new Money(2)] } }], [{ b: new Map([['x', 1]]) }, { b: new Map([['x', 2]]) }],
    [{ b: 2 ** 53 }, { b: Long.fromString('9007199254740993') }]
  ] as Array<[object, object]>) t.not(bindings(one), bindings(other), inspect(one))
})

t.test('a secret is rotated in three deploys, and no walk breaks while any of them is rolling', async (t) => {
  const items = Array.from({ length: 9 }, (_, _id) => ({ _id }))
  const deploys: Array<string | string[]> = ['old', ['old', 'new'], ['new', 'old'], 'new']
  for (const [i, secret] of deploys.slice(0, 3).entries()) {
    const [before, after] = [await paginateOf(t, { secret }), await paginateOf(t, { secret: deploys[i + 1] as string[] })]
    const begun = await before(items, { limit: 2 })
    const during = await after(items, { limit: 2, cursor: begun.pageInfo.nextCursor })
    t.same((await before(items, { limit: 2, cursor: during.pageInfo.nextCursor })).items, [{ _id: 4 }, { _id: 5 }], `${String(secret)} beside ${String(deploys[i + 1])}`)
  }
})
