import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import t, { type Test } from 'tap'
import Fastify, { type FastifyInstance } from 'fastify'
import { redisLink } from '@jpulse/redis-link'
import { Long, MongoClient, type MongoClientOptions } from 'mongodb'
import { connect, mongo, redisServer, sharedRedis, tcpProxy, uniqueName, waitFor } from '../../../test/helpers/index.ts'
import { configCache, memorySource, mongoSource, versionOf, type ConfigCache, type ConfigSource, type FastifyConfigCacheOptions } from '../src/index.ts'
import { CacheKeys } from '../src/coherence/keys.ts'

interface Site { siteId: string, url?: string | undefined }

async function build (t: Test, options: FastifyConfigCacheOptions = {}, { siteId, url }: Partial<Site> = {}, routes: (app: FastifyInstance) => void = () => {}, logger: object | false = false): Promise<FastifyInstance> {
  const app = Fastify({ logger })
  t.teardown(() => app.close())
  await app.register(redisLink, { url, siteId: siteId ?? uniqueName(), commandTimeoutMs: 10_000 })
  await app.register(configCache, { blockTtlMs: 500, ...options })
  routes(app)
  await app.ready()
  return app
}

/** Instances that share a Redis and a source, ready to cache. */
async function buildTwo (t: Test, options: FastifyConfigCacheOptions = {}, routes?: (app: FastifyInstance) => void): Promise<[FastifyInstance, FastifyInstance]> {
  const site = { siteId: uniqueName(), url: sharedRedis() }
  const source = options.source ?? memorySource()
  const apps = [await build(t, { source, ...options }, site, routes), await build(t, { source, ...options }, site, routes)] as const
  for (const app of apps) await waitFor(() => app.configCache.mode === 'coherent', { timeoutMs: 20_000 })
  return [...apps]
}

/** A connection to the shared Redis of a user who may do everything. */
const onShared = (t: Test) => connect(t, Number(new URL(sharedRedis()).port))

/** A source that counts its loads. */
function counting (source: ConfigSource): ConfigSource & { loads: number } {
  const counted = {
    ...source,
    loads: 0,
    load: (collection: string, key: string) => { counted.loads++; return source.load(collection, key) },
    save: source.save.bind(source),
    remove: source.remove.bind(source),
    list: source.list.bind(source),
    ...source.update !== undefined && { update: source.update.bind(source) }
  }
  return counted
}

/** A source that stands for a database of all processes. */
const shared = (source: ConfigSource): ConfigSource => Object.assign(source, { isPrivate: false })

t.setTimeout(200_000)
// Most of their time these tests wait for an epoch to open.
t.jobs = 3
/** For tests that change the environment of the process: nothing else runs meanwhile. */
const ALONE = { buffered: false }

/** What every source has to do. */
function sourceSuite (name: string, make: (t: Test) => Promise<ConfigSource>): void {
  t.test(`a ${name} source`, async (t) => {
    const source = await make(t)
    t.equal(await source.load('config', 'a'), null)
    await source.save('config', 'a', { x: [1, null, 'ü'] })
    await source.save('config', 'a', { x: 2 })
    t.strictSame(await source.load('config', 'a'), { x: 2 })
    t.equal(await source.load('features', 'a'), null)
    await source.save('config', 'app:name', 'n')
    await source.save('config', 'app:version', 0)
    await source.save('config', 'application', false)
    t.strictSame(await source.list('config', 'app:*'), [{ key: 'app:name', value: 'n' }, { key: 'app:version', value: 0 }])
    t.strictSame((await source.list('config', '*', 2)).length, 2)
    t.strictSame((await source.list('config', 'ap?:name')).length, 1)
    t.strictSame(await source.list('config', '.*'), [])
    for (const key of ['two\nlines', 'one', 'one\n', 'one😀']) await source.save('globs', key, 1)
    const globs = async (glob: string) => (await source.list('globs', glob)).map(({ key }) => key).sort()
    t.strictSame([await globs('two*'), await globs('one'), await globs('one?')], [['two\nlines'], ['one'], ['one\n', 'one😀']], 'a glob says the same to every source')
    t.equal(await source.remove('config', 'a'), true)
    t.equal(await source.remove('config', 'a'), false)
    t.equal(await source.load('config', 'a'), null)
  })

  t.test(`a ${name} source changes a document such that nobody comes between`, async (t) => {
    const source = await make(t)
    const update = source.update!.bind(source)
    t.equal(await update('config', 'a', (current) => { t.equal(current, null); return { n: [0] } }), true)
    t.strictSame(await source.load('config', 'a'), { n: [0] })
    await t.rejects(update('config', 'a', () => { throw new Error('no') }), { message: 'no' })
    t.equal(await update('config', 'a', (current) => ({ n: [...(current as { n: number[] }).n, 1] })), true)
    t.strictSame(await source.load('config', 'a'), { n: [0, 1] })
    t.equal(await update('config', 'a', () => undefined), true)
    t.equal(await source.load('config', 'a'), null)
    t.equal(await update('config', 'a', () => undefined), true, 'what is not there need not be removed')
    await source.save('config', 'null', null)
    t.equal(await update('config', 'null', (current) => current === null ? 1 : 2), true)
    t.equal(await source.load('config', 'null'), 1)
  })
}

sourceSuite('memory', async () => memorySource())
sourceSuite('MongoDB', async (t) => mongoSource((await mongo(t)).db))

t.test('MongoDB is read as its manual says that a read is linearizable, and a server without replicas as it can be', async (t) => {
  const asked: unknown[] = []
  let isReplicated = true
  const source = mongoSource({
    collection: () => ({
      findOne: async (_filter: object, { readConcern }: { readConcern?: object }) => {
        asked.push(readConcern)
        if (readConcern !== undefined && !isReplicated) throw Object.assign(new Error('node needs to be a replica set member to use read concern'), { code: 123 })
        return { value: 1 }
      }
    }) as never
  })
  t.equal(await source.load('config', 'a'), 1)
  isReplicated = false
  t.equal(await source.load('config', 'a'), 1)
  t.equal(await source.load('config', 'a'), 1)
  t.strictSame(asked, [{ level: 'linearizable' }, { level: 'linearizable' }, undefined, undefined])
  t.throws(() => mongoSource({} as never, { readConcern: 'local' as never }), { code: 'FST_ERR_CONFIG_CACHE_INVALID_OPTION' })
})

t.test('documents are read by the decoding of the source, whatever the client of the application has', async (t) => {
  const { url, db } = await mongo(t)
  const clients: MongoClientOptions[] = [{}, { raw: true }, { promoteValues: false }, { promoteLongs: false }, { useBigInt64: true }, { promoteBuffers: true }, { fieldsAsRaw: { value: true } }, { writeConcern: { w: 0 } }]
  for (const [i, options] of clients.entries()) {
    const client = new MongoClient(url, options)
    t.teardown(() => client.close())
    const key = `key${i}`
    const source = mongoSource(client.db(db.databaseName))
    await source.save('config', key, { n: 1, big: 5_000_000_000 })
    await db.collection('config').updateOne({ key }, { $set: { 'value.long': Long.fromString('5000000000') } })
    const expected = { n: 1, big: 5_000_000_000, long: 5_000_000_000 }
    t.strictSame(await source.load('config', key), expected, JSON.stringify(options))
    t.equal(await source.update!('config', key, (current) => ({ ...current as object, n: 2 })), true)
    t.strictSame((await source.list('config', key)), [{ key, value: { ...expected, n: 2 } }])
    t.equal(await source.remove('config', key), true)
  }
})

