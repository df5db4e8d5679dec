// Page 1 against page 10,000 of 1,000,000 documents, and against skip/limit at the same depth, in one run.
// node benchmarks/cursor-pagination/deep-page.bench.js            the array source, and the filters for a server
// MONGODB_URI=… node benchmarks/cursor-pagination/deep-page.bench.js   the same on a MongoDB with real indexes
import cursorPagination, { suggestIndex } from '@jpulse/cursor-pagination'
import Fastify from 'fastify'
import { MongoClient } from 'mongodb'
import { inspect } from 'node:util'

const DOCUMENTS = Number(process.env.DOCUMENTS ?? 1_000_000)
const LIMIT = 50
const PAGE = Math.min(10_000, Math.floor(DOCUMENTS / LIMIT / 2))
const ROUNDS = 5
const sort = { createdAt: /** @type {const} */ (-1), name: /** @type {const} */ (1) }

const app = Fastify()
await app.register(cursorPagination, { secret: 'deep page', maxOffset: DOCUMENTS })

/** Numbers that look random and are the same in every run. @param {number} i */
const mixed = (i) => (i * 7919) % DOCUMENTS
const documentOf = (/** @type {number} */ i) => ({ _id: i, createdAt: new Date(1.7e12 + Math.floor(mixed(i) / 3) * 1000), name: `name ${i % 1000}`, text: 'x'.repeat(20) })

/** @param {Record<string, () => Promise<unknown>>} tasks what to time, in turns, so that all meet the same noise */
async function medians (tasks) {
  const times = new Map(Object.keys(tasks).map((name) => [name, /** @type {number[]} */ ([])]))
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, task] of Object.entries(tasks)) {
      const start = performance.now()
      await task()
      times.get(name)?.push(performance.now() - start)
    }
  }
  return Object.fromEntries([...times].map(([name, list]) => [name, list.sort((a, b) => a - b)[ROUNDS >> 1] ?? NaN]))
}

/** @param {Record<string, number>} times */
function report (times) {
  const [first = NaN] = Object.values(times)
  console.table(Object.entries(times).map(([what, ms]) => ({ what, 'median ms': ms.toFixed(2), 'against page 1': `${(ms / first).toFixed(2)}x` })))
}

/** @param {any} source @param {Record<string, () => Promise<unknown>>} others */
async function compare (source, others) {
  const before = await app.paginate(source, { sort, limit: LIMIT, offset: (PAGE - 2) * LIMIT })
  const cursor = before.pageInfo.nextCursor
  report(await medians({
    'page 1': () => app.paginate(source, { sort, limit: LIMIT }),
    [`page ${PAGE}, by cursor`]: () => app.paginate(source, { sort, limit: LIMIT, cursor }),
    ...others
  }))
  return cursor
}

async function onArray () {
  const items = Array.from({ length: DOCUMENTS }, (_, i) => documentOf(i))
  console.log(`array of ${DOCUMENTS} documents in no order`)
  const order = (/** @type {typeof items[0]} */ a, /** @type {typeof items[0]} */ b) => Number(b.createdAt) - Number(a.createdAt) || (a.name < b.name ? -1 : a.name > b.name ? 1 : a._id - b._id)
  await compare(items, { [`page ${PAGE}, by sort and slice`]: async () => [...items].sort(order).slice((PAGE - 1) * LIMIT, PAGE * LIMIT) })
}

/** @param {import('mongodb').Collection<any>} collection */
async function onServer (collection) {
  const { key } = suggestIndex({ sort })
  await collection.createIndex(key)
  for (let i = 0; i < DOCUMENTS; i += 10_000) await collection.insertMany(Array.from({ length: Math.min(10_000, DOCUMENTS - i) }, (_, j) => documentOf(i + j)), { ordered: false })
  console.log(`collection of ${DOCUMENTS} documents, index ${JSON.stringify(key)}`)
  await compare(collection, { [`page ${PAGE}, by skip and limit`]: () => app.paginate(collection, { sort, limit: LIMIT, offset: (PAGE - 1) * LIMIT }) })
}

/** What a server is asked, without one: a collection that only notes the filters. */
async function showFilters () {
  const asked = /** @type {unknown[]} */ ([])
  const rows = [0, 1, 2].map(documentOf)
  let isFirst = true
  const collection = /** @type {any} */ ({ namespace: 'bench.users', aggregate () {}, find: (/** @type {unknown} */ filter) => { asked.push(filter); return { toArray: async () => isFirst ? rows : [] } } })
  const show = async (/** @type {string} */ what, /** @type {any} */ sort) => {
    isFirst = true
    const { pageInfo } = await app.paginate(collection, { sort, limit: 2 })
    isFirst = false
    asked.length = 0
    await app.paginate(collection, { sort, limit: 2, cursor: pageInfo.nextCursor })
    console.log(`\n${what}: ${inspect(asked, { depth: 9, breakLength: 140 })}`)
  }
  await show('fields of undeclared types', sort)
  await show('fields of declared types', { createdAt: { order: -1, type: 'date' }, name: { order: 1, type: 'string' }, _id: { order: 1, type: 'number' } })
  console.log('\nEach is one interval of the index, asked for only where those before it do not fill the page.')
}

const client = process.env.MONGODB_URI === undefined ? undefined : await MongoClient.connect(process.env.MONGODB_URI)
const info = await client?.db('admin').command({ buildInfo: 1 })
if (client !== undefined && info !== undefined && !('ferretdbVersion' in info || 'ferretdb' in info)) {
  const db = client.db(`bench${process.pid}`)
  await onServer(db.collection('deep'))
  await db.dropDatabase()
} else {
  await onArray()
  await showFilters()
}
await client?.close()
await app.close()
