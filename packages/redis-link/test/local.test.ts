import t from 'tap'
import { redisServer, sharedRedis, waitFor } from '../../../test/helpers/index.ts'
import type { FastifyRedisLinkOptions } from '../src/index.ts'
import { build, rejection } from './build.ts'

const ways: Array<[name: string, options: () => FastifyRedisLinkOptions]> = [
  ['in Redis', () => ({ url: sharedRedis() })],
  ['in the process', () => ({})]
]

for (const [where, options] of ways) {
  t.test(`kv ${where}`, async (t) => {
    const { app } = await build(t, options())
    const { kv } = app.redisLink

    t.test('any JSON value comes back as it was', async (t) => {
      for (const [index, value] of [0, '', false, null, 'ü @', [1, { a: [] }], { n: 1.5 }].entries()) {
        await kv.set(`value${index}`, value)
        t.same(await kv.get(`value${index}`), value)
      }
      t.equal(await kv.get('nothing'), null)
    })

    t.test('what is returned is a copy', async (t) => {
      await kv.set('shared', { list: [1] })
      const got = await kv.get<{ list: number[] }>('shared')
      got!.list.push(2)
      t.same(await kv.get('shared'), { list: [1] })
    })

    t.test('exists and del say what was there', async (t) => {
      t.equal(await kv.exists('thing'), false)
      await kv.set('thing', 1)
      t.equal(await kv.exists('thing'), true)
      t.equal(await kv.del('thing'), true)
      t.equal(await kv.del('thing'), false)
      t.equal(await kv.get('thing'), null)
    })

    t.test('a value goes with its TTL', async (t) => {
      await kv.set('brief', 1, 0.05)
      await waitFor(async () => await kv.get('brief') === null)
      await kv.set('brief', 1, 60)
      await kv.set('brief', 2)
      t.equal(await kv.get('brief'), 2)
    })

    t.test('parallel increments are all counted, and a counter without a TTL is given one once', async (t) => {
      t.same((await Promise.all(Array.from({ length: 20 }, () => kv.increment('count')))).sort((a, b) => a - b), Array.from({ length: 20 }, (_, index) => index + 1))
      t.equal(await kv.increment('count', -5), 15)
      // Where the machine pauses between the two calls, the first TTL may have ended before the second: again.
      await waitFor(async () => {
        const begin = performance.now()
        await kv.increment('count', 0, 0.3)
        await kv.increment('count', 1, 1000)
        return performance.now() - begin < 300 || await kv.del('count').then(() => false)
      })
      await waitFor(async () => await kv.get('count') === null, { timeoutMs: 5000, what: 'the first TTL to end the counter' })
    })

    t.test('bad arguments are typed errors with status 400, and change nothing', async (t) => {
      const cyclic: { self?: unknown } = {}
      cyclic.self = cyclic
      const calls: Array<[code: string, call: Promise<unknown>]> = [
        ['KEY', kv.get('')], ['KEY', kv.get('k'.repeat(1025))], ['KEY', kv.set(5 as unknown as string, 1)],
        ['VALUE', kv.set('bad', undefined)], ['VALUE', kv.set('bad', 10n)], ['VALUE', kv.set('bad', cyclic)], ['VALUE', kv.set('bad', () => 1)],
        ['NUMBER', kv.set('bad', 1, 0)], ['NUMBER', kv.set('bad', 1, -1)], ['NUMBER', kv.set('bad', 1, NaN)], ['NUMBER', kv.set('bad', 1, 1e15)], ['NUMBER', kv.set('bad', 1, '5' as unknown as number)],
        ['NUMBER', kv.increment('bad', 1.5)], ['NUMBER', kv.increment('bad', 2 ** 60)], ['NUMBER', kv.increment('bad', 1, 0)]
      ]
      for (const [code, call] of calls) await t.rejects(call, { code: `FST_ERR_REDIS_LINK_INVALID_${code}`, statusCode: 400 })
      t.equal(await kv.exists('bad'), false)
    })

    t.test('a value that is no integer is not incremented', async (t) => {
      await kv.set('text', 'abc')
      await t.rejects(kv.increment('text'), { code: 'FST_ERR_REDIS_LINK_NOT_A_COUNTER', statusCode: 409 })
      t.equal(await kv.get('text'), 'abc')
    })
  })

  t.test(`locks ${where}`, async (t) => {
    const { app } = await build(t, options())
    const link = app.redisLink

    t.test('one of many gets it, and the next after its release', async (t) => {
      const taken = (await Promise.all(Array.from({ length: 10 }, () => link.tryLock('job', 60_000)))).filter((lock) => lock !== null)
      t.equal(taken.length, 1)
      t.equal(await taken[0]!.extend(), true)
      t.equal(await taken[0]!.release(), true)
      t.equal(await taken[0]!.release(), false, 'a second release changes nothing')
      const next = await link.tryLock('job', 60_000)
      t.ok(next)
      t.equal(await taken[0]!.extend(), false, 'the former holder cannot extend it')
      t.equal(await taken[0]!.release(), false, 'nor release it')
      t.equal(await link.tryLock('job', 60_000), null)
    })

    t.test('a lock that ran out is free, and lost for its holder', async (t) => {
      const lock = await link.tryLock('brief', 200)
      const next = await waitFor(() => link.tryLock('brief', 60_000))
      t.equal(await lock!.extend(), false)
      t.equal(await lock!.release(), false)
      t.equal(await next.release(), true)
    })

    t.test('bad arguments are typed errors', async (t) => {
      await t.rejects(link.tryLock('', 10), { code: 'FST_ERR_REDIS_LINK_INVALID_KEY' })
      for (const ms of [0, -1, 1.5, NaN, Infinity]) await t.rejects(link.tryLock('a', ms), { code: 'FST_ERR_REDIS_LINK_INVALID_NUMBER' })
    })
  })

  t.test(`limits ${where}`, async (t) => {
    const { app } = await build(t, options())
    const link = app.redisLink

    t.test('any window holds at most max, also when they come at once', async (t) => {
      const results = await Promise.all(Array.from({ length: 12 }, () => link.rateLimit('login', 5, 60_000)))
      t.equal(results.filter(({ allowed }) => allowed).length, 5)
      t.same(results.filter(({ allowed }) => allowed).map(({ remaining }) => remaining).sort(), [0, 1, 2, 3, 4])
      for (const { retryAfterMs } of results.filter(({ allowed }) => !allowed)) t.ok(retryAfterMs > 50_000 && retryAfterMs <= 60_000, String(retryAfterMs))
      t.equal((await link.rateLimit('other', 5, 60_000)).allowed, true, 'each name counts for itself')
      t.equal(results.some(({ degraded }) => degraded), false)
    })

    t.test('a place is free again when its window has passed', async (t) => {
      t.equal((await link.rateLimit('brief', 1, 60)).allowed, true)
      await waitFor(async () => (await link.rateLimit('brief', 1, 60)).allowed)
    })

    t.test('bad arguments are typed errors', async (t) => {
      for (const max of [0, -1, 1.5, NaN, 10_001]) await t.rejects(link.rateLimit('a', max, 10), { code: 'FST_ERR_REDIS_LINK_INVALID_NUMBER', statusCode: 400 })
      await t.rejects(link.rateLimit('a', 1, 0), { code: 'FST_ERR_REDIS_LINK_INVALID_NUMBER' })
      await t.rejects(link.rateLimit('', 1, 10), { code: 'FST_ERR_REDIS_LINK_INVALID_KEY' })
    })
  })
}

