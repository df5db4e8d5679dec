import { Agent, get, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { redisServer, serversEnv, tcpProxy, waitFor } from '../../../test/helpers/index.ts'
import { adminSite, form, site } from './helper.ts'

const API = '/api/1/guestbook'
const health = async (app: FastifyInstance) => {
  const response = await app.inject('/health')
  return { code: response.statusCode, ...response.json() }
}

/** The variables of a site whose MongoDB can be taken away. */
async function behindProxy (t: Test) {
  const env = await serversEnv(t)
  const direct = new URL(env.MONGODB_URI!)
  const proxy = await tcpProxy(t, Number(direct.port))
  const through = `mongodb://127.0.0.1:${proxy.port}${direct.pathname}?directConnection=true`
  return { proxy, env: { ...env, MONGODB_URI: through } }
}

async function siteBehindProxy (t: Test) {
  const { proxy, env } = await behindProxy(t)
  return { proxy, open: () => site(t, env) }
}

async function withoutMongo (t: Test, app: FastifyInstance) {
  for (const request of [{ url: API }, { url: '/guestbook', headers: { accept: 'application/json' } }, { url: API, method: 'POST' as const, payload: { name: 'n', message: 'm' } }]) {
    const response = await app.inject(request)
    t.equal(response.statusCode, 503)
    t.match(response.json(), { success: false, code: 'FST_ERR_SITE_DOCUMENTS_UNAVAILABLE', statusCode: 503, error: 'database does not answer' })
    t.ok(response.headers['retry-after'])
  }
  for (const request of [{ url: '/guestbook', headers: { accept: 'text/html' } }, form({ name: 'n', message: 'm' })]) {
    const response = await app.inject(request)
    t.equal(response.statusCode, 503)
    t.match(response.body, '<h1>Service Unavailable</h1>')
    t.match(response.body, 'database does not answer')
  }
  const home = await app.inject('/')
  t.equal(home.statusCode, 200, 'what needs no documents works on')
  t.match(home.body, 'The guest book is out of reach')
  t.match(home.body, '<dd class="state down">down</dd>')
  t.match(await health(app), { code: 503, status: 'error', checks: { mongodb: { status: 'down' }, redis: { status: 'up' }, instance: { status: 'up' } } })
  t.equal((await app.inject('/health/live')).statusCode, 200, 'a restart would not help')
}

t.test('MongoDB away at boot: the site boots, and has its guest book as soon as MongoDB is there', async (t) => {
  const { proxy, open } = await siteBehindProxy(t)
  proxy.cut()
  const app = await open()
  await app.ready()
  await withoutMongo(t, app)
  proxy.mend()
  await waitFor(async () => (await app.inject({ url: API, method: 'POST', payload: { name: 'n', message: 'm' } })).statusCode === 201, { what: 'the guest book to take an entry', timeoutMs: 20_000 })
  t.match(await health(app), { code: 200, status: 'ok', checks: { mongodb: { status: 'up' } } })
  t.equal((await app.inject('/guestbook')).statusCode, 200)
})

t.test('MongoDB lost while the site runs: 503 where documents are needed, and all of it again when it is back', async (t) => {
  const { proxy, open } = await siteBehindProxy(t)
  const app = await open()
  t.equal((await app.inject({ url: API, method: 'POST', payload: { name: 'before', message: 'm' } })).statusCode, 201)
  proxy.cut()
  t.equal((await app.inject(API)).statusCode, 503, 'the very request that finds out')
  await waitFor(() => app.mongoLink?.state === 'down')
  await withoutMongo(t, app)
  proxy.mend()
  const listed = await waitFor(async () => {
    const response = await app.inject(API)
    return response.statusCode === 200 && response.json()
  }, { what: 'the list to be back', timeoutMs: 20_000 })
  t.equal(listed.data[0].name, 'before')
})

t.test('MongoDB lost: administrators see the endpoints that the worker has, can change none, and can when it is back', async (t) => {
  const { proxy, env } = await behindProxy(t)
  const { app, admin } = await adminSite(t, 'servers', { ...env, CACHE_ENABLED: 'false' })
  const make = (name: string) => admin.form('/admin/websockets', { name, audience: 'users' })
  t.equal((await make('shop')).statusCode, 303)
  proxy.cut()
  await waitFor(async () => {
    await app.inject(API)
    return app.mongoLink?.state === 'down'
  })
  const { statusCode, body } = await admin.get('/admin/websockets')
  t.equal(statusCode, 200)
  t.match(body, 'The list is out of reach')
  t.match(body, 'data-namespace="shop"')
  t.notMatch(body, 'Open the endpoint')
  t.equal((await make('other')).statusCode, 503)
  t.match(await admin.json('POST', '/api/1/cache/clear'), { statusCode: 503, headers: { 'retry-after': '2' } }, 'by a route of a plugin too')
  proxy.mend()
  await waitFor(async () => (await make('other')).statusCode === 303, { what: 'an endpoint to be made', timeoutMs: 20_000 })
  t.match((await admin.get('/admin/websockets')).body, 'Open the endpoint')
})

t.test('MongoDB away at boot: the endpoints are there with MongoDB, however long it was away', async (t) => {
  const { proxy, env } = await behindProxy(t)
  const { app, admin } = await adminSite(t, 'servers', env)
  t.equal((await admin.form('/admin/websockets', { name: 'shop', audience: 'users' })).statusCode, 303)
  await app.close()
  proxy.cut()
  let tries = 0
  const other = await site(t, env)
  const refresh = other.endpoints.refresh.bind(other.endpoints)
  other.endpoints.refresh = () => { tries++; return refresh() }
  await other.ready()
  // By then the next try would be eight seconds away.
  await waitFor(() => tries === 5, { what: 'the tries to become seldom', timeoutMs: 30_000 })
  proxy.mend()
  await waitFor(() => other.mongoLink?.state === 'up', { what: 'MongoDB', timeoutMs: 20_000 })
  await waitFor(() => other.endpoints.names.includes('shop'), { what: 'the endpoint', timeoutMs: 4000 })
})

t.test('MongoDB frozen: requests are answered within the limit of an operation, and the worker lives', async (t) => {
  const { proxy, open } = await siteBehindProxy(t)
  const app = await open()
  t.equal((await app.inject(API)).statusCode, 200)
  proxy.mute()
  t.equal((await app.inject(API)).statusCode, 503)
  t.equal((await health(app)).code, 503)
  await app.close()
})

t.test('Redis away: each worker counts for itself, says so, and the site stays ready; Redis back: all count together', async (t) => {
  const redis = await redisServer(t)
  const app = await site(t, { ...await serversEnv(t), REDIS_URL: redis.url })
  t.match((await app.inject('/')).body, 'data-testid="visits">1<')
  await redis.kill()
  await waitFor(() => app.redisLink.state === 'down')
  const home = await app.inject('/')
  t.equal(home.statusCode, 200)
  t.match(home.body, 'Counted by this worker alone until Redis is back.')
  t.match(await health(app), { code: 200, status: 'degraded', checks: { redis: { status: 'down' } } })
  await redis.restart()
  await waitFor(() => app.redisLink.isUp)
  t.match((await app.inject('/')).body, 'data-testid="visits">2<', 'counting goes on where Redis had it')
})

t.test('a draining worker answers what still comes, asks its clients to leave, and is not ready', async (t) => {
  const app = await site(t)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => agent.destroy())
  const ask = (path: string) => new Promise<{ status: number | undefined, headers: IncomingHttpHeaders }>((resolve, reject) => {
    get({ port, path, agent }, (response) => {
      response.resume().once('end', () => resolve({ status: response.statusCode, headers: response.headers }))
    }).once('error', reject)
  })
  t.equal((await ask('/health')).headers.connection, 'keep-alive')
  const drained = app.drain.start()
  t.equal(app.drain.start(), drained, 'a second call joins the first')
  const { status, headers } = await ask('/health')
  t.equal(status, 503)
  t.equal(headers.connection, 'close')
  await drained
  await t.rejects(ask('/'), { code: 'ECONNREFUSED' })
})

t.test('an idle client holds a draining worker for a bounded time only', async (t) => {
  const app = await site(t)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const agent = new Agent({ keepAlive: true })
  t.teardown(() => agent.destroy())
  await new Promise<void>((resolve, reject) => {
    get({ port, path: '/', agent }, (response) => { response.resume().once('end', () => resolve()) }).once('error', reject)
  })
  await app.drain.start()
  t.equal(app.server.listening, false)
})