t.test('what comes between the reading and the writing of a change in MongoDB is not overwritten', async (t) => {
  const { db } = await mongo(t)
  const other = mongoSource(db)
  let between: () => Promise<unknown> = async () => {}
  const source = mongoSource({
    collection: (name, options) => {
      const collection = db.collection(name, options)
      return new Proxy(collection, {
        get: (_target, method: 'updateOne' | 'deleteOne') => async (...args: [object, object]) => {
          if (method === 'updateOne' || method === 'deleteOne') await between()
          return (collection[method] as (...args: unknown[]) => unknown)(...args)
        }
      }) as never
    }
  })
  const change = () => source.update!('config', 'a', (current) => ({ was: current }))
  between = () => other.save('config', 'a', 'theirs')
  t.equal(await change(), false, 'created meanwhile')
  t.equal(await change(), false, 'written meanwhile, with an equal value')
  between = () => db.collection('config').updateOne({ key: 'a' }, { $set: { value: 'of 0.1', updatedAt: new Date(1) } })
  t.equal(await change(), false, 'by the release before, which knows no revision')
  between = () => other.remove('config', 'a')
  t.equal(await change(), false, 'removed meanwhile')
  await other.save('config', 'a', 1)
  between = () => other.save('config', 'a', 2)
  t.equal(await source.update!('config', 'a', () => undefined), false)
  t.equal(await source.load('config', 'a'), 2)
  between = async () => {}
  t.equal(await change(), true)
  t.strictSame(await other.load('config', 'a'), { was: 2 })
})

t.test('two first writes of one key to MongoDB make one document', async (t) => {
  const { db } = await mongo(t)
  const source = mongoSource(db)
  await Promise.all([source.save('config', 'a', 1), source.save('config', 'a', 2)].map((saved) => saved.catch(() => {})))
  t.equal(await db.collection('config').countDocuments({ key: 'a' }), 1)
})

for (const mode of ['local', 'coherent'] as const) {
  t.test(`documents, in mode ${mode}`, async (t) => {
    const source = counting(memorySource())
    const app = mode === 'local' ? await build(t, { source }) : (await buildTwo(t, { source }))[0]
    const cache = app.configCache
    t.equal(cache.mode, mode)
    t.equal(await cache.get('a'), null)
    t.equal(await cache.get('a'), null)
    t.equal(source.loads, 1, 'not found is cached too')
    await cache.set('a', { list: [1, { deep: true }] })
    const value = await waitFor(async () => {
      const before = source.loads
      const read = await cache.get('a')
      return source.loads === before && read
    }, { what: 'a hit' }) as { list: [number, { deep: boolean }] }
    t.throws(() => { value.list.push(2 as never) }, 'what is read cannot be changed')
    t.throws(() => { value.list[1].deep = false })
    t.strictSame(await cache.get('a'), { list: [1, { deep: true }] })
    t.equal(await cache.delete('a'), true)
    t.equal(await cache.delete('a'), false)
    t.equal(await cache.get('a'), null)
    await t.rejects(cache.get('a', { collection: 'users' }), { code: 'FST_ERR_CONFIG_CACHE_UNKNOWN_COLLECTION', statusCode: 404 })
  })
}

t.test('a write is seen by the other instance, also where it had cached the old value', async (t) => {
  const [one, other] = await buildTwo(t)
  for (let i = 0; i < 50; i++) {
    await one.configCache.set('a', i)
    t.equal(await other.configCache.get('a'), i)
    await other.configCache.delete('a')
    t.equal(await one.configCache.get('a'), null)
  }
})

t.test('bad input is refused before anything is written', async (t) => {
  const source = memorySource()
  const app = await build(t, { source, maxValueBytes: 100 })
  const cache = app.configCache
  const cyclic: Record<string, unknown> = {}
  cyclic.self = cyclic
  const code = (suffix: string) => ({ code: `FST_ERR_CONFIG_CACHE_${suffix}` })
  for (const key of ['', 'k'.repeat(513), 'ü'.repeat(257), 'a\ud800', 7 as unknown as string]) {
    await t.rejects(cache.set(key, 1), code('INVALID_KEY'))
    await t.rejects(cache.get(key), code('INVALID_KEY'))
    await t.rejects(cache.getOrLoad(key, {}, async () => 1), code('INVALID_KEY'))
    await t.rejects(cache.write({ tags: [key] }, async () => t.fail('must not run')), code('INVALID_KEY'))
  }
  for (const value of [10n, cyclic, () => {}, Symbol('s'), undefined, NaN, new Date(NaN), 'a\ud800b', [{ '\udc00': 1 }], '\\\ud800']) await t.rejects(cache.set('a', value), code('INVALID_VALUE'))
  for (const value of ['\\ud800', '\ud83d\ude00']) await cache.set('b', value)
  await cache.delete('b')
  await t.rejects(cache.set('a', 'x'.repeat(99)), { ...code('TOO_LARGE'), statusCode: 413 })
  await t.rejects(cache.set('a', 1, { collection: 'nope' }), code('UNKNOWN_COLLECTION'))
  await cache.get('a')
  for (const key of ['config:config:a', 'route:GET:/']) await t.rejects(cache.getOrLoad(key, {}, async () => 1), code('RESERVED'))
  await t.rejects(cache.getOrLoad('a', { tags: [''] }, async () => 1), code('INVALID_KEY'))
  await t.rejects(cache.write({}, async () => t.fail('must not run')), code('INVALID_WRITE'))
  await t.rejects(cache.write({ tags: Array.from({ length: 1001 }, (_, i) => `t${i}`) }, async () => t.fail('must not run')), code('INVALID_WRITE'))
  for (const name of ['', undefined, null, 7]) {
    await t.rejects(cache.isFeatureEnabled(name as string, { default: true }), code('INVALID_KEY'))
    await t.rejects(cache.getFeature(name as string), code('INVALID_KEY'))
    await t.rejects(cache.setFeature(name as string, { enabled: true }), code('INVALID_KEY'))
  }
  const required = { ...code('PRECONDITION_REQUIRED'), statusCode: 428, message: /ifVersion is undefined/ }
  const unsent = { ifVersion: undefined } as never
  await t.rejects(cache.set('a', 1, unsent), required)
  await t.rejects(cache.delete('a', unsent), required)
  await t.rejects(cache.setFeature('a', { enabled: true }, unsent), required)
  for (const globs of [undefined, null, 7, {}, [7], '']) await t.rejects(cache.warmup(globs as never), { ...code('INVALID_KEY'), statusCode: 400 })
  for (const collection of ['config', 'features']) t.strictSame(await source.list(collection, '*'), [])
})

