import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { redisCluster, redisServer, waitFor, uniqueName } from '../../../test/helpers/index.ts'
import { Browser, makeApp } from './support/app.ts'

/** One command timeout with the slack of a busy machine, far below two. */
const COMMAND_MS = 1500
const BOUND_MS = 2700

const quick = { commandTimeoutMs: COMMAND_MS, probeIntervalMs: 200 }
const isUp = (app: FastifyInstance) => waitFor(() => app.redisLink.isUp, { what: 'the link to be up' })
const isDown = (app: FastifyInstance) => waitFor(() => !app.redisLink.isUp, { what: 'the link to be down' })

async function took<T> (call: Promise<T>): Promise<[T, number]> {
  const start = performance.now()
  const result = await call
  return [result, performance.now() - start]
}

t.test('policy error: with Redis killed, using a session answers 503 with Retry-After, and pages that do not are served', async (t) => {
  const redis = await redisServer(t)
  const app = await makeApp(t, { redis: { url: redis.url, ...quick }, routes: (app) => { app.get('/deep', async (request) => ({ kept: request.session.n ?? 0 })) } })
  const browser = new Browser(app)
  await browser.post('/login', { user: 'u', n: 1 })
  await redis.kill()
  for (const url of ['/me', '/deep']) {
    const [response, ms] = await took(browser.get(url))
    t.equal(response.statusCode, 503)
    t.equal(response.headers['retry-after'], '1')
    t.equal(response.json().code, 'FST_ERR_REDIS_SESSIONS_UNAVAILABLE')
    t.notMatch(response.json().message, /127\.0\.0\.1|ECONN/, 'nothing of the server')
    t.ok(ms < BOUND_MS, `${ms} ms`)
  }
  t.equal((await browser.get('/public')).statusCode, 200)
  t.notOk((await browser.get('/public')).headers['set-cookie'])
  t.equal((await browser.post('/logout')).statusCode, 503, 'a logout that would not hold is refused')
  t.equal((await browser.post('/login', { user: 'u' })).statusCode, 503)
  t.equal((await browser.post('/logout-all', { user: 'u' })).statusCode, 503)
  t.equal((await browser.get('/list?user=u')).statusCode, 503)
  t.equal((await new Browser(app).post('/set', { n: 1 })).statusCode, 503, 'what cannot be saved is not answered 200')
  await redis.restart()
  await isUp(app)
  t.equal((await browser.get('/me')).json().fields.n, 1, 'still logged in, without a restart')
})

for (const onUnavailable of ['error', 'memory'] as const) {
  t.test(`policy ${onUnavailable}: a write that loses Redis between load and save is an error that says when to try again`, async (t) => {
    const redis = await redisServer(t)
    const app = await makeApp(t, {
      redis: { url: redis.url, ...quick },
      sessions: { onUnavailable },
      routes (app) {
        app.get('/write-late', async (request) => {
          request.session.n = 2
          await redis.kill()
          return 'written'
        })
      }
    })
    const browser = new Browser(app)
    await browser.post('/login', { user: 'u', n: 1 })
    const response = await browser.get('/write-late')
    t.equal(response.statusCode, 503)
    t.equal(response.headers['retry-after'], '1')
  })
}

t.test('policy error: a frozen Redis costs one command timeout, not one per request', async (t) => {
  const redis = await redisServer(t)
  const app = await makeApp(t, { redis: { url: redis.url, ...quick, probeIntervalMs: 60_000 } })
  const browser = new Browser(app)
  await browser.post('/login', { user: 'u' })
  redis.freeze()
  const [first, ms] = await took(browser.get('/public'))
  t.equal(first.statusCode, 200)
  t.ok(ms < BOUND_MS, `${ms} ms`)
  const [others, othersMs] = await took((async () => {
    const codes: number[] = []
    for (let index = 0; index < 10; index++) codes.push((await browser.get(index % 2 === 0 ? '/public' : '/me')).statusCode)
    return codes
  })())
  t.same(others, [200, 503, 200, 503, 200, 503, 200, 503, 200, 503])
  t.ok(othersMs < COMMAND_MS, `ten requests one after the other took ${othersMs} ms`)
  redis.thaw()
  await waitFor(async () => (await browser.get('/me')).json().userId === 'u')
})

