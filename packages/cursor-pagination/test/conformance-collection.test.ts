import Fastify from 'fastify'
import t from 'tap'
import { mongo } from '../../../test/helpers/mongo.ts'
import cursorPagination from '../src/index.ts'
import { conformance, FULL } from './conformance.js'
import { collectionSubject, missingIn, modelSubject } from './subjects.js'

const app = Fastify()
t.teardown(() => app.close())
await app.register(cursorPagination, { secret: 'conformance' })
const { db } = await mongo(t)
const collection = collectionSubject(app.paginate, db.collection('walks'), await missingIn(db))

for (const nanInRanges of [false, true]) {
  const model = modelSubject(app.paginate, nanInRanges)
  for (const { name, needs, run } of conformance({ runs: 100 })) {
    if (!needs.some((feature) => model.without.has(feature))) t.test(`on the model of a server: ${name}`, () => run(model))
  }
}

for (const { name, run } of conformance({ runs: FULL ? 200 : 20 })) t.test(name, () => run(collection))