t.test('getOrLoad: a loader runs once for many, its failure is not cached, and undefined counts as null', async (t) => {
  const [{ configCache: cache }] = await buildTwo(t)
  let runs = 0
  const slow = async () => { runs++; await new Promise((resolve) => setTimeout(resolve, 50)); return { runs } }
  const all = await Promise.all(Array.from({ length: 50 }, () => cache.getOrLoad('slow', {}, slow)))
  t.equal(runs, 1)
  t.ok(all.every((one) => one.runs === 1))
  await t.rejects(cache.getOrLoad('bad', {}, async () => { throw new Error('no') }), { message: 'no' })
  t.equal(await cache.getOrLoad('bad', {}, async () => 'good'), 'good')
  t.equal(await cache.getOrLoad('none', {}, async () => undefined), null)
  t.equal(await cache.getOrLoad('no JSON', {}, async () => 10n), 10n, 'what cannot be kept is returned')
  t.equal((await cache.getOrLoad('too long', {}, async () => 'x'.repeat(2 ** 20))).length, 2 ** 20)
  t.match(cache.stats(), { unkept: 2 })
})

t.test('a text is one tag, and a hit bears the tags that are asked for', async (t) => {
  const [{ configCache: one }, { configCache: other }] = await buildTwo(t)
  let value = 0
  const read = (tags: string | string[] | undefined) => Promise.all([one, other].map((cache) => cache.getOrLoad('list', { tags }, async () => value)))
  t.strictSame(await read('orders'), [0, 0])
  await one.write({ tags: 'orders' }, async () => { value = 1 })
  t.strictSame(await read('orders'), [1, 1])
  t.strictSame(await read(undefined), [1, 1], 'cached without a tag, or with the one from before')
  await one.write({ tags: ['users'] }, async () => { value = 2 })
  t.strictSame(await read(['users']), [2, 2], 'it was not dropped, as it did not bear this tag')
  await one.write({ tags: ['users'] }, async () => { value = 3 })
  t.strictSame(await read(['users']), [3, 3])
  for (const tags of [7, {}, [7], [null]]) await t.rejects(one.getOrLoad('other', { tags: tags as never }, async () => 1), { code: 'FST_ERR_CONFIG_CACHE_INVALID_KEY' })
})

t.test('options of calls are checked as those of the plugin are', async (t) => {
  const { configCache: cache } = await build(t)
  const bad: Array<[object, RegExp]> = [
    [{ ttlMs: 1.5 }, /ttlMs must be a whole number of milliseconds/], [{ ttlMs: Infinity }, /ttlMs/], [{ ttlMs: 0 }, /ttlMs/], [{ ttl: 5 }, /ttl is unknown/],
    [{ l2: 'no' }, /l2/], [{ loaderTimeoutMs: -1 }, /loaderTimeoutMs/]
  ]
  for (const [options, message] of bad) await t.rejects(cache.getOrLoad('a', options, async () => 1), { code: 'FST_ERR_CONFIG_CACHE_INVALID_OPTION', message })
  await t.rejects(cache.write({ tag: 'a' } as never, async () => t.fail('must not run')), { message: /tag is unknown/ })
  await t.rejects(cache.write({ keys: 'a', values: {}, ttlMs: 0.5 }, async () => t.fail('must not run')), { message: /ttlMs/ })
  await t.rejects(cache.get('a', { collections: 'x' } as never), { message: /collections is unknown/ })
  const loader = async () => 1
  await t.rejects(cache.getOrLoad('b', loader as never, undefined as never), { code: 'FST_ERR_CONFIG_CACHE_INVALID_OPTION' })
  t.strictSame([await cache.getOrLoad('null', null as never, loader), await cache.getOrLoad('none', undefined as never, loader)], [1, 1])
  await t.rejects(cache.getOrLoad('b', {}, undefined as never), { message: /loader must be a function, not undefined/ })
  await t.rejects(cache.write({ keys: 'a' }, undefined as never), { message: /work must be a function/ })
  t.equal(cache.stats().blocks, 0)
  t.throws(() => cache.onChange(null as never), { message: /listener must be a function, not null/ })
  await t.rejects(cache.getFeature('a', 'features' as never), { message: /option options must be an object/ })
  await t.rejects(cache.getFeature('a', { collection: 'config' } as never), { message: /collection is unknown/ })
  await t.rejects(cache.setFeature('a', { enabled: true }, { collection: 'config' } as never), { message: /collection is unknown/ })
  await t.rejects(cache.isFeatureEnabled('a', { default: 'on' } as never), { message: /default must be true or false/ })
  await t.rejects(cache.isFeatureEnabled('a', { context: new Map([['plan', 'pro']]) as never }), { message: /context must be an object with names/ })
  await t.rejects(cache.write({ keys: 'a', values: new Map([['a', 1]]) as never }, async () => t.fail('must not run')), { message: /values/ })
})

t.test('a loader that never ends, or that reads what waits for it, holds nobody up', async (t) => {
  const { configCache: cache } = await build(t, { loaderTimeoutMs: 100 })
  let signal: AbortSignal | undefined
  await t.rejects(cache.getOrLoad('never', {}, async (context) => { signal = context.signal; await new Promise(() => {}) }), { code: 'FST_ERR_CONFIG_CACHE_LOADER_TIMEOUT', statusCode: 504 })
  t.ok(signal?.aborted)
  t.equal(await cache.getOrLoad('never', {}, async () => 'ends'), 'ends')
  const long = { loaderTimeoutMs: 100_000 }
  const reentrant = { code: 'FST_ERR_CONFIG_CACHE_REENTRANT' }
  const self = (): Promise<unknown> => cache.getOrLoad('self', long, self)
  await t.rejects(self(), reentrant)
  const a = (): Promise<unknown> => cache.getOrLoad('a', long, b)
  const b = (): Promise<unknown> => cache.getOrLoad('b', long, a)
  await t.rejects(a(), reentrant)
  t.ok((await Promise.allSettled([a(), b()])).every((one) => one.status === 'rejected'), 'from both ends at once')
  t.equal(await cache.getOrLoad('a', {}, () => cache.getOrLoad('b', {}, async () => 'one after the other')), 'one after the other')
  t.equal(await cache.getOrLoad('c', {}, async () => (await Promise.all([1, 2].map(() => cache.getOrLoad('d', {}, async () => 'twice'))))[1]), 'twice')
})

t.test('a loader may have longer than a timer lasts, and a listener that is given twice is ended twice', async (t) => {
  const { configCache: cache } = await build(t, {})
  t.equal(await cache.getOrLoad('long', { loaderTimeoutMs: 100 * 86_400_000 }, () => new Promise((resolve) => { setTimeout(resolve, 20, 'ends') })), 'ends')
  let heard = 0
  const listener = () => { heard++ }
  const [end, endOther] = [cache.onChange(listener), cache.onChange(listener)]
  await cache.invalidate('long')
  t.equal(heard, 1, 'once')
  end()
  end()
  await cache.invalidate('long')
  t.equal(heard, 2)
  endOther()
  await cache.invalidate('long')
  t.equal(heard, 2)
})

t.test('the abort of one reader is not that of those who joined', async (t) => {
  const { configCache: cache } = await build(t)
  const mine = new AbortController()
  let first: Promise<unknown> = Promise.resolve()
  await new Promise<void>((resolve) => {
    first = cache.getOrLoad('a', {}, () => {
      resolve()
      return new Promise((_resolve, reject) => mine.signal.addEventListener('abort', () => reject(mine.signal.reason)))
    })
  })
  const joined = cache.getOrLoad('a', {}, async () => 'loaded')
  mine.abort()
  await t.rejects(first, { name: 'AbortError' })
  t.equal(await joined, 'loaded')
})

