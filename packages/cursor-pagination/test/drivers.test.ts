import { createRequire } from 'node:module'
import Fastify from 'fastify'
import { MongoClient as MongoClient6, ObjectId as ObjectId6, UUID as UUID6 } from 'mongodb-6'
import { Binary, MongoClient, ObjectId, UUID, type Collection, type Document, type MongoClientOptions } from 'mongodb'
import { Mongoose as Mongoose9 } from 'mongoose'
import t from 'tap'
import { mongo } from '../../../test/helpers/mongo.ts'
import cursorPagination, { type Page } from '../src/index.ts'
import { conformance, FULL } from './conformance.js'
import { collectionSubject, missingIn } from './subjects.js'

// Its types are a module of the name mongoose only.
const { Mongoose: Mongoose8 } = createRequire(import.meta.url)('mongoose-8') as { Mongoose: typeof Mongoose9 }
const app = Fastify()
t.teardown(() => app.close())
await app.register(cursorPagination, { secret: 'drivers' })
const { paginate } = app
const { url, db } = await mongo(t)
const without = await missingIn(db)
const name = db.databaseName
const code = (name: string) => ({ code: `FST_ERR_CURSOR_PAGINATION_${name}` })

// What is asked is the same for every driver: what they may change are values, options and documents on the way.
const WALKS = FULL ? { runs: 200, sortsPerRun: 5 } : { runs: 3, sortsPerRun: 3 }
const SUITE = conformance(WALKS).filter(({ name, needs }) => FULL || needs.includes('hidden fields') || /amid|random/.test(name))
const RANDOM = SUITE.at(-1) as typeof SUITE[0]

/** The names of a listing, over all its pages. */
async function namesOf (pages: AsyncIterable<Page<{ name?: unknown }>>): Promise<unknown[]> {
  const names: unknown[] = []
  for await (const { items } of pages) {
    names.push(...items.map(({ name }) => name))
    if (names.length > 100) throw new Error('the walk does not end')
  }
  return names
}

/** Connects a client, of the driver's version 7, that is closed at the end. */
async function connect (options: MongoClientOptions): Promise<Collection<Document>> {
  const client = await MongoClient.connect(url, options)
  t.teardown(() => client.close())
  return client.db(name).collection('walks')
}

const hostile: Record<string, MongoClientOptions> = {
  promoteBuffers: { promoteBuffers: true },
  'promoteValues: false': { promoteValues: false },
  'promoteLongs: false': { promoteLongs: false },
  useBigInt64: { useBigInt64: true },
  raw: { raw: true },
  fieldsAsRaw: { fieldsAsRaw: { a: true, _id: true } } as MongoClientOptions,
  'bsonRegExp, ignoreUndefined': { bsonRegExp: true, ignoreUndefined: true }
}

for (const [what, options] of Object.entries(hostile)) {
  t.test(`a client with ${what} changes nothing in a walk`, async (t) => {
    const source = await connect(options)
    await RANDOM.run(collectionSubject(paginate, db.collection('walks'), without, source))
    await paginate(source, { limit: 1, total: 'exact' }).then(({ pageInfo }) => t.type(pageInfo.total, 'number'))
  })
}

t.test('a collection that wraps one of either driver and maps its cursors has every document mapped, and once', async (t) => {
  const client = await MongoClient6.connect(url)
  t.teardown(() => client.close())
  for (const collection of [db.collection<Document>('mapped'), client.db(name).collection('mapped') as unknown as Collection<Document>]) {
    await collection.deleteMany({})
    await collection.insertMany(Array.from({ length: 9 }, (_, n) => ({ n, times: 0 })))
    const mapped = <T extends object>(cursor: { map (change: (one: Document) => Document): T }): T => cursor.map((one) => ({ ...one, times: one['times'] + 1 }))
    const wrapped = new Proxy(collection, {
      get: (target, key) => key === 'find'
        ? (filter: object, options: object) => mapped(target.find(filter, options))
        : key === 'aggregate' ? (stages: object[], options: object) => mapped(target.aggregate(stages, options)) : Reflect.get(target, key, target) as unknown
    })
    const expected = Array.from({ length: 6 }, (_, n) => [n, 1])
    for (const page of [await paginate(wrapped, { sort: { n: 1 }, limit: 6 }), await paginate.pipeline(wrapped, [], { sort: { n: 1 }, limit: 6 })]) {
      t.strictSame(page.items.map(({ n, times }: Document) => [n, times]), expected)
    }
  }
})