t.test('no Redis configured: disabled, in the process, and honest about it', async (t) => {
  const { app } = await build(t, {})
  const link = app.redisLink
  t.match({ state: link.state, isUp: link.isUp, client: link.client, epoch: link.epoch, mode: link.mode }, { state: 'disabled', isUp: false, client: null, epoch: null, mode: 'none' })
  t.equal(link.subscriber(), null)
  t.equal(link.kv.getMode(), 'memory')
  t.equal((await rejection(link.ping())).code, 'FST_ERR_REDIS_LINK_UNAVAILABLE')
  t.equal(app.hasDecorator('redis'), false)
  t.equal((await link.rateLimit('a', 1, 1000)).degraded, false)
})

t.test('Redis down: no lock is given, and limits are counted in the process', async (t) => {
  const redis = await redisServer(t)
  const { app } = await build(t, { url: redis.url })
  const lock = await app.redisLink.tryLock('job', 60_000)
  await redis.kill()
  await waitFor(() => app.redisLink.state === 'down')
  t.equal(await app.redisLink.tryLock('other', 1000), null)
  t.equal(await lock!.extend(), false)
  t.equal(await lock!.release(), false)
  t.match(await app.redisLink.rateLimit('a', 1, 60_000), { allowed: true, degraded: true })
  t.match(await app.redisLink.rateLimit('a', 1, 60_000), { allowed: false, degraded: true })
})

t.test('kv in the process is bounded: the least recently used go first', async (t) => {
  const { app } = await build(t, { memory: { maxEntries: 3, maxBytes: 200 } })
  const { kv } = app.redisLink
  for (const key of ['a', 'b', 'c']) await kv.set(key, key)
  await kv.get('a')
  await kv.set('d', 'd')
  t.same(await Promise.all(['a', 'b', 'c', 'd'].map((key) => kv.exists(key))), [true, false, true, true])
  await kv.set('big', 'x'.repeat(1000))
  t.ok((await kv.getStats()).bytes! <= 200)
})

t.test('stats tell hits, misses, errors and memory', async (t) => {
  const { app } = await build(t, { url: sharedRedis() })
  const { kv } = app.redisLink
  await kv.set('a', 1)
  await kv.get('a')
  await kv.get('b')
  await app.redisLink.run((client) => client.set(app.redisLink.key('kv', 'c'), 'not json'))
  t.equal(await kv.get('c'), null)
  const stats = await kv.getStats()
  t.match(stats, { mode: 'redis', hits: 1, misses: 2, hitRate: 1 / 3, errors: 1 })
  t.match(stats.used_memory_human, /^\d.*[KMG]$/)
  t.match(await app.redisLink.info('server'), /redis_version/)
  t.ok(await app.redisLink.ping() >= 0)
})
