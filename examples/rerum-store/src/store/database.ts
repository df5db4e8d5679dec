import type { FastifyInstance } from 'fastify'
import { type Collection, MongoServerError } from 'mongodb'
import type { Rerum, Stored } from './document.ts'

/** Longest time of one operation, in milliseconds, for the database itself. Far below the cache's `blockTtlMs`. */
export const MAX_TIME_MS = 2500

/** A write of several documents that has begun (commit.ts). */
export interface Intent {
  /** The tree: one such write at a time. */
  _id: string
  op: string
  /** The document that decides: the write is done when this one bears its `op`. */
  decides: string
  inserts: Stored[]
  links: Link[]
}

/** What changes about a document when others do. */
export interface Link { id: string, rev: number, tree: string, parent: string | null, __rerum: Rerum, modified?: string }

export interface Database {
  objects: Collection<Stored>
  intents: Collection<Intent>
  /** Runs work that talks to MongoDB, with 503 where it does not answer. */
  use: <T>(work: () => Promise<T>) => Promise<T>
}

/** Reads of the primary, writes with the majority: what makes a single document linearizable in the sense that the cache needs. */
export function openDatabase (app: FastifyInstance): Database {
  const db = app.mongo.db!
  const concern = { readPreference: 'primary', writeConcern: { w: 'majority' } } as const
  const link = app.mongoLink!
  return { objects: db.collection<Stored>('objects', concern), intents: db.collection<Intent>('intents', concern), use: (work) => link.use(work) }
}

/** The unique one is a promise: without it no write may begin. The others are for speed. */
export async function makeIndexes ({ objects }: Database): Promise<void> {
  await objects.createIndex({ slug: 1 }, { unique: true, sparse: true })
  await objects.createIndex({ tree: 1 })
  await objects.createIndex({ words: 1 })
}

export const isDuplicate = (err: unknown): boolean => err instanceof MongoServerError && err.code === 11000