t.test('UUID keys under promoteBuffers are walked both ways, and items have the buffers that the client asked for', async (t) => {
  const source = await connect({ promoteBuffers: true })
  const keys = Array.from({ length: 9 }, (_, i) => new UUID(`${i}0000000-0000-4000-8000-00000000000${i}`))
  await db.collection<Document>('walks').deleteMany({})
  await db.collection<{ _id: UUID }>('walks').insertMany(keys.map((_id, n) => ({ _id, n, deep: [{ bytes: new Binary(Buffer.from([n])) }] })))
  for (const direction of [1, -1] as const) {
    const seen: Document[] = []
    for await (const { items } of paginate.pages(source, { sort: { _id: direction }, limit: 2 })) seen.push(...items)
    t.strictSame(seen.map(({ n }) => n), direction === 1 ? [0, 1, 2, 3, 4, 5, 6, 7, 8] : [8, 7, 6, 5, 4, 3, 2, 1, 0])
    t.strictSame(seen[0], await source.findOne({ n: seen[0]?.['n'] }), 'as the client itself reads it')
  }
  const { items: [plain] } = await paginate(db.collection<Document>('walks'), { limit: 1 })
  t.equal(plain?.['_id']?._bsontype, 'Binary')
  const { items: [perCall] } = await paginate(db.collection<Document>('walks'), { limit: 1, driverOptions: { promoteBuffers: true } })
  t.ok(Buffer.isBuffer(perCall?.['_id']), 'also where the call says it')
})

t.test('a collection of driver 6, which writes with bson 6, is walked beside one of driver 7', async (t) => {
  const client = await MongoClient6.connect(url)
  t.teardown(() => client.close())
  const source = client.db(name).collection('walks')
  for (const { run } of SUITE) await run(collectionSubject(paginate, db.collection('walks'), without, source))

  const tenants = [new ObjectId6(), new ObjectId6()]
  const cross = client.db(name).collection<{ _id: UUID6, long: ObjectId6 }>('cross')
  await cross.insertMany(Array.from({ length: 8 }, (_, i) => ({ _id: new UUID6(), tenant: tenants[i % 2], name: i, long: new ObjectId6() })))
  for (const Id of [ObjectId, ObjectId6]) {
    const filter = { tenant: { $in: [new Id(String(tenants[1]))] } }
    for (const collection of [cross, db.collection<Document>('cross')]) {
      t.strictSame((await namesOf(paginate.pages(collection, { filter, sort: { long: -1 }, limit: 1, total: 'exact' }))).sort(), [1, 3, 5, 7], 'ids of either version in the filter')
      t.equal((await paginate.pipeline(collection, [{ $match: {} }], { filter, limit: 1, total: 'exact' })).pageInfo.total, 4)
    }
  }
  const first = await paginate(cross, { sort: { long: 1 }, limit: 3 })
  const second = await paginate(db.collection<Document>('cross'), { sort: { long: 1 }, limit: 3, cursor: first.pageInfo.nextCursor })
  t.equal(second.items.length, 3, 'a cursor goes from one to the other')
  t.strictSame((await paginate(first.items, { filter: {}, sort: { long: -1 }, limit: 2 })).items.length, 2, 'documents of bson 6 in an array')
})

