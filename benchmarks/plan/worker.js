import { setTimeout as sleep } from 'node:timers/promises'
import { clusterMetrics } from '@jpulse/cluster-metrics'
import { configCache, mongoSource } from '@jpulse/config-cache'
import { redisSessions } from '@jpulse/redis-sessions'
import { wsNamespaces } from '@jpulse/ws-namespaces'
import { MongoClient } from 'mongodb'
import { Store } from '../../packages/cluster-metrics/dist/store/index.js'
import { makeApp, newRef, SECRET, SESSION, stored } from './app.js'
import { options, serve } from './children.js'
import { keyOf, SETTING } from './documents.js'
import { many, until } from './numbers.js'

// One of the workers of latency.js: an application with every plugin.

const { redis, mongo, db, number, count } = options()
const client = await MongoClient.connect(mongo)
const source = mongoSource(/** @type {any} */ (client.db(db)), { maxTimeMs: 60_000 })
const app = makeApp(redis, { pmId: String(number) })
app.register(redisSessions, { secret: SECRET })
app.register(wsNamespaces)
app.register(configCache, { source, maxStallMs: 0, blockTtlMs: 500, redisTimeoutMs: 20_000 })
app.register(clusterMetrics, { mongo: false, pm2: false })
app.post('/login', (request) => app.sessions.login(request, `user-${number}`, SESSION).then(() => 'in'))
app.get('/page', async ({ session }) => ({ theme: /** @type {any} */ (session).theme, setting: await app.configCache.get(keyOf('hot', number, 0)) }))
await app.ready()
const space = app.wsNamespaces.create('chat', { public: true, authorize: () => ({ userId: null }), limits: { messages: 1_000_000 }, onMessage: (_conn, { data }) => space.broadcast('said', data).then(() => null) })
await app.listen({ port: 0, host: '127.0.0.1' })

const { store } = app.sessions
const { payload, notice } = await stored(app)
/** @type {Array<{ ref: ReturnType<typeof newRef>, version: string }>} */
const sessions = []
for (let index = 0; index < 200; index++) {
  const ref = newRef()
  const made = await store.create(ref, payload, undefined, undefined, notice)
  sessions.push({ ref, version: made?.version ?? '' })
}
const session = (/** @type {number} */ index) => /** @type {typeof sessions[number]} */ (sessions[index % sessions.length])

/** Gets of one sample: a single one is shorter than the clock can tell. */
const HITS = 100
/** Says that it did not come from where it should have. */
const UNFIT = Symbol('unfit')
/** Each is one operation, or takes the time by itself. @type {Record<string, (index: number, workers: number) => Promise<unknown>>} */
const operations = {
  'session read': async (index) => { if (await store.read(session(index).ref) === null) throw new Error('no session') },
  'session write': async (index) => {
    const one = session(index)
    const result = await store.replace(one.ref, one.version, payload)
    if (result.outcome !== 'saved') throw new Error(result.outcome)
    one.version = result.stored.version
  },
  'config, in the process': async () => {
    const begin = performance.now()
    for (let hit = 0; hit < HITS; hit++) await app.configCache.get(keyOf('hot', number, 0))
    return (performance.now() - begin) / HITS
  },
  'config, from Redis': async (index, workers) => {
    let isLoaded = false
    await app.configCache.getOrLoad(keyOf('warm', (number + 1) % workers, index), {}, async () => {
      isLoaded = true
      return SETTING
    })
    return isLoaded ? UNFIT : undefined
  },
  'config, from MongoDB': (index) => app.configCache.get(keyOf('cold', number, index)),
  'health write': async () => healthStore.write(outgoing),
  aggregation: () => app.clusterMetrics.aggregate()
}

const read = (/** @type {string[]} */ ...parts) => app.redisLink.run((redis) => redis.get(app.redisLink.key(...parts)))
const { bootId } = app.appCluster
await until(async () => await read('health', 'instance', bootId) !== null, 'the first report', 20_000)
/** A second one of this process' kind, so that its own stays as it is. */
const healthStore = new Store(app.redisLink, `${bootId}-again`, { ttlMs: 30_000, keepMs: 3_600_000 })
const outgoing = {
  report: String(await read('health', 'instance', bootId)),
  totals: String(await read('metric', '-totals', bootId)),
  counters: new Map(),
  minutes: [],
  errors: [],
  point: (await app.redisLink.run((redis) => redis.zrange(app.redisLink.key('health', 'history', bootId), '-1', '-1')))[0] ?? ''
}

serve({
  port: () => /** @type {import('node:net').AddressInfo} */ (app.server.address()).port,
  /** Of this worker's keys, so that the next one finds them in Redis. */
  fill: () => many(count, (index) => app.configCache.getOrLoad(keyOf('warm', number, index), {}, async () => SETTING), 16),
  isReady: (/** @type {number} */ workers) => app.configCache.mode === 'coherent' && app.appCluster.members().length === workers,
  /** @param {string} name @param {number} operationsWanted @param {number} pauseMs @param {number} workers @returns {Promise<number[]>} milliseconds */
  time: async (name, operationsWanted, pauseMs, workers) => {
    const operation = /** @type {NonNullable<typeof operations[string]>} */ (operations[name])
    const times = []
    for (let index = 0; index < operationsWanted; index++) {
      const begin = performance.now()
      const said = await operation(index, workers)
      if (said !== UNFIT) times.push(typeof said === 'number' ? said : performance.now() - begin)
      await sleep(pauseMs)
    }
    if (times.length < operationsWanted / 2) throw new Error(`only ${times.length} of ${operationsWanted} times of ${name} are fit`)
    return times
  },
  login: async () => {
    const { cookies } = await app.inject({ method: 'POST', url: '/login' })
    return cookies.map(({ name, value }) => `${name}=${value}`).join('; ')
  },
  cpu: () => process.cpuUsage()
}, async () => {
  await app.close()
  await client.close()
})
