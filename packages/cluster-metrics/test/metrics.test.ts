import { once } from 'node:events'
import { connect, type AddressInfo } from 'node:net'
import { randomUUID } from 'node:crypto'
import fastifyMongodb from '@fastify/mongodb'
import { configCache, memorySource } from '@jpulse/config-cache'
import { redisSessions } from '@jpulse/redis-sessions'
import { wsNamespaces } from '@jpulse/ws-namespaces'
import { Counter, Registry } from 'prom-client'
import t from 'tap'
import { Value } from 'typebox/value'
import { connect as connectRedis, mongo, sharedRedis, uniqueName, waitFor } from '../../../test/helpers/index.ts'
import { connect as connectSocket } from '../../ws-namespaces/test/support/client.ts'
import { redact } from '../src/failures/redact.ts'
import type { ClusterData, ErrorEntry, HistoryPoint, RequestCount } from '../src/index.ts'
import { ADMIN, ask, build, data, type BuildOptions } from './build.ts'
import { parsePrometheus } from './prometheus-parser.ts'
import { PLAN } from './plan.ts'

const link = () => ({ url: sharedRedis(), siteId: uniqueName(), env: 'test' })
const redis = (t: Parameters<typeof connectRedis>[0]) => connectRedis(t, Number(new URL(sharedRedis()).port))
const settled = { timeoutMs: 60_000 }
const slower = { timeoutMs: 60_000, everyMs: 100 }
t.setTimeout(240_000)

const exampleRoutes: BuildOptions['routes'] = (app) => {
  app.get('/item/:id', async () => 'item')
  app.get('/fails', async () => { throw new Error(`no luck with ${randomUUID()}`) })
}

t.test('any instance gives the document of the plan, of all instances on two servers', async (t) => {
  const shared = link()
  const all = await Promise.all([['web1', '0'], ['web1', '1'], ['web2', '0'], ['web2', '1']].map(([serverId, pmId]) =>
    build(t, { link: shared, serverId, pmId, routes: exampleRoutes, options: { version: '1.2.3', release: '2026-01-01', environment: 'test' } })))
  for (const { app } of all) for (let i = 0; i < 3; i++) await app.inject(`/item/${i}`)
  for (const { app } of all) {
    const seen = await waitFor(async () => {
      const { json } = await ask(app, '/api/1/metrics')
      const { statistics } = json().data as ClusterData
      return statistics.totalInstances === 4 && statistics.routes.some(({ route, requests }) => route === '/item/:id' && requests === 12) && json()
    }, { what: 'all four and their requests', ...settled })
    t.same([...Value.Errors(PLAN, seen)], [], 'every field of the plan, with its type')
    const { statistics, servers, degraded } = seen.data as ClusterData
    t.equal(degraded, false)
    t.same(servers.map(({ serverId, instances }) => [serverId, instances.map(({ instanceId }) => instanceId).sort()]), [['web1', ['web1:0', 'web1:1']], ['web2', ['web2:0', 'web2:1']]])
    const instances = servers.flatMap((server) => server.instances)
    const sum = (of: (one: typeof instances[number]) => number) => instances.reduce((total, one) => total + of(one), 0)
    t.match(statistics, {
      totalServers: servers.length,
      totalInstances: instances.length,
      totalProcesses: 4,
      runningProcesses: instances.filter(({ status }) => status === 'online').length,
      totalWebSocketConnections: sum(({ websockets }) => websockets.localConnections),
      totalWebSocketMessages: sum(({ websockets }) => websockets.localMessages),
      requests: { total: sum(({ requests }) => requests.total), errors: sum(({ requests }) => requests.errors), active: sum(({ requests }) => requests.active) }
    })
    t.same([...new Set(instances.map(({ version, release, environment }) => [version, release, environment].join()))], ['1.2.3,2026-01-01,test'])
  }
  const { servers } = await data<{ servers: ClusterData['servers'] }>(all[0]!.app, '/api/1/metrics/servers')
  t.equal(servers.length, 2)
})

