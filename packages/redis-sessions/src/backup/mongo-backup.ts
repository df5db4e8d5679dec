import { checkCall } from '@jpulse/plugin-kit'
import type { FastifyBaseLogger } from 'fastify'
import type { BackupEnd, BackupEntry, SessionBackup } from './backup.ts'
import { FST_ERR_REDIS_SESSIONS_INVALID_OPTION } from '../errors.ts'
import type { StoredSession } from '../stores/header.ts'
import type { SessionRef } from '../stores/ids.ts'

/** What is used of a collection of the `mongodb` driver. */
export interface MongoBackupCollection {
  createIndex (keys: Record<string, 1 | -1>, options: { expireAfterSeconds: number, name: string, promoteValues: true }): Promise<string>
  findOne (filter: object): Promise<unknown>
  find (filter: object, options?: object): AsyncIterable<unknown> & { toArray (): Promise<unknown[]> }
  updateOne (filter: object, update: object, options: { upsert: boolean, promoteValues: true }): Promise<unknown>
  bulkWrite (operations: Array<{ updateOne: { filter: object, update: object, upsert: boolean } }>, options: { ordered: false, promoteValues: true }): Promise<unknown>
  deleteMany (filter: object): Promise<unknown>
}

export interface MongoBackupOptions {
  /** Pause between two batches, in milliseconds, at least 100. @default 60000 */
  intervalMs?: number
}

/** A session, as the collection holds it. */
interface SessionDocument {
  _id: string
  tag: string
  owned: boolean
  version: string
  stamp: number
  createdAt: number
  touchedAt: number
  payload: string
  ended?: boolean
  /** For the TTL index. */
  expiresAt: Date
}

/** An end, beside the session's document. */
interface EndDocument { _id: string, of: string, tag: string, owned: boolean, expiresAt: Date }

/** A logout-all: sessions of the tag with a stamp up to this one ended. */
interface WatermarkDocument { _id: string, stamp: number, except: string | null, expiresAt: Date }

/**
 * Whatever the client of the application says: of an old member of a replica set an ended session may be alive, and by another decoding
 * it has no times that compare, or no fields at all.
 */
const READ = Object.freeze({ readPreference: 'primary', raw: false, fieldsAsRaw: Object.freeze({}), promoteValues: true, promoteLongs: true, promoteBuffers: false, useBigInt64: false })
/** With it the code of an error is a number; and a write that nobody confirmed would be taken for done. */
const WRITE = Object.freeze({ raw: false, promoteValues: true, writeConcern: Object.freeze({ w: 'majority' }) } as const)

const DUPLICATE_KEY = 11000
const WATERMARK = 'all:'
const END = 'end:'
/** Sessions whose ends are looked up at once. */
const BATCH = 200

/**
 * A backup in MongoDB, one document per session: `fastify.mongo.db.collection('sessions')`. Expired ones go by a TTL index,
 * and where the server has none, by the batch job.
 *
 * An ended session stays as a mark without content until its time is over, so that a late write cannot bring it back: the
 * filter of `put` does not match it, and the insertion that follows meets its id. Beside it the end has a document of its own, which
 * no `put` writes: FerretDB 1 reads and writes a document in two steps, so that of two updates at the same time one is lost.
 *
 * @throws FST_ERR_REDIS_SESSIONS_INVALID_OPTION
 */
export function mongoBackup (collection: MongoBackupCollection, options: MongoBackupOptions = {}): SessionBackup {
  checkCall(options, ['intervalMs'], (option, problem) => new FST_ERR_REDIS_SESSIONS_INVALID_OPTION(`backup.${option}`, problem))
  const { intervalMs = 60_000 } = options
  if (typeof collection?.bulkWrite !== 'function') throw new FST_ERR_REDIS_SESSIONS_INVALID_OPTION('backup', 'needs a collection of the mongodb driver')
  if (!Number.isSafeInteger(intervalMs) || intervalMs < 100 || intervalMs > 3_600_000) throw new FST_ERR_REDIS_SESSIONS_INVALID_OPTION('backup.intervalMs', 'must be a whole number of milliseconds from 100 to 3600000')
  return new MongoBackup(collection, intervalMs)
}

