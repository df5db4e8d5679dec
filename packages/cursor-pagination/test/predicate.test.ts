import fc from 'fast-check'
import { deserialize, serialize } from 'bson'
import Fastify from 'fastify'
import { MongoClient } from 'mongodb'
import t from 'tap'
import { mongo } from '../../../test/helpers/mongo.ts'
import cursorPagination from '../src/index.ts'
import { boundOf } from '../src/mongo/bound.ts'
import { afterPosition, type Clause } from '../src/mongo/predicate.ts'
import { parseSort, type SortField } from '../src/order/sort.ts'
import { readerOf } from '../src/order/sort-key.ts'
import { serverQuery } from '../src/mongo/query.ts'
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

/** For every document of a set as the position: is the query true of exactly those after it? */
function exactFor (make: (fields: SortField[], from: Doc) => Clause, least: number, sort = anySort(EVERYTHING)) {
  return fc.property(documents, sort, fc.boolean(), (documents, sort, nanInRanges) => {
    const fields = parseSort(sort)
    return documents.every((from) => {
      const query = make(fields, from)
      return documents.every((document) => matches(document, query, nanInRanges) === isAfter(document, from, fields, least))
    })
  })
}

t.test('a predicate matches exactly what comes after its position, for every type of BSON', async () => {
  fc.assert(exactFor((fields, from) => afterPosition(fields, keyOf(from, fields), 'all types'), 1), { numRuns: 2000 })
})

t.test('an inclusive predicate matches the position as well', async () => {
  fc.assert(exactFor((fields, from) => afterPosition(fields, keyOf(from, fields), 'all types', true), 0), { numRuns: 500 })
})

t.test('the bound beside a predicate never narrows it', async () => {
  fc.assert(exactFor((fields, from) => serverQuery({ filter: {}, fields }, { position: { key: keyOf(from, fields), inclusive: false }, backwards: false }, 'all types').filter, 1), { numRuns: 2000 })
})

t.test('backwards, the predicate and its bound match exactly what comes before the position', async () => {
  fc.assert(fc.property(documents, anySort(EVERYTHING), (documents, sort) => {
    const fields = parseSort(sort)
    return documents.every((from) => {
      const { filter } = serverQuery({ filter: {}, fields }, { position: { key: keyOf(from, fields), inclusive: false }, backwards: true }, 'all types')
      return documents.every((document) => matches(document, filter) === isAfter(from, document, fields))
    })
  }), { numRuns: 1000 })
})

t.test('the property tells a wrong predicate and a wrong bound from right ones', async (t) => {
  const plain = (fields: SortField[], from: Doc): Clause => ({
    $or: fields.map(({ field, direction }, i) => ({
      $and: [...fields.slice(0, i).map(({ field }) => ({ [field]: { $eq: at(from, field) ?? null } })), { [field]: { [direction === 1 ? '$gt' : '$lt']: at(from, field) ?? null } }]
    }))
  })
  t.ok(fc.check(exactFor(plain, 1)).failed, 'ranges without the other types')
  const narrow = (fields: SortField[], from: Doc): Clause => {
    const [first] = fields as [SortField]
    return { $and: [afterPosition(fields, keyOf(from, fields), 'all types'), { [first.field]: { [first.direction === 1 ? '$gte' : '$lte']: at(from, first.field) ?? null } }] }
  }
  t.ok(fc.check(exactFor(narrow, 1)).failed, 'a bound within one type')
})

t.test('of values of one type, the bound alone excludes everything before the position', async (t) => {
  for (const [low, high] of [[1, 2], ['a', 'b'], [new Date(1), new Date(2)], [false, true]]) {
    for (const direction of [1, -1] as const) {
      const [from, before] = direction === 1 ? [high, low] : [low, high]
      const bound = { $and: boundOf({ field: 'a', direction }, from) }
      t.equal(matches({ a: before }, bound), false, `${String(before)} is out`)
      t.equal(matches({ a: from }, bound), true, `${String(from)} is in`)
      t.equal(matches({}, bound), direction === -1, 'null is where it belongs')
    }
  }
  t.equal(matches({ a: 'x' }, { $and: boundOf({ field: 'a', direction: -1 }, null) }), false, 'down in the nulls, all else is out')
})