for (const when of ['Redis is up', 'Redis is down', 'Redis answers nothing', 'a tag is blocked', 'a write has failed', 'nothing is cached']) {
  t.test(`300 reads of one key are two loads at most while ${when}, and each sees what was written before it`, async (t) => {
    const redis = await redisServer(t)
    const { configCache: cache } = await build(t, { enabled: when !== 'nothing is cached', blockTtlMs: 1000 }, { siteId: uniqueName(), url: redis.url })
    if (when !== 'nothing is cached') await waitFor(() => cache.mode === 'coherent', { timeoutMs: 20_000 })
    let letGo = () => {}
    if (when === 'Redis is down') {
      await redis.kill()
      await waitFor(() => cache.mode === 'bypass')
    } else if (when === 'Redis answers nothing') {
      redis.freeze()
      letGo = () => redis.thaw()
    } else if (when === 'a tag is blocked') {
      const held = new Promise<void>((resolve) => { letGo = resolve })
      await new Promise<void>((resolve) => { cache.write({ keys: 'a' }, () => { resolve(); return held }).catch(() => {}) })
    } else if (when === 'a write has failed') {
      await cache.write({ keys: 'a' }, async () => { throw new Error('timed out') }).catch(() => {})
    }
    let loads = 0
    let value = 'old'
    const read = () => cache.getOrLoad('a', {}, async () => { loads++; const seen = value; await new Promise((resolve) => setTimeout(resolve, 20)); return seen })
    const early = Array.from({ length: 150 }, read)
    value = 'new'
    const late = await Promise.all(Array.from({ length: 150 }, read))
    t.ok(loads <= 2, `${loads} loads`)
    t.ok((await Promise.all(early)).length === 150)
    if (when !== 'Redis is up') t.ok(late.every((one) => one === 'new'))
    t.comment(`${loads} loads`)
    letGo()
  })
}

t.test('where the source fails: a default for a flag, and the last known value for who asks for it, never by itself', async (t) => {
  const source = counting(memorySource())
  let isAway = false
  const { load } = source
  source.load = async (...place) => {
    if (isAway) throw new Error('away')
    return load(...place)
  }
  const { configCache: cache } = await build(t, { source, enabled: false })
  await cache.setFeature('ui', { enabled: true })
  const known = { staleOnError: true }
  t.equal(await cache.isFeatureEnabled('ui', known), true)
  t.equal(await cache.getOrLoad('a', known, async () => 1), 1)
  isAway = true
  await t.rejects(cache.isFeatureEnabled('ui'), { message: 'away' })
  t.equal(await cache.isFeatureEnabled('ui', { default: false }), false)
  t.equal(await cache.isFeatureEnabled('ui', { ...known, default: false }), true)
  t.equal(await cache.isFeatureEnabled('other', { ...known, default: true }), true)
  await t.rejects(cache.getOrLoad('a', {}, async () => { throw new Error('away') }), { message: 'away' })
  t.equal(await cache.getOrLoad('a', known, async () => { throw new Error('away') }), 1)
  t.equal(cache.stats().stale, 4)
  await t.rejects(cache.isFeatureEnabled('k'.repeat(600), { default: true }), { code: 'FST_ERR_CONFIG_CACHE_INVALID_KEY' })
})

t.test('two administrators do not overwrite each other', async (t) => {
  const [{ configCache: one }, { configCache: other }] = await buildTwo(t)
  const conflict = { code: 'FST_ERR_CONFIG_CACHE_VERSION_CONFLICT', statusCode: 412 }
  await one.set('a', { x: 1, y: 2 })
  const seen = versionOf(await other.get('a'))
  t.equal(seen, versionOf({ y: 2, x: 1 }), 'the order of properties says nothing')
  await one.set('a', { x: 2 }, { ifVersion: seen })
  await t.rejects(other.set('a', { x: 3 }, { ifVersion: seen }), conflict)
  t.strictSame(await other.get('a'), { x: 2 })
  for (let round = 0; round < 10; round++) {
    const version = versionOf(await one.get('a'))
    const both = await Promise.allSettled([one, other].map((cache, i) => cache.set('a', { round, i }, { ifVersion: version })))
    const won = both.flatMap(({ status }, i) => status === 'fulfilled' ? [i] : [])
    t.equal(won.length, 1, 'one of two that saw the same')
    for (const cache of [one, other]) t.strictSame(await cache.get('a'), { round, i: won[0] })
  }
  const missing = await Promise.allSettled([one, other].map((cache, i) => cache.set('new', i, { ifVersion: null })))
  t.equal(missing.filter(({ status }) => status === 'fulfilled').length, 1)
  await t.rejects(one.set('nowhere', 1, { ifVersion: '*' }), { ...conflict, message: /there is none/ })
  await t.rejects(one.set('a', 1, { ifVersion: null }), { ...conflict, message: /there is one/ })
  await t.rejects(one.set('a', 1, { ifVersion: seen }), { ...conflict, message: /another version by now, read it again/ })
  await one.set('a', 'there', { ifVersion: ['old', '*'] })
  await t.rejects(other.delete('a', { ifVersion: seen }), conflict)
  t.equal(await other.delete('a', { ifVersion: versionOf('there') }), true)
  await one.setFeature('ui', { enabled: true }, { ifVersion: null })
  await t.rejects(other.setFeature('ui', { enabled: false }, { ifVersion: null }), conflict)
  await other.setFeature('ui', { enabled: false }, { ifVersion: versionOf(await other.getFeature('ui')) })
  t.ok(one.stats().conflicts + other.stats().conflicts >= 14)
  await waitFor(() => one.stats().blocks === 0, { what: 'the blocks of what was refused to end' })
  const { update, ...plain } = counting(memorySource())
  const { configCache: bare } = await build(t, { source: plain })
  await t.rejects(bare.set('a', 1, { ifVersion: null }), { code: 'FST_ERR_CONFIG_CACHE_UNSUPPORTED', statusCode: 501 })
  await t.rejects(one.set('a', 1, { ifVersions: seen } as never), { message: /ifVersions is unknown/ })
})

t.test('invalidate drops what was changed behind the cache, as a write does', async (t) => {
  const [{ configCache: one }, { configCache: other }] = await buildTwo(t)
  let value = 0
  const read = () => Promise.all([one, other].map((cache) => cache.getOrLoad('list', { tags: ['orders', 'users'] }, async () => value)))
  await read()
  for (const tags of ['orders', ['users', 'others'], 'list']) {
    value++
    await one.invalidate(tags)
    t.strictSame(await read(), [value, value])
  }
  await t.rejects(one.invalidate([]), { code: 'FST_ERR_CONFIG_CACHE_INVALID_WRITE', statusCode: 400 })
  await t.rejects(one.invalidate(7 as never), { code: 'FST_ERR_CONFIG_CACHE_INVALID_KEY' })
  await one.close()
  await t.rejects(one.invalidate('orders'), { code: 'FST_ERR_CONFIG_CACHE_CLOSED' })
})

