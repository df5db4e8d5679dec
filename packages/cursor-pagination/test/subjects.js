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