t.test('a declared field needs one range and one bound', async (t) => {
  const { filter } = serverQuery({ filter: { tenant: 1 }, fields: parseSort({ at: { order: -1, type: 'date' }, _id: { order: -1, type: 'number' } }) },
    { position: { key: [new Date(5), 7], inclusive: false }, backwards: false }, 'all types')
  t.strictSame(filter, {
    $and: [
      { tenant: 1 },
      { at: { $not: { $gt: new Date(5) } } },
      { $or: [{ at: { $not: { $gte: new Date(5) } } }, { at: { $eq: new Date(5) }, _id: { $not: { $gte: 7 } } }] }
    ]
  })
})

t.test('a declared predicate matches what comes after, and every document that breaks the declaration', async () => {
  const strings = fc.array(fc.constantFrom<unknown>('', 'a', 'b', '\uFF5E', '\u{1F600}', null, 3, new Date(0)), { minLength: 1, maxLength: 8 })
  fc.assert(fc.property(strings, fc.constantFrom(1 as const, -1 as const), (values, order) => {
    const documents: Doc[] = values.map((a, _id) => ({ _id, a }))
    const fields = parseSort({ a: { order, type: 'string' } })
    return documents.filter(({ a }) => typeof a === 'string').every((from) => {
      const query = afterPosition(fields, [from['a'], from['_id']], 'all types')
      return documents.every((document) => matches(document, query) === (typeof document['a'] !== 'string' || isAfter(document, from, fields)))
    })
  }))
})

t.test('null below a path is also looked for by $exists, for what stands below an array and must be refused', async (t) => {
  const fields = parseSort({ 'a.b': -1 })
  t.match(afterPosition(fields, [null, 1], 'all types'), {
    $or: [{ 'a.b': { $type: ['minKey'] } }, { 'a.b': { $eq: [] } }, { $or: [{ 'a.b': null }, { 'a.b': { $exists: false } }], _id: {} }]
  })
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
  const { pageInfo: { nextCursor: cursor } } = await app.paginate.pipeline(collection, [], { sort: { a: 1 }, limit: 1 })
  for (const name of ['rare', 'rare', 'other']) {
    const page = await app.paginate.pipeline(client.db(databaseName).collection(name), [], { sort: { a: 1 }, limit: 1, ...(name === 'rare' ? { cursor } : {}) })
    t.equal(page.items.length, name === 'rare' ? 1 : 0)
  }
  t.equal(failed.length, (await missingIn(client.db(databaseName))).has('minKey') ? 1 : 0, failed.join())
  failed.length = 0
  await t.rejects(app.paginate(collection, { filter: { a: { $gt: 1, $nosuch: 1 } } }), { name: 'MongoServerError' })
  t.equal(failed.filter((text) => text.includes('nosuch')).length, 1)
})

t.test('the last of an order has nothing after it', async (t) => {
  const query = afterPosition(parseSort({ _id: -1 }), [at({ _id: deserialize(serialize({ x: null })) }, '_id.x')], 'common types')
  t.equal(matches({ _id: 1 }, query), false)
})

t.test('the model of the query language agrees with the server on documents and predicates of every type that it stores', async (t) => {
  const { db } = await mongo(t)
  const collection = db.collection<Doc>('model')
  const without = await missingIn(db)
  const dialect = without.has('minKey') ? 'common types' : 'all types'
  await fc.assert(fc.asyncProperty(anyDocuments(without, 12).filter((documents) => documents.length > 0), anySort(without), async (documents, sort) => {
    await collection.deleteMany({})
    await collection.insertMany(documents)
    const fields = parseSort(sort)
    const from = documents[0] as Doc
    const query = serverQuery({ filter: {}, fields }, { position: { key: keyOf(from, fields), inclusive: false }, backwards: false }, dialect)
    const found = await collection.find(query.filter).sort(query.sort).toArray()
    const expected = referenceSort(documents, sort).filter((document) => matches(document, query.filter))
    return JSON.stringify(found.map(({ _id }) => _id)) === JSON.stringify(expected.map(({ _id }) => _id))
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