class MongoBackup implements SessionBackup {
  readonly intervalMs: number
  readonly #collection: MongoBackupCollection
  #hasTtlIndex = false

  constructor (collection: MongoBackupCollection, intervalMs: number) {
    this.#collection = collection
    this.intervalMs = intervalMs
  }

  async open (log: FastifyBaseLogger): Promise<void> {
    try {
      await this.#collection.createIndex({ expiresAt: 1 }, { expireAfterSeconds: 0, name: 'expiresAt', ...WRITE })
      this.#hasTtlIndex = true
    } catch (err) {
      // 238 NotImplemented, 67 CannotCreateIndex: a server without TTL indexes, for good. Anything else may pass.
      const { code } = err as { code?: unknown }
      if (code !== 238 && code !== 67) throw err
      log.warn({ err }, 'the backup has no TTL index here: its batch job deletes what expired')
    }
  }

  async put (entries: readonly BackupEntry[]): Promise<void> {
    if (entries.length === 0) return
    const operations = entries.map(({ ref: { hash, tag, owned }, stored: { version, stamp, createdAt, touchedAt, payload }, expiresAt }) => ({
      updateOne: {
        filter: { _id: hash, ended: { $ne: true }, touchedAt: { $lte: touchedAt } },
        update: { $set: { tag, owned, version, stamp, createdAt, touchedAt, payload, expiresAt: new Date(expiresAt) } },
        upsert: true
      }
    }))
    await ignoreDuplicates(this.#collection.bulkWrite(operations, { ordered: false, ...WRITE }))
  }

  async end ({ hash, tag, owned }: SessionRef, until: number): Promise<void> {
    const told = { tag, owned, expiresAt: new Date(until) }
    await Promise.all([
      this.#upsert(hash, { $set: { ...told, ended: true }, $unset: { payload: '', version: '' } }),
      this.#upsert(endId(hash), { $set: { ...told, of: hash } })
    ])
  }

  async #upsert (id: string, update: object): Promise<void> {
    const write = () => this.#collection.updateOne({ _id: id }, update, { upsert: true, ...WRITE })
    // Parallel insertions of one id: the loser finds the document now.
    await write().catch((err) => {
      if (!isDuplicate(err)) throw err
      return write()
    })
  }

  async endAll (tag: string, stamp: number, until: number, except?: SessionRef): Promise<void> {
    const update = { $set: { stamp, except: except?.hash ?? null, expiresAt: new Date(until) } }
    const write = () => this.#collection.updateOne({ _id: watermarkId(tag), stamp: { $lte: stamp } }, update, { upsert: true, ...WRITE })
    // A duplicate is a parallel insertion, or a later watermark, which stays.
    await write().catch((err) => {
      if (!isDuplicate(err)) throw err
      return ignoreDuplicates(write())
    })
  }

  async get (ref: SessionRef): Promise<BackupEntry | null> {
    const { session, watermark, isEnded } = await this.#find(ref)
    return session === undefined || isEnded ? null : toEntry(session, watermark)
  }

  async isEnded (ref: SessionRef, { stamp }: StoredSession): Promise<boolean> {
    const { watermark, isEnded } = await this.#find(ref)
    return isEnded || isVoid(ref.hash, stamp, watermark)
  }

  async * ends (): AsyncIterable<BackupEnd> {
    for await (const { _id: tag, stamp: mark, except } of this.#collection.find({ except: { $exists: true } }, READ) as AsyncIterable<WatermarkDocument>) {
      const end = { tag: tag.slice(WATERMARK.length), mark }
      yield except === null ? end : { ...end, except: { hash: except, tag: end.tag, owned: true } }
    }
    for await (const { of: hash, tag, owned } of this.#collection.find({ of: { $exists: true } }, READ) as AsyncIterable<EndDocument>) {
      yield { ref: { hash, tag, owned } }
    }
    // Once more, by what the release before notes. One without a tag is of a version that did not note it for sessions that never were here.
    for await (const { _id: hash, tag, owned } of this.#collection.find({ ended: true, tag: { $exists: true } }, READ) as AsyncIterable<SessionDocument>) {
      yield { ref: { hash, tag, owned } }
    }
  }

