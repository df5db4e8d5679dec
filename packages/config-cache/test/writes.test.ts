import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import t, { type Test } from 'tap'
import Fastify, { type FastifyInstance } from 'fastify'
import { redisLink } from '@jpulse/redis-link'
import { redisServer, uniqueName, waitFor } from '../../../test/helpers/index.ts'
import { configCache, memorySource } from '../src/index.ts'

t.setTimeout(200_000)

async function build (t: Test, url: string, siteId: string, options: object = {}): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(redisLink, { url, siteId })
  await app.register(configCache, { source: memorySource(), blockTtlMs: 500, ...options })
  await app.ready()
  await waitFor(() => app.configCache.mode === 'coherent', { timeoutMs: 20_000 })
  return app
}

t.test('a write whose Redis dies between the database and the release rejects as unconfirmed, and is made up for', async (t) => {
  const redis = await redisServer(t)
  const siteId = uniqueName()
  const options = { confirmTimeoutMs: 300 }
  const one = (await build(t, redis.url, siteId, options)).configCache
  const other = (await build(t, redis.url, siteId, options)).configCache
  let value = 'old'
  t.equal(await other.getOrLoad('a', {}, async () => value), 'old')
  await t.rejects(one.write({ keys: ['a'] }, async () => { await redis.kill(); value = 'new' }), { code: 'FST_ERR_CONFIG_CACHE_UNCONFIRMED', statusCode: 503 })
  t.equal(await one.getOrLoad('a', {}, async () => value), 'new', 'no lease of before the outage serves the old value here')
  t.match(one.stats(), { unconfirmed: 1 })
  await redis.restart()
  await waitFor(() => one.mode === 'coherent' && other.mode === 'coherent', { timeoutMs: 30_000 })
  for (const cache of [one, other]) t.equal(await cache.getOrLoad('a', {}, async () => value), 'new')
})

t.test('work that fails while Redis is gone rejects with its own error', async (t) => {
  const redis = await redisServer(t)
  const { configCache: cache } = await build(t, redis.url, uniqueName(), { confirmTimeoutMs: 300 })
  await t.rejects(cache.write({ keys: ['a'] }, async () => { await redis.kill(); throw new Error('mine') }), { message: 'mine' })
})

t.test('the steps of a write are published in their order', async (t) => {
  const redis = await redisServer(t)
  const { configCache: cache } = await build(t, redis.url, uniqueName())
  const steps: unknown[] = []
  const listener = (message: unknown) => { steps.push(message) }
  subscribe('jpulse:config-cache:write', listener)
  t.teardown(() => unsubscribe('jpulse:config-cache:write', listener))
  await cache.write({ tags: ['a', 'b', 'a'] }, async () => { steps.push('work') })
  t.match(steps, [{ step: 'blocked', tags: ['a', 'b'] }, { step: 'safe' }, 'work', { step: 'written' }, { step: 'released' }])
})

t.test('a dead process of this machine is not waited for, a silent one elsewhere for a lease', async (t) => {
  const redis = await redisServer(t)
  const siteId = uniqueName()
  const { configCache: cache } = await build(t, redis.url, siteId)
  const client = redis.connect()
  const members = (await client.keys('*:members'))[0]!
  const [mine] = Object.entries(await client.hgetall(members)).find(([id]) => id !== '_')!
  const host = (await client.hget(members, mine))!.split(' ')[2]!
  const timed = async () => {
    const start = performance.now()
    await cache.write({ keys: ['a'] }, async () => {})
    return performance.now() - start
  }
  await client.hset(members, 'elsewhere', '0 token 1@another-machine')
  t.ok(await timed() >= 1000, 'it may hold a lease')
  t.notOk(await client.hexists(members, 'elsewhere'), 'and is fenced')
  // Pids are at most 2^22 on Linux.
  await client.hset(members, 'dead', `0 token 9999999@${host.split('@')[1]}`)
  t.ok(await timed() < 1000)
  t.notOk(await client.hexists(members, 'dead'))
})
