import cluster from 'node:cluster'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import fastifyMongodb from '@fastify/mongodb'
import Fastify from 'fastify'
import t from 'tap'
import { mongo } from '../../../test/helpers/mongo.ts'
import cursorPagination, { PageQuery, paginateOptions, toJpulse } from '../src/index.ts'
import { build, code, ids, items, wrong, type Item } from './build.ts'

const { paginate } = await build()
const { db } = await mongo(t)

t.test('driverOptions, hint and session reach the driver', async (t) => {
  await t.rejects(paginate(db.collection('types'), { driverOptions: { signal: AbortSignal.abort(new Error('gone')) } as object }), { message: 'gone' })
})

t.test('driver options that would break a walk are refused by name, those that do not are taken', async (t) => {
  const users = db.collection<Item>('refused')
  await users.insertMany(items(5))
  const bad = {
    sort: { a: 1 },
    projection: { b: 1 },
    skip: 1,
    limit: 1,
    collation: { locale: 'de' },
    hint: { a: 1 },
    min: { _id: 1 },
    max: { _id: 3 },
    returnKey: true,
    singleBatch: true,
    tailable: true,
    awaitData: true,
    raw: true,
    fieldsAsRaw: { a: true },
    explain: 'queryPlanner',
    out: 'x'
  }
  for (const [name, value] of Object.entries(bad)) {
    const options = wrong({ driverOptions: { [name]: value } })
    for (const call of [() => paginate(users, options), () => paginate(items(5), options), () => paginate.pipeline(users, [], options as object)]) {
      await t.rejects(call(), { code: code('INVALID_OPTIONS'), statusCode: 500, message: new RegExp(`"driverOptions\\.${name}"`) }, name)
    }
  }
  const page = await paginate(users, wrong({ limit: 2, driverOptions: { maxTimeMS: 5000, batchSize: 1, comment: 'a page', sort: undefined } }))
  t.same(ids(page), [0, 1])
})

t.test('the collection\'s own number is asked for with the options of the driver, beside a session', async (t) => {
  const users = db.collection<Item>('estimated')
  const session = db.client.startSession()
  t.teardown(() => session.endSession())
  const asked: object[] = []
  t.intercept(users, 'estimatedDocumentCount', { value: async (options: object) => asked.push(options) })
  const { pageInfo } = await paginate(users, { total: 'estimated', driverOptions: { maxTimeMS: 5000, comment: 'a total', session } })
  t.equal(pageInfo.total, 1)
  t.match(asked, [{ maxTimeMS: 5000, comment: 'a total' }])
  t.notOk('session' in asked[0]!)
})

t.test('in a session the page and its total are read one after the other', async (t) => {
  const users = db.collection<Item>('sessions')
  await users.insertMany(items(9))
  const session = db.client.startSession()
  t.teardown(() => session.endSession())
  const calls: string[] = []
  const timed = <A>(name: string, work: () => Promise<A>) => async () => {
    calls.push(`${name} begins`)
    return work().finally(() => calls.push(`${name} ends`))
  }
  const watched = new Proxy(users, {
    get: (target, name) => {
      if (name === 'countDocuments') return (...args: Parameters<typeof users.countDocuments>) => timed('count', () => target.countDocuments(...args))()
      if (name !== 'find') return Reflect.get(target, name, target)
      return (...args: Parameters<typeof users.find>) => {
        const cursor = target.find(...args)
        const read = cursor[Symbol.asyncIterator].bind(cursor)
        cursor[Symbol.asyncIterator] = async function * () {
          calls.push('find begins')
          yield * read()
          calls.push('find ends')
        }
        return cursor
      }
    }
  })
  const { items: rows, pageInfo } = await paginate(watched, { filter: { a: 1 }, limit: 2, total: 'exact', driverOptions: { session } })
  t.same([rows.length, pageInfo.total], [2, 3])
  t.same(calls, ['find begins', 'find ends', 'count begins', 'count ends'])
})

t.test('the collections of @fastify/mongodb are paged in a route, with a hidden sort field', async (t) => {
  const { url, db: { databaseName } } = await mongo(t)
  const app = Fastify()
  t.teardown(() => app.close())
  app.register(fastifyMongodb, { url, database: databaseName })
  app.register(cursorPagination, { secret: 's' })
  app.get('/items', { schema: { querystring: PageQuery({ sortable: ['a'] }) } }, async (request) => {
    const collection = app.mongo.db?.collection('items')
    if (collection === undefined) throw new Error('no database')
    return toJpulse(await app.paginate(collection, { projection: { b: 1, _id: 0 }, limit: 2, ...paginateOptions(request.query) }))
  })
  await app.ready()
  await app.mongo.db?.collection<Item>('items').insertMany(items(3))
  const first = (await app.inject('/items?sort=-a')).json()
  t.strictSame(first.data, [{ b: 'v2' }, { b: 'v1' }])
  t.strictSame((await app.inject(`/items?sort=-a&cursor=${first.pagination.nextCursor}`)).json().data, [{ b: 'v0' }])
})

