import Fastify from 'fastify'
import t from 'tap'
import cursorPagination from '../src/index.ts'
import { conformance } from './conformance.js'
import { arraySubject } from './subjects.js'

const app = Fastify()
t.teardown(() => app.close())
await app.register(cursorPagination, { secret: 'conformance' })

for (const { name, run } of conformance({ runs: 2000 })) t.test(name, () => run(arraySubject(app.paginate)))
