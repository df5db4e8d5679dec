import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import Fastify from 'fastify'

// Members that do nothing, or (kinds `shared` and `own`) publish to channels on which nobody listens. argv: kind, url, how many here, how many in all. Says how many commands they sent, and whether all know all, when asked.
const [kind = '', url = '', here = '', all = ''] = process.argv.slice(2)
const folder = process.env.PACKAGES ?? new URL('../../packages', import.meta.url).pathname
/** @param {string} name @returns {Promise<any>} */
const load = (name) => import(pathToFileURL(`${folder}/${name}/dist/index.js`).href)
const { Redis } = createRequire(`${folder}/redis-link/package.json`)('ioredis')

/** A hundred members share one event loop, which while they boot stands still for longer than a process of one member ever would. */
const LEASE_MS = 120_000

let sent = 0
const { sendCommand } = Redis.prototype
/** @this {unknown} @param {unknown[]} args */
Redis.prototype.sendCommand = function (...args) {
  sent++
  return sendCommand.apply(this, args)
}

const { redisLink } = await load('redis-link')
const { clusterBroadcast } = await load('cluster-broadcast')
/** @type {Array<import('fastify').FastifyInstance>} */
const apps = []
for (let index = 0; index < Number(here); index++) {
  // Many boot at a time on few cores.
  const app = Fastify({ pluginTimeout: 300_000 })
  app.register(redisLink, { url, siteId: 'bench', connectTimeoutMs: 10_000, commandTimeoutMs: 10_000 })
  if (kind !== 'link') app.register(clusterBroadcast, { serverId: `s${process.pid}`, pmId: String(index), leaseMs: LEASE_MS, ...(kind === 'own' && { channels: { orders: { replay: 'own' } } }) })
  if (kind === 'all') {
    const { configCache, memorySource } = await load('config-cache')
    app.register(configCache, { source: memorySource() })
    app.register((await load('cluster-metrics')).clusterMetrics, {})
  }
  await app.ready()
  apps.push(app)
}
// Under load they may never all be members at one moment: then the cost is measured none the less, and the row says so.
const isComplete = () => kind === 'link' || apps.every((app) => app.appCluster.members().length === Number(all))
const until = performance.now() + Number(process.env.BOOT_SECONDS ?? 120) * 1000
while (!isComplete() && performance.now() < until) await sleep(500)
if (kind === 'shared' || kind === 'own') {
  // Not all at one moment.
  for (const app of apps) setTimeout(() => setInterval(() => app.appCluster.broadcast.publish('orders:new', { text: 'x'.repeat(100) }), 1000), Math.random() * 1000)
}
process.on('message', () => { process.send?.({ sent, isComplete: isComplete() }) })
process.on('disconnect', () => process.exit())
process.send?.({ sent, isComplete: isComplete() })