t.test('explain tells what each interval cost, warns once per shape, and never fails a page', async (t) => {
  const { paginate, lines } = await build({ secret: 's', explain: true })
  const collection = db.collection<Item>('explained')
  await collection.insertMany(items(9))
  const plan = { queryPlanner: { winningPlan: { stage: 'SORT', inputStage: { stage: 'COLLSCAN' } }, rejectedPlans: [] }, executionStats: { totalKeysExamined: 7, totalDocsExamined: 5 } }
  const watched = new Proxy(collection, {
    get: (target, name) => {
      if (name !== 'find') return Reflect.get(target, name, target)
      return (...args: Parameters<typeof collection.find>) => {
        const cursor = target.find(...args)
        t.intercept(cursor, 'explain', { value: async () => plan })
        return cursor
      }
    }
  })
  const first = await paginate(watched, { filter: { b: { $gt: 'v1' } }, sort: { a: -1 }, limit: 1 })
  t.strictSame(first.pageInfo.reads, [{ interval: {}, rows: 2, keys: 7, documents: 5 }])
  const second = await paginate(watched, { filter: { b: { $gt: 'v1' } }, sort: { a: -1 }, limit: 4, cursor: first.pageInfo.nextCursor })
  t.ok(Number(second.pageInfo.reads?.length) > 1)
  t.match(second.pageInfo.reads?.[0], { interval: { a: { $eq: 2 }, _id: { $not: { $gte: 8 }, $type: ['number'] } }, rows: 2 })
  t.match(lines.filter(({ level }) => level === 40), [{ msg: /scans the whole collection.*\{"a":-1,"_id":-1,"b":1\}/, index: { key: { a: -1, _id: -1, b: 1 } } }])
  t.equal((await paginate(watched, { explain: false, sort: { b: 1 } })).pageInfo.reads, undefined, 'a call may say no')
  const { items: rows, pageInfo } = await paginate(collection, { sort: { b: 1 }, limit: 2 })
  t.same([rows.length, pageInfo.reads], [2, [{ interval: {}, rows: 3 }]], 'a server that explains in its own way')
})

t.test('each page is published on a diagnostics channel', async (t) => {
  const messages: unknown[] = []
  const listen = (message: unknown) => { messages.push(message) }
  subscribe('jpulse:cursor-pagination:page', listen)
  t.teardown(() => unsubscribe('jpulse:cursor-pagination:page', listen))
  const { pageInfo } = await paginate(items(5), { limit: 2 })
  await paginate(items(5), { limit: 4, cursor: pageInfo.nextCursor })
  t.strictSame(messages, [{ source: '', limit: 2, rows: 2, backwards: false, offset: undefined }, { source: '', limit: 4, rows: 3, backwards: false, offset: undefined }])
})

t.test('the plugin refuses options that it does not know, and names them', async (t) => {
  const odd: Array<[object, RegExp]> = [[{ maxlimit: 5 }, /"maxlimit"/], [{ maxLimit: 0 }, /"maxLimit"/], [{ maxLimit: 1.5 }, /"maxLimit"/], [{ defaultLimit: 20, maxLimit: 10 }, /defaultLimit 20/],
    [{ cursorTtlMs: 0 }, /"cursorTtlMs"/], [{ explain: 'yes' }, /"explain"/], [{ maxOffset: -1 }, /"maxOffset"/], [{ prefix: '/x' }, /"prefix"/]]
  for (const [options, message] of odd) await t.rejects(build({ secret: 's', ...options }), { code: code('INVALID_OPTIONS'), message })
  for (const secret of ['', [], [''], 5]) await t.rejects(build({ secret: secret as string }), { code: code('NO_SECRET'), statusCode: 500 })
})

t.test('without a secret a process that has siblings does not start', async (t) => {
  const { NODE_APP_INSTANCE, instances } = process.env
  t.teardown(() => Object.assign(process.env, { NODE_APP_INSTANCE, instances }))
  const set = (values: Record<string, string>) => {
    delete process.env['NODE_APP_INSTANCE']
    delete process.env['instances']
    Object.assign(process.env, values)
  }
  for (const values of [{ NODE_APP_INSTANCE: '1' }, { NODE_APP_INSTANCE: '0', instances: '2' }]) {
    set(values as Record<string, string>)
    await t.rejects(build({}), { code: code('NO_SECRET'), message: /several processes/ })
    await t.resolves(build({ secret: 's' }))
  }
  set({ NODE_APP_INSTANCE: '0', instances: '1' })
  await t.resolves(build({}), 'one instance under PM2 has none')
  set({})
  cluster.setupPrimary({ exec: fileURLToPath(new URL('fixtures/worker.js', import.meta.url)), execArgv: [] })
  const worker = cluster.fork()
  const [answer] = await once(worker, 'message')
  worker.kill()
  t.match(answer, { code: code('NO_SECRET') }, 'a worker of a cluster')
})

t.test('in production a secret is required, of 32 characters; elsewhere a random one is made and said so', async (t) => {
  const { NODE_ENV } = process.env
  t.teardown(() => { if (NODE_ENV === undefined) delete process.env.NODE_ENV; else process.env.NODE_ENV = NODE_ENV })
  process.env.NODE_ENV = 'production'
  await t.rejects(build({}), { code: code('NO_SECRET') })
  await t.rejects(build({ secret: 'short' }), { code: code('NO_SECRET') })
  await t.resolves(build({ secret: 'x'.repeat(32) }))
  process.env.NODE_ENV = 'test'
  const [one, two] = [await build({}), await build({})]
  t.match(one.lines, [{ level: 40, msg: /no secret/ }])
  const { pageInfo: { nextCursor: cursor } } = await one.paginate(items(3), { limit: 1 })
  await t.rejects(two.paginate(items(3), { limit: 1, cursor }), { code: code('INVALID_CURSOR') })
})
