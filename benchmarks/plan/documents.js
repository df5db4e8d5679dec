import { mongoSource } from '@jpulse/config-cache'
import { MongoClient } from 'mongodb'

export const SETTING = { enabled: true, limits: { requests: 100, uploads: [1, 10, 100] }, title: 'a setting of the site' }
const AT_ONCE = 1000

/** @param {string} kind @param {number} worker @param {number} index */
export const keyOf = (kind, worker, index) => `${kind}:${worker}:${index}`

/**
 * Puts the settings that the workers read into a database, and takes it away again. Not by the workers themselves: who
 * provides MongoDB here may be a server that takes one writer at a time.
 *
 * @param {string} uri @param {string} name @param {number} workers @param {number} count of each worker
 * @returns {Promise<{ server: string, drop: () => Promise<void> }>}
 */
export async function fillDatabase (uri, name, workers, count) {
  const client = await MongoClient.connect(uri)
  const db = client.db(name)
  // FerretDB says which MongoDB it is like, and beside it what it is.
  const { version, ferretdbVersion } = await db.admin().command({ buildInfo: 1 })
  // Its first document makes the index.
  await mongoSource(/** @type {any} */ (db)).save('config', 'first', SETTING)
  const keys = Array.from({ length: workers }, (_, worker) => [keyOf('hot', worker, 0), ...Array.from({ length: count }, (_, index) => keyOf('cold', worker, index))]).flat()
  for (let first = 0; first < keys.length; first += AT_ONCE) await db.collection('config').insertMany(keys.slice(first, first + AT_ONCE).map((key) => ({ key, value: SETTING })))
  return {
    server: ferretdbVersion === undefined ? `MongoDB ${version}` : "FerretDB, which speaks MongoDB's protocol",
    drop: async () => {
      await db.dropDatabase()
      await client.close()
    }
  }
}
