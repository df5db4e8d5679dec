// Runs the conformance suite of @jpulse/cursor-pagination on it and on mongo-cursor-pagination 9.1.1, and prints what each fails.
// node benchmarks/cursor-pagination/peer-conformance.bench.js     with MONGODB_URI in the environment
import cursorPagination from '@jpulse/cursor-pagination'
import Fastify from 'fastify'
import peer from 'mongo-cursor-pagination'
import { MongoClient } from 'mongodb'
import { MongoClient as MongoClient6 } from 'mongodb-6'
import { conformance, countWrongWalks } from '../../packages/cursor-pagination/test/conformance.js'
import { arraySubject, collectionSubject, missingIn } from '../../packages/cursor-pagination/test/subjects.js'

const WALKS = 500
const SEED = 20261123

/** @typedef {import('../../packages/cursor-pagination/test/conformance.js').Subject} Subject */

/**
 * mongo-cursor-pagination sorts by one field and `_id`, gives a token for each direction, and knows bson 6 only: it
 * reads with the driver's version 6 what version 7 has written.
 *
 * @param {Subject} writer
 * @param {import('mongodb-6').Collection<any>} collection
 * @returns {Subject}
 */
function peerSubject (writer, collection) {
  return {
    name: 'mongo-cursor-pagination',
    without: new Set([...writer.without, 'several fields', 'arrays refused', 'binding']),
    open: async (documents) => ({
      ...await writer.open(documents),
      page: async ({ sort = {}, limit, cursor, filter = {}, projection }) => {
        const [[field, direction] = ['_id', 1]] = Object.entries(sort)
        const token = cursor ? { [cursor.startsWith('n') ? 'next' : 'previous']: cursor.slice(1) } : {}
        const { results, hasNext, hasPrevious, next, previous } = await peer.find(/** @type {any} */ (collection),
          { query: filter, limit, paginatedField: field, sortAscending: direction === 1, fields: /** @type {Record<string, number> | undefined} */ (projection), ...token })
        return {
          items: results,
          pageInfo: { hasNext, hasPrev: hasPrevious, nextCursor: hasNext ? `n${next}` : null, prevCursor: hasPrevious ? `p${previous}` : null }
        }
      }
    })
  }
}

const url = process.env.MONGODB_URI
if (url === undefined) throw new Error('MONGODB_URI is not set')
const [client, client6] = [await MongoClient.connect(url), await MongoClient6.connect(url)]
const name = `bench${process.pid}`
const app = Fastify()
await app.register(cursorPagination, { secret: 'peer conformance' })
const without = await missingIn(client.db(name))
const ours = collectionSubject(app.paginate, client.db(name).collection('walks'), without)
/** @type {Subject[]} */
const subjects = [{ ...arraySubject(app.paginate), name: 'ours, array' }, { ...ours, name: 'ours, collection' }, peerSubject(ours, client6.db(name).collection('walks'))]

/** @type {Array<Record<string, string>>} */
const table = []
const failures = new Map(subjects.map((subject) => [subject.name, 0]))
for (const { name, needs, run } of conformance({ runs: 100 }).slice(0, -1)) {
  /** @type {Record<string, string>} */
  const row = { case: name.slice(0, 76) }
  for (const subject of subjects) {
    if (needs.some((feature) => subject.without.has(feature))) row[subject.name] = 'not offered'
    else row[subject.name] = await run(subject).then(() => 'ok', () => { failures.set(subject.name, (failures.get(subject.name) ?? 0) + 1); return 'FAILS' })
  }
  table.push(row)
}
/** @type {Record<string, string>} */
const random = { case: `random documents, both ways: wrong of ${WALKS} walks` }
/** @type {Record<string, string>} */
const uniform = { case: `the same with numbers, null and missing only: wrong of ${WALKS}` }
for (const subject of subjects) {
  random[subject.name] = String(await countWrongWalks(subject, WALKS, SEED))
  uniform[subject.name] = String(await countWrongWalks({ ...subject, without: new Set([...subject.without, 'mixed types']) }, WALKS, SEED))
}
console.table([...table, random, uniform])
for (const [name, count] of failures) console.log(`${name}: ${count} cases fail`)

await client.db(name).dropDatabase()
await Promise.all([app.close(), client.close(), client6.close()])
