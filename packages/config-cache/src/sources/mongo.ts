import { Type } from 'typebox'
import { checkerOf, Ms } from '../checks.ts'
import { FST_ERR_CONFIG_CACHE_INVALID_VALUE } from '../errors.ts'
import { uniqueId } from '../id.ts'
import { globToRegExp, type ConfigDocument, type ConfigSource } from './source.ts'

/** What is needed of the driver's `Db`; `fastify.mongo.db` is one. */
export interface MongoDatabase {
  collection (name: string, options?: object): MongoCollection
}

interface MongoCollection {
  findOne (filter: object, options?: object): Promise<Record<string, unknown> | null>
  updateOne (filter: object, update: object, options?: object): Promise<{ matchedCount: number, upsertedCount: number }>
  deleteOne (filter: object, options?: object): Promise<{ deletedCount: number }>
  find (filter: object, options?: object): { toArray (): Promise<Array<Record<string, unknown>>> }
  createIndex (keys: Record<string, 1>, options?: object): Promise<string>
}

export interface MongoSourceOptions {
  /** Longest time of one operation, in milliseconds: must stay below `blockTtlMs`. @default 5000 */
  maxTimeMs?: number
  /**
   * How documents are read. Only `linearizable` returns nothing old from a primary that has been replaced and does not know it yet: it asks a
   * majority, which costs a round trip between the servers of each load. `majority` is for who can rule such a primary out.
   * A server without replicas is its own majority, and is read without.
   * @default 'linearizable'
   */
  readConcern?: 'linearizable' | 'majority'
}

/** Errors of servers that are no member of a replica set, or know no such read concern. */
const NOT_REPLICATED = new Set([76, 115, 123, 238])
const DUPLICATE_KEY = 11000
/** What a server refuses of a value: BadValue, Overflow (nested too deeply), InvalidBSON, names with dollars or dots, its validator, its length. */
const REFUSED = new Set([2, 15, 22, 52, 57, 121, 10_334, 17_419, 17_420])

/** The caller's decoding would make other values of the same documents: of `raw` nothing, of `promoteLongs: false` and `useBigInt64` no JSON. */
const DECODING = { raw: false, fieldsAsRaw: {}, promoteValues: true, promoteLongs: true, promoteBuffers: false, useBigInt64: false, bsonRegExp: false }

const setting = (key: string, value: unknown) => ({ $set: { key, value: value ?? null, updatedAt: new Date(), revision: uniqueId() } })

/** @throws FST_ERR_CONFIG_CACHE_INVALID_VALUE where the driver or the server refuses the value, which is the caller's fault */
async function kept<T> (write: Promise<T>): Promise<T> {
  try {
    return await write
  } catch (err) {
    const { code, name, message } = err as { code?: unknown, name?: unknown, message?: unknown }
    if (!REFUSED.has(Number(code)) && !String(name).startsWith('BSON')) throw err
    throw new FST_ERR_CONFIG_CACHE_INVALID_VALUE(String(message).split('\n', 1)[0]!.slice(0, 200))
  }
}

/**
 * Documents `{ key, value, updatedAt, revision }` in MongoDB, one collection for each collection of the cache, with a unique index
 * on `key`. Single documents are written with the majority and read from the primary with read concern `linearizable`, which is
 * what the promise needs (MongoDB manual, "Read Concern linearizable": for reads of one document by a unique filter). `list`,
 * for warm-up and fences, reads with `majority`.
 *
 * @throws FST_ERR_CONFIG_CACHE_INVALID_OPTION
 */
export function mongoSource (db: MongoDatabase, options: MongoSourceOptions = {}): ConfigSource {
  const { maxTimeMs = 5000, readConcern = 'linearizable' } = check(options)
  return new MongoSource(db, maxTimeMs, readConcern)
}

const check = checkerOf(Type.Object({ maxTimeMs: Ms(1), readConcern: Type.Optional(Type.Enum(['linearizable', 'majority'])) }, { additionalProperties: false }))