t.test('a tag drops every value that bears it, on every instance, and no other', async (t) => {
  const [{ configCache: one }, { configCache: other }] = await buildTwo(t)
  let loads = 0
  const load = (key: string, tags: string[]) => Promise.all([one, other].map((cache) => cache.getOrLoad(key, { tags }, async () => ++loads)))
  await load('a', ['x'])
  await load('b', ['x', 'y'])
  await load('c', ['y'])
  await one.write({ tags: ['x'] }, async () => {})
  const before = loads
  await load('c', ['y'])
  t.equal(loads, before)
  await load('a', ['x'])
  await load('b', ['x', 'y'])
  t.ok(loads > before)
})

t.test('a transaction belongs into the write with its commit: the other way round readers keep what was before', async (t) => {
  const { configCache: cache } = await build(t)
  let committed = 'old'
  /** As `session.withTransaction`: what it writes is seen by others once it has committed. */
  const withTransaction = async (work: (set: (value: string) => void) => Promise<unknown>) => {
    let value = committed
    await work((next) => { value = next })
    await Promise.all([1, 2].map(() => read()))
    committed = value
  }
  const read = () => cache.getOrLoad('a', {}, async () => committed)
  t.equal(await read(), 'old')
  await cache.write({ keys: 'a' }, () => withTransaction(async (set) => set('new')))
  t.equal(await read(), 'new')
  await withTransaction(async (set) => cache.write({ keys: 'a' }, async () => set('newest')))
  t.equal(await read(), 'new', 'what the README warns of')
})

t.test('a load that began before a write, and ended after it, is not kept (the fill race)', async (t) => {
  const [{ configCache: one }, { configCache: other }] = await buildTwo(t)
  let value = 'old'
  let answer = () => {}
  const begun = new Promise<void>((resolve) => {
    const gate = new Promise<void>((resolve) => { answer = resolve })
    one.getOrLoad('a', {}, async () => { const read = value; resolve(); await gate; return read })
      .then((read) => t.equal(read, 'old', 'it overlaps the write, so it may return either'))
  })
  await begun
  await other.write({ keys: ['a'] }, async () => { value = 'new' })
  const joined = one.getOrLoad('a', {}, async () => value)
  answer()
  t.equal(await joined, 'new', 'a read that began after the write does not join the load from before')
  for (let i = 0; i < 3; i++) {
    t.equal(await one.getOrLoad('a', {}, async () => value), 'new')
    t.equal(await other.getOrLoad('a', {}, async () => value), 'new')
  }
})

t.test('a load that began under a block, and ended after its release, is not kept', async (t) => {
  const [{ configCache: one }, { configCache: other }] = await buildTwo(t)
  let value = 'old'
  let answer = () => {}
  let slow: Promise<unknown> = Promise.resolve()
  const gate = new Promise<void>((resolve) => { answer = resolve })
  await other.write({ keys: ['a'] }, async () => {
    slow = one.getOrLoad('a', {}, async () => { const read = value; await gate; return read })
    await new Promise((resolve) => setTimeout(resolve, 50))
    value = 'new'
  })
  answer()
  await slow
  t.equal(await one.getOrLoad('a', {}, async () => value), 'new')
  t.equal(await other.getOrLoad('a', {}, async () => value), 'new')
})

t.test('write returns what the work returns, and what it throws, and the key is cached again after either', async (t) => {
  const [{ configCache: cache }] = await buildTwo(t)
  t.equal(await cache.write({ keys: ['a'] }, async () => 7), 7)
  await t.rejects(cache.write({ keys: ['a'] }, async () => { throw new Error('mine') }), { message: 'mine' })
  await waitFor(async () => {
    const before = cache.stats().l1Hits
    await cache.getOrLoad('a', {}, async () => 1)
    return cache.stats().l1Hits > before
  })
  t.match(cache.stats(), { writes: 1, refused: 0, unconfirmed: 0 })
})

t.test('values live no longer than their TTL on either level', async (t) => {
  const [{ configCache: one }, { configCache: other }] = await buildTwo(t, { featureTtlMs: 300 })
  let loads = 0
  const read = (cache: typeof one) => cache.getOrLoad('a', { ttlMs: 300 }, async () => ++loads)
  await waitFor(async () => {
    const first = await read(one)
    return await read(one) === first
  }, { what: 'a hit' })
  await read(other)
  const before = loads
  await waitFor(async () => await read(other) > before, { what: 'the value to expire' })
})

t.test('the LRU is bounded by entries and by bytes', async (t) => {
  const { configCache: few } = await build(t, { maxEntries: 10 })
  for (let i = 0; i < 50; i++) await few.getOrLoad(`k${i}`, { tags: ['t'] }, async () => i)
  t.equal(few.stats().entries, 10)
  let loaded = false
  await few.getOrLoad('k49', {}, async () => { loaded = true })
  t.notOk(loaded, 'the newest stay')
  const { configCache: small } = await build(t, { maxBytes: 100_000 })
  for (let i = 0; i < 50; i++) await small.getOrLoad(`k${i}`, {}, async () => 'x'.repeat(10_000))
  t.ok(small.stats().bytes <= 100_000 && small.stats().entries > 5)
})

t.test('feature flags are set for all instances at once', async (t) => {
  const [{ configCache: one }, { configCache: other }] = await buildTwo(t)
  t.equal(await one.isFeatureEnabled('new-ui'), false)
  await one.setFeature('new-ui', { enabled: true, note: 'x' })
  t.equal(await other.isFeatureEnabled('new-ui'), true)
  t.strictSame(await other.getFeature('new-ui'), { enabled: true, note: 'x' })
  await other.setFeature('new-ui', { enabled: false })
  t.equal(await one.isFeatureEnabled('new-ui'), false)
})

t.test('warmup loads what the globs match, so that the first read is a hit', async (t) => {
  const source = counting(memorySource())
  for (const key of ['app:name', 'app:version', 'other']) await source.save('config', key, key)
  await source.save('features', 'feature:a', { enabled: true })
  const { configCache: cache } = await build(t, { source })
  t.equal(await cache.warmup('features:*'), 1, 'a text is one glob')
  t.equal(await cache.warmup(['app:*', 'features:*']), 3)
  const { loads } = source
  t.equal(await cache.get('app:name'), 'app:name')
  t.equal(await cache.isFeatureEnabled('a'), true)
  t.equal(source.loads, loads)
})

t.test('clear empties every instance', async (t) => {
  const [{ configCache: one }, { configCache: other }] = await buildTwo(t)
  let loads = 0
  const read = (cache: typeof one) => cache.getOrLoad('a', {}, async () => ++loads)
  await waitFor(async () => await read(one) === await read(other))
  await one.clear()
  await waitFor(() => other.stats().entries === 0)
  const before = loads
  t.equal(await read(other), before + 1, 'Redis is empty as well')
  for (let i = 0; i < 10; i++) {
    await read(one)
    const { l2Hits } = one.stats()
    await one.clear()
    await read(one)
    t.equal(one.stats().l2Hits, l2Hits, 'at once for who cleared it')
  }
})