for (const onUnavailable of ['error', 'memory'] as const) {
  t.test(`policy ${onUnavailable}: the application boots without Redis and closes with a frozen one, within its bounds`, async (t) => {
    const redis = await redisServer(t)
    await redis.kill()
    const [app, bootMs] = await took(makeApp(t, { redis: { url: redis.url, ...quick }, sessions: { onUnavailable } }))
    t.ok(bootMs < 4000, `boot ${bootMs} ms`)
    t.equal((await app.inject('/public')).statusCode, 200)
    await redis.restart()
    await isUp(app)
    const browser = new Browser(app)
    await waitFor(async () => (await browser.post('/login', { user: 'u' })).statusCode === 200 && app.sessions.mode === 'redis')
    redis.freeze()
    await browser.get('/public')
    const [, closeMs] = await took(app.close())
    t.ok(closeMs < 2500, `close ${closeMs} ms`)
    redis.thaw()
  })
}

t.test('policy memory: logins go on in the process, and are moved to Redis when it is back', async (t) => {
  const redis = await redisServer(t)
  const siteId = uniqueName()
  const setup = { redis: { url: redis.url, siteId, ...quick }, sessions: { onUnavailable: 'memory' as const } }
  const [app, other] = [await makeApp(t, setup), await makeApp(t, setup)]
  const [before, during] = [new Browser(app), new Browser(app)]
  await before.post('/login', { user: 'before', n: 1 })
  t.equal(app.sessions.mode, 'redis')
  await redis.kill()
  t.equal((await during.post('/login', { user: 'during', n: 1 })).statusCode, 200)
  t.equal(app.sessions.mode, 'memory')
  await during.post('/set', { m: 2 })
  const unknown = await before.get('/me')
  t.equal(unknown.statusCode, 200)
  t.notOk(unknown.json().userId, 'who logged in before is anonymous here')
  t.notOk(unknown.headers['set-cookie'], 'but keeps the cookie')
  t.equal((await app.inject('/public')).statusCode, 200)
  await redis.restart()
  await waitFor(() => app.sessions.mode === 'redis')
  await isUp(other)
  await waitFor(() => other.sessions.mode === 'redis')
  t.match((await during.get('/me', other)).json(), { userId: 'during', fields: { n: 1, m: 2 } })
  t.match((await before.get('/me')).json(), { userId: 'before', fields: { n: 1 } })
  t.equal((await before.get('/list?user=during')).json().length, 1, 'moved with its place in the index')
})

for (const how of ['killed', 'frozen'] as const) {
  t.test(`policy memory: no logout of an outage is undone by the recovery (Redis ${how})`, async (t) => {
    const redis = await redisServer(t)
    const siteId = uniqueName()
    const setup = { redis: { url: redis.url, siteId, ...quick }, sessions: { onUnavailable: 'memory' as const } }
    const app = await makeApp(t, setup)
    const login = async (user: string) => {
      const browser = new Browser(app)
      await browser.post('/login', { user })
      return browser
    }
    const out = await Promise.all(Array.from({ length: 20 }, (_, index) => login(`out${index}`)))
    const stay = await Promise.all(Array.from({ length: 20 }, (_, index) => login(`stay${index}`)))
    const all = await Promise.all(Array.from({ length: 5 }, () => login('everywhere')))
    const cookies = out.map((browser) => browser.header())
    if (how === 'killed') await redis.kill()
    else redis.freeze()
    for (const browser of out) {
      const response = await browser.post('/logout')
      t.equal(response.statusCode, 200)
      t.equal(browser.cookies.size, 0, 'the cookie is cleared')
    }
    t.equal((await new Browser(app).post('/logout-all', { user: 'everywhere' })).statusCode, 200)
    const again = await login('everywhere')
    const both = await login('both')
    await both.post('/logout')
    if (how === 'killed') await redis.restart()
    else redis.thaw()
    await waitFor(() => app.sessions.mode === 'redis', { what: 'the recovery', timeoutMs: 20_000 })
    const fresh = await makeApp(t, setup)
    for (const cookie of cookies) t.notOk((await fresh.inject({ url: '/me', headers: { cookie } })).json().userId, 'out')
    for (const browser of stay) t.ok((await browser.get('/me', fresh)).json().userId, 'stays in')
    for (const browser of all) t.notOk((await browser.get('/me', fresh)).json().userId, 'out everywhere')
    t.equal((await again.get('/me', fresh)).json().userId, 'everywhere', 'a login after that is valid')
  })
}

