import { MongoClient, type Db } from 'mongodb'
import { type Scope, uniqueName } from './scope.ts'

export interface TestMongo {
  /** Connection string of the server, without a database. */
  url: string
  client: MongoClient
  /** A database of this test's own, dropped at its end. */
  db: Db
}

/** A database on the MongoDB server that `npm test` provided (`MONGODB_URI`). */
export async function mongo (t: Scope): Promise<TestMongo> {
  const url = process.env.MONGODB_URI
  if (url === undefined) throw new Error('MONGODB_URI is not set: run the test through `npm test -- FILE`')
  const client = new MongoClient(url, { serverSelectionTimeoutMS: 5000 })
  await client.connect()
  const db = client.db(uniqueName('test'))
  t.teardown(async () => {
    await db.dropDatabase()
    await client.close()
  })
  return { url, client, db }
}