t.test('clear whose own message is lost ends the lease: nothing of before is read from Redis', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(redisLink, { url: sharedRedis(), siteId: uniqueName() })
  let isDeaf = false
  const subscriber = app.redisLink.subscriber()!
  const subscribeFully = subscriber.subscribe.bind(subscriber)
  subscriber.subscribe = (channel, listener) => subscribeFully(channel, (message, from) => { if (!isDeaf) listener(message, from) })
  // A renewal, which tells of the loss as well, is seconds away. An epoch opens when such a lease is over.
  await app.register(configCache, { blockTtlMs: 500, leaseMs: 10_000 })
  await app.ready()
  const { configCache: cache } = app
  await waitFor(() => cache.mode === 'coherent', { timeoutMs: 60_000 })
  const read = (key: string, value: string) => cache.getOrLoad(key, {}, async () => value)
  t.equal(await read('a', 'before'), 'before')
  const client = onShared(t)
  await waitFor(async () => (await client.keys(`*${app.redisLink.key('cache')}*a`)).length > 0, { what: 'the value in Redis' })
  isDeaf = true
  await cache.clear()
  t.equal(await read('a', 'after'), 'after')
  await waitFor(() => cache.mode === 'coherent', { timeoutMs: 10_000 })
  t.equal(await read('b', 'kept'), 'kept')
  t.equal(await read('b', 'loaded again'), 'kept', 'it caches again')
})

t.test('clear has every instance forget last known values, also one that missed the message, and says where Redis is away', async (t) => {
  const redis = await redisServer(t)
  const proxy = await tcpProxy(t, redis.port)
  const siteId = uniqueName()
  const here = await build(t, {}, { siteId, url: redis.url })
  const there = await build(t, {}, { siteId, url: `redis://127.0.0.1:${proxy.port}` })
  const [one, other] = [here.configCache, there.configCache]
  const coherent = () => waitFor(() => one.mode === 'coherent' && other.mode === 'coherent', { timeoutMs: 20_000 })
  const noted = (cache: typeof one) => cache.getOrLoad('a', { staleOnError: true }, async () => 'old')
  const known = async (cache: typeof one) => {
    await cache.invalidate('a').catch(() => {})
    return cache.getOrLoad('a', { staleOnError: true }, async () => { throw new Error('away') }).catch(() => 'forgotten')
  }
  for (const missed of [false, true]) {
    await coherent()
    t.strictSame([await noted(one), await noted(other), await known(one), await known(other)], ['old', 'old', 'old', 'old'])
    if (missed) {
      proxy.cut()
      await waitFor(() => other.mode === 'bypass')
    }
    await one.clear()
    t.equal(await known(one), 'forgotten')
    if (missed) t.equal(await known(other), 'old', 'it cannot know yet')
    proxy.mend()
    await waitFor(async () => await known(other) === 'forgotten', { timeoutMs: 20_000 })
  }
  await coherent()
  t.strictSame([await noted(one), await noted(other)], ['old', 'old'])
  await redis.kill()
  await waitFor(() => one.mode === 'bypass')
  await t.rejects(one.clear(), { code: 'FST_ERR_CONFIG_CACHE_NOT_CLEARED', statusCode: 503 })
  t.strictSame([await known(one), await known(other)], ['forgotten', 'old'])
})

t.test('CACHE_ENABLED=false: nothing is cached here, and writes still reach the caches of others', ALONE, async (t) => {
  process.env.CACHE_ENABLED = 'false'
  t.teardown(() => { delete process.env.CACHE_ENABLED })
  const site = { siteId: uniqueName(), url: sharedRedis() }
  const source = counting(memorySource())
  const off = await build(t, { source }, site)
  delete process.env.CACHE_ENABLED
  const on = await build(t, { source }, site)
  await waitFor(() => on.configCache.mode === 'coherent', { timeoutMs: 20_000 })
  t.equal(off.configCache.mode, 'bypass')
  await off.configCache.set('a', 1)
  t.equal(await on.configCache.get('a'), 1)
  await off.configCache.set('a', 2)
  t.equal(await on.configCache.get('a'), 2)
  const { loads } = source
  for (let i = 0; i < 5; i++) t.equal(await off.configCache.get('a'), 2)
  t.equal(source.loads, loads + 5)
  const unlinked = (await build(t, { enabled: false })).configCache
  t.match(unlinked.stats(), { mode: 'bypass', reason: 'the option enabled is false' })
})

t.test('a process with siblings and without Redis caches nothing', ALONE, async (t) => {
  process.env.NODE_APP_INSTANCE = '1'
  t.teardown(() => { delete process.env.NODE_APP_INSTANCE })
  const source = counting(memorySource())
  const { configCache: cache } = await build(t, { source })
  t.match(cache.stats(), { mode: 'bypass', reason: /NODE_APP_INSTANCE/ })
  await cache.set('a', 1)
  await cache.get('a')
  await cache.get('a')
  t.equal(source.loads, 2)
})

t.test('whenUnreachable source-fence: writes go on without Redis, and nobody is stale then or when it is back', async (t) => {
  const redis = await redisServer(t)
  const site = { siteId: uniqueName(), url: redis.url }
  const source = shared(memorySource())
  const options = { source, whenUnreachable: 'source-fence' as const }
  const one = (await build(t, options, site)).configCache
  const other = (await build(t, options, site)).configCache
  const both = () => one.mode === 'coherent' && other.mode === 'coherent'
  await waitFor(both, { timeoutMs: 20_000 })
  await one.set('a', 0)
  await redis.kill()
  await waitFor(() => one.mode === 'bypass' && other.mode === 'bypass')
  for (let i = 1; i < 20; i++) {
    await one.set('a', i)
    t.equal(await other.get('a'), i)
  }
  t.ok((await source.list('cache_fences', '*')).length > 0, 'the fence stands')
  await redis.restart()
  await waitFor(both, { timeoutMs: 30_000, what: 'caching to resume' })
  t.strictSame(await source.list('cache_fences', '*'), [])
  t.equal(await other.get('a'), 19)
  await one.set('a', 20)
  t.equal(await other.get('a'), 20)
})

t.test('whenUnreachable source-fence: a fence that could not be lowered, or stands though raising it failed, is lowered later', async (t) => {
  const redis = await redisServer(t)
  const memory = memorySource()
  const away = { remove: 0, save: 0 }
  const source: ConfigSource = {
    ...Object.fromEntries((['load', 'save', 'list', 'remove'] as const).map((name) => [name, memory[name].bind(memory)])) as unknown as ConfigSource,
    async save (collection, key, value) {
      await memory.save(collection, key, value)
      if (collection === 'cache_fences' && away.save-- > 0) throw new Error('the answer was lost')
    },
    async remove (collection, key) {
      if (collection === 'cache_fences' && away.remove-- > 0) throw new Error('the source is away')
      return memory.remove(collection, key)
    }
  }
  const { configCache: cache } = await build(t, { source, whenUnreachable: 'source-fence', blockTtlMs: 500, leaseMs: 200 }, { siteId: uniqueName(), url: redis.url })
  for (const fault of ['remove', 'save'] as const) {
    await waitFor(() => cache.mode === 'coherent', { timeoutMs: 20_000, what: `caching before ${fault}` })
    await redis.kill()
    await waitFor(() => cache.mode === 'bypass')
    away[fault] = 1
    await cache.set('a', fault).catch(() => {})
    t.equal((await memory.list('cache_fences', '*')).length, 1, 'the fence stands')
    await redis.restart()
    await waitFor(() => cache.mode === 'coherent', { timeoutMs: 10_000, what: `caching after ${fault}` })
    t.strictSame(await memory.list('cache_fences', '*'), [])
  }
})

