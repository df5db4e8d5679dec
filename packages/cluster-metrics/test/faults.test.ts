import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { connect, redisCluster, redisServer, sharedRedis, tcpProxy, uniqueName, waitFor, workers, type Worker } from '../../../test/helpers/index.ts'
import type { ClusterData } from '../src/index.ts'
import { ask, build, data } from './build.ts'
import { parsePrometheus } from './prometheus-parser.ts'

t.setTimeout(180_000)
const slow = { timeoutMs: 60_000, everyMs: 20 }
const SCRIPT = new URL('./fixtures/instance.js', import.meta.url)

const documentOf = async (worker: Worker): Promise<ClusterData> => JSON.parse((await worker.call<{ body: string }>('get', '/api/1/metrics')).body).data
const idsOf = ({ servers }: ClusterData) => servers.flatMap(({ instances }) => instances.map(({ instanceId }) => instanceId)).sort()
const sees = (worker: Worker, ids: string[]) => waitFor(async () => String(idsOf(await documentOf(worker))) === String(ids), { what: `${ids} to be there`, ...slow })

t.test('a killed process is gone everywhere when its last report expires, a stopped one at once, and no counter falls back', async (t) => {
  const siteId = uniqueName()
  const environment = (ttlMs: number) => (index: number) => ({
    LINK: JSON.stringify({ url: sharedRedis(), siteId, env: 'test' }),
    OPTIONS: JSON.stringify({ reportIntervalMs: 300, ttlMs }),
    SERVER_ID: 'web1',
    NODE_APP_INSTANCE: String(index)
  })
  const started = await workers(t, 4, SCRIPT, { env: environment(3000) })
  const [killed, stopped, ...others] = started as [Worker, Worker, Worker, Worker]
  await Promise.all(started.map((worker) => sees(worker, ['web1:0', 'web1:1', 'web1:2', 'web1:3'])))
  for (const worker of started) {
    for (let i = 0; i < 5; i++) await worker.call('get', `/item/${i}`)
    await worker.call('increment', 'orders', 10)
  }
  /** The counter and the requests of the cluster, as one of the others tells Prometheus. */
  const counted = async () => {
    const text = parsePrometheus((await others[0]!.call<{ body: string }>('get', '/metrics?scope=cluster')).body)
    const requests = text.get('http_server_request_duration_seconds')?.lines.find(({ name, labels }) => name.endsWith('_count') && labels.route === '/item/:id')
    return { orders: text.get('orders_total')?.lines[0]?.value ?? 0, items: requests?.value ?? 0, statistics: (await documentOf(others[0]!)).statistics.counters.orders }
  }
  const whole = { orders: 40, items: 20, statistics: 40 }
  await waitFor(async () => JSON.stringify(await counted()) === JSON.stringify(whole), { what: 'all to have reported', ...slow })

  killed.kill('SIGKILL')
  await killed.exited
  await Promise.all(others.map((worker) => sees(worker, ['web1:1', 'web1:2', 'web1:3'])))
  t.same(await counted(), whole, 'the counters of the dead are kept')

  await stopped.call('close')
  for (const worker of others) t.same(idsOf(await documentOf(worker)), ['web1:2', 'web1:3'], 'gone at once, without a wait')
  t.same(await counted(), whole)

  const [again] = await workers(t, 1, SCRIPT, { env: environment(3000) }) as [Worker]
  await sees(others[0]!, ['web1:0', 'web1:2', 'web1:3'])
  await again.call('increment', 'orders', 1)
  await waitFor(async () => JSON.stringify(await counted()) === JSON.stringify({ orders: 41, items: 20, statistics: 41 }), { what: 'the restarted one to add to it', ...slow })
})

