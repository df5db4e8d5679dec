import { globToRegExp, type ConfigDocument, type ConfigSource } from './source.ts'

/** What is needed of the driver's `Db`; `fastify.mongo.db` is one. */
export interface MongoDatabase {
  collection (name: string, options?: object): MongoCollection
}

interface MongoCollection {
  findOne (filter: object, options?: object): Promise<Record<string, unknown> | null>
  updateOne (filter: object, update: object, options?: object): Promise<unknown>
  deleteOne (filter: object, options?: object): Promise<{ deletedCount: number }>
  find (filter: object, options?: object): { toArray (): Promise<Array<Record<string, unknown>>> }
  createIndex (keys: Record<string, 1>, options?: object): Promise<string>
}

export interface MongoSourceOptions {
  /** Longest time of one operation, in milliseconds: must stay below `blockTtlMs`. @default 5000 */
  maxTimeMs?: number
}

/**
 * Documents `{ key, value, updatedAt }` in MongoDB, one collection for each collection of the cache, with a unique index
 * on `key`. Read from the primary and written with the majority, which makes single documents linearizable in the sense
 * that the cache needs (MongoDB manual, "Read Concern majority" and "Causal Consistency").
 */
export function mongoSource (db: MongoDatabase, { maxTimeMs = 5000 }: MongoSourceOptions = {}): ConfigSource {
  return new MongoSource(db, maxTimeMs)
}

class MongoSource implements ConfigSource {
  readonly #db: MongoDatabase
  readonly #maxTimeMS: number
  readonly #indexed = new Map<string, Promise<unknown>>()

  constructor (db: MongoDatabase, maxTimeMs: number) {
    this.#db = db
    this.#maxTimeMS = maxTimeMs
  }

  async load (collection: string, key: string): Promise<unknown> {
    const document = await this.#collection(collection).findOne({ key }, { projection: { _id: 0, value: 1 }, maxTimeMS: this.#maxTimeMS })
    return document?.value ?? null
  }

  async save (collection: string, key: string, value: unknown): Promise<void> {
    await this.#ensureIndex(collection)
    await this.#collection(collection).updateOne({ key }, { $set: { key, value: value ?? null, updatedAt: new Date() } }, { upsert: true, maxTimeMS: this.#maxTimeMS })
  }

  async remove (collection: string, key: string): Promise<boolean> {
    return (await this.#collection(collection).deleteOne({ key }, { maxTimeMS: this.#maxTimeMS })).deletedCount > 0
  }

  async list (collection: string, glob: string, limit = 1000): Promise<ConfigDocument[]> {
    const documents = await this.#collection(collection)
      .find({ key: { $regex: globToRegExp(glob).source } }, { projection: { _id: 0, key: 1, value: 1 }, sort: { key: 1 }, limit, maxTimeMS: this.#maxTimeMS })
      .toArray()
    return documents.map(({ key, value }) => ({ key: String(key), value: value ?? null }))
  }

  #collection (name: string): MongoCollection {
    return this.#db.collection(name, { readPreference: 'primary', writeConcern: { w: 'majority' } })
  }

  /** Without it two first writes of one key could each insert a document. Tried again where it failed. */
  #ensureIndex (collection: string): Promise<unknown> {
    const known = this.#indexed.get(collection)
    if (known !== undefined) return known
    const made = this.#db.collection(collection).createIndex({ key: 1 }, { unique: true })
    this.#indexed.set(collection, made)
    made.catch(() => this.#indexed.delete(collection))
    return made
  }
}
