import { Agent, request } from 'node:http'
import { compare, instance, median, quantile } from './setup.js'

// An analytics route over HTTP whose handler takes 200 ms: 1000 requests at concurrency 100 to the second of two instances,
// after the first one answered each of 50 reports once. Before that its 100 connections are opened by a route without a cache:
// connecting, and compiling what answers, is no part of a hit. Before that, without a network: what a cached route takes of a handler that takes
// nothing, on a hit, on a miss that is not kept, and where the request is not looked up.

const REPORTS = 50
const siteId = `bench${Date.now()}`
/** @param {import('fastify').FastifyInstance} app */
const routes = (app) => app.get('/warm-up', async () => ({})).get('/report/:id', { config: { cache: { tags: ['orders'] } } }, async (/** @type {any} */ { params }) => {
  await new Promise((resolve) => setTimeout(resolve, 200))
  return { ...params, rows: Array.from({ length: 50 }, (_, i) => ({ id: i, total: i * i })) }
})
const [first, second] = [await instance(siteId, routes), await instance(siteId, routes)]
await Promise.all(Array.from({ length: REPORTS }, (_, id) => first.inject(`/report/${id}`)))
await second.listen({ host: '127.0.0.1', port: 0 })
const { port } = /** @type {import('node:net').AddressInfo} */ (second.server.address())
const agent = new Agent({ keepAlive: true, maxSockets: 100 })

/** @param {string} path @returns {Promise<boolean>} whether it was a hit */
const get = (path) => new Promise((resolve, reject) => {
  request({ agent, path, host: '127.0.0.1', port }, (response) => {
    response.resume().on('end', () => resolve(response.headers['x-cache'] === 'HIT'))
  }).on('error', reject).end()
})

for (let turn = 0; turn < 20; turn++) await Promise.all(Array.from({ length: 100 }, () => get('/warm-up')))

let sent = 0
/** @type {number[]} */
const hits = []
await Promise.all(Array.from({ length: 100 }, async () => {
  while (sent < 1000) {
    const start = performance.now()
    if (await get(`/report/${sent++ % REPORTS}`)) hits.push(performance.now() - start)
  }
}))
console.log(`${hits.length} of ${sent} requests were hits: median ${median(hits).toFixed(1)} ms, p99 ${quantile(hits, 0.99).toFixed(1)} ms`)

const rows = { rows: Array.from({ length: 50 }, (_, i) => ({ id: i, total: i * i })) }
const bare = await instance(`${siteId}bare`, (app) => app
  .get('/plain', async () => rows)
  .get('/kept', { config: { cache: { tags: 'rows' } } }, async () => rows)
  .get('/private', { config: { cache: { tags: 'rows' } } }, async (/** @type {any} */ _request, /** @type {any} */ reply) => reply.header('cache-control', 'private').send(rows)))
/** @param {string} url @param {Record<string, string>} [headers] */
const inject = (url, headers = {}) => () => bare.inject({ url, headers })
await compare({
  'no cache': inject('/plain'),
  'hit in the process': inject('/kept'),
  'not kept (private)': inject('/private'),
  'not looked up (Range)': inject('/kept', { range: 'bytes=0-1' })
}, { operations: 1000, turns: 6, base: 'no cache' })
await bare.close()
agent.destroy()
await first.close()
await second.close()
