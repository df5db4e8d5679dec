import { setTimeout as sleep } from 'node:timers/promises'
import { clusterMetrics } from '@jpulse/cluster-metrics'
import { configCache, memorySource } from '@jpulse/config-cache'
import { wsNamespaces } from '@jpulse/ws-namespaces'
import { RedisPresence } from '../../packages/ws-namespaces/dist/presence/redis-presence.js'
import { makeApp } from './app.js'
import { options, serve } from './children.js'
import { clock, until } from './numbers.js'

// Some of the members of members.js in one process. Each is a whole application with its own connections.

const { redis, here, leaseMs, presenceLeaseMs } = options()
const CHANNEL = 'bench:all'
const RENEW_MS = 5000

/** @typedef {{ app: import('fastify').FastifyInstance, presence: RedisPresence }} One */
/** @type {One[]} */
const members = []
/** What came last, by number: when, and to how many. @type {Map<number, { at: number, heard: number }>} */
const arrivals = new Map()
let floodHeard = 0
/** When others were seen to leave. @type {number[]} */
let departures = []

for (let index = 0; index < here; index++) members.push(await makeMember(index))

/** @param {number} index @returns {Promise<One>} */
async function makeMember (index) {
  const app = makeApp(redis, { pmId: String(index), leaseMs })
  // A hundred members share one event loop: what its stalls are to a process of one member nobody can tell.
  app.register(configCache, { source: memorySource(), maxStallMs: 0, blockTtlMs: 2000, redisTimeoutMs: 20_000, writeTimeoutMs: 30_000, ttlMs: 1000 })
  app.register(wsNamespaces)
  app.register(clusterMetrics, { pm2: false })
  await app.ready()
  const { appCluster, redisLink: link, log } = app
  await appCluster.broadcast.subscribe(CHANNEL, ({ data }) => {
    const { number } = /** @type {{ number: number }} */ (data)
    if (number < 0) {
      floodHeard++
      return
    }
    const known = arrivals.get(number) ?? { at: 0, heard: 0 }
    arrivals.set(number, { at: clock(), heard: known.heard + 1 })
  })
  const presence = new RedisPresence('chat', {
    link, subscriber: /** @type {any} */ (link.subscriber()), listener: /** @type {any} */ (null), token: `${appCluster.bootId}/${appCluster.instanceId}`, leaseMs: presenceLeaseMs, log
  }, { announce () {} })
  // As the plugin does for each namespace.
  appCluster.on('leave', ({ bootId, instanceId }) => {
    departures.push(clock())
    presence.beat(`${bootId}/${instanceId}`).catch(() => {})
  })
  setInterval(() => { presence.beat().catch(() => {}) }, RENEW_MS).unref()
  return { app, presence }
}

/** @type {One} */
const first = /** @type {any} */ (members[0])
/** @type {NodeJS.Timeout[]} */
let load = []

serve({
  knows: () => members.map(({ app }) => app.appCluster.members().length),
  collect: () => /** @type {() => void} */ (globalThis.gc)(),
  isCoherent: () => members.every(({ app }) => app.configCache.mode === 'coherent'),

  /** Publishes one after the other. @param {number} from @param {number} count @param {number} pauseMs @returns {Promise<number[]>} when each was sent */
  publish: async (from, count, pauseMs) => {
    arrivals.clear()
    const sent = []
    for (let number = from; number < from + count; number++) {
      sent.push(clock())
      first.app.appCluster.broadcast.publish(CHANNEL, { number, text: 'x'.repeat(80) }).catch(() => {})
      await sleep(pauseMs)
    }
    return sent
  },
  arrivals: (/** @type {number} */ from, /** @type {number} */ count) => Array.from({ length: count }, (_, index) => arrivals.get(from + index) ?? { at: 0, heard: 0 }),
  forget: () => {
    arrivals.clear()
    floodHeard = 0
    departures = []
  },

  /** As many as Redis takes. @param {number} count @param {number} atOnce */
  flood: async (count, atOnce) => {
    let next = 0
    await Promise.all(Array.from({ length: atOnce }, async () => {
      while (next++ < count) await first.app.appCluster.broadcast.publish(CHANNEL, { number: -1, text: 'x'.repeat(80) })
    }))
  },
  heard: () => floodHeard,

  /** Coherent writes of one member. @param {number} count @param {number} pauseMs @returns {Promise<number[]>} milliseconds */
  write: async (count, pauseMs) => {
    const times = []
    for (let index = 0; index < count; index++) {
      const begin = clock()
      await first.app.configCache.write({ keys: `key:${index % 10}` }, async () => {})
      times.push(clock() - begin)
      await sleep(pauseMs)
    }
    return times
  },

  /** @param {number} count @returns {Promise<number[]>} milliseconds */
  aggregate: async (count) => {
    const times = []
    for (let index = 0; index < count; index++) {
      const begin = clock()
      await first.app.clusterMetrics.aggregate()
      times.push(clock() - begin)
      await sleep(50)
    }
    return times
  },

  /** Each member reads a value, mostly from Redis, so often; `messages` and `writes` a second are those of all processes together, and of this one only where it has them. */
  load: (/** @type {{ readsEach: number, messages: number, writes: number }} */ { readsEach, messages, writes }) => {
    const every = (/** @type {number} */ perSecond, /** @type {() => unknown} */ fn) => { if (perSecond > 0) load.push(setInterval(fn, 1000 / perSecond)) }
    members.forEach(({ app }, index) => {
      let reads = index
      every(readsEach, () => app.configCache.getOrLoad(`value:${reads++ % 100}`, {}, async () => 'x'.repeat(100)).catch(() => {}))
    })
    every(messages, () => first.app.appCluster.broadcast.publish(CHANNEL, { number: -1, text: 'x'.repeat(80) }).catch(() => {}))
    every(writes, () => first.app.configCache.write({ keys: 'value:1' }, async () => {}).catch(() => {}))
  },
  rest: () => {
    load.forEach(clearInterval)
    load = []
  },

  /** So many users, spread over the members of this process. @param {number} from @param {number} count */
  users: async (from, count) => {
    for (let user = from; user < from + count; user++) /** @type {One} */ (members[user % members.length]).presence.change(`user-${user}`, true)
    await until(() => members.every(({ presence }) => presence.idle), 'the presence', 120_000)
  },
  listUsers: async () => {
    const begin = clock()
    const { length } = await first.presence.list()
    return { ms: clock() - begin, users: length }
  },
  isOnline: async (/** @type {number} */ users, /** @type {number} */ count) => {
    const times = []
    for (let index = 0; index < count; index++) {
      const begin = clock()
      if ((await first.presence.list(`user-${(index * 7919) % users}`)).length !== 1) throw new Error('a user is missing')
      times.push(clock() - begin)
    }
    return times
  },
  departures: () => departures
}, async () => {
  for (const { presence } of members) presence.close()
  await Promise.all(members.map(({ app }) => app.close()))
})
