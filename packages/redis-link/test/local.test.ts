import { setTimeout as sleep } from 'node:timers/promises'
import { runInNewContext } from 'node:vm'
import { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { DAY_MS } from '@jpulse/plugin-kit'
import { redisServer, sharedRedis, tcpProxy, uniqueName, waitFor } from '../../../test/helpers/index.ts'
import { RedisClock } from '../src/connection/clock.ts'
import type { FastifyRedisLinkOptions, RedisClient } from '../src/index.ts'
import { MemoryRateLimit } from '../src/rate-limit.ts'
import { memoryStore } from '../src/testing/index.ts'
import { build, rejection } from './build.ts'

const ways: Array<[name: string, options: () => FastifyRedisLinkOptions]> = [
  ['in Redis', () => ({ url: sharedRedis() })],
  ['in the process', () => ({})]
]

for (const [where, options] of ways) {
  t.test(`an event that there is not is refused, ${where}`, async (t) => {
    const { app: { redisLink } } = await build(t, options())
    const refused = { code: 'FST_ERR_REDIS_LINK_INVALID_ARGUMENT', statusCode: 400, message: /^The event must be one of / }
    t.throws(() => redisLink.on('ready' as 'up', () => {}), refused)
    const subscriber = redisLink.subscriber()
    if (subscriber === null) return
    t.throws(() => subscriber.on('message' as 'up', () => {}), refused)
    for (const [channel, listener] of [['a', 'b'], ['a', undefined], [['a'], () => {}], ['', () => {}], [undefined, () => {}]]) {
      for (const way of ['subscribe', 'psubscribe'] as const) await t.rejects(subscriber[way](channel as string, listener as never), { code: refused.code })
    }
  })

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
        ['VALUE', kv.set('bad', new Map([[1, 2]]))], ['VALUE', kv.set('bad', { roles: [new Set(['a'])] })], ['VALUE', kv.set('bad', new Error('x'))], ['VALUE', kv.set('bad', runInNewContext('new Map()'))],
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

    t.test('tokens grow with every holder, and another lock has its own', async (t) => {
      const tokens: number[] = []
      for (let turn = 0; turn < 5; turn++) {
        const lock = await link.tryLock('fenced {a} b', 60_000)
        tokens.push(lock!.token)
        t.equal(await lock!.extend(), true)
        await lock!.release()
      }
      t.same(tokens, [...new Set(tokens)].sort((a, b) => a - b))
      t.ok(tokens.every((token) => Number.isSafeInteger(token)))
    })

    t.test('using: one at a time, longer than the lock lasts, and given back whatever happens', async (t) => {
      let inside = 0
      const tokens: number[] = []
      const work = async (signal: AbortSignal, token: number) => {
        t.equal(++inside, 1)
        tokens.push(token)
        await sleep(450)
        inside--
        return signal.aborted
      }
      t.same(await Promise.all([1, 2, 3].map(() => link.using('work', { ttlMs: 300, waitMs: 10_000 }, work))), [false, false, false])
      t.same(tokens, [...new Set(tokens)].sort((a, b) => a - b))
      await t.rejects(link.using('work', {}, () => { throw new TypeError('as asked') }), TypeError)
      const lock = await link.tryLock('work', 60_000)
      t.ok(lock, 'free after a failure')
      await t.rejects(link.using('work', { waitMs: 0 }, () => t.fail()), { code: 'FST_ERR_REDIS_LINK_LOCK_HELD', statusCode: 409 })
      await t.rejects(link.using('work', { waitMs: 60_000, signal: AbortSignal.timeout(50) }, () => t.fail()), { name: 'TimeoutError' })
      await lock!.release()
      const both = { siteId: uniqueName(), ...options() }
      if (where === 'in the process') both.store = memoryStore()
      const { app: other } = await build(t, both)
      const { app: heir } = await build(t, both)
      await other.redisLink.tryLock('held', 60_000)
      const waiting = rejection(other.redisLink.using('held', { waitMs: 60_000 }, () => t.fail()))
      let told: unknown
      const working = rejection(other.redisLink.using('works', { ttlMs: 60_000 }, (signal) => new Promise<void>((resolve) => {
        signal.addEventListener('abort', () => {
          told = signal.reason.code
          resolve()
        })
      })))
      await waitFor(() => other.redisLink.tryLock('works', 60_000).then((lock) => lock === null))
      await other.close()
      t.equal((await waiting).code, 'FST_ERR_REDIS_LINK_UNAVAILABLE', 'nobody waits for a link that is closed')
      t.same([(await working).code, told], ['FST_ERR_REDIS_LINK_LOCK_LOST', 'FST_ERR_REDIS_LINK_LOCK_LOST'], 'nor works on without a word')
      t.ok(await heir.redisLink.tryLock('works', 60_000), 'what was worked under is given back')
      t.equal(await other.redisLink.tryLock('free', 60_000), null, 'and a closed link gives no lock')
      await t.rejects(other.redisLink.tryLock('free', 0), { code: 'FST_ERR_REDIS_LINK_INVALID_NUMBER' })
      const { app: closing } = await build(t, options())
      const begun = rejection(closing.redisLink.using('begun', { ttlMs: 60_000 }, () => t.fail()))
      await closing.redisLink.close()
      t.equal((await begun).code, 'FST_ERR_REDIS_LINK_UNAVAILABLE', 'nor begins under a lock that it was about to get')
      const abort = new AbortController()
      const aborted = link.using('work', { signal: abort.signal }, (signal) => new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason))
        abort.abort(new RangeError('as asked'))
      }))
      await t.rejects(aborted, RangeError)
      t.ok(await link.tryLock('work', 60_000))
    })

    t.test('bad arguments are typed errors', async (t) => {
      for (const options of [{ ttlMs: 2 }, { ttlMs: 1.5 }, { waitMs: -1 }]) await t.rejects(link.using('a', options, () => t.fail()), { code: 'FST_ERR_REDIS_LINK_INVALID_NUMBER' })
      for (const options of [{ ttl: 5 }, new Map([['ttlMs', 5]]), null, { signal: {} }, { signal: new AbortController() }]) await t.rejects(link.using('a', options as object, () => t.fail()), { code: 'FST_ERR_REDIS_LINK_INVALID_OPTION' })
      const holder = await link.tryLock('b', 60_000)
      for (const work of [undefined, null, 'work']) await t.rejects(link.using('b', { waitMs: 0 }, work as never), { code: 'FST_ERR_REDIS_LINK_INVALID_ARGUMENT' })
      t.ok(await holder?.release())
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

    t.test('an event may cost several places, or none', async (t) => {
      const take = async (cost: number) => {
        const { allowed, remaining } = await link.rateLimit('upload', 10, 60_000, { cost })
        return [allowed, remaining]
      }
      t.same([await take(4), await take(0), await take(7), await take(6), await take(0)], [[true, 6], [true, 6], [false, 6], [true, 0], [false, 0]])
      t.equal((await link.rateLimit('brief costs', 3, 200, { cost: 3 })).allowed, true)
      const { retryAfterMs } = await link.rateLimit('brief costs', 3, 200, { cost: 2 })
      t.ok(retryAfterMs > 0 && retryAfterMs <= 200)
      await waitFor(async () => (await link.rateLimit('brief costs', 3, 200, { cost: 3 })).allowed)
    })

    t.test('who is over the limit may be blocked for longer than the window', async (t) => {
      const take = () => link.rateLimit('block', 2, 20, { blockMs: 700 })
      t.ok((await take()).allowed && (await take()).allowed)
      let refused = await take()
      // A slow machine may find the window empty again.
      for (let tries = 0; refused.allowed && tries < 1000; tries++) refused = await take()
      t.same([refused.allowed, refused.remaining, refused.retryAfterMs], [false, 0, 700])
      await sleep(50)
      const again = await link.rateLimit('block', 2, 20)
      t.ok(!again.allowed && again.retryAfterMs > 20 && again.retryAfterMs <= 690, 'not prolonged by who tries again')
      await waitFor(async () => (await take()).allowed)
    })

    t.test('bad arguments are typed errors', async (t) => {
      for (const options of [{ cost: 3 }, { cost: -1 }, { cost: 0.5 }, { blockMs: -1 }]) await t.rejects(link.rateLimit('a', 2, 10, options), { code: 'FST_ERR_REDIS_LINK_INVALID_NUMBER', message: / from 0 to / })
      for (const options of [{ costs: 2 }, new Map([['cost', 2]]), null]) await t.rejects(link.rateLimit('a', 2, 10, options as object), { code: 'FST_ERR_REDIS_LINK_INVALID_OPTION' }, 'it would cost 1')
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

t.test('a listener of breaks that throws or rejects is logged, the others hear, and the process goes on', async (t) => {
  const redis = await redisServer(t)
  const { app, complaints } = await build(t, { url: redis.url })
  const { outages } = app.redisLink
  let heard = 0
  outages.onBreak(() => { throw new Error('as asked') })
  outages.onBreak(async () => { throw new Error('as asked') })
  outages.onBreak(() => { heard++ })
  await redis.kill()
  await waitFor(() => heard > 0 && app.redisLink.state === 'down')
  t.equal(complaints.filter((line) => line === 'a listener of a break failed').length, 2 * heard)
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

t.test('limits and tokens under a clock of Redis that went back', async (t) => {
  const { app } = await build(t, { url: sharedRedis() })
  const link = app.redisLink
  const later = Date.now() + 3_600_000
  const key = link.key('limit', 'a')
  const take = (blockMs = 0) => link.rateLimit('a', 2, 1000, { blockMs })
  await link.run((client) => client.zadd(key, later, 'x', later, 'y'))
  const refused = await take()
  t.ok(!refused.allowed && refused.retryAfterMs <= 1000, `not for an hour: ${refused.retryAfterMs} ms`)
  await link.run((client) => client.zadd(key, later, 'block:500'))
  t.ok((await take()).retryAfterMs <= 500)
  await waitFor(async () => (await take()).allowed)

  const first = await link.tryLock('a', 60_000)
  await first!.release()
  await link.run((client) => client.set(link.key('link', 'fence', `{${link.key('lock', 'a')}}`), later * 1000))
  t.equal((await link.tryLock('a', 60_000))!.token, later * 1000 + 1)
})

t.test('the clock tells Redis\' time, that of another server when the link is up again, and one\'s own clock has no say', async (t) => {
  const { now } = Date
  t.teardown(() => { Date.now = now })
  const listeners: Array<(change: { state: 'up' }) => void> = []
  const up = { state: 'up' } as const
  let aheadMs = 5000
  const time = async () => {
    const at = now() + aheadMs
    return [Math.floor(at / 1000), at % 1000 * 1000]
  }
  const clock = new RedisClock({ client: {} as RedisClient, run: time as never, on: (_event, listener) => listeners.push(listener) })
  t.teardown(() => clock.stop())
  await clock.ready
  t.equal(clock.ready, null)
  const isAhead = (ms: number) => Math.abs(clock.now() - now() - ms) < 1000
  t.ok(isAhead(5000))
  Date.now = () => now() + 3_600_000
  t.ok(isAhead(5000), 'a clock that was set')
  aheadMs = 90_000
  listeners.forEach((listener) => listener(up))
  await waitFor(() => isAhead(90_000), { what: 'the clock of another server' })
  t.ok(Number.isInteger(clock.now()))
  // Answered at once, heard late: what it says is behind by half of that time.
  let told = 0
  const busy = new RedisClock({ client: {} as RedisClient, run: (async () => { const answer = await time(); told = now(); while (now() < told + 200); return answer }) as never, on: () => {} })
  t.teardown(() => busy.stop())
  await busy.ready
  t.ok(busy.now() < now() + aheadMs - 50, 'what is known from afar may be behind')
  t.ok(busy.latest() >= now() + aheadMs - 1, 'but not what is said of the latest')

  // A question to the server of before, which answers late.
  let answerLate = (_time: Array<string | number>): void => {}
  const late = new Promise<Array<string | number>>((resolve) => { answerLate = resolve })
  let asked = 0
  const other = new RedisClock({ client: {} as RedisClient, run: (() => ++asked === 1 ? Promise.reject(new Error('away')) : asked === 2 ? late : time()) as never, on: (_event, listener) => listeners.push(listener) })
  t.teardown(() => other.stop())
  const isKnown = () => Math.abs(other.now() - now() - aheadMs) < 1000
  await new Promise((resolve) => setImmediate(resolve))
  t.notOk(isKnown())
  const ready = other.ready
  t.ok(ready, 'asked again where the first question failed')
  t.equal(asked, 2)
  listeners.at(-1)!(up)
  await waitFor(isKnown)
  answerLate([0, 0])
  await ready
  t.ok(isKnown(), 'what another server said does not count')
  t.equal(other.ready, null)
  asked = 0
  const alone = new RedisClock({ client: {} as RedisClient, run: (() => ++asked === 1 ? Promise.reject(new Error('away')) : time()) as never, on: () => {} })
  t.teardown(() => alone.stop())
  await waitFor(() => Math.abs(alone.now() - now() - aheadMs) < 1000, { what: 'another question, though nobody waits' })

  const { app } = await build(t, {})
  const before = Date.now()
  t.ok(app.redisLink.clock.now() >= before, 'without Redis that of the process')
  t.equal(app.redisLink.clock.ready, null)
})

t.test('on a Redis Cluster the latest is that of the primary that is ahead, also of one that took over, and now goes by one', async (t) => {
  let [listener, asked] = [(_change: { state: 'up' }) => {}, 0]
  const node = (port: number, aheadMs: number) => ({ options: { host: 'a', port }, time: async () => { asked++; return [0, Math.round((Date.now() + aheadMs) * 1000)] } })
  let nodes = [node(2, 900), node(1, 0), node(3, -900)]
  const client = { isCluster: true, nodes: () => nodes, time: () => nodes[2]!.time() } as unknown as RedisClient
  const clock = new RedisClock({ client, run: (command) => command(client), on: (_event, told) => { listener = told } })
  t.teardown(() => clock.stop())
  await clock.ready
  t.equal(asked, 3)
  t.ok(clock.latest() >= Date.now() + 899)
  t.ok(Math.abs(clock.now() - Date.now()) < 400)
  nodes = [node(1, 0), node(4, 5000)]
  listener({ state: 'up' })
  await waitFor(() => clock.latest() >= Date.now() + 4999, { what: 'a primary that took over' })
  nodes = [node(1, 0)]
  listener({ state: 'up' })
  await waitFor(() => clock.latest() < Date.now() + 900, { what: 'none of one that left' })
  t.ok(Math.abs(clock.now() - Date.now()) < 400)
})

t.test('a Redis that may not be asked for its time is asked less and less often, and warned of once', async (t) => {
  const { setTimeout } = globalThis
  t.teardown(() => { globalThis.setTimeout = setTimeout })
  const pauses: number[] = []
  globalThis.setTimeout = ((fn: () => void, ms: number) => {
    pauses.push(ms)
    return setTimeout(fn, pauses.length > 8 ? ms : 0)
  }) as unknown as typeof setTimeout
  const refused = Object.assign(new Error('NOPERM this user has no permissions to run the \'time\' command'), { name: 'ReplyError' })
  const warnings: string[] = []
  const clock = new RedisClock({ client: {} as RedisClient, run: () => Promise.reject(refused), on: () => {} }, { warn: (_about: object, text: string) => { warnings.push(text) } } as never)
  t.teardown(() => clock.stop())
  await new Promise<void>((resolve) => {
    const look = () => { if (pauses.length > 8) resolve(); else setImmediate(look) }
    look()
  })
  t.same(pauses, [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000])
  t.equal(warnings.length, 1)
  t.match(warnings[0], /NOPERM/)
})

t.test('a lock that is lost aborts the signal by the own clock, before somebody else has it', async (t) => {
  const port = Number(new URL(sharedRedis()).port)
  const proxy = await tcpProxy(t, port)
  const siteId = uniqueName()
  const { app } = await build(t, { single: { port: proxy.port }, siteId, commandTimeoutMs: 100 })
  const { app: other } = await build(t, { url: sharedRedis(), siteId })
  const [link, rival] = [app.redisLink, other.redisLink]
  const seen: Array<[when: string, aborted: boolean]> = []
  const work = async (signal: AbortSignal, token: number): Promise<void> => {
    proxy.mute()
    await rival.using('a', { ttlMs: 400, waitMs: 20_000 }, (_signal, next) => {
      seen.push(['the other has it', signal.aborted])
      t.ok(next > token)
    })
  }
  await t.rejects(link.using('a', { ttlMs: 400 }, work), { code: 'FST_ERR_REDIS_LINK_LOCK_LOST', statusCode: 409 })
  t.same(seen, [['the other has it', true]])
  proxy.mend()
  await waitFor(() => link.isUp)

  // Taken away in Redis: known at the next extension, long before its time is over.
  const key = link.key('lock', 'b')
  const aborted = link.using('b', { ttlMs: 1200 }, async (signal) => {
    await rival.run((client) => client.set(key, 'somebody else', 'PX', 60_000))
    await new Promise((resolve) => { signal.addEventListener('abort', resolve) })
  })
  await t.rejects(aborted, { code: 'FST_ERR_REDIS_LINK_LOCK_LOST' })
  t.equal(await rival.run((client) => client.get(key)), 'somebody else', 'what is lost is not given back')
  await rival.run((client) => client.del(key))

  // A process that stood still learns of it when it goes on.
  const still = link.using('b', { ttlMs: 100 }, () => { for (const end = performance.now() + 250; performance.now() < end;); })
  await t.rejects(still, { code: 'FST_ERR_REDIS_LINK_LOCK_LOST' })
  proxy.mute()
  await waitFor(() => !link.isUp)
  await t.rejects(link.using('c', { waitMs: 0 }, () => t.fail()), { code: 'FST_ERR_REDIS_LINK_UNAVAILABLE' })
})

t.test('what is longer than a timer of Node can be is not taken for nothing', async (t) => {
  const { redisLink: link } = (await build(t, {})).app
  const warnings = warningsDuring(t)
  await link.using('months', { ttlMs: 100 * DAY_MS }, async (signal) => {
    t.notOk(await Promise.race([link.outages.changed(30 * DAY_MS).then(() => 'changed'), sleep(50)]))
    t.notOk(signal.aborted)
  })
  t.same(warnings, [])
})

t.test('an injected client serves many links, and nobody warns of a leak', async (t) => {
  const client = new Redis(sharedRedis())
  t.teardown(() => client.disconnect())
  const warnings = warningsDuring(t)
  const links = []
  for (let n = 0; n < 6; n++) links.push((await build(t, { client, siteId: uniqueName() })).app)
  await Promise.all(links.map((app) => app.close()))
  t.same(warnings, [])
  t.equal(client.getMaxListeners(), 10)
})

t.test('applications that share a store have kv, locks and limits in common, and keep them when one closes', async (t) => {
  const store = memoryStore()
  const options = { store, siteId: 'shop' }
  const [one, other] = [await build(t, options), await build(t, options)]
  const { redisLink: link } = other.app
  await one.app.redisLink.kv.set('a', { n: 1 })
  t.equal(await link.kv.increment('count'), 1)
  t.equal(await one.app.redisLink.kv.increment('count'), 2)
  const lock = await one.app.redisLink.tryLock('job', 60_000)
  t.equal(await link.tryLock('job', 60_000), null)
  await lock!.release()
  t.ok((await link.tryLock('job', 60_000))!.token > lock!.token)
  t.equal((await one.app.redisLink.rateLimit('limit', 1, 60_000)).allowed, true)
  t.equal((await link.rateLimit('limit', 1, 60_000)).allowed, false)
  await one.app.close()
  t.same(await link.kv.get('a'), { n: 1 })
  await t.rejects(build(t, { store, url: sharedRedis() }), { code: 'FST_ERR_REDIS_LINK_INVALID_OPTION', message: /store/ })
  await t.rejects(build(t, { store: {} as never }), { code: 'FST_ERR_REDIS_LINK_INVALID_OPTION', message: /memoryStore/ })
})

function warningsDuring (t: Test): Error[] {
  const warnings: Error[] = []
  const onWarning = (warning: Error) => { warnings.push(warning) }
  process.on('warning', onWarning)
  t.teardown(() => process.off('warning', onWarning))
  return warnings
}

t.test('limits in the process are bounded by bytes: those asked for least recently are forgotten', (t) => {
  const limits = new MemoryRateLimit(10_000)
  for (const name of ['a', 'b']) t.equal(limits.take(name, 500, 60_000, { cost: 500 }, false).remaining, 0)
  t.equal(limits.take('b', 500, 60_000, { cost: 0 }, false).remaining, 0)
  t.equal(limits.take('c', 500, 60_000, { cost: 500 }, false).allowed, true)
  t.same(['a', 'b', 'c'].map((name) => limits.take(name, 500, 60_000, { cost: 0 }, false).remaining), [500, 0, 0])
  t.end()
})
