import Fastify from 'fastify'
import t from 'tap'
import { mongo } from '../../../test/helpers/mongo.ts'
import cursorPagination from '../src/index.ts'
import { conformance } from './conformance.js'
import { collectionSubject, missingIn } from './subjects.js'

const app = Fastify()
t.teardown(() => app.close())
await app.register(cursorPagination, { secret: 'conformance' })
const { db } = await mongo(t)
const collection = collectionSubject(app.paginate, db.collection('walks'), await missingIn(db))

for (const { name, run } of conformance({ runs: 200 })) t.test(name, () => run(collection))
