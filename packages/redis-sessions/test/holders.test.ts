import { spawnSync } from 'node:child_process'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { redisServer, uniqueName, waitFor } from '../../../test/helpers/index.ts'
import { Browser, makeApp } from './support/app.ts'

t.setTimeout(240_000)

t.test('the model of the directory of holders: nothing stale in any state, and something in one without each of its rules', async (t) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [fileURLToPath(new URL('../spec/holders.js', import.meta.url))], { encoding: 'utf8' })
  t.comment(stdout)
  t.equal(status, 0, stderr)
})

t.test('a change is told where others may have a copy, or who has one is not known: after a read elsewhere, a restart of Redis, an eviction', async (t) => {
  const redis = await redisServer(t)
  const siteId = uniqueName()
  const make = () => makeApp(t, { redis: { url: redis.url, siteId, probeIntervalMs: 100 }, sessions: { localReads: true } })
  const [app, other] = [await make(), await make()]
  const coherent = () => Promise.all([app, other].map((one) => waitFor(() => one.configCache.mode === 'coherent', { what: 'a lease' })))
  await coherent()
  const browser = new Browser(app)
  await browser.post('/login', { user: 'u' })
  let told = 0
  const onStep = (message: unknown) => { if ((message as { step: string }).step === 'blocked') told++ }
  subscribe('jpulse:config-cache:write', onStep)
  t.teardown(() => unsubscribe('jpulse:config-cache:write', onStep))
  let n = 0
  const change = async (): Promise<number> => {
    const before = told
    t.equal((await browser.post('/set', { n: ++n })).statusCode, 200)
    for (const one of [app, other]) t.equal((await browser.get('/me', one)).json().fields.n, n)
    return told - before
  }
  // What follows a change that was told is sent after it, on the same connection.
  const alone = async (): Promise<number> => {
    const before = told
    t.equal((await browser.post('/set', { n: ++n })).statusCode, 200)
    return told - before
  }
  t.equal(await alone(), 0, 'nobody has read it')
  t.equal((await browser.get('/me')).json().fields.n, n)
  t.equal((await browser.get('/me')).json().fields.n, n)
  t.equal(await alone(), 0, 'it has the only copy')
  await browser.get('/me', other)
  t.equal(await change(), 1, 'the other one has a copy')
  t.equal(await change(), 1, 'and took another')
  t.equal(await alone(), 1)
  t.equal(await alone(), 0, 'it took none since')
  await redis.kill()
  await waitFor(() => [app, other].every((one) => !one.redisLink.isUp), { what: 'both to know that Redis is away' })
  await redis.restart()
  await coherent()
  await waitFor(async () => (await browser.get('/me')).statusCode === 200, { what: 'Redis' })
  t.equal(await alone(), 1, 'Redis may have lost who has copies')
  t.equal(await alone(), 0)
  await redis.client.unlink(...await redis.client.keys('*:holders:*'))
  t.equal(await alone(), 1, 'evicted')
  t.equal(await alone(), 0)
})
