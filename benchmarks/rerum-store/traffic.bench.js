import { createSigner } from 'fast-jwt'
import { randomUUID } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { cleanEnv } from '../../scripts/bootstrap.js'
import { freePort } from '../../scripts/servers/free-port.js'
import { runCluster } from '../../scripts/site/run-site.js'

// Hit rate and mean latency under the traffic of plan 004: 80% reads by Zipf (45% query, 35% id, 10% search, 5% history, 5% since),
// 20% writes (half of them new annotations, the others updates and overwrites), on four PM2 workers, with and without the
// cache in turns within one run. Two ways to spread the writes: evenly, and by the same Zipf as the reads, so that whatever is
// read most is also written most. The ratios that count: hit rate (> 70%), mean latency of a query without the cache to that with it.

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 2)
const REQUESTS = Number(process.env.BENCH_REQUESTS ?? 1200)
const TARGETS = 100
const CLIENTS = 4
const SECRET = 'a secret of the benchmark, longer than 32 characters'
const token = createSigner({ key: SECRET, algorithm: 'HS256' })({ sub: 'https://example.org/agents/bench' })
let refused = 0
const dir = mkdtempSync(join(tmpdir(), 'jpulse-bench-store-'))

const weights = Array.from({ length: TARGETS }, (_, rank) => 1 / (rank + 1))
const total = weights.reduce((sum, weight) => sum + weight, 0)
const zipf = () => {
  let at = Math.random() * total
  return Math.max(0, weights.findIndex((weight) => (at -= weight) < 0))
}
const evenly = () => Math.floor(Math.random() * TARGETS)

/** @param {string} name @param {Record<string, string>} env */
async function start (name, env) {
  const port = await freePort()
  const cluster = await runCluster({
    app: 'rerum-store',
    instances: 4,
    home: join(dir, name),
    log: join(dir, `${name}.log`),
    env: { ...cleanEnv(), NODE_ENV: 'production', LOG_LEVEL: 'warn', HOST: '127.0.0.1', PORT: String(port), JWT_SECRET: SECRET, SITE_ID: `bench${randomUUID().slice(0, 8)}`, CACHE_BLOCK_TTL_MS: '2000', ...env }
  })
  await cluster.ready(AbortSignal.timeout(120_000))
  /** @param {string} method @param {string} path @param {unknown} [body] */
  const ask = async (method, path, body) => {
    const began = performance.now()
    const response = await fetch(`${cluster.address}/v1${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, ...(body !== undefined && { 'content-type': 'application/json' }) },
      ...(body !== undefined && { body: JSON.stringify(body) })
    })
    const json = /** @type {any} */ (await response.json())
    // Of a database that cannot keep up: an answer too, which took its time.
    if (response.status === 503) refused++
    else if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${JSON.stringify(json)}`)
    return { json, ms: performance.now() - began, outcome: response.headers.get('x-cache') }
  }
  const objects = /** @type {any[]} */ ([])
  for (let first = 0; first < TARGETS; first += 100) {
    const made = await ask('POST', '/api/bulkCreate', Array.from({ length: 100 }, (_, n) => ({ type: 'Annotation', target: `https://example.org/canvas/${first + n}`, label: `canvas${first + n}`, count: 0 })))
    objects.push(...made.json)
  }
  return { name, cluster, ask, objects }
}

/** @typedef {Awaited<ReturnType<typeof start>>} Store */

/** @param {Store} store @param {number} n */
async function read ({ ask, objects }, n) {
  const { '@id': uri } = objects[n]
  const id = uri.slice(uri.lastIndexOf('/') + 1)
  const dice = Math.random()
  if (dice < 0.45) return { kind: 'query', ...await ask('POST', '/api/query', { target: `https://example.org/canvas/${n}` }) }
  if (dice < 0.8) return { kind: 'id', ...await ask('GET', `/id/${id}`) }
  if (dice < 0.9) return { kind: 'search', ...await ask('POST', '/api/search', `canvas${n}`) }
  return { kind: 'versions', ...await ask('GET', `/${dice < 0.95 ? 'history' : 'since'}/${id}`) }
}

/** @param {Store} store @param {number} n */
async function write ({ ask, objects }, n) {
  const { '@id': uri } = objects[n]
  const content = { type: 'Annotation', target: `https://example.org/canvas/${n}`, label: `canvas${n}`, count: Math.random() }
  const dice = Math.random()
  if (dice < 0.5) await ask('POST', '/api/create', content)
  else if (dice < 0.75) await ask('PUT', '/api/update', { '@id': uri, ...content })
  else await ask('PUT', '/api/overwrite', { '@id': uri, ...content })
}

/** @param {Store} store @param {() => number} spread @param {number} [requests] */
async function traffic (store, spread, requests = REQUESTS) {
  /** @type {Array<{ kind: string, ms: number, outcome: string | null }>} */
  const seen = []
  let left = requests
  await Promise.all(Array.from({ length: CLIENTS }, async () => {
    while (left-- > 0) {
      if (Math.random() < 0.2) await write(store, spread())
      else seen.push(await read(store, zipf()))
    }
  }))
  return seen
}

/** @param {number[]} values */
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length

/** @type {Array<[string, () => number]>} */
const SPREADS = [['evenly', evenly], ['as the reads', zipf]]
const stores = []
try {
  const servers = { REDIS_URL: String(process.env.REDIS_URL), MONGODB_URI: String(process.env.MONGODB_URI) }
  stores.push(await start('cache', servers), await start('none', { ...servers, CACHE_ENABLED: 'false' }))
  console.log('writes spread   hits   hits of queries and searches   query: without / with   all reads: without / with')
  for (const [label, spread] of SPREADS) {
    /** @type {Record<string, Awaited<ReturnType<typeof traffic>>>} */
    const seen = { cache: [], none: [] }
    for (const store of stores) await traffic(store, spread, REQUESTS / 2)
    for (let round = 0; round < ROUNDS; round++) for (const store of stores) seen[store.name]?.push(...await traffic(store, spread))
    /** @param {string} name @param {(one: { kind: string }) => boolean} which */
    const latency = (name, which) => mean((seen[name] ?? []).filter(which).map(({ ms }) => ms))
    /** @param {(one: { kind: string }) => boolean} which */
    const hits = (which) => { const some = (seen.cache ?? []).filter(which); return `${(100 * some.filter(({ outcome }) => outcome === 'HIT').length / some.length).toFixed(1)}%` }
    /** @param {{ kind: string }} one */
    const isQuery = ({ kind }) => kind === 'query'
    console.log([label.padEnd(13), hits(() => true).padStart(6), hits(({ kind }) => kind === 'query' || kind === 'search').padStart(30),
      `${(latency('none', isQuery) / latency('cache', isQuery)).toFixed(1)} (${latency('none', isQuery).toFixed(1)} / ${latency('cache', isQuery).toFixed(1)} ms)`.padStart(25),
      (latency('none', () => true) / latency('cache', () => true)).toFixed(1).padStart(20)].join(' '))
  }
  if (refused > 0) console.log(`${refused} requests were refused`)
} catch (err) {
  for (const { name } of stores) console.error(readFileSync(join(dir, `${name}.log`), 'utf8').slice(-2000))
  throw err
} finally {
  for (const { cluster } of stores) await cluster.stop()
  rmSync(dir, { recursive: true, force: true })
}
