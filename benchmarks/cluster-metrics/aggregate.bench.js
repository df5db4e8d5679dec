import { randomUUID } from 'node:crypto'
import clusterBroadcast from '@jpulse/cluster-broadcast'
import clusterMetrics from '@jpulse/cluster-metrics'
import redisLink from '@jpulse/redis-link'
import Fastify from 'fastify'
import { Redis } from 'ioredis'

// Milliseconds until one instance has the picture of 50 and of 400 instances, while 1,000,000 other keys are in the
// database; each instance reports 20 routes. `changed`: every report is another one than at the last call, so nothing is
// remembered. CPU time is that of this process. `KEYS` is what the plan's pseudo-code begins with. Wanted: 50 in < 10 ms, 400 in < 50 ms.

const OTHERS = Number(process.env.BENCH_KEYS ?? 1_000_000)
const ROUNDS = 20
const url = process.env.REDIS_URL ?? ''
const siteId = `bench${randomUUID().slice(0, 8)}`
const redis = new Redis(url)
const key = (/** @type {string[]} */ ...parts) => `${siteId}:bench:${parts.join(':')}`

const app = Fastify()
app.register(redisLink, { url, siteId, env: 'bench', commandTimeoutMs: 10_000 })
app.register(clusterBroadcast)
app.register(clusterMetrics, { reportIntervalMs: 1000, ttlMs: 600_000 })
app.register(async (scope) => { for (let i = 0; i < 20; i++) scope.get(`/route/${i}/:id`, async () => 'x') })
await app.ready()
for (let i = 0; i < 20; i++) for (let j = 0; j < 50; j++) await app.inject(`/route/${i}/${j}`)

/** @type {any} */
let report
while (Object.keys(report?.routes ?? {}).length !== 20) {
  await new Promise((resolve) => setTimeout(resolve, 200))
  report = JSON.parse(await redis.get(key('health', 'instance', app.appCluster.bootId)) ?? '{}')
}
// Latencies of a real application are spread wider than those of this one.
for (const route of Object.values(report.routes)) route[2] = Array.from({ length: 25 }, (_, index) => `${40 + 4 * index} ${1 + index}`).join(' ')

let turn = 0
/** @param {number} instances */
async function fill (instances) {
  turn++
  const pipeline = redis.pipeline()
  for (let i = 0; i < instances; i++) {
    const bootId = `bench${i}`
    const other = { ...report, bootId, instanceId: `${i >> 3}:${i & 7}`, serverId: `s${i >> 3}`, http: { ...report.http, requests: turn } }
    pipeline.set(key('health', 'instance', bootId), JSON.stringify(other), 'PX', 600_000)
    pipeline.zadd(key('health', 'index'), Date.now(), bootId)
  }
  await pipeline.exec()
}

/** @param {() => Promise<unknown>} fn @param {() => Promise<void>} before */
async function time (fn, before) {
  /** @type {number[]} */
  const times = []
  /** @type {number[]} */
  const cpus = []
  for (let i = 0; i < ROUNDS; i++) {
    await before()
    const cpu = process.cpuUsage()
    const start = performance.now()
    await fn()
    times.push(performance.now() - start)
    const { user, system } = process.cpuUsage(cpu)
    cpus.push((user + system) / 1000)
  }
  /** @param {number[]} values */
  const median = (values) => (values.toSorted((a, b) => a - b)[ROUNDS >> 1] ?? NaN).toFixed(2).padStart(8)
  return `${median(times)} ${Math.max(...times).toFixed(2).padStart(8)} ${median(cpus)}`
}

console.log(`report of one instance: ${JSON.stringify(report).length} bytes`)
for (let made = 0; made < OTHERS; made += 10_000) {
  const pipeline = redis.pipeline()
  for (let i = made; i < made + 10_000; i++) pipeline.set(`${siteId}:other:${i}`, 'x', 'EX', 600)
  await pipeline.exec()
}
console.log(`keys in the database: ${await redis.dbsize()}`)
console.log('                            median      max  CPU, ms')
for (const instances of [50, 400]) {
  const aggregate = async () => {
    const { statistics } = await app.clusterMetrics.aggregate()
    if (statistics.totalInstances !== instances + 1) throw new Error(`${statistics.totalInstances} instances`)
  }
  await fill(instances)
  await aggregate()
  console.log(`${String(instances).padStart(3)} instances, changed   ${await time(aggregate, () => fill(instances))}`)
  console.log(`${String(instances).padStart(3)} instances, unchanged ${await time(aggregate, async () => {})}`)
}
const start = performance.now()
await redis.keys(key('health', 'instance', '*'))
console.log(`KEYS alone             ${(performance.now() - start).toFixed(2).padStart(8)}`)
const all = await redis.keys(`${siteId}:*`)
for (let i = 0; i < all.length; i += 10_000) await redis.unlink(all.slice(i, i + 10_000))
await app.close()
redis.disconnect()