t.test('WebSocket, session, cache and database components are there when those plugins are', async (t) => {
  const shared = link()
  const { url, db } = await mongo(t)
  const plugins: BuildOptions['plugins'] = (app) => {
    app.register(fastifyMongodb, { url, database: db.databaseName })
    app.register(redisSessions, { secret: 'a secret of more than thirty-two characters' })
    app.register(configCache, { source: memorySource() })
    app.register(wsNamespaces)
    app.after(() => { app.wsNamespaces.create('chat', { public: true }) })
  }
  const { app: bare } = await build(t, { link: shared, pmId: '0' })
  t.same((await data(bare)).statistics.components, {}, 'nothing where there is no plugin')
  const { app } = await build(t, { link: shared, pmId: '1', plugins })
  const { app: other } = await build(t, { link: shared, serverId: 'web2', plugins })
  await waitFor(async () => {
    await app.configCache.getOrLoad('a', {}, async () => 1)
    return app.configCache.stats().l1Hits > 0 && other.configCache.mode === 'coherent'
  }, { what: 'the cache to cache', ...settled })
  const { hitRate } = app.configCache.stats()
  for (const [one, connections] of [[app, 3], [other, 4]] as const) {
    await one.listen({ port: 0, host: '127.0.0.1' })
    const { port } = one.server.address() as AddressInfo
    for (let i = 0; i < connections; i++) await connectSocket(t, port, '/api/1/ws/chat')
    await one.wsNamespaces.get('chat')!.broadcast('news', { n: 1 })
  }
  let last: unknown
  const seen = await waitFor(async () => {
    const seen = await data(other)
    const { statistics, servers } = seen
    last = [statistics, servers.map(({ mongodb }) => mongodb)]
    const running = servers.flatMap(({ mongodb, instances }) => instances.map(({ database }) => `${mongodb.status} ${database.status}`))
    return statistics.totalInstances === 3 && statistics.totalWebSocketConnections === 7 && statistics.totalWebSocketMessages >= 2 && Number(statistics.components.cache?.hitRate) > 0 && statistics.components.cache?.mode === 'coherent' &&
      statistics.components.sessions?.active === 0 && running.includes('running connected') && seen
  }, { what: 'the components', ...slower }).catch((err) => { throw new Error(`${err.message}: ${JSON.stringify(last)}`) })
  t.match(seen.statistics, {
    totalWebSocketNamespaces: 1,
    webSocketNamespaces: [{ path: '/api/1/ws/chat', totalConnections: 7, totalMessages: seen.statistics.totalWebSocketMessages, instanceCount: 2, serverCount: 2, status: 'green', lastActivity: /Z$/ }],
    requests: { active: 0 },
    components: { cache: { instances: 2, hitRate }, sessions: { instances: 2, mode: 'redis' } }
  })
  const { mongodb, instances } = seen.servers.find(({ serverId }) => serverId === 'web2')!
  t.equal(mongodb.host, new URL(url).host)
  t.equal(typeof mongodb.version, 'string')
  t.equal(instances[0]!.database.name, db.databaseName)
  t.equal((await ask(app, '/health')).json().checks.mongodb.status, 'up')
})