for (const [version, Mongoose] of [['8', Mongoose8], ['9', Mongoose9]] as Array<[string, typeof Mongoose9]>) {
  t.test(`mongoose ${version}: models, their collections and connections, hydrated, lean and populated`, async (t) => {
    const mongoose = new Mongoose()
    await mongoose.connect(url, { dbName: `${name}` })
    t.teardown(() => mongoose.disconnect())
    const { Schema } = mongoose
    const author = new Schema({ name: String }, { versionKey: false })
    author.method('shout', function (this: { name: string }) { return this.name.toUpperCase() })
    const Author = mongoose.model(`Author${version}`, author)
    const post = new Schema({ name: String, author: { type: Schema.Types.ObjectId, ref: `Author${version}` }, of: String, on: { type: Schema.Types.ObjectId, refPath: 'of' }, secret: { type: String, select: false }, deleted: Boolean, rank: Number }, { versionKey: false })
    post.virtual('editor', { ref: `Author${version}`, localField: 'author', foreignField: '_id', justOne: true })
    const hooks: string[] = []
    post.pre('find', function (this: { where (filter: object): void }) { this.where({ deleted: { $ne: true } }); hooks.push('pre') })
    post.post('find', () => { hooks.push('post') })
    const Post = mongoose.model(`Post${version}`, post)
    const [ann, bob] = await Author.create([{ name: 'ann' }, { name: 'bob' }])
    await Post.insertMany(Array.from({ length: 9 }, (_, i) => ({ name: `post ${i}`, author: i % 2 ? ann : bob, secret: 'x', deleted: i === 8, rank: i % 3 })))

    const { items, pageInfo } = await paginate(Post, { filter: { author: String(ann?._id) }, sort: { rank: -1 }, limit: 3, total: 'exact', populate: 'author' })
    t.ok(items[0] instanceof Post, 'hydrated by default')
    t.equal(pageInfo.total, 4, 'the filter is cast, the hooks of the schema are run')
    t.equal((items[0] as unknown as { author: { shout (): string } }).author.shout(), 'ANN', 'populated with documents of their own')
    t.notOk(items[0]?.get('secret'), 'what the schema does not select is not read')
    t.strictSame(hooks, ['pre', 'post'])
    t.match(pageInfo.cursorOf(items[0] as never), /^[\w-]+$/)
    t.equal((await paginate(Post, { filter: { author: String(ann?._id) }, sort: { rank: -1 }, limit: 3, cursor: pageInfo.nextCursor })).items.length, 1)

    const joined = [{ $addFields: { label: 'joined' } }]
    for (const lean of [true, false]) {
      const { items: [row] } = await paginate(Post, { lean, sort: { secret: 1, name: 1 }, limit: 2, page: joined, populate: 'author' }) as unknown as { items: Array<{ toObject? (): object }> }
      const plain = row?.toObject?.() ?? row ?? {}
      t.notOk('secret' in plain, 'what the schema does not select is not there for the stages of a page either')
      t.match(plain, { name: 'post 0', label: 'joined', author: { name: 'bob' } })
    }
    await t.rejects(paginate(Post, { page: joined, projection: { name: 1 } }), code('INVALID_OPTIONS'))
    for (const options of [null, 'x']) await t.rejects(paginate(Post, options as unknown as object), code('INVALID_OPTIONS'))
    for (const path of ['author', 'on', 'editor']) {
      await t.rejects(paginate(Post, { sort: { [`${path}.name`]: 1 }, populate: path }), { ...code('INVALID_SORT'), message: new RegExp(`"${path}" of the model`) })
    }

    const inMemory = await paginate(await Post.find(), { filter: { rank: { $gt: 0 } }, sort: { rank: -1, name: -1 }, limit: 2, projection: { name: 1, _id: 0 } })
    t.strictSame(inMemory.items as unknown, [{ name: 'post 5' }, { name: 'post 2' }], 'an array of hydrated documents')

    const lean = await paginate(Post, { lean: true, sort: { name: 1 }, limit: 2, projection: { name: 1, _id: 0 } })
    t.strictSame(lean.items, [{ name: 'post 0' }, { name: 'post 1' }])
    const all = Array.from({ length: 8 }, (_, i) => `post ${i}`)
    t.strictSame(await namesOf(paginate.pages(Post, { sort: { name: 1 }, limit: 3 })), all)
    for (const source of [Post.collection, mongoose.connection.collection(Post.collection.name)]) {
      t.strictSame(await namesOf(paginate.pages(source, { sort: { name: -1 }, limit: 2 })), [...all, 'post 8'].reverse())
    }
    t.strictSame((await paginate.pipeline(Post, [{ $group: { _id: '$rank', n: { $sum: 1 } } }], { limit: 2 })).items, [{ _id: 0, n: 3 }, { _id: 1, n: 3 }])

    const Long_ = Post.discriminator(`Long${version}`, new Schema({ pages: Number }, { versionKey: false }))
    await Long_.create({ name: 'book', pages: 900 })
    t.strictSame(await namesOf(paginate.pages(Long_, { limit: 5 })), ['book'], 'a discriminator lists its own')
    t.equal((await paginate.pipeline(Long_, [], { limit: 5 })).items.length, 1)
    await t.rejects(paginate(Post.collection, { lean: true } as object), code('INVALID_OPTIONS'))
    await t.rejects(paginate(new Mongoose().model('Nowhere', new Schema({})) as unknown as typeof Post, {}), code('INVALID_OPTIONS'), 'not connected')
  })

  t.test(`mongoose ${version}: what the schema, its hooks and the transaction say of a find holds for a page and its total`, async (t) => {
    const mongoose = new Mongoose()
    mongoose.set('transactionAsyncLocalStorage', true)
    await mongoose.connect(url, { dbName: name, monitorCommands: true })
    t.teardown(() => mongoose.disconnect())
    const commands: Document[] = []
    mongoose.connection.getClient().on('commandStarted', ({ commandName, command }) => { if (['find', 'aggregate'].includes(commandName)) commands.push(command) })
    const hook = function (this: { setOptions (options: object): void }) { this.setOptions({ maxTimeMS: 4321, comment: 'of a hook', limit: 1, sort: { name: -1 } }) }
    const Named = mongoose.model('Named', new mongoose.Schema({ name: String }, { collection: `defaults${version}`, read: 'nearest' }).pre('find', hook))
    await Named.insertMany(['a', 'b', 'c'].map((name) => ({ name })))
    commands.length = 0
    t.strictSame((await paginate(Named, { sort: { name: 1 }, limit: 2, total: 'exact' })).items.map(({ name }) => name), ['a', 'b'], 'but for sort and limit, which are those of the page')
    t.match(commands, [{ maxTimeMS: 4321, comment: 'of a hook' }, { maxTimeMS: 4321, comment: 'of a hook' }])
    commands.length = 0
    await paginate(Named, { driverOptions: { maxTimeMS: 999 } })
    t.match(commands, [{ maxTimeMS: 999, comment: 'of a hook' }], 'the call has the last word')

    // The test server refuses collations: what it is asked is what counts.
    const collation = { locale: 'en', strength: 2 }
    const Collated = mongoose.model('Collated', new mongoose.Schema({ name: String }, { collation }))
    commands.length = 0
    for (const call of [() => paginate(Collated, {}), () => paginate.pipeline(Collated, []), () => paginate(Collated, { collation: { locale: 'de' } })]) await call().catch(() => {})
    t.match(commands.map(({ collation }) => collation), [collation, collation, { locale: 'de' }])

    const session = await mongoose.startSession()
    t.teardown(() => session.endSession())
    const { transactionAsyncLocalStorage: storage } = mongoose as unknown as { transactionAsyncLocalStorage: { run (store: object, work: () => Promise<unknown>): Promise<unknown> } }
    commands.length = 0
    await storage.run({ session }, async () => { await paginate(Named, {}); await paginate.pipeline(Named, []) })
    t.strictSame(commands.map(({ lsid }) => lsid.id.toString('hex')), Array(2).fill(session.id?.['id'].toString('hex')))
  })

  t.test(`mongoose ${version}: the walks of the conformance suite`, async () => {
    const mongoose = new Mongoose()
    await mongoose.connect(url, { dbName: name })
    t.teardown(() => mongoose.disconnect())
    const { Schema } = mongoose
    const Walk = mongoose.model('Walk', new Schema({ _id: Schema.Types.Mixed }, { strict: false, collection: 'walks', versionKey: false }))
    const model = (_: unknown, options: object) => paginate(Walk, { lean: true, ...options } as never)
    await RANDOM.run(collectionSubject(paginate, db.collection('walks'), without, Walk.collection))
    for (const { run } of SUITE) await run(collectionSubject(model as unknown as typeof paginate, db.collection('walks'), without))
  })
}

t.test('a sort value that is decoded with a loss is an error, never the same page for ever', async (t) => {
  const rows = [{ _id: 1, a: 'x' }, { _id: 2, a: 'y' }]
  const lossy = { namespace: 'x.y', find: () => ({ toArray: async () => rows, explain: async () => ({}) }), aggregate () {}, insertOne () {}, countDocuments () {} }
  const { pageInfo: { nextCursor } } = await paginate(lossy, { limit: 1 })
  await t.rejects(paginate(lossy, { limit: 1, cursor: nextCursor }).then(({ pageInfo }) => paginate(lossy, { limit: 1, cursor: pageInfo.nextCursor })), code('INVALID_KEY'))
})
