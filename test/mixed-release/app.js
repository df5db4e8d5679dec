import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import Fastify from 'fastify'
import { Redis } from 'ioredis'
import { serve } from '../helpers/worker.js'

// One instance of an application on the packages of RELEASE, a folder. URL and SITE name the Redis that all share, DATABASE another way to it for its own values.

const { RELEASE = '', URL: url = '', DATABASE: databaseUrl = url, SITE: siteId = '' } = process.env
/** @param {string} name @returns {Promise<any>} */
const load = async (name) => import(pathToFileURL(join(RELEASE, 'packages', name, 'dist/index.js')).href)
/** @param {string} name */
const release = async (name) => (await load(name)).default

/** The database: what the caches are judged by. */
const database = new Redis(databaseUrl)
/** @param {string} collection */
const table = (collection) => `${siteId}:database:${collection}`
const source = {
  /** @param {string} collection @param {string} key */
  async load (collection, key) {
    const text = await database.hget(table(collection), key)
    return text === null ? null : JSON.parse(text)
  },
  /** @param {string} collection @param {string} key @param {unknown} value */
  save: (collection, key, value) => database.hset(table(collection), key, JSON.stringify(value)),
  /** @param {string} collection @param {string} key */
  remove: async (collection, key) => await database.hdel(table(collection), key) > 0,
  list: async () => []
}

const app = Fastify()
await app.register(await release('redis-link'), { url, siteId, env: 'mixed' })
await app.register(await release('cluster-broadcast'), { heartbeatMs: 200, leaseMs: 2000 })
await app.register(await release('redis-sessions'), { secret: 'a secret of more than thirty-two characters', touchIntervalMs: 50 })
await app.register(await release('ws-namespaces'))
await app.register(await release('config-cache'), { source, leaseMs: 500, blockTtlMs: 1000 })
await app.register(await release('cluster-metrics'), { authorize: async () => true, reportIntervalMs: 500, ttlMs: 2000 })

app.post('/login/:user', async (request) => {
  await app.sessions.login(request, /** @type {{ user: string }} */ (request.params).user)
  return {}
})
app.post('/logout', async (request) => {
  await app.sessions.logout(request)
  return {}
})
app.get('/me', async (request) => ({ userId: app.sessions.current(request)?.userId ?? null }))
app.post('/field/:name', async (request) => {
  const session = /** @type {any} */ (request.session)
  session[/** @type {{ name: string }} */ (request.params).name] = true
  return {}
})
app.get('/field/:name', async (request) => ({ set: /** @type {any} */ (request.session)[/** @type {{ name: string }} */ (request.params).name] === true }))

const knowsBytes = 'Bytes' in await load('ws-namespaces')
await app.ready()
const options = { history: { maxLength: 1000 }, presence: true, onConnect: (/** @type {any} */ conn) => conn.join('lobby') }
const namespace = app.wsNamespaces.create('mixed', options)
app.wsNamespaces.create('rooms/:id', options)

/** @type {string[]} */
const heard = []
const { broadcast } = app.appCluster
await broadcast.subscribe('mixed:logged', ({ data }) => { heard.push(String(data)) })
await broadcast.subscribe('mixed:ask', ({ data }) => ({ answer: data }))
await app.listen({ port: 0, host: '127.0.0.1' })

serve({
  info: () => ({ port: /** @type {import('node:net').AddressInfo} */ (app.server.address()).port, bootId: app.appCluster.bootId }),
  state: () => ({ mode: app.appCluster.mode, members: app.appCluster.members().length, cache: app.configCache.mode }),
  heard: () => heard,
  /** With bytes among them, which the release before passes over. */
  publish: async (/** @type {string[]} */ texts) => {
    const published = texts.map((text) => {
      broadcast.publish('mixed:bytes', new Uint8Array([0xff, 0x0a, 0x5c, 0]))
      return broadcast.publish('mixed:logged', text)
    })
    return (await Promise.all(published)).map(({ delivered }) => delivered)
  },
  ask: async (/** @type {unknown} */ data) => {
    const { replies, missing } = await broadcast.ask('mixed:ask', data, { timeoutMs: 5000 })
    return { answers: replies.filter((/** @type {any} */ { value }) => value?.answer === data).length, missing: missing.length }
  },
  once: (/** @type {string} */ name) => broadcast.once(name, 60_000, () => {}).then((/** @type {{ ran: boolean }} */ { ran }) => ran),
  lock: async (/** @type {string} */ name) => await app.redisLink.tryLock(name, 60_000) !== null,
  keep: (/** @type {string} */ key, /** @type {unknown} */ value) => app.redisLink.kv.set(key, value, 60),
  kept: (/** @type {string} */ key) => app.redisLink.kv.get(key),
  write: (/** @type {string} */ key, /** @type {unknown} */ value) => app.configCache.set(key, value),
  read: (/** @type {string} */ key) => app.configCache.get(key),
  /**
   * To the clients of `mixed`, and to those of one room of a pattern whose name has to be written with an escape. A release that knows
   * bytes sends some before each message: the release before passes over them.
   */
  toClients: async (/** @type {Array<[kind: string, number: number]>} */ messages) => {
    for (const to of [namespace, /** @type {typeof namespace} */ (app.wsNamespaces.get('rooms/a:7'))]) {
      await Promise.all(messages.flatMap(([kind, number]) => {
        const send = (/** @type {string} */ type, /** @type {unknown} */ data) => kind === 'room' ? to.toRoom('lobby', type, data) : to.broadcast(type, data)
        return [...(knowsBytes ? [send('bytes', Uint8Array.of(0xff, 0x0a, 0x5c, 0))] : []), send('number', number)]
      }))
    }
  },
  online: async () => (await namespace.presence()).map((/** @type {{ userId: string }} */ { userId }) => userId).sort(),
  count: (/** @type {number} */ by) => { app.clusterMetrics.increment('things', by) },
  metrics: async () => {
    const { statistics } = await app.clusterMetrics.aggregate()
    return { instances: statistics.totalInstances, things: statistics.counters.things ?? 0 }
  },
  hits: () => app.configCache.stats().l1Hits,
  close: async () => {
    await app.close()
    database.disconnect()
  }
})