t.test('anonymous callers see the numbers and nothing that names or reveals', async (t) => {
  const { hostname } = await import('node:os')
  const cache = { l1Hits: 5, l2Hits: 0, joined: 0, loads: 0, mode: 'local', reason: 'a secret of the site', slowest: { instance: '4242@4f0c1e9a-secret', waitMs: 3 } }
  const plugins: BuildOptions['plugins'] = (app) => { app.decorate('configCache' as never, { stats: () => cache } as never) }
  const { app } = await build(t, { link: link(), serverId: 'secretserver', routes: exampleRoutes, plugins, options: { version: '9.8.7-secret', release: 'secret-release' } })
  app.clusterMetrics.gauge('secretGauge', () => 'secret')
  app.clusterMetrics.provider('secretPart', () => ({ path: '/srv/secret' }))
  await app.inject('/item/1')
  const cacheOf = ({ servers }: ClusterData) => servers[0]?.instances[0]?.components.cache
  const known = await waitFor(async () => {
    const seen = await data(app)
    return cacheOf(seen) !== undefined && seen
  }, settled)
  t.match(cacheOf(known), { slowest: { instance: 'pid 4242', waitMs: 3 } }, 'for who may see it')
  const { body, json } = await ask(app, '/api/1/metrics', {})
  t.match(cacheOf(json().data), { l1Hits: 5, mode: 'local', reason: '***', slowest: { instance: '***', waitMs: 3 } })
  for (const text of ['secret', process.version, String(process.pid), `"${hostname()}"`, '/item/:id', app.appCluster.bootId]) t.notOk(body.includes(text), text)
  const shape = (value: unknown): unknown => Array.isArray(value)
    ? value.map(shape)
    : typeof value === 'object' && value !== null ? Object.fromEntries(Object.entries(value).map(([key, one]) => [key, shape(one)])) : typeof value
  const masked = json().data as ClusterData
  t.same([...Value.Errors(PLAN, json())], [], 'still the document of the plan')
  t.same(shape(masked.servers), shape(known.servers.map((server) => ({ ...server, instances: server.instances.map((one) => ({ ...one, components: { cache: cacheOf(known) } })) }))), 'with its types')
  t.same(Object.keys((await ask(app, '/health', {})).json()), ['status', 'checks'])
  for (const url of ['/metrics', '/metrics?scope=cluster', '/admin/cluster', '/admin/cluster/dashboard.js', '/api/1/metrics/servers', '/api/1/metrics/requests', '/api/1/metrics/errors/recent', '/api/1/metrics/history']) {
    t.equal((await ask(app, url, {})).statusCode, 401, url)
    t.equal((await ask(app, url, { headers: { who: 'forbidden' } })).statusCode, 403, url)
    t.equal((await ask(app, url)).statusCode, 200, url)
  }
  const closed = await build(t, { link: link(), options: { authorize: undefined } })
  for (const url of ['/metrics', '/admin/cluster', '/api/1/metrics/servers']) t.equal((await ask(closed.app, url)).statusCode, 404, url)
  t.equal((await ask(closed.app, '/api/1/metrics')).json().data.servers[0].pid, undefined)
  t.equal((await ask(closed.app, '/api/1/metrics')).json().data.servers[0].instances[0].pid, 0)
})