t.test('what ended instances counted stays in the counters of the cluster for ever, once, and one that was only frozen is not counted twice', async (t) => {
  const siteId = uniqueName()
  const env = (index: number) => ({
    LINK: JSON.stringify({ url: sharedRedis(), siteId, env: 'test' }),
    OPTIONS: JSON.stringify({ reportIntervalMs: 100, ttlMs: 500, keepMs: 1000 }),
    SERVER_ID: 'web1',
    NODE_APP_INSTANCE: String(index)
  })
  const [killed, frozen, watcher] = await workers(t, 3, SCRIPT, { env }) as [Worker, Worker, Worker]
  const client = connect(t, Number(new URL(sharedRedis()).port))
  const index = `${siteId}:test:health:index`
  for (const worker of [killed, frozen, watcher]) {
    for (let i = 0; i < 5; i++) await worker.call('get', `/item/${i}`)
    await worker.call('increment', 'orders', 10)
  }
  const counted = async () => {
    const text = parsePrometheus((await watcher.call<{ body: string }>('get', '/metrics?scope=cluster')).body)
    const requests = text.get('http_server_request_duration_seconds')?.lines.find(({ name, labels }) => name.endsWith('_count') && labels.route === '/item/:id')
    return [text.get('orders_total')?.lines[0]?.value, requests?.value, (await documentOf(watcher)).statistics.counters.orders].join()
  }
  await waitFor(async () => await counted() === '30,15,30', { what: 'all to have reported', ...slow })
  killed.kill('SIGKILL')
  await killed.exited
  frozen.kill('SIGSTOP')
  await waitFor(async () => {
    t.equal(await counted(), '30,15,30', 'never falls, never rises')
    return await client.zcard(index) === 1
  }, { what: 'the index to forget both', ...slow })
  t.equal(await counted(), '30,15,30', 'beyond keepMs')
  const lost = async () => parsePrometheus((await watcher.call<{ body: string }>('get', '/metrics?scope=cluster')).body).get('cluster_instances_lost_total')?.lines[0]?.value
  t.equal(await lost(), 2)
  const asked = documentOf(frozen)
  frozen.kill('SIGCONT')
  t.equal((await asked).statistics.counters.orders, 30, 'nor by itself, before it has reported again')
  await frozen.call('increment', 'orders', 1)
  await waitFor(async () => {
    const now = await counted()
    t.match(now, /^3[01],15,/, 'not twice')
    return now === '31,15,31'
  }, { what: 'the one that was frozen to add to it', ...slow })
  await frozen.call('close')
  await waitFor(async () => await client.zcard(index) === 1, { what: 'the index to forget it again', ...slow })
  t.equal(await counted(), '31,15,31')
  t.equal(await lost(), 2, 'what was lost for a while stays counted, and who left is not')
})