class MongoSource implements ConfigSource {
  readonly #db: MongoDatabase
  readonly #maxTimeMS: number
  readonly #indexed = new Map<string, Promise<unknown>>()
  readonly #readConcern: string
  #isReplicated = true

  constructor (db: MongoDatabase, maxTimeMs: number, readConcern: string) {
    this.#db = db
    this.#maxTimeMS = maxTimeMs
    this.#readConcern = readConcern
  }

  async load (collection: string, key: string): Promise<unknown> {
    const read = (concern: object) => this.#collection(collection).findOne({ key }, { projection: { _id: 0, value: 1 }, maxTimeMS: this.#maxTimeMS, ...concern })
    return (await this.#concerned(read, this.#readConcern))?.value ?? null
  }

  /** Asked with the read concern first, each time until a server said that it knows none. */
  async #concerned<T> (read: (concern: object) => Promise<T>, level: string): Promise<T> {
    if (!this.#isReplicated) return read({})
    try {
      return await read({ readConcern: { level } })
    } catch (err) {
      if (!NOT_REPLICATED.has(Number((err as { code?: unknown }).code))) throw err
      const answer = await read({})
      this.#isReplicated = false
      return answer
    }
  }

  async save (collection: string, key: string, value: unknown): Promise<void> {
    await this.#ensureIndex(collection)
    await kept(this.#collection(collection).updateOne({ key }, setting(key, value), { upsert: true, maxTimeMS: this.#maxTimeMS }))
  }

  /** A document's `revision` and `updatedAt` tell whether anybody wrote since it was read; the release before writes the latter only. */
  async update (collection: string, key: string, change: (current: unknown) => unknown): Promise<boolean> {
    await this.#ensureIndex(collection)
    const documents = this.#collection(collection)
    const maxTimeMS = this.#maxTimeMS
    const seen = await this.#concerned((concern) => documents.findOne({ key }, { projection: { _id: 0, value: 1, updatedAt: 1, revision: 1 }, maxTimeMS, ...concern }), this.#readConcern)
    const next = change(seen?.value ?? null)
    // Null is also what is not there. What nobody saw must have no value either.
    const same = { key, updatedAt: seen?.updatedAt ?? null, revision: seen?.revision ?? null, ...(seen === null && { value: null }) }
    if (next === undefined) return seen === null || (await documents.deleteOne(same, { maxTimeMS })).deletedCount > 0
    try {
      const { matchedCount, upsertedCount } = await kept(documents.updateOne(same, setting(key, next), { upsert: seen === null, maxTimeMS }))
      return matchedCount + upsertedCount > 0
    } catch (err) {
      if ((err as { code?: unknown }).code === DUPLICATE_KEY) return false
      throw err
    }
  }

  async remove (collection: string, key: string): Promise<boolean> {
    return (await this.#collection(collection).deleteOne({ key }, { maxTimeMS: this.#maxTimeMS })).deletedCount > 0
  }

  async list (collection: string, glob: string, limit = 1000): Promise<ConfigDocument[]> {
    const matches = globToRegExp(glob)
    const read = (concern: object) => this.#collection(collection)
      .find({ key: { $regex: matches.source, $options: 's' } }, { projection: { _id: 0, key: 1, value: 1 }, sort: { key: 1 }, limit, maxTimeMS: this.#maxTimeMS, ...concern })
      .toArray()
    const documents = await this.#concerned(read, 'majority')
    // In a server's expressions `$` is also before a line break at the end.
    return documents.map(({ key, value }) => ({ key: String(key), value: value ?? null })).filter(({ key }) => matches.test(key))
  }

  #collection (name: string): MongoCollection {
    return this.#db.collection(name, { ...DECODING, readPreference: 'primary', writeConcern: { w: 'majority' } })
  }

  /** Without it two first writes of one key could each insert a document. Tried again where it failed. */
  #ensureIndex (collection: string): Promise<unknown> {
    const known = this.#indexed.get(collection)
    if (known !== undefined) return known
    const made = this.#collection(collection).createIndex({ key: 1 }, { unique: true })
    this.#indexed.set(collection, made)
    made.catch(() => this.#indexed.delete(collection))
    return made
  }
}
