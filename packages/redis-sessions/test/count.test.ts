import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { sharedRedis } from '../../../test/helpers/index.ts'
import { Browser, makeApp } from './support/app.ts'

/** An application on a client of its own, of which the test replaces the SCAN. */
async function setup (t: Test, onUnavailable: 'error' | 'memory') {
  const client = new Redis(sharedRedis())
  t.teardown(() => client.disconnect())
  const app = await makeApp(t, { redis: { client, commandTimeoutMs: 1000, probeIntervalMs: 60_000 }, sessions: { onUnavailable } })
  const browser = new Browser(app)
  await browser.post('/login', { user: 'u' })
  return { client, app, browser }
}

t.test('a count of many commands may take longer than one command', async (t) => {
  const { client, app } = await setup(t, 'error')
  let left = 6
  const pages = async () => {
    await sleep(300)
    return [String(--left), left === 3 ? ['a session', 'another'] : []]
  }
  Object.assign(client, { scan: pages })
  t.equal(await app.sessions.count(), 2)
  t.equal(left, 0)
})

for (const onUnavailable of ['error', 'memory'] as const) {
  t.test(`a count that gets no answer fails alone, policy ${onUnavailable}`, async (t) => {
    const { client, app, browser } = await setup(t, onUnavailable)
    Object.assign(client, { scan: () => new Promise(() => {}) })
    await t.rejects(app.sessions.count(), { code: 'FST_ERR_REDIS_SESSIONS_UNAVAILABLE', statusCode: 503 })
    t.equal((await browser.get('/me')).json().userId, 'u')
    t.equal(app.sessions.mode, 'redis')
    t.ok(app.redisLink.isUp)
  })
}

t.test('a count knows the keyPrefix of a client of the application', async (t) => {
  for (const keyPrefix of ['mine:', 'a*[b]?\\:']) {
    const client = new Redis(sharedRedis(), { keyPrefix })
    t.teardown(() => client.disconnect())
    const app = await makeApp(t, { redis: { client } })
    await new Browser(app).post('/login', { user: 'u' })
    await new Browser(app).post('/set', { n: 1 })
    t.equal(await app.sessions.count(), 2, keyPrefix)
  }
})