t.test('without Redis each instance answers for itself at once, and the cluster is back by itself', async (t) => {
  const redis = await redisServer(t)
  const link = { url: redis.url, siteId: uniqueName(), env: 'test' }
  const routes = (app: { get (url: string, handler: () => Promise<string>): unknown }) => { app.get('/item/:id', async () => 'item') }
  const [{ app: one }, { app: two }] = await Promise.all([build(t, { link, pmId: '0', routes }), build(t, { link, pmId: '1', routes })])
  const both = () => waitFor(async () => {
    const { degraded, status, statistics } = await data(one)
    return !degraded && status === 'ok' && statistics.totalInstances === 2
  }, { what: 'both to be there', ...slow })
  await both()
  t.match(await ask(one, '/health/redis'), { statusCode: 200, body: /"status":"ok","mode":"redis","stats":\{"mode":"redis".*used_memory_human/ })

  await redis.kill()
  await Promise.all([one, two].map((app) => waitFor(() => !app.redisLink.isUp, slow)))
  await one.inject('/item/1')
  one.clusterMetrics.increment('orders')
  // No command may be sent, so nothing can be waited for.
  const { run } = one.redisLink
  let asked = 0
  one.redisLink.run = async () => { asked++; throw new Error('Redis was asked') }
  const { degraded, status, statistics, servers } = await data(one)
  t.match({ degraded, status }, { degraded: true, status: 'degraded' })
  t.match(statistics, { totalInstances: 1, totalServers: 1, counters: { orders: 1 } })
  t.equal(servers[0]!.instances[0]!.bootId, one.appCluster.bootId)
  for (const url of ['/api/1/metrics/requests', '/api/1/metrics/history', '/api/1/metrics/errors/recent', '/api/1/metrics/servers']) {
    t.match(await data<{ degraded: boolean }>(one, url), { degraded: true }, url)
  }
  const { requests } = await data<{ requests: Array<{ route: string, count: number }> }>(one, '/api/1/metrics/requests')
  t.equal(requests.find(({ route }) => route === '/item/:id')?.count, 1)
  const text = parsePrometheus((await ask(one, '/metrics?scope=cluster')).body)
  t.equal(text.get('cluster_instances')?.lines[0]?.value, 1)
  t.same([...text].filter(([, { type }]) => type !== 'gauge').map(([name]) => name), [], 'a gap in the sums of all, which would fall')
  t.match(await ask(one, '/health'), { statusCode: 200, body: /^\{"status":"degraded".*"redis":\{"status":"down"\}/ })
  t.match(await ask(one, '/health/redis'), { statusCode: 503, body: /^\{"status":"degraded","mode":"memory"/ })
  t.equal((await ask(one, '/health/live')).statusCode, 200)
  t.equal(asked, 0, 'nobody waited for Redis')
  one.redisLink.run = run

  await redis.restart({ empty: true })
  await both()
  const item = await waitFor(async () => {
    const { requests } = await data<{ requests: Array<{ route: string, count: number }> }>(two, '/api/1/metrics/requests')
    return requests.find(({ route }) => route === '/item/:id')
  }, { what: 'what was counted without Redis to be written', ...slow })
  t.equal(item.count, 1)
})

t.test('a frozen Redis holds neither an answer nor the close', async (t) => {
  const redis = await redisServer(t)
  const { app } = await build(t, { link: { url: redis.url, siteId: uniqueName(), commandTimeoutMs: 300 } })
  await waitFor(async () => !(await data(app)).degraded, slow)
  redis.freeze()
  t.teardown(() => redis.thaw())
  for (const url of ['/api/1/metrics', '/api/1/metrics/history', '/metrics?scope=cluster', '/health', '/health/redis', '/health/live']) {
    const { statusCode } = await ask(app, url)
    t.ok(statusCode === 200 || statusCode === 503, url)
  }
  t.equal((await data(app)).degraded, true)
  await app.close()
  t.equal(redis.alive, true, 'closed while it was frozen')
})

t.test('a Redis that refuses is an error, one that was never there is a degradation', async (t) => {
  const redis = await redisServer(t)
  await redis.client.call('ACL', 'SETUSER', 'narrow', 'on', '>narrow-password', '~*', '&*', '+@all', '-ping')
  const { app } = await build(t, { link: { url: redis.url, username: 'narrow', password: 'narrow-password', siteId: uniqueName() } })
  await waitFor(() => app.redisLink.isUp, slow)
  t.match(await ask(app, '/health/redis'), { statusCode: 500, body: /^\{"status":"error","mode":"redis"/ })
  const { app: alone } = await build(t)
  t.match(await ask(alone, '/health/redis'), { statusCode: 503, body: /^\{"status":"degraded","mode":"memory"/ })
  t.match(await ask(alone, '/health'), { statusCode: 200, body: /^\{"status":"ok".*"redis":\{"status":"disabled"\}/ })
  t.match(await data(alone), { status: 'ok', degraded: true, statistics: { totalInstances: 1 } })
  const { app: late } = await build(t, { link: { url: 'redis://127.0.0.1:1', connectTimeoutMs: 200 } })
  t.match(await data(late), { status: 'degraded', degraded: true })
})

t.test('MongoDB that is away, or hangs, makes the instance not ready, and never holds the answer', async (t) => {
  let command: () => Promise<unknown> = async () => ({ ok: 1 })
  const mongo = { client: { db: () => ({ command: () => command() }), options: { hosts: [{ host: 'db1', port: 27017 }], credentials: { password: 'planted-password' } } }, db: { databaseName: 'shop' } }
  const { app } = await build(t, { options: { mongo, checkTimeoutMs: 100 } })
  t.match((await ask(app, '/health')).json(), { status: 'ok', checks: { mongodb: { status: 'up' } } })
  await waitFor(async () => (await data(app)).servers[0]!.mongodb.status === 'running', slow)
  t.match((await data(app)).servers[0]!.mongodb, { version: null, connections: null, uptime: null, host: 'db1:27017' })
  for (const broken of [async () => { throw new Error('planted-password') }, () => new Promise(() => {})]) {
    command = broken
    const { statusCode, json } = await ask(app, '/health')
    t.equal(statusCode, 503)
    t.match(json(), { status: 'error', checks: { mongodb: { status: 'down' } } })
    await waitFor(async () => (await data(app)).servers[0]!.mongodb.status === 'down', slow)
    t.notOk((await ask(app, '/api/1/metrics')).body.includes('planted-password'))
    t.equal((await ask(app, '/health/live')).statusCode, 200)
  }
  command = async () => ({ ok: 1 })
  t.equal((await ask(app, '/health')).statusCode, 200)
  await waitFor(async () => (await data(app)).servers[0]!.mongodb.status === 'running', { what: 'it to be asked again, though what hung never answered', ...slow })
})

t.test('readiness is 503 from the start of close, liveness stays 200', async (t) => {
  let release: (() => void) | undefined
  const held = new Promise<void>((resolve) => { release = resolve })
  let draining = false
  const { app } = await build(t, {
    server: { return503OnClosing: false },
    options: { isDraining: () => draining },
    plugins: (instance) => { instance.after(() => { instance.addHook('preClose', async () => { await held }) }) }
  })
  const address = await app.listen({ port: 0, host: '127.0.0.1' })
  const health = async (path = '/health') => {
    const response = await fetch(address + path)
    return { statusCode: response.status, body: await response.json() as { status: string, checks: Record<string, { status: string }> } }
  }
  t.equal((await health()).statusCode, 200)
  draining = true
  t.match(await health(), { statusCode: 503, body: { checks: { instance: { status: 'draining' } } } }, 'as the application says')
  draining = false
  t.equal((await health()).statusCode, 200)
  const closed = app.close()
  await waitFor(async () => (await health()).statusCode === 503, slow)
  t.match(await health(), { body: { status: 'error', checks: { instance: { status: 'draining' } } } })
  t.equal((await health('/health/live')).statusCode, 200)
  t.match((await app.clusterMetrics.aggregate()).statistics, { totalInstances: 1, runningProcesses: 0 })
  release!()
  await closed
})

t.test('an instance that closes while its report hangs is gone at once all the same, and does not come back', async (t) => {
  const link = { url: sharedRedis(), siteId: uniqueName(), env: 'test' }
  const { app: stays } = await build(t, { link, pmId: '0' })
  const { app: leaves } = await build(t, { link, pmId: '1', options: { checkTimeoutMs: 2000 } })
  await waitFor(async () => (await data(stays)).statistics.totalInstances === 2, slow)
  let release: (() => void) | undefined
  let asked = false
  leaves.clusterMetrics.provider('hangs', () => new Promise((resolve) => {
    asked = true
    release = () => resolve({ a: 1 })
  }))
  await waitFor(() => asked, slow)
  leaves.clusterMetrics.increment('orders', 3)
  await leaves.close()
  t.equal((await data(stays)).statistics.totalInstances, 1, 'gone at once')
  release!()
  for (let i = 0; i < 20; i++) await data(stays)
  t.match((await data(stays)).statistics, { totalInstances: 1, counters: { orders: 3 } }, 'and its last counts are kept')

  const { parts: { reporter } } = await build(t, { link, pmId: '2' })
  await waitFor(async () => (await data(stays)).statistics.totalInstances === 2, slow)
  let waits = false
  reporter.beforeWrite = () => {
    waits = true
    return new Promise((resolve) => { release = resolve })
  }
  await waitFor(() => waits, slow)
  const report = reporter.now()
  await reporter.stop()
  release!()
  await report
  t.equal((await data(stays)).statistics.totalInstances, 1, 'nor does one that waited to hand over what it had announced')
})

t.test('a slow Redis never makes two reports overlap', async (t) => {
  const proxy = await tcpProxy(t, Number(new URL(sharedRedis()).port))
  const { app } = await build(t, { link: { url: `redis://127.0.0.1:${proxy.port}`, siteId: uniqueName() }, options: { reportIntervalMs: 100 } })
  let running = 0
  let most = 0
  let reports = 0
  const { run, runAll } = app.redisLink
  const watched = async <T>(command: () => Promise<T>): Promise<T> => {
    // cluster-broadcast uses the link as well.
    if (!new Error().stack!.includes('/store/')) return command()
    most = Math.max(most, ++running)
    try {
      await sleep(250)
      return await command()
    } finally {
      running--
      reports++
    }
  }
  app.redisLink.run = (command) => watched(() => run.call(app.redisLink, command)) as never
  app.redisLink.runAll = (commands) => watched(() => runAll.call(app.redisLink, commands))
  await waitFor(() => reports >= 4, slow)
  t.equal(most, 1)
})

t.test('on a Redis Cluster', async (t) => {
  const cluster = await redisCluster(t)
  const link = { cluster: { nodes: cluster.nodes.map(({ port }) => ({ host: '127.0.0.1', port })) }, siteId: uniqueName(), commandTimeoutMs: 5000 }
  const apps = await Promise.all(['0', '1', '2'].map(async (pmId) => (await build(t, { link, pmId })).app))
  for (const app of apps) app.clusterMetrics.increment('orders')
  for (const app of apps) {
    await waitFor(async () => {
      const { statistics, degraded } = await data(app)
      return !degraded && statistics.totalInstances === 3 && statistics.counters.orders === 3
    }, { what: 'all three', ...slow })
    for (const url of ['/metrics?scope=cluster', '/api/1/metrics/requests?minutes=60', '/api/1/metrics/history', '/api/1/metrics/errors/recent']) t.equal((await ask(app, url)).statusCode, 200, url)
  }
  await apps[0]!.close()
  t.equal((await data(apps[1]!)).statistics.totalInstances, 2)
})
