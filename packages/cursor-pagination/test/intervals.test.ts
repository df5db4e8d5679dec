import fc from 'fast-check'
import { deserialize, serialize } from 'bson'
import Fastify from 'fastify'
import { MongoClient } from 'mongodb'
import t from 'tap'
import { mongo } from '../../../test/helpers/mongo.ts'
import cursorPagination from '../src/index.ts'
import { intervalsAfter, type Clause } from '../src/mongo/index.ts'
import { parseSort, readerOf, reversed, type SortField } from '../src/order/index.ts'
import { anyDocuments, anySort, anyValue } from './documents.js'
import { matches } from './query-model.js'
import { at, referenceCompare, referenceSort } from './reference-order.js'
import { missingIn } from './subjects.js'

type Doc = Record<string, unknown>

const EVERYTHING = new Set<never>()
const documents = anyDocuments(EVERYTHING, 12).filter((documents) => documents.length > 0)
const keyOf = (document: Doc, fields: SortField[]) => fields.map((field) => readerOf(field)(document))
const isAfter = (document: Doc, from: Doc, fields: SortField[], least = 1) => {
  const order = fields.map(({ field, direction }) => referenceCompare(at(document, field), at(from, field)) * direction).find((order) => order !== 0)
  return Math.sign(order ?? 0) >= least
}

type Make = (fields: SortField[], from: Doc) => Clause[]
const after: Make = (fields, from) => intervalsAfter(fields, keyOf(from, fields), 'all types')

/** For every document of a set as the position: does each document after it stand in exactly one interval, and no other in any? */
function exactFor (make: Make, least: number, sort = anySort(EVERYTHING)) {
  return fc.property(documents, sort, fc.boolean(), (documents, sort, nanInRanges) => {
    const fields = parseSort(sort)
    return documents.every((from) => {
      const intervals = make(fields, from)
      return documents.every((document) => intervals.filter((one) => matches(document, one, nanInRanges)).length === Number(isAfter(document, from, fields, least)))
    })
  })
}

t.test('intervals hold exactly what comes after their position, each document once, for every type of BSON', async () => {
  fc.assert(exactFor(after, 1), { numRuns: 2000 })
})

t.test('inclusive ones hold the position as well', async () => {
  fc.assert(exactFor((fields, from) => intervalsAfter(fields, keyOf(from, fields), 'all types', true), 0), { numRuns: 500 })
})

t.test('backwards, they hold exactly what comes before the position', async () => {
  fc.assert(fc.property(documents, anySort(EVERYTHING), (documents, sort) => {
    const fields = parseSort(sort)
    return documents.every((from) => {
      const intervals = after(reversed(fields), from)
      return documents.every((document) => intervals.filter((one) => matches(document, one)).length === Number(isAfter(from, document, fields)))
    })
  }), { numRuns: 1000 })
})

t.test('in the order of the index, each interval is one stretch, and begins where the one before it ends', async () => {
  fc.assert(fc.property(documents, anySort(EVERYTHING), (documents, sort) => {
    const fields = parseSort(sort)
    const ordered = referenceSort(documents, sort)
    return ordered.every((from, at) => {
      const rows = after(fields, from).flatMap((one) => ordered.filter((document) => matches(document, one)))
      return rows.length === ordered.length - at - 1 && rows.every((row, i) => row === ordered[at + 1 + i])
    })
  }), { numRuns: 1000 })
})

t.test('the property tells wrong intervals from right ones', async (t) => {
  const plain: Make = (fields, from) => fields.map(({ field, direction }, i) => ({
    $and: [...fields.slice(0, i).map(({ field }) => ({ [field]: { $eq: at(from, field) ?? null } })), { [field]: { [direction === 1 ? '$gt' : '$lt']: at(from, field) ?? null } }]
  })).reverse()
  t.ok(fc.check(exactFor(plain, 1)).failed, 'ranges without the other types')
  t.ok(fc.check(exactFor((fields, from) => after(fields, from).slice(0, -1), 1)).failed, 'without the outermost')
  t.ok(fc.check(exactFor((fields, from) => [...after(fields, from), ...after(fields.slice(0, 1), from)], 1)).failed, 'one twice')
})

t.test('each interval is equalities and one range, and none needs an $or', async (t) => {
  t.strictSame(intervalsAfter(parseSort({ status: 1, at: { order: -1, type: 'date' }, _id: { order: -1, type: 'number' } }), ['open', new Date(5), 7], 'common types'), [
    { status: { $eq: 'open' }, at: { $eq: new Date(5) }, _id: { $not: { $gte: 7 } } },
    { status: { $eq: 'open' }, at: { $not: { $gte: new Date(5) } } },
    { status: { $not: { $lte: 'open' }, $type: ['string', 'object', 'binData', 'objectId', 'bool', 'date', 'timestamp', 'regex'] } }
  ])
  fc.assert(fc.property(documents, anySort(EVERYTHING).filter((sort) => sort['n.c'] === undefined), ([from = {}], sort) =>
    !JSON.stringify(after(parseSort(sort), from)).includes('$or')))
})