t.test('secrets of the environment appear in no answer, log line or key', async (t) => {
  const shared = link()
  const secrets = { SESSION_SECRET: `session secret ${randomUUID()}`, MONGODB_PASSWORD: `pw${randomUUID()}`, name: 'app', pm_id: '3' }
  const before = { ...process.env }
  Object.assign(process.env, secrets)
  t.teardown(() => { for (const name of Object.keys(secrets)) { if (before[name] === undefined) delete process.env[name]; else process.env[name] = before[name] } })
  const { app, lines } = await build(t, {
    link: shared,
    options: { errorStacks: true },
    routes: (scope) => {
      // The application's own log is its own business: it does not log this one.
      scope.setErrorHandler(async (_error, _request, reply) => reply.code(500).send('failed'))
      scope.get('/leak', async () => { throw new Error(`cannot log in with ${secrets.SESSION_SECRET} and mongodb://ann:${secrets.MONGODB_PASSWORD}@db/shop`) })
    }
  })
  // The environment is read anew after a moment, not for each of many errors.
  await waitFor(() => redact(secrets.SESSION_SECRET) === '[redacted]', { what: 'the secret to be known', ...settled })
  await app.inject('/leak')
  const client = redis(t)
  const errors = await waitFor(async () => {
    const { errors } = await data<{ errors: ErrorEntry[] }>(app, '/api/1/metrics/errors/recent')
    return await client.llen(`${shared.siteId}:test:errors:recent`) > 0 && errors.length > 0 && errors
  }, { what: 'the error in Redis', ...settled })
  t.match(errors[0], { code: 'Error', route: '/leak', method: 'GET', statusCode: 500, count: 1, instanceId: 'web1:0', stack: /^Error: cannot log in with \[redacted\]/ })
  const bodies = await Promise.all(['/api/1/metrics', '/metrics', '/metrics?scope=cluster', '/health', '/health/redis', '/api/1/metrics/errors/recent', '/api/1/metrics/requests', '/api/1/metrics/history', '/leak'].map(async (url) => (await ask(app, url)).body))
  const keys = await client.keys(`${shared.siteId}:*`)
  const read: Record<string, (key: string) => Promise<unknown>> = {
    string: (key) => client.get(key), list: (key) => client.lrange(key, 0, -1), hash: (key) => client.hgetall(key), zset: (key) => client.zrange(key, '0', '-1'), stream: (key) => client.xrange(key, '-', '+')
  }
  const values = await Promise.all(keys.map(async (key) => `${key} ${JSON.stringify(await read[await client.type(key)]!(key))}`))
  const all = [...bodies, ...lines, ...values].join('\n')
  t.ok(all.includes('[redacted]'))
  for (const secret of [secrets.SESSION_SECRET, secrets.MONGODB_PASSWORD]) t.notOk(all.includes(secret), 'nowhere')
})

t.test('bad input is refused', async (t) => {
  const { app } = await build(t, { link: link() })
  for (const [path, name] of [['requests', 'minutes'], ['history', 'minutes'], ['errors/recent', 'count']]) {
    for (const bad of ['-1', '0', '1.5', '1441', '999999999999', '1e999', 'Infinity', 'NaN', 'x', '', '%00', '1&' + name + '=2', '0x10', '+5', ' 5']) {
      const { statusCode, json } = await ask(app, `/api/1/metrics/${path}?${name}=${bad}`)
      t.equal(statusCode, 400, `${path} ${bad}`)
      t.match(json(), { success: false, statusCode: 400, code: /^FST_ERR_/ })
    }
    t.equal((await ask(app, `/api/1/metrics/${path}?${name}=60`)).statusCode, 200)
  }
  t.equal((await ask(app, '/metrics?scope=galaxy')).statusCode, 400)
})

t.test('values in Redis that are not reports are skipped and counted', async (t) => {
  const shared = link()
  const { app } = await build(t, { link: shared })
  const client = redis(t)
  const key = (...parts: string[]) => [shared.siteId, 'test', ...parts].join(':')
  await waitFor(() => client.zcard(key('health', 'index')), settled)
  const { statistics, servers } = await data(app)
  t.equal(statistics.skippedReports, 0)
  const report = JSON.parse((await client.get(key('health', 'instance', app.appCluster.bootId)))!)
  const bad = { text: 'not JSON', number: '5', empty: '{}', nulls: JSON.stringify({ ...report, instance: null }), huge: JSON.stringify({ ...report, http: { ...report.http, latency: 5 } }) }
  const [seconds] = await client.time()
  for (const [name, value] of Object.entries(bad)) {
    await client.set(key('health', 'instance', name), value, 'PX', 60_000)
    await client.zadd(key('health', 'index'), Number(seconds) * 1000 + 60_000, name)
  }
  await client.hset(key('health', 'instance', 'hash'), 'a', 'b')
  await client.lpush(key('errors', 'recent'), 'not JSON', '{"message":1}')
  await client.zadd(key('health', 'history', 'text'), Number(seconds) * 1000, `${Number(seconds) * 1000} nonsense`)
  const after = await waitFor(async () => {
    const after = await data(app)
    return after.statistics.skippedReports === Object.keys(bad).length && after
  }, { what: 'them to be counted', ...settled })
  t.equal(after.statistics.totalInstances, 1)
  t.equal(after.servers.length, servers.length)
  for (const url of ['/api/1/metrics/errors/recent', '/api/1/metrics/history', '/api/1/metrics/requests', '/metrics?scope=cluster', '/health']) t.equal((await ask(app, url)).statusCode, 200, url)
})