t.test('policy memory: a session made in the outage is ended by a logout-all of another instance in the outage', async (t) => {
  const redis = await redisServer(t)
  const setup = { redis: { url: redis.url, siteId: uniqueName(), ...quick }, sessions: { onUnavailable: 'memory' as const } }
  const [one, two] = [await makeApp(t, setup), await makeApp(t, setup)]
  await redis.kill()
  await Promise.all([isDown(one), isDown(two)])
  const browser = new Browser(one)
  await browser.post('/login', { user: 'u' })
  const at = performance.now()
  // Their ages are told to Redis by two processes, each exact to a round trip: they are further apart than one is.
  await waitFor(() => performance.now() - at > 500)
  await two.inject({ method: 'POST', url: '/logout-all', payload: { user: 'u' } })
  await redis.restart()
  await waitFor(() => one.sessions.mode === 'redis' && two.sessions.mode === 'redis')
  await waitFor(async () => (await browser.get('/me')).json().userId === undefined)
})

t.test('policy memory: who logs the others out in an outage stays logged in after it, and so does a login right after a logout-all', async (t) => {
  const redis = await redisServer(t)
  const app = await makeApp(t, { redis: { url: redis.url, ...quick }, sessions: { onUnavailable: 'memory' } })
  const before = new Browser(app)
  await before.post('/login', { user: 'u' })
  await redis.kill()
  await isDown(app)
  const [pressing, other] = [new Browser(app), new Browser(app)]
  for (const browser of [pressing, other]) await browser.post('/login', { user: 'u' })
  t.equal((await pressing.post('/logout-others')).body, '1')
  const again = await Promise.all(Array.from({ length: 20 }, async (_, index) => {
    const browser = new Browser(app)
    await app.sessions.logoutAll(`again${index}`)
    await browser.post('/login', { user: `again${index}` })
    return browser
  }))
  await redis.restart()
  await waitFor(() => app.sessions.mode === 'redis')
  t.equal((await pressing.get('/me')).json().userId, 'u')
  for (const browser of [before, other]) t.notOk((await browser.get('/me')).json().userId)
  for (const [index, browser] of again.entries()) t.equal((await browser.get('/me')).json().userId, `again${index}`)
})

t.test('Redis empty after a restart: everybody is anonymous, nobody gets an error, a new login works', async (t) => {
  const redis = await redisServer(t)
  const app = await makeApp(t, { redis: { url: redis.url, ...quick } })
  const browser = new Browser(app)
  await browser.post('/login', { user: 'u' })
  await redis.restart({ empty: true })
  await isUp(app)
  const response = await waitFor(async () => {
    const response = await browser.get('/me')
    return response.statusCode === 200 && response
  })
  t.notOk(response.json().userId)
  t.equal((await browser.post('/login', { user: 'u' })).statusCode, 200)
  t.equal((await browser.get('/me')).json().userId, 'u')
})

t.test('a Cluster whose primary is killed serves the sessions of its slots again', async (t) => {
  const cluster = await redisCluster(t)
  const app = await makeApp(t, { redis: { mode: 'cluster', cluster: { nodes: cluster.nodes.map(({ port }) => ({ port })) }, ...quick } })
  const browsers = await Promise.all(Array.from({ length: 12 }, async (_, index) => {
    const browser = new Browser(app)
    await browser.post('/login', { user: `u${index}` })
    return browser
  }))
  const [primary] = await cluster.primaries()
  await primary!.kill()
  t.equal((await browsers[0]!.get('/public')).statusCode, 200)
  for (const [index, browser] of browsers.entries()) {
    await waitFor(async () => (await browser.get('/me')).json().userId === `u${index}`, { what: 'the failover', timeoutMs: 30_000 })
  }
})