t.test('a declared predicate matches what comes after, and every document that breaks the declaration', async () => {
  const strings = fc.array(fc.constantFrom<unknown>('', 'a', 'b', '\uFF5E', '\u{1F600}', null, 3, new Date(0)), { minLength: 1, maxLength: 8 })
  fc.assert(fc.property(strings, fc.constantFrom(1 as const, -1 as const), (values, order) => {
    const documents: Doc[] = values.map((a, _id) => ({ _id, a }))
    const fields = parseSort({ a: { order, type: 'string' } })
    return documents.filter(({ a }) => typeof a === 'string').every((from) => {
      const intervals = intervalsAfter(fields, [from['a'], from['_id']], 'all types')
      return documents.every((document) => intervals.some((one) => matches(document, one)) === (typeof document['a'] !== 'string' || isAfter(document, from, fields)))
    })
  }))
})

t.test('null below a path is also looked for by $exists, for what stands below an array and must be refused', async (t) => {
  const [within] = intervalsAfter(parseSort({ 'a.b': -1 }), [null, 1], 'common types')
  t.match(within, { $and: [{ $or: [{ 'a.b': null }, { 'a.b': { $exists: false } }] }, { 'a.b': { $not: { $gte: -Number.MAX_VALUE } } }] })
})

t.test('a server that does not know the rare types is asked for them once, and no other error is asked again', async (t) => {
  const { url, db: { databaseName } } = await mongo(t)
  const client = new MongoClient(url, { monitorCommands: true })
  t.teardown(() => client.close())
  const failed: string[] = []
  client.on('commandFailed', ({ commandName, failure }) => failed.push(`${commandName}: ${failure.message}`))
  const collection = client.db(databaseName).collection('rare')
  await collection.insertMany([1, 2, 3].map((a) => ({ a })))
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(cursorPagination, { secret: 's' })
  await t.rejects(app.paginate(collection, { filter: { a: { $type: 'nonsense' } } }), { message: /nonsense/ })
  failed.length = 0
  for (const name of ['rare', 'rare', 'other']) {
    const seen = []
    for await (const page of app.paginate.pipeline.pages(client.db(databaseName).collection(name), [], { sort: { a: -1 }, limit: 1 })) seen.push(...page.items)
    t.equal(seen.length, name === 'rare' ? 3 : 0)
  }
  t.equal(failed.length, (await missingIn(client.db(databaseName))).has('minKey') ? 1 : 0, failed.join())
  failed.length = 0
  await t.rejects(app.paginate(collection, { filter: { a: { $gt: 1, $nosuch: 1 } } }), { name: 'MongoServerError' })
  t.equal(failed.filter((text) => text.includes('nosuch')).length, 1)
})

t.test('the last of an order has nothing after it', async (t) => {
  const intervals = intervalsAfter(parseSort({ _id: -1 }), [at({ _id: deserialize(serialize({ x: null })) }, '_id.x')], 'common types')
  t.notOk(intervals.some((one) => matches({ _id: 1 }, one)))
})

t.test('the model of the query language agrees with the server on documents and predicates of every type that it stores', async (t) => {
  const { db } = await mongo(t)
  const collection = db.collection<Doc>('model')
  const without = await missingIn(db)
  const types = without.has('minKey') ? 'common types' : 'all types'
  await fc.assert(fc.asyncProperty(anyDocuments(without, 12).filter((documents) => documents.length > 0), anySort(without), async (documents, sort) => {
    await collection.deleteMany({})
    await collection.insertMany(documents)
    const fields = parseSort(sort)
    const order = Object.fromEntries(fields.map(({ field, direction }) => [field, direction]))
    for (const interval of intervalsAfter(fields, keyOf(documents[0] as Doc, fields), types)) {
      const found = await collection.find(interval).sort(order).toArray()
      const expected = referenceSort(documents, sort).filter((document) => matches(document, interval))
      if (JSON.stringify(found.map(({ _id }) => _id)) !== JSON.stringify(expected.map(({ _id }) => _id))) return false
    }
    return true
  }), { numRuns: 150 })
})

t.test('the server sorts all values that it stores in the documented order', async (t) => {
  const { db } = await mongo(t)
  const collection = db.collection<Doc>('order')
  const values = fc.sample(anyValue(await missingIn(db)), { numRuns: 400, seed: 1 })
  const documents = values.map((a, _id) => a === undefined ? { _id } : { _id, a }) as Doc[]
  await collection.insertMany(documents)
  for (const a of [1, -1] as const) {
    const found = await collection.find().sort({ a, _id: a }).toArray()
    t.same(found.map(({ _id }) => _id), referenceSort(documents, { a }).map(({ _id }) => _id))
  }
})
