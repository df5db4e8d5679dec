import t from 'tap'
import { redisServer, sentinel, serversEnv, temporaryFolder } from './helpers/index.ts'
import { nothingIsLeft, page, serverPorts, start, visits, workersOf } from './helpers/npm-start.ts'

t.setTimeout(240_000)

t.test('npm start uses the Redis that REDIS_HOST names, and starts no other', async (t) => {
  const redis = await redisServer(t)
  const { SITE_ID, MONGODB_URI } = await serversEnv(t)
  const started = await start(t, temporaryFolder(t), { env: { SITE_ID, MONGODB_URI, REDIS_HOST: '127.0.0.1', REDIS_PORT: String(redis.port) } })
  await started.ready(60_000)
  t.same(await workersOf(started, 2), ['025:0', '025:1'])
  t.same(serverPorts(started), [])
  t.match(JSON.parse(await page(started, '/health/redis')), { status: 'ok' })
  t.ok(await redis.client.dbsize() > 0, 'the sites keys are in it')
  process.kill(started.pid, 'SIGTERM')
  t.equal(await started.exited, 0)
  await nothingIsLeft(t, started)
})

t.test('npm start uses the Redis that REDIS_SENTINELS lead to, with a MongoDB of its own; a second one without variables joins both', async (t) => {
  const { name, sentinels } = await sentinel(t)
  const dir = temporaryFolder(t)
  const first = await start(t, dir, {
    env: { REDIS_MODE: 'sentinel', REDIS_SENTINELS: sentinels.map(({ host, port }) => `${host}:${port}`).join(), REDIS_SENTINEL_NAME: name }
  })
  await first.ready(60_000)
  t.same(await workersOf(first, 2), ['025:0', '025:1'])
  t.equal(serverPorts(first).length, 1, 'a MongoDB of its own')
  const before = await visits(first)

  // What belongs to a Redis that is not named says nothing.
  const second = await start(t, dir, { env: { SERVER_ID: '026', REDIS_PASSWORD: 'of another one' } })
  await second.ready(60_000)
  t.same(await workersOf(second, 2), ['026:0', '026:1'])
  t.equal(await visits(second), before + 1, 'in the same Redis')
  for (const started of [second, first]) {
    process.kill(started.pid, 'SIGTERM')
    t.equal(await started.exited, 0)
    await nothingIsLeft(t, started)
  }
})

t.test('EMBEDDED=1 npm start uses no Redis, whichever variable names one', async (t) => {
  const { port } = new URL(process.env.REDIS_URL!)
  const started = await start(t, temporaryFolder(t), { env: { EMBEDDED: '1', REDIS_MODE: 'single', REDIS_HOST: '127.0.0.1', REDIS_PORT: port } })
  await started.ready(30_000)
  t.match(JSON.parse(await page(started, '/health/redis')), { status: 'degraded' })
  process.kill(started.pid, 'SIGTERM')
  t.equal(await started.exited, 0)
})

t.test('REDIS_MODE=none npm start ends with 1 and says what runs without Redis', async (t) => {
  const started = await start(t, temporaryFolder(t), { env: { REDIS_MODE: 'none' } })
  t.equal(await started.exited, 1)
  t.match(started.output(), /^REDIS_MODE=none: .*EMBEDDED=1 npm start$/m)
})
