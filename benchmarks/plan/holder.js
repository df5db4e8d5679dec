import { clusterMetrics } from '@jpulse/cluster-metrics'
import { configCache, memorySource } from '@jpulse/config-cache'
import { redisSessions } from '@jpulse/redis-sessions'
import { wsNamespaces } from '@jpulse/ws-namespaces'
import { Store } from '../../packages/cluster-metrics/dist/store/index.js'
import { MemoryPresence } from '../../packages/ws-namespaces/dist/presence/presence.js'
import { RedisPresence } from '../../packages/ws-namespaces/dist/presence/redis-presence.js'
import { makeApp, newRef, SECRET, SESSION, stored } from './app.js'
import { options, serve } from './children.js'
import { heap, many, until } from './numbers.js'

// A process that makes many of one kind, for memory.js: with Redis, or without, when it holds them itself.

const { kind, redis } = options()
const app = makeApp(redis)
/** Health reports that a process looks at. */
const MOST_SEEN = 10_000
/** Of what a process made and does not hold. */
const NOT_HELD = 'not held'
/** Points of an instance's hour: its history is one sorted set. */
const POINTS = 360
/** Whatever has to stay reachable. @type {unknown[]} */
const held = []

/** Of each kind: what has to be there before, and what makes so many. @type {Record<string, () => Promise<(count: number) => Promise<unknown>>>} */
const kinds = {
  async session () {
    app.register(redisSessions, { secret: SECRET })
    app.post('/login', (request) => app.sessions.login(request, 'user-1', SESSION).then(() => 'in'))
    await app.ready()
    const { payload, notice } = await stored(app)
    return (count) => many(count, () => app.sessions.store.create(newRef(), payload, undefined, undefined, notice), 500)
  },

  async 'health report' () {
    const { report, totals, point } = await reported()
    return async (count) => {
      await many(count, (index) => {
        const boot = `bench${index}`
        const other = { ...report, bootId: boot, instanceId: `${index >> 3}:${index & 7}`, serverId: `s${index >> 3}` }
        return new Store(app.redisLink, boot, { ttlMs: 3_600_000, keepMs: 3_600_000 }).write({ report: JSON.stringify(other), totals, counters: new Map(), minutes: [], errors: [], point })
      }, 200)
      // Nobody has more instances than that; and what they would be in one process nobody wants to know.
      if (count > MOST_SEEN) return NOT_HELD
      const begin = performance.now()
      const { statistics } = await app.clusterMetrics.aggregate()
      if (statistics.totalInstances < count) throw new Error(`${statistics.totalInstances} of ${count} instances`)
      return performance.now() - begin
    }
  },

  async 'health history point' () {
    const { point } = await reported()
    return async (count) => {
      const now = Date.now()
      await many(Math.ceil(count / POINTS), (index) => {
        const times = Array.from({ length: Math.min(POINTS, count - index * POINTS) }, (_, step) => now - step * 10_000)
        return app.redisLink.run((client) => client.zadd(app.redisLink.key('health', 'history', `bench${index}`), ...times.flatMap((at) => [at, `${at} ${point}`])))
      }, 50)
      return NOT_HELD
    }
  },

  async 'cached value' () {
    app.register(configCache, { source: memorySource(), maxEntries: 1_000_000, maxBytes: 2 ** 32, ttlMs: 3_600_000, redisTtlMs: 3_600_000, maxStallMs: 0, blockTtlMs: 500, redisTimeoutMs: 20_000 })
    await app.ready()
    await until(() => app.configCache.mode !== 'bypass', 'the cache', 20_000)
    return (count) => many(count, (index) => app.configCache.getOrLoad(`setting:${index}`, {}, async () => ({ id: index, name: `setting ${index}`, enabled: true, limits: { requests: 100, uploads: [1, 10, 100] } })), 500)
  },

  async 'presence entry' () {
    await app.ready()
    const { redisLink: link, appCluster: { bootId, instanceId }, log } = app
    const subscriber = link.subscriber()
    const sink = { announce () {} }
    const presence = subscriber === null
      ? new MemoryPresence(instanceId, sink)
      : new RedisPresence('chat', { link, subscriber, listener: /** @type {any} */ (null), token: `${bootId}/${instanceId}`, leaseMs: 600_000, log }, sink)
    held.push(presence)
    return async (count) => {
      for (let user = 0; user < count; user++) presence.change(`user-${user}`, true)
      await until(() => presence.idle, 'the presence', 120_000)
    }
  },

  async 'history message' () {
    app.register(wsNamespaces)
    await app.ready()
    const PER_NAMESPACE = 1000
    const data = { text: 'x'.repeat(100) }
    return async (count) => {
      const spaces = Array.from({ length: Math.ceil(count / PER_NAMESPACE) }, (_, index) => app.wsNamespaces.create(`room${index}`, { public: true, authorize: () => ({ userId: null }), history: { maxLength: PER_NAMESPACE, maxAgeMs: 3_600_000 } }))
      await many(count, (index) => /** @type {NonNullable<typeof spaces[number]>} */ (spaces[index % spaces.length]).broadcast('said', data), 500)
    }
  }
}

/** The report of this process, with its totals and the longest point of its history, when each of 20 routes was asked. */
async function reported () {
  app.register(clusterMetrics, { reportIntervalMs: 1000, ttlMs: 3_600_000 })
  app.register(async (scope) => { for (let route = 0; route < 20; route++) scope.get(`/route/${route}/:id`, async () => 'x') })
  await app.ready()
  for (let route = 0; route < 20; route++) for (let id = 0; id < 50; id++) await app.inject(`/route/${route}/${id}`)
  const read = (/** @type {string[]} */ ...parts) => app.redisLink.run((client) => client.get(app.redisLink.key(...parts)))
  const { bootId } = app.appCluster
  /** @type {any} */
  let report = null
  await until(async () => Object.keys((report = JSON.parse(await read('health', 'instance', bootId) ?? '{}')).routes ?? {}).length === 20, 'a report of 20 routes', 10_000)
  const totals = await read('metric', '-totals', bootId) ?? '{}'
  const points = await app.redisLink.run((client) => client.zrange(app.redisLink.key('health', 'history', bootId), '0', '-1'))
  // One in which there were requests: without its time, which Redis puts before it.
  const point = points.map((member) => member.slice(member.indexOf(' ') + 1)).reduce((longest, one) => one.length > longest.length ? one : longest, '')
  return { report, totals, point }
}

const make = await /** @type {NonNullable<typeof kinds[string]>} */ (kinds[kind])()
serve({
  /** Bytes of this process for each, and what `make` says. @param {number} count */
  make: async (count) => {
    const before = await heap()
    const said = await make(count)
    return { each: said === NOT_HELD ? null : (await heap() - before) / count, said: said ?? null }
  }
})
