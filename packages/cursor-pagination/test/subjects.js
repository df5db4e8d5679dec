import { deserialize, serialize } from 'bson'
import { matches } from './query-model.js'
import { referenceSort } from './reference-order.js'

/**
 * @param {import('../src/index.ts').Paginate} paginate
 * @returns {import('./conformance.js').Subject}
 */
export function arraySubject (paginate) {
  return {
    name: 'array',
    without: new Set(),
    open: async (documents) => {
      let items = [...documents]
      return {
        page: (call) => paginate(items, /** @type {any} */ (call)),
        insert: async (document) => { items.push(document) },
        remove: async (id) => { items = items.filter(({ _id }) => _id !== id) },
        update: async (id, fields) => { Object.assign(items.find(({ _id }) => _id === id) ?? {}, fields) }
      }
    }
  }
}

/**
 * @param {import('../src/index.ts').Paginate} paginate
 * @param {import('mongodb').Collection<any>} collection
 * @param {import('./conformance.js').Subject['without']} without what the server cannot store
 * @param {any} [source] what is paged of the collection, where it is not itself
 * @returns {import('./conformance.js').Subject}
 */
export function collectionSubject (paginate, collection, without, source = collection) {
  return {
    name: 'collection',
    without,
    open: async (documents) => {
      await collection.deleteMany({})
      if (documents.length > 0) await collection.insertMany(documents)
      return {
        page: (call) => paginate(source, /** @type {any} */ (call)),
        insert: (document) => collection.insertOne(document),
        remove: (id) => collection.deleteOne({ _id: id }),
        update: (id, fields) => collection.updateOne({ _id: id }, { $set: fields }),
        fullSort: (sort) => collection.find({}).sort({ ...sort, ...(sort['_id'] === undefined ? { _id: Object.values(sort).at(-1) ?? 1 } : {}) }).toArray()
      }
    }
  }
}

/**
 * What a server of MongoDB's protocol cannot store. FerretDB 1 ends the connection on these.
 *
 * @param {import('mongodb').Db} db
 * @returns {Promise<import('./conformance.js').Subject['without']>}
 */
export async function missingIn (db) {
  const info = await db.admin().command({ buildInfo: 1 })
  return new Set('ferretdb' in info || 'ferretdbVersion' in info ? ['decimal', 'nan', 'infinity', 'minKey'] : [])
}

/**
 * A collection that is asked as the driver asks, answered by the model of the query language, in BSON: for the many walks
 * that prove what is asked, and with the types that the test server cannot store. That the model answers as the server does
 * is held by `intervals.test.ts`.
 *
 * @param {import('../src/index.ts').Paginate} paginate
 * @param {boolean} nanInRanges whether `$lt: 5` matches NaN, which no source settles
 * @returns {import('./conformance.js').Subject}
 */
export function modelSubject (paginate, nanInRanges) {
  return {
    name: 'model',
    without: new Set(['arrays refused']),
    open: async (documents) => {
      /** @type {Map<string, any[]>} */
      const sorted = new Map()
      let stored = documents.map((document) => deserialize(serialize(document)))
      const find = (/** @type {object} */ filter, /** @type {{ sort: Array<[string, 1 | -1]>, limit: number }} */ { sort, limit }) => {
        const order = Object.fromEntries(sort)
        const name = JSON.stringify(sort)
        if (!sorted.has(name)) sorted.set(name, referenceSort(stored, order))
        /** @type {object[]} */
        const found = []
        for (const document of sorted.get(name) ?? []) {
          if (matches(document, filter, nanInRanges) && found.push(deserialize(serialize(document))) === limit) break
        }
        return { toArray: async () => found, explain: async () => ({}) }
      }
      const collection = { namespace: 'test.model', find, insertOne (/** @type {any} */ document) { return document }, aggregate () {}, countDocuments () {} }
      const change = (/** @type {any[]} */ documents) => { stored = documents; sorted.clear() }
      return {
        page: (call) => paginate(collection, /** @type {any} */ (call)),
        insert: async (document) => change([...stored, document]),
        remove: async (id) => change(stored.filter(({ _id }) => _id !== id)),
        update: async (id, fields) => change(stored.map((document) => document._id === id ? { ...document, ...fields } : document))
      }
    }
  }
}