  async * all (): AsyncIterable<BackupEntry> {
    const watermarks = new Map<string, WatermarkDocument>()
    for (const mark of await this.#collection.find({ except: { $exists: true } }, READ).toArray() as WatermarkDocument[]) watermarks.set(mark._id, mark)
    let batch: BackupEntry[] = []
    for await (const session of this.#collection.find({ payload: { $exists: true } }, READ) as AsyncIterable<SessionDocument>) {
      const entry = toEntry(session, watermarks.get(watermarkId(session.tag)))
      if (entry !== null && batch.push(entry) === BATCH) {
        yield * await this.#notEnded(batch)
        batch = []
      }
    }
    yield * await this.#notEnded(batch)
  }

  async #notEnded (entries: readonly BackupEntry[]): Promise<BackupEntry[]> {
    if (entries.length === 0) return []
    const ends = await this.#collection.find({ _id: { $in: entries.map(({ ref }) => endId(ref.hash)) } }, READ).toArray() as EndDocument[]
    const ended = new Set(ends.map(({ of }) => of))
    return entries.filter(({ ref }) => !ended.has(ref.hash))
  }

  async #find ({ hash, tag }: SessionRef): Promise<{ session: SessionDocument | undefined, watermark: WatermarkDocument | undefined, isEnded: boolean }> {
    const ids = [hash, watermarkId(tag), endId(hash)]
    const found = await this.#collection.find({ _id: { $in: ids } }, READ).toArray() as Array<{ _id: string }>
    const [session, watermark, end] = ids.map((id) => found.find(({ _id }) => _id === id)) as [SessionDocument?, WatermarkDocument?, EndDocument?]
    return { session, watermark, isEnded: end !== undefined || session?.ended === true }
  }

  async sweep (now: number): Promise<void> {
    if (!this.#hasTtlIndex) await this.#collection.deleteMany({ expiresAt: { $lt: new Date(now) } })
  }
}

function watermarkId (tag: string): string {
  return WATERMARK + tag
}

function endId (hash: string): string {
  return END + hash
}

function isVoid (hash: string, stamp: number, watermark: WatermarkDocument | undefined): boolean {
  return watermark !== undefined && stamp <= watermark.stamp && watermark.except !== hash
}

function toEntry (session: SessionDocument, watermark: WatermarkDocument | undefined): BackupEntry | null {
  const { _id: hash, tag, owned, version, stamp, createdAt, touchedAt, payload, ended, expiresAt } = session
  if (ended === true || typeof payload !== 'string') return null
  if (isVoid(hash, stamp, watermark)) return null
  // The session that a logout-all spared became valid anew with it.
  const valid = watermark?.except === hash ? Math.max(stamp, watermark.stamp + 1) : stamp
  return { ref: { hash, tag, owned }, stored: { version, stamp: valid, createdAt, touchedAt, payload }, expiresAt: expiresAt.getTime() }
}

async function ignoreDuplicates (write: Promise<unknown>): Promise<void> {
  await write.catch((err) => { if (!isDuplicate(err)) throw err })
}

/** Of a bulk write every failure must be one. */
function isDuplicate (err: unknown): boolean {
  const { code, writeErrors } = err as { code?: unknown, writeErrors?: Array<{ code?: unknown }> | { code?: unknown } }
  const failures = writeErrors === undefined ? [] : [writeErrors].flat()
  return failures.length > 0 ? failures.every((failure) => failure.code === DUPLICATE_KEY) : code === DUPLICATE_KEY
}
