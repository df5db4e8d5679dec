import t from 'tap'
import { mongo } from './helpers/mongo.ts'

t.test('a document written is read back', async (t) => {
  const { db } = await mongo(t)
  await db.collection('a').insertOne({ x: 1 })
  t.match(await db.collection('a').findOne(), { x: 1 })
})
