import { randomUUID } from 'node:crypto'
import clusterBroadcast from '@jpulse/cluster-broadcast'
import clusterMetrics from '@jpulse/cluster-metrics'
import redisLink from '@jpulse/redis-link'
import Fastify from 'fastify'
import fastifyMetrics from 'fastify-metrics'
import client from 'prom-client'

// One variant of overhead.bench.js: answers 'cpu' with its CPU time in us, and anything else with its address.

const variant = process.argv[2] ?? ''
const app = Fastify()

if (variant === 'cluster-metrics') {
  app.register(redisLink, { url: process.env.REDIS_URL, siteId: randomUUID() })
  app.register(clusterBroadcast)
  app.register(clusterMetrics)
} else if (variant === 'link and broadcast') {
  app.register(redisLink, { url: process.env.REDIS_URL, siteId: randomUUID() })
  app.register(clusterBroadcast)
} else if (variant === 'fastify-metrics') {
  app.register(/** @type {any} */ (fastifyMetrics).default ?? fastifyMetrics, { endpoint: '/metrics' })
} else if (variant === 'prom-client by hand') {
  const histogram = new client.Histogram({ name: 'http_server_request_duration_seconds', help: 'x', labelNames: ['method', 'route', 'status'], buckets: [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10] })
  const active = new client.Gauge({ name: 'http_server_active_requests', help: 'x' })
  app.addHook('onRequest', (_request, _reply, done) => { active.inc(); done() })
  app.addHook('onResponse', (request, reply, done) => {
    active.dec()
    histogram.observe({ method: request.method, route: request.routeOptions.url ?? '__unmatched__', status: reply.statusCode }, reply.elapsedTime / 1000)
    done()
  })
}
app.register(async (scope) => { scope.get('/', async () => ({ hello: 'world' })) })
const address = await app.listen({ port: 0, host: '127.0.0.1' })

process.on('message', (what) => {
  const { user, system } = process.cpuUsage()
  process.send?.(what === 'cpu' ? user + system : address)
})
process.on('disconnect', () => process.exit(0))
process.send?.('ready')