t.test('whenUnreachable source-fence: close lets a write end and lowers the fence, and raises none any more', async (t) => {
  const redis = await redisServer(t)
  const memory = memorySource()
  let saving = Promise.resolve()
  let asked = 0
  const source: ConfigSource = {
    ...Object.fromEntries((['load', 'list', 'remove'] as const).map((name) => [name, memory[name].bind(memory)])) as unknown as ConfigSource,
    async save (collection, key, value) {
      if (collection === 'cache_fences') {
        asked++
        await saving
      }
      return memory.save(collection, key, value)
    }
  }
  const gate = () => {
    let open = () => {}
    return { opened: new Promise<void>((resolve) => { open = resolve }), open: () => open() }
  }
  const options = { source, whenUnreachable: 'source-fence' as const, blockTtlMs: 2000, leaseMs: 200 }
  const cut = async () => {
    const app = await build(t, options, { siteId: uniqueName(), url: redis.url })
    await waitFor(() => app.configCache.mode === 'coherent', { timeoutMs: 20_000 })
    await redis.kill()
    await waitFor(() => app.configCache.mode === 'bypass')
    return app
  }

  const app = await cut()
  const [began, work] = [gate(), gate()]
  const write = app.configCache.write({ keys: ['a'] }, async () => { began.open(); await work.opened })
  await began.opened
  await redis.restart()
  await waitFor(() => app.redisLink.isUp && app.redisLink.subscriber()?.isUp, { timeoutMs: 20_000 })
  const closed = app.configCache.close()
  work.open()
  await t.resolves(write)
  await closed
  t.strictSame(await memory.list('cache_fences', '*'), [], 'no other one has to lower it')

  const late = await cut()
  const fence = gate()
  saving = fence.opened
  asked = 0
  let worked = false
  const refused = t.rejects(late.configCache.write({ keys: ['a'] }, async () => { worked = true }), { code: 'FST_ERR_CONFIG_CACHE_CLOSED' })
  await waitFor(() => asked > 0)
  await late.configCache.close()
  fence.open()
  await refused
  t.notOk(worked, 'nothing was written after the close')
})

t.test('whenUnreachable source-fence: an instance cut off from Redis writes, and the instances that are not see it', async (t) => {
  const { tcpProxy } = await import('../../../test/helpers/index.ts')
  const redis = await redisServer(t)
  const proxy = await tcpProxy(t, redis.port)
  const siteId = uniqueName()
  const options = { source: shared(memorySource()), whenUnreachable: 'source-fence' as const }
  const cut = (await build(t, options, { siteId, url: `redis://127.0.0.1:${proxy.port}` })).configCache
  const other = (await build(t, options, { siteId, url: redis.url })).configCache
  await waitFor(() => cut.mode === 'coherent' && other.mode === 'coherent', { timeoutMs: 20_000 })
  for (let round = 0; round < 2; round++) {
    await other.set('a', `before ${round}`)
    await waitFor(async () => { await other.get('a'); return other.stats().entries === 1 })
    proxy.cut()
    await waitFor(() => cut.mode === 'bypass')
    await cut.set('a', `cut ${round}`)
    t.equal(await other.get('a'), `cut ${round}`)
    t.equal(other.mode, 'bypass', 'caches are off')
    proxy.mend()
    await waitFor(() => cut.mode === 'coherent' && other.mode === 'coherent', { timeoutMs: 30_000 })
    t.equal(await other.get('a'), `cut ${round}`)
  }
})

t.test('documents in the memory of a process are that of one process: the others refuse to write and to load any, loudly', ALONE, async (t) => {
  const site = { siteId: uniqueName(), url: sharedRedis() }
  const isPrivate = { code: 'FST_ERR_CONFIG_CACHE_PRIVATE_SOURCE', statusCode: 500, message: /mongoSource/ }
  const lines: string[] = []
  const [one, other] = [await build(t, {}, site), await build(t, {}, site, () => {}, { level: 'warn', stream: { write: (line: string) => { lines.push(line) } } })].map((app) => app.configCache) as [ConfigCache, ConfigCache]
  const steps: unknown[] = []
  const onWrite = (message: unknown) => { if ((message as { step: string }).step === 'refused') steps.push(message) }
  subscribe('jpulse:config-cache:write', onWrite)
  t.teardown(() => unsubscribe('jpulse:config-cache:write', onWrite))
  for (const cache of [one, other]) await waitFor(() => cache.mode === 'coherent', { timeoutMs: 20_000 })
  t.strictSame([await one.get('a'), await other.get('a')], [null, null], 'nobody wrote any')
  t.equal(await other.getOrLoad('list', {}, async () => 1), 1)
  await one.set('a', 'hello')
  await one.set('a', 'hello again')
  const seen = await other.get('a').catch((err: unknown) => err)
  if (seen !== 'hello again') t.match(seen, isPrivate, 'from Redis or not at all')
  await other.clear()
  await t.rejects(other.get('a'), isPrivate)
  t.equal(await one.get('a'), 'hello again')
  const refused: Array<() => Promise<unknown>> = [() => other.set('b', 1), () => other.delete('a'), () => other.set('a', 1, { ifVersion: versionOf('hello again') }), () => other.setFeature('ui', { enabled: true })]
  for (const write of refused) await t.rejects(write() as Promise<void>, isPrivate)
  t.equal(await other.warmup(['*', 'features:*']), 0, 'who starts meanwhile is not kept from it')
  t.equal(await other.isFeatureEnabled('ui', { default: true }), true)
  t.match(other.stats(), { refused: 4, blocks: 0 })
  t.ok(other.stats().foreign >= 6)
  t.match(steps, Array.from({ length: 4 }, () => ({ step: 'refused', reason: isPrivate.message })))
  t.equal(lines.filter((line) => line.includes('documents are neither read nor written here')).length, 1, 'said once')
  t.equal(await other.getOrLoad('list', {}, async () => 2), 2, 'loaders are nobody\'s')
  t.match(one.stats(), { foreign: 0, refused: 0 })
  await one.close()
  await other.set('b', 2)
  t.equal(await other.get('b'), 2, 'the other one is gone, and its documents are')
})