t.test('unknown URLs make no series, and a flood of routes is bounded', async (t) => {
  const { app } = await build(t, {
    options: { maxRoutes: 5 },
    routes: (scope) => { for (let i = 0; i < 20; i++) scope.get(`/route${i}`, async () => 'x') }
  })
  for (let i = 0; i < 10_000; i += 100) await Promise.all(Array.from({ length: 100 }, () => app.inject(`/${randomUUID()}`)))
  const before = await data(app)
  t.match(before.statistics.routes.find(({ route }) => route === '__unmatched__'), { method: 'GET', requests: 10_000 })
  t.ok(before.statistics.routes.length <= 2)
  for (let i = 0; i < 20; i++) await app.inject(`/route${i}`)
  const { routes } = (await data(app)).statistics
  t.equal(routes.length, 6)
  t.ok(routes.find(({ route }) => route === '__other__')!.requests >= 16)
})

t.test('aborted requests leave no active count behind, also pipelined ones', async (t) => {
  let waiting = 0
  const { app } = await build(t, {
    routes: (scope) => {
      scope.get('/never', (_request, reply) => {
        waiting++
        reply.raw.once('close', () => {})
      })
    }
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const request = 'GET /never HTTP/1.1\r\nhost: a\r\n\r\n'
  for (let batch = 0; batch < 10; batch++) {
    // 90 connections with one request, and five with two each.
    const sockets = await Promise.all(Array.from({ length: 95 }, async (_, index) => {
      const socket = connect(port, '127.0.0.1')
      socket.on('error', () => {})
      await once(socket, 'connect')
      socket.write(request.repeat(index < 90 ? 1 : 2))
      return socket
    }))
    await waitFor(() => waiting === 100 * (batch + 1), { what: 'the handlers to run', ...settled })
    if (batch === 0) t.equal((await data(app)).statistics.requests.active, 100, 'the one that asks is no visitor')
    for (const socket of sockets) socket.destroy()
    await waitFor(async () => (await data(app)).statistics.requests.active === 0, { what: 'nobody to be active', ...settled })
  }
  const { requests } = await data<{ requests: RequestCount[] }>(app, '/api/1/metrics/requests')
  t.equal(requests.find(({ route, status }) => route === '/never' && status === 499)?.count, 1000)
})

t.test('counters, gauges and providers of the application', async (t) => {
  const shared = link()
  const { app: one, lines } = await build(t, { link: shared, pmId: '0' })
  const { app: two } = await build(t, { link: shared, pmId: '1' })
  for (const [app, value] of [[one, 2], [two, 6]] as const) {
    app.clusterMetrics.increment('orders', value)
    app.clusterMetrics.gauge('queue', () => value, { reduce: 'avg' })
    app.clusterMetrics.provider('mail', async () => ({ sent: value, oldest: value, host: `mx${value}` }), { reduce: { sent: 'sum', oldest: 'max', host: 'concat' } })
  }
  one.clusterMetrics.gauge('broken', () => { throw new Error('broken') })
  one.clusterMetrics.provider('hangs', () => new Promise(() => {}))
  one.clusterMetrics.provider('wrong', () => [] as never)
  const { statistics } = await waitFor(async () => {
    const seen = await data(two)
    return seen.statistics.counters.orders === 8 && seen.statistics.components.mail?.sent === 8 && seen
  }, { what: 'the values of both', ...settled })
  t.equal(statistics.gauges.queue, 4)
  t.match(statistics.components.mail, { instances: 2, oldest: 6 })
  t.same((statistics.components.mail!.host as string[]).toSorted(), ['mx2', 'mx6'])
  t.ok(lines.some((line) => line.includes('"gauge":"broken"')))
  t.ok(lines.some((line) => line.includes('"component":"wrong"')))
  const text = await waitFor(async () => {
    const text = parsePrometheus((await ask(one, '/metrics?scope=cluster')).body)
    return text.get('orders_total')?.lines[0]?.value === 8 && text
  }, { what: 'both to have reported', ...settled })
  t.equal(text.get('queue')?.lines[0]?.value, 4)
  t.equal(await redis(t).get(`${shared.siteId}:test:metric:orders:${two.appCluster.bootId}`), '6', 'for other readers, under the name of the plan')

  const { clusterMetrics } = one
  const code = (name: string) => ({ code: `FST_ERR_CLUSTER_METRICS_${name}` })
  t.throws(() => clusterMetrics.increment('a b'), code('INVALID_NAME'))
  t.throws(() => clusterMetrics.increment('a', -1), code('INVALID_ARGUMENT'))
  t.throws(() => clusterMetrics.increment('a', NaN), code('INVALID_ARGUMENT'))
  t.throws(() => clusterMetrics.gauge('queue', () => 1), code('DUPLICATE'))
  t.throws(() => clusterMetrics.increment('queue'), code('DUPLICATE'))
  t.throws(() => clusterMetrics.gauge('b', () => 1, { reduce: 'median' as never }), code('INVALID_ARGUMENT'))
  t.throws(() => clusterMetrics.provider('mail', () => null), code('DUPLICATE'))
  t.throws(() => { for (let i = 0; i < 600; i++) clusterMetrics.increment(`flood${i}`) }, code('TOO_MANY'))
})

t.test('a duplicate instance id is reported, and both are shown', async (t) => {
  const shared = link()
  const [one] = await Promise.all([build(t, { link: shared }), build(t, { link: shared })])
  const { statistics } = await waitFor(async () => {
    const seen = await data(one.app)
    return seen.statistics.totalInstances === 2 && seen
  }, settled)
  t.same(statistics.duplicateInstanceIds, ['web1:0'])
})

t.test('what Prometheus gets is valid, has the names and buckets of OpenTelemetry, and the metrics of the application', async (t) => {
  const registry = new Registry()
  new Counter({ name: 'shop_sales_total', help: 'Sales\nof "today"', labelNames: ['kind'], registers: [registry] }).inc({ kind: 'a"b\\c\nd' }, 3)
  new Counter({ name: 'orders_total', help: 'Name of one of ours', registers: [registry] }).inc()
  const { app } = await build(t, { link: link(), options: { registry }, routes: (scope) => { exampleRoutes(scope); scope.get('/a"b\\c', async () => 'x') } })
  for (const url of ['/item/1', '/item/2', '/fails', '/nowhere', '/a%22b%5Cc']) await app.inject(url)
  app.clusterMetrics.increment('orders', 2)
  t.throws(() => app.clusterMetrics.gauge('process_uptime_seconds', () => 2), { code: 'FST_ERR_CLUSTER_METRICS_DUPLICATE' })
  const { body, headers } = await ask(app, '/metrics')
  t.match(headers['content-type'], /^text\/plain; version=0\.0\.4/)
  const text = parsePrometheus(body)
  const series = text.get('http_server_request_duration_seconds')!
  t.equal(series.type, 'histogram')
  const of = (route: string, status: string) => series.lines.filter(({ labels }) => labels.route === route && labels.status === status && labels.method === 'GET')
  t.same(of('/item/:id', '200').filter(({ name }) => name.endsWith('_bucket')).map(({ labels }) => labels.le),
    ['0.005', '0.01', '0.025', '0.05', '0.075', '0.1', '0.25', '0.5', '0.75', '1', '2.5', '5', '7.5', '10', '+Inf'])
  t.equal(of('/item/:id', '200').at(-1)?.value, 2)
  t.equal(of('/fails', '500').at(-1)?.value, 1)
  t.equal(of('__unmatched__', '404').at(-1)?.value, 1)
  t.equal(of('/a"b\\c', '200').at(-1)?.value, 1)
  t.equal(text.get('http_server_active_requests')?.lines[0]?.value, 0, 'the scrape is no visitor')
  t.equal(text.get('shop_sales_total')?.lines[0]?.value, 3)
  t.equal(text.get('orders_total')?.lines[0]?.value, 2, 'ours, once')
  const cluster = await waitFor(async () => {
    const text = parsePrometheus((await ask(app, '/metrics?scope=cluster')).body)
    return text.has('shop_sales_total') && text
  }, { what: 'the registry to be reported', ...settled })
  t.equal(cluster.get('cluster_instances')?.lines[0]?.value, 1)
  t.equal(cluster.get('shop_sales_total')?.lines[0]?.value, 3, 'of the registry too')
  t.same(cluster.get('shop_sales_total')?.lines[0]?.labels, { kind: 'a"b\\c\nd' })
})

t.test('what the application throws, says of its headers or never answers concerns nobody else', async (t) => {
  const textless = Object.create(null) as string
  const nothing: unknown = null
  const { app } = await build(t, {
    options: { authorize: ({ headers }) => headers.who === 'slow' ? new Promise(() => {}) : true, checkTimeoutMs: 20 },
    plugins: (app) => app.addHook('onRequest', async (_request, reply) => { reply.header('vary', 'Origin') }),
    routes: (scope) => {
      scope.get('/textless', async () => { throw Object.assign(new Error('x'), { message: textless, code: textless }) })
      scope.get('/null', async () => { throw nothing })
    }
  })
  t.match((await ask(app, '/metrics')).headers, { vary: 'Origin, accept' })
  for (const url of ['/textless', '/null']) t.equal((await app.inject(url)).statusCode, 500)
  const { errors } = await data<{ errors: ErrorEntry[] }>(app, '/api/1/metrics/errors/recent')
  t.match(errors.find(({ route }) => route === '/textless'), { message: 'no text' })
  for (const url of ['/health', '/api/1/metrics']) t.equal((await ask(app, url, { headers: { who: 'slow' } })).statusCode, 200)
})

t.test('counters of the cluster never fall, whoever answers and whenever it last reported', async (t) => {
  const shared = link()
  // They report when the test says so.
  const options = { reportIntervalMs: 600_000 }
  const first = await build(t, { link: shared, pmId: '0', options, routes: exampleRoutes })
  const second = await build(t, { link: shared, pmId: '1', options, routes: exampleRoutes })
  const { app: one } = first
  const { app: two } = second
  const report = async (app: typeof one) => {
    const { reporter } = app === one ? first.parts : second.parts
    // Joins the report under way, which may be an older one.
    await reporter.now()
    await reporter.now()
  }
  let [orders, items] = [0, 0]
  const scrape = async (app: typeof one) => {
    const text = parsePrometheus((await ask(app, '/metrics?scope=cluster')).body)
    const before = [orders, items] as const
    orders = text.get('orders_total')?.lines[0]?.value ?? 0
    items = text.get('http_server_request_duration_seconds')?.lines.find(({ name, labels }) => name.endsWith('_count') && labels.route === '/item/:id')?.value ?? 0
    t.ok(orders >= before[0] && items >= before[1], `${before} then ${[orders, items]}`)
  }
  for (const reporting of [one, two, null, two, one, null]) {
    for (const app of [one, two]) {
      app.clusterMetrics.increment('orders', 100)
      await app.inject('/item/1')
      await scrape(app)
    }
    if (reporting !== null) await report(reporting)
    for (const app of [one, two, one]) await scrape(app)
  }
  for (const app of [one, two]) await report(app)
  await scrape(one)
  t.same([orders, items], [1200, 12], 'and nothing is lost')
})

t.test('requests, errors and history of all', async (t) => {
  const shared = link()
  const { app: one } = await build(t, { link: shared, pmId: '0', routes: exampleRoutes })
  const { app: two } = await build(t, { link: shared, pmId: '1', routes: exampleRoutes })
  for (let i = 0; i < 5; i++) for (const app of [one, two]) await app.inject('/fails')
  const { errors } = await waitFor(async () => {
    const seen = await data<{ errors: ErrorEntry[] }>(one, '/api/1/metrics/errors/recent?count=100')
    return new Set(seen.errors.map(({ instanceId }) => instanceId)).size === 2 && seen.errors.reduce((sum, { count }) => sum + count, 0) === 10 && seen
  }, { what: 'the errors of both', ...settled })
  t.equal(new Set(errors.map(({ fingerprint }) => fingerprint)).size, 1, 'one kind, whatever its numbers')
  t.equal((await data<{ errors: ErrorEntry[] }>(one, '/api/1/metrics/errors/recent?count=1')).errors.length, 1)
  await waitFor(async () => {
    const { requests } = await data<{ requests: RequestCount[] }>(two, '/api/1/metrics/requests?minutes=60')
    return requests.find(({ route, status }) => route === '/fails' && status === 500)?.count === 10
  }, { what: 'the requests of both', ...settled })
  const points = await waitFor(async () => {
    const { points, stepMs } = await data<{ points: HistoryPoint[], stepMs: number }>(two, '/api/1/metrics/history?minutes=1')
    return Math.round(points.reduce((sum, { errorsPerSecond }) => sum + errorsPerSecond * stepMs / 1000, 0)) === 10 && points
  }, { what: 'the history of both', ...settled })
  t.ok(points.some(({ instances }) => instances === 2))
  t.ok(points.every(({ memory, p99 }) => memory > 0 && p99 >= 0))
})

t.test('a clock of the host that is set shifts nothing', async (t) => {
  const { app, parts } = await build(t, { link: link() })
  await parts.reporter.now()
  const { now } = Date
  t.teardown(() => { Date.now = now })
  Date.now = () => now() + 3_600_000
  const [seconds] = await app.redisLink.run((client) => client.time())
  t.ok(Math.abs(parts.store.now() - Number(seconds) * 1000) < 60_000, 'minutes and history are in Redis\' time')
})

t.test('health checks: what is not critical degrades, what is critical takes the instance out of service', async (t) => {
  const { app } = await build(t, { link: link() })
  const health = async () => (await ask(app, '/health')).json()
  t.match(await health(), { status: 'ok', checks: { redis: { status: 'up' }, mongodb: { status: 'disabled' }, instance: { status: 'up' } }, instances: [{ instanceId: 'web1:0', pid: process.pid }] })
  t.same((await ask(app, '/api/1/health')).json().checks, (await health()).checks)
  let good = true
  app.clusterMetrics.check('mail', () => good)
  t.match(await health(), { status: 'ok', checks: { mail: { status: 'up' } } })
  good = false
  t.match(await health(), { status: 'degraded', checks: { mail: { status: 'down' } } })
  t.equal((await ask(app, '/health')).statusCode, 200)
  app.clusterMetrics.check('disk', () => new Promise(() => {}), { timeoutMs: 5, critical: true })
  t.equal((await ask(app, '/health')).statusCode, 503)
  t.match(await health(), { status: 'error', checks: { disk: { status: 'down' } } })
  t.match(await ask(app, '/health/live'), { statusCode: 200 })
  t.throws(() => app.clusterMetrics.check('redis', () => true), { code: 'FST_ERR_CLUSTER_METRICS_DUPLICATE' })
  t.throws(() => app.clusterMetrics.check('late', () => true, { timeoutMs: 0 }), { code: 'FST_ERR_CLUSTER_METRICS_INVALID_ARGUMENT' })
  t.equal((await ask(app, '/health', { headers: ADMIN })).headers['cache-control'], 'no-store')
})