t.test('the documents of a process that died are nobody\'s, those of one elsewhere until its claim lapses', async (t) => {
  const redis = await redisServer(t)
  const site = { siteId: uniqueName(), url: redis.url }
  const app = await build(t, { leaseMs: 500 }, site)
  const { configCache: cache } = app
  await waitFor(() => cache.mode === 'coherent', { timeoutMs: 20_000 })
  const client = redis.connect()
  await cache.set('a', 1)
  const claim = app.redisLink.key('cache', 'documents')
  const place = (await client.get(claim))!.split('@')[1]!
  t.ok(await client.pttl(claim) <= 1000)
  await app.close()
  t.equal(await client.get(claim), null, 'given up at close')
  const next = (await build(t, { leaseMs: 500 }, site)).configCache
  await waitFor(() => next.mode === 'coherent', { timeoutMs: 20_000 })
  // Pids are at most 2^22 on Linux.
  await client.set(claim, `other 9999999@${place}`, 'PX', 60_000)
  t.equal(await next.get('b'), null)
  await next.set('b', 1)
  t.ok((await client.get(claim))!.endsWith(`${process.pid}@${place}`))
  await client.set(claim, 'other 1@elsewhere', 'PX', 60_000)
  const isPrivate = { code: 'FST_ERR_CONFIG_CACHE_PRIVATE_SOURCE' }
  await waitFor(() => next.set('b', 2).then(() => false, ({ code }) => code === isPrivate.code), { what: 'a claim that others took over to be noticed' })
  const fresh = (await build(t, { leaseMs: 500 }, site)).configCache
  await t.rejects(fresh.set('b', 3), isPrivate)
  await client.del(claim)
  await t.rejects(next.set('b', 4), { ...isPrivate, message: /older ones until it is restarted/ })
  await next.clear()
  await t.rejects(next.get('b'), isPrivate, 'what it has is older than what was written elsewhere')
  await fresh.set('b', 5)
  t.equal(await fresh.get('b'), 5, 'nobody\'s any more')
})

t.test('a write that wrote no document leaves the documents to others', async (t) => {
  const redis = await redisServer(t)
  const site = { siteId: uniqueName(), url: redis.url }
  const source = memorySource()
  const [app, twin] = [await build(t, { source }, site), await build(t, { source }, site)]
  const [one, two] = [app.configCache, twin.configCache]
  await waitFor(() => one.mode === 'coherent' && two.mode === 'coherent', { timeoutMs: 20_000 })
  const client = redis.connect()
  const claim = app.redisLink.key('cache', 'documents')
  const isFree = () => waitFor(async () => await client.get(claim) === null, { what: 'the claim to be given up' })
  const conflict = { code: 'FST_ERR_CONFIG_CACHE_VERSION_CONFLICT' }
  await Promise.all([t.rejects(one.set('a', 1, { ifVersion: '*' }), conflict), t.rejects(two.delete('a', { ifVersion: '*' }), conflict)])
  await isFree()
  t.strictSame([await one.delete('a'), await two.delete('a', { ifVersion: null })], [false, false])
  await isFree()
  await one.set('a', 1)
  await t.rejects(two.set('a', 1, { ifVersion: null }), conflict)
  await app.close()
  t.ok(await client.get(claim), 'kept for the other application of the process, which has the same source')
  t.equal(await two.get('a'), 1)
  await twin.close()
  t.equal(await client.get(claim), null)
})

t.test('close during the first write of a document: written or refused, and the documents are nobody\'s afterwards', async (t) => {
  const redis = await redisServer(t)
  const proxy = await tcpProxy(t, redis.port)
  const client = redis.connect()
  for (const delayMs of [0, 5, 20]) {
    for (const turns of [0, 1, 3, 10]) {
      const siteId = uniqueName()
      const source = memorySource()
      const app = await build(t, { source }, { siteId, url: `redis://127.0.0.1:${proxy.port}` })
      const claim = app.redisLink.key('cache', 'documents')
      proxy.delay(delayMs)
      const written = app.configCache.set('a', 1).then(() => 'written', ({ code }: { code: string }) => code)
      for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve))
      await app.configCache.close()
      const outcome = await written
      t.ok(['written', 'FST_ERR_CONFIG_CACHE_CLOSED'].includes(outcome), `${delayMs} ms, ${turns} turns: ${outcome}`)
      t.equal(await source.load('config', 'a'), outcome === 'written' ? 1 : null)
      t.equal(await client.get(claim), null, 'given up')
      await t.rejects(app.configCache.set('a', 2), { code: 'FST_ERR_CONFIG_CACHE_CLOSED' })
      proxy.delay(0)
    }
  }
})

t.test('close lets the writes that are under way end, for a moment', async (t) => {
  const [one, other] = await buildTwo(t, { blockTtlMs: 2000 })
  const read = (value: string) => other.configCache.getOrLoad('a', {}, async () => value)
  let end = (): void => {}
  let begin = (): void => {}
  const begun = new Promise<void>((resolve) => { begin = resolve })
  const write = one.configCache.write({ keys: 'a' }, () => new Promise<string>((resolve) => {
    end = () => resolve('done')
    begin()
  }))
  await begun
  const keys = new CacheKeys((...parts) => other.redisLink.key(...parts), (...parts) => other.redisLink.channel(...parts))
  const asked = onShared(t)
  const before = await asked.hlen(keys.core[1])
  const closed = one.close()
  // What closes without a look at the write has left and is gone by then.
  await waitFor(async () => await asked.hlen(keys.core[1]) === before - 1, { what: 'the instance to leave' })
  for (let i = 0; i < 50; i++) await asked.ping()
  await t.rejects(one.configCache.write({ keys: 'b' }, async () => {}), { code: 'FST_ERR_CONFIG_CACHE_CLOSED' })
  end()
  t.equal(await write, 'done')
  await closed
  t.equal(await read('new'), 'new')
  t.strictSame([await asked.hlen(keys.core[2]), await asked.hlen(keys.core[3])], [1, 1], 'no block is left, nor its count')
  t.match(one.configCache.stats(), { unconfirmed: 0 })
})

t.test('close is quick while Redis is frozen, and writes are refused afterwards', async (t) => {
  const redis = await redisServer(t)
  const app = await build(t, {}, { siteId: uniqueName(), url: redis.url })
  await waitFor(() => app.configCache.mode === 'coherent', { timeoutMs: 20_000 })
  redis.freeze()
  t.teardown(() => redis.thaw())
  const start = performance.now()
  await app.configCache.close()
  // Redis stays frozen until the test is over; close() bounds itself by a second.
  t.ok(performance.now() - start < 15_000)
  t.equal(app.configCache.mode, 'bypass')
  await t.rejects(app.configCache.set('a', 1), { code: 'FST_ERR_CONFIG_CACHE_CLOSED' })
})

t.test('options: unknown and impossible ones are named', async (t) => {
  const bad: Array<[object, RegExp]> = [
    [{ ttl: 5 }, /option ttl is unknown/],
    [{ ttlMs: 0 }, /option ttlMs/],
    [{ leaseMs: 10 }, /option leaseMs/],
    [{ source: {} }, /option source must be an object with the methods load/],
    [{ authorize: true }, /option authorize/],
    [{ leaseMs: 1000, writeTimeoutMs: 500 }, /option writeTimeoutMs/],
    [{ collections: [] }, /option collections/],
    [{ whenUnreachable: 'hope' }, /option whenUnreachable/]
  ]
  await t.rejects(build(t, { whenUnreachable: 'source-fence' }, { url: sharedRedis() }), { code: 'FST_ERR_CONFIG_CACHE_INVALID_OPTION', message: /no other instance would see the fence/ })
  for (const [options, message] of bad) await t.rejects(build(t, options), { code: 'FST_ERR_CONFIG_CACHE_INVALID_OPTION', message })
})

t.test('each instance holds to its site', async (t) => {
  const [one] = await buildTwo(t)
  const [stranger] = await buildTwo(t)
  await one.configCache.set('a', 'mine')
  t.equal(await stranger.configCache.get('a'), null)
})
