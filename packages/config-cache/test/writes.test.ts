import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { readFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import Fastify, { type FastifyInstance } from 'fastify'
import { redisLink } from '@jpulse/redis-link'
import { isBeforeRedis7, redisServer, uniqueName, waitFor } from '../../../test/helpers/index.ts'
import { aclCommand, installedNeeds } from '../../redis-link/src/acl.ts'
import { configCache, memorySource, type ConfigCache } from '../src/index.ts'
import { CacheKeys } from '../src/coherence/keys.ts'
import { releaseText } from '../src/coherence/messages.ts'
import { releaseScript } from '../src/coherence/scripts.ts'

t.setTimeout(200_000)
// Most of their time these tests wait for an epoch to open.
t.jobs = 3
/** For tests that listen to the steps of every write of the process: nothing else runs meanwhile. */
const ALONE = { buffered: false }

interface Step { step: string, opId: string, tags: string[] }

function onStep (t: Test, listener: (message: Step) => void): void {
  const typed = (message: unknown) => listener(message as Step)
  subscribe('jpulse:config-cache:write', typed)
  t.teardown(() => unsubscribe('jpulse:config-cache:write', typed))
}

async function build (t: Test, url: string, siteId: string, options: object = {}): Promise<FastifyInstance> {
  const app = await connected(t, url, siteId, options)
  await waitFor(() => app.configCache.mode === 'coherent', { timeoutMs: 20_000 })
  return app
}

async function connected (t: Test, url: string, siteId: string, options: object = {}): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(redisLink, { url, siteId, commandTimeoutMs: 10_000 })
  // Stands for a database of all.
  await app.register(configCache, { source: Object.assign(memorySource(), { isPrivate: false }), blockTtlMs: 500, ...options })
  await app.ready()
  return app
}

/** One process without Redis. */
async function alone (t: Test, options: object): Promise<ConfigCache> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(redisLink, { siteId: uniqueName() })
  await app.register(configCache, options)
  await app.ready()
  return app.configCache
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

for (const where of ['with Redis', 'without']) {
  t.test(`an operation that arrives after the driver gave up waiting for it leaves nothing stale, ${where}`, async (t) => {
    const options = { blockTtlMs: 1000 }
    const caches: ConfigCache[] = []
    if (where === 'with Redis') {
      const redis = await redisServer(t)
      const siteId = uniqueName()
      for (let i = 0; i < 2; i++) caches.push((await build(t, redis.url, siteId, options)).configCache)
    } else {
      caches.push(await alone(t, options))
    }
    let value = 'old'
    const read = (cache: ConfigCache) => cache.getOrLoad('a', {}, async () => value)
    const keepsNow = async (cache: ConfigCache) => {
      const before = cache.stats().l1Hits
      await read(cache)
      return cache.stats().l1Hits > before
    }
    const [writer] = caches
    const timeout = writer!.write({ keys: ['a'] }, async () => { throw new Error('the socket timed out') })
    const began = performance.now()
    await t.rejects(timeout, { message: 'the socket timed out' })
    // Time enough to keep it, had the block ended.
    await Promise.all(caches.map((cache) => waitFor(() => keepsNow(cache), { timeoutMs: 300 }).catch(() => {})))
    value = 'new'
    const seen = await Promise.all(caches.map(read))
    // On a machine that stalled for the life of the block the operation is later than any may be.
    if (performance.now() - began < 900) t.same(seen, caches.map(() => 'new'))
    for (const cache of caches) await waitFor(() => keepsNow(cache), { timeoutMs: 30_000 })
    t.same(await Promise.all(caches.map(read)), caches.map(() => 'new'))
  })
}

t.test('a refusal of the application ends the block at once, any other error when no operation can be under way', async (t) => {
  const cache = await alone(t, { blockTtlMs: 60_000 })
  const failing = (error: unknown) => t.rejects(cache.write({ keys: ['a'] }, async () => { throw error }))
  await failing(Object.assign(new Error('changed meanwhile'), { statusCode: 409 }))
  t.equal(cache.stats().blocks, 0)
  for (const error of [new Error('timed out'), Object.assign(new Error('too slow'), { statusCode: 503 }), undefined]) await failing(error)
  t.equal(cache.stats().blocks, 3)
  const now = performance.now()
  const link = Fastify()
  t.teardown(() => link.close())
  await link.register(redisLink, { siteId: uniqueName() })
  await t.rejects(cache.write({ keys: ['b'] }, () => link.redisLink.using('lock', { ttlMs: 30 }, async (signal) => {
    // As a driver does that is given the signal: it gives up waiting, and its operation goes on.
    while (performance.now() < now + 100) { /* so long that the lock is lost */ }
    await new Promise((resolve) => setImmediate(resolve))
    signal.throwIfAborted()
  })), { code: 'FST_ERR_REDIS_LINK_LOCK_LOST', statusCode: 409 })
  for (const statusCode of [408, 499]) await failing(Object.assign(new Error('given up'), { statusCode }))
  t.equal(cache.stats().blocks, 6, 'whoever was cut off says nothing of what becomes of his work')
})

t.test('the steps of a write are published in their order', ALONE, async (t) => {
  const redis = await redisServer(t)
  const { configCache: cache } = await build(t, redis.url, uniqueName())
  const steps: unknown[] = []
  onStep(t, (message) => steps.push(message))
  await cache.write({ tags: ['a', 'b', 'a'] }, async () => { steps.push('work') })
  t.match(steps, [{ step: 'blocked', tags: ['a', 'b'] }, { step: 'safe' }, 'work', { step: 'written' }, { step: 'released' }])
})

t.test('a block\'s mark that an epoch left behind does not keep the shared level from its tag', async (t) => {
  const redis = await redisServer(t)
  const siteId = uniqueName()
  const app = await build(t, redis.url, siteId)
  const one = app.configCache
  const other = (await build(t, redis.url, siteId)).configCache
  const keys = new CacheKeys((...parts) => app.redisLink.key(...parts))
  await redis.connect().set(keys.generation('a'), '!another.7')
  await waitFor(async () => {
    await one.getOrLoad('a', {}, async () => 1)
    await other.getOrLoad('a', { ttlMs: 1 }, async () => 1)
    return other.stats().l2Hits > 0
  })
})

t.test('what a newer release left in Redis is neither guessed at nor taken for something else', async (t) => {
  const redis = await redisServer(t)
  const app = await build(t, redis.url, uniqueName())
  const cache = app.configCache
  const client = redis.connect()
  const keys = new CacheKeys((...parts) => app.redisLink.key(...parts))
  const read = () => cache.getOrLoad('a', { ttlMs: 100_000 }, async () => 'loaded')
  const stored = async () => (await client.keys(keys.value('*', 'a')))[0]
  await waitFor(async () => { await read(); return await stored() !== undefined }, { what: 'the value in Redis' })
  const key = (await stored())!
  const newer = `${(await client.get(key))!.split('|', 1)[0]}|{"newer`
  await client.set(key, newer)
  await client.publish(keys.bus, `${await client.hget(keys.core[0], 'nonce')} ${await client.hincrby(keys.core[0], 'seq', 1)} ["X","another"]`)
  await waitFor(() => cache.stats().entries === 0 && cache.mode === 'coherent', { what: 'what was missed to be made up for' })
  t.equal(await read(), 'loaded', 'a value that cannot be read is a miss')
  t.equal(await client.get(key), newer, 'and is not overwritten')
  t.equal(cache.stats().unknown, 2)
  await client.hset(keys.core[2], 'op', '0 {"tags":"of a newer release"}')
  await waitFor(() => cache.mode === 'bypass', { what: 'a block that cannot be read to stop the caching' })
  await waitFor(() => cache.mode === 'coherent', { what: 'its writer to be given up', timeoutMs: 30_000 })
})

t.test('a silent member on another machine is waited for, for a lease', async (t) => {
  const redis = await redisServer(t)
  const siteId = uniqueName()
  const { configCache: cache } = await build(t, redis.url, siteId)
  const client = redis.connect()
  const members = (await client.keys('*:members'))[0]!
  await client.hset(members, 'elsewhere', '0 token 1@another-machine')
  const start = performance.now()
  await cache.write({ keys: ['a'] }, async () => {})
  t.ok(performance.now() - start >= 1000, 'it may hold a lease')
  t.notOk(await client.hexists(members, 'elsewhere'), 'and is fenced')
})

t.test('a dead process of this machine is not waited for', async (t) => {
  const redis = await redisServer(t)
  // So long a lease that no busy machine is taken for one that waits for it.
  const { configCache: cache } = await build(t, redis.url, uniqueName(), { leaseMs: 10_000 })
  const client = redis.connect()
  const members = (await client.keys('*:members'))[0]!
  const [mine] = Object.entries(await client.hgetall(members)).find(([id]) => id !== '_')!
  const place = (await client.hget(members, mine))!.split(' ')[2]!.split('@')[1]
  // Pids are at most 2^22 on Linux.
  await client.hset(members, 'dead', `0 token 9999999@${place}`)
  const start = performance.now()
  await cache.write({ keys: ['a'] }, async () => {})
  t.ok(performance.now() - start < 10_000)
  t.notOk(await client.hexists(members, 'dead'))
})

/** Two instances, and what they read. */
async function pair (t: Test) {
  const redis = await redisServer(t)
  const siteId = uniqueName()
  const apps = [await build(t, redis.url, siteId), await build(t, redis.url, siteId)] as const
  const [one, other] = [apps[0].configCache, apps[1].configCache]
  const both = async (loader: () => Promise<unknown>) => [await one.getOrLoad('a', {}, loader), await other.getOrLoad('a', {}, loader)]
  return { redis, app: apps[0], one, other, both }
}

t.test('what set, delete and write({ values }) wrote is handed on: nobody loads it', async (t) => {
  const { one, other } = await pair(t)
  const loaded = (key: string) => other.getOrLoad(key, {}, async () => 'loaded')
  const ways = {
    set: async (i: number) => { await one.set(`k${i}`, i); return [i, await other.get(`k${i}`)] },
    delete: async (i: number) => { await one.delete(`k${i}`); return [null, await other.get(`k${i}`)] },
    'a map': async (i: number) => { await one.write({ keys: [`m${i}`], values: { [`m${i}`]: i } }, async () => {}); return [i, await loaded(`m${i}`)] },
    'a function': async (i: number) => { await one.write({ keys: [`f${i}`], values: (result) => ({ [`f${i}`]: result }) }, async () => i); return [i, await loaded(`f${i}`)] }
  }
  for (const [name, way] of Object.entries(ways)) {
    let i = 0
    // Where RELEASE reaches the other instance after its read has begun, that read loads.
    await waitFor(async () => {
      const { l2Hits } = other.stats()
      const [wanted, found] = await way(i++)
      if (other.stats().l2Hits === l2Hits) return false
      t.equal(found, wanted, name)
      return true
    }, { what: `${name} to be handed on`, timeoutMs: 30_000 })
  }
})

t.test('writers whose blocks overlap hand nothing on: the database may have kept the other value', async (t) => {
  const { one, other, both } = await pair(t)
  let value = ''
  const load = async () => value
  const write = (cache: typeof one, mine: string, meanwhile = async () => {}) =>
    cache.write({ keys: ['a'], values: { a: mine } }, async () => { value = mine; await meanwhile() })
  await write(one, 'outer', () => write(other, 'inner'))
  for (let i = 0; i < 3; i++) t.strictSame(await both(load), ['inner', 'inner'])
  // The one that began first ends first, and the other's value is older than its own.
  let [begun, letGo] = [() => {}, () => {}]
  const gate = new Promise<void>((resolve) => { letGo = resolve })
  let first: Promise<void> = Promise.resolve()
  await new Promise<void>((resolve) => {
    begun = resolve
    first = write(one, 'first', () => { begun(); return gate })
  })
  await write(other, 'second', async () => { value = 'first, again'; letGo(); await first })
  for (let i = 0; i < 3; i++) t.strictSame(await both(load), ['first, again', 'first, again'])
})

t.test('a writer that lost its block hands nothing on: another may have written since', ALONE, async (t) => {
  const { redis, app, one, other, both } = await pair(t)
  const client = redis.connect()
  const keys = new CacheKeys((...parts) => app.redisLink.key(...parts))
  let block: Step | undefined
  onStep(t, (message) => { if (message.step === 'safe') block ??= message })
  let value = 'before'
  await one.write({ keys: ['a'], values: { a: 'lost' } }, async () => {
    value = 'lost'
    // As a member does that takes the writer for dead.
    const nonce = await client.hget(keys.core[0], 'nonce')
    t.equal(await app.redisLink.runScript(releaseScript, {
      keys: keys.withGenerations(['a']),
      args: ['nonce', nonce!, block!.opId, '', keys.bus, releaseText(block!.opId), 60_000, 0, '', 'a']
    }), 1)
    await other.write({ keys: ['a'] }, async () => { value = 'newer' })
  })
  for (let i = 0; i < 3; i++) t.strictSame(await both(async () => value), ['newer', 'newer'])
})

t.test('nothing is handed on while the epoch is closed, when work of the one before may still reach the database', async (t) => {
  const redis = await redisServer(t)
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(redisLink, { url: redis.url, siteId: uniqueName() })
  await app.register(configCache, { source: memorySource(), blockTtlMs: 600_000 })
  await app.ready()
  await app.configCache.set('a', 1)
  t.strictSame(await redis.connect().keys('*:cache:c:*'), [])
  t.equal(await app.configCache.get('a'), 1)
})

t.test('values that cannot be cached are not handed on, and for keys that the write does not name refused', async (t) => {
  const { one, both } = await pair(t)
  const ran = async () => 'ran'
  for (const bad of [10n, () => {}, 'x'.repeat(2 ** 20)]) t.equal(await one.write({ keys: ['a'], values: { a: bad } }, ran), 'ran')
  t.equal(await one.write({ keys: ['a'], values: () => ({ b: 1 }) }, ran), 'ran')
  t.strictSame(await both(ran), ['ran', 'ran'])
  await t.rejects(one.write({ keys: ['a'], values: { b: 1 } }, async () => t.fail('must not run')), { code: 'FST_ERR_CONFIG_CACHE_INVALID_WRITE' })
  await t.rejects(one.write({ keys: ['a'], values: () => { throw new Error('mine') } }, ran), { message: 'mine' })
  await t.rejects(one.write({ keys: ['a'], values: { a: 'never' } }, async () => { throw new Error('mine') }), { message: 'mine' })
  t.strictSame(await both(ran), ['ran', 'ran'])
})

t.test('1100 writes that fail without telling their outcome keep their blocks, and further writes are refused', async (t) => {
  const redis = await redisServer(t)
  const siteId = uniqueName()
  const options = { blockTtlMs: 60_000, writeTimeoutMs: 60_000, confirmTimeoutMs: 60_000 }
  // An epoch that others opened, so that this test need not wait for its own long quarantine.
  const first = await build(t, redis.url, siteId)
  const { configCache: cache } = await build(t, redis.url, siteId, options)
  await first.close()
  const timedOut = new Error('the socket timed out')
  let letGo = () => {}
  const gate = new Promise<void>((resolve) => { letGo = resolve })
  let running = 0
  const failed = Array.from({ length: 1100 }, (_, i) => cache.write({ keys: [`k${i}`] }, async () => { running++; await gate; throw timedOut }))
  const all = Promise.allSettled(failed)
  await waitFor(() => running === 1100, { what: 'all of them to be under way', timeoutMs: 60_000 })
  letGo()
  t.ok((await all).every((one) => one.status === 'rejected' && one.reason === timedOut))
  t.equal(cache.stats().blocks, 1100, 'none is released')
  let ran = false
  await t.rejects(cache.write({ keys: ['more'] }, async () => { ran = true }), { code: 'FST_ERR_CONFIG_CACHE_UNDECIDED', statusCode: 503 })
  t.notOk(ran)
  t.match(cache.stats(), { refused: 1 })
})

for (const where of ['with Redis', 'without']) {
  t.test(`undecided writes are bounded by the bytes of their keys and tags: further ones are refused, none of them is released, ${where}`, async (t) => {
    const options = { blockTtlMs: 60_000, writeTimeoutMs: 60_000 }
    let cache: ConfigCache
    if (where === 'with Redis') {
      const redis = await redisServer(t)
      const siteId = uniqueName()
      const first = await build(t, redis.url, siteId)
      cache = (await build(t, redis.url, siteId, options)).configCache
      await first.close()
    } else {
      cache = await alone(t, options)
    }
    const tags = (i: number) => Array.from({ length: 1000 }, (_, j) => `${i}:${j}:`.padEnd(512, 'x'))
    const timedOut = new Error('the socket timed out')
    const refused = { code: 'FST_ERR_CONFIG_CACHE_UNDECIDED', statusCode: 503, message: /4194304 bytes/ }
    const never = async () => t.fail('must not run')
    let letGo = () => {}
    const gate = new Promise<void>((resolve) => { letGo = resolve })
    let running = 0
    const failing = Array.from({ length: 8 }, (_, i) => cache.write({ tags: tags(i) }, async () => { running++; await gate; throw timedOut }).catch((err: unknown) => err))
    await waitFor(() => running === 8, { timeoutMs: 60_000 })
    await t.rejects(cache.write({ tags: tags(8) }, never), refused, 'those under way may each fail so')
    letGo()
    t.strictSame(await Promise.all(failing), failing.map(() => timedOut))
    await t.rejects(cache.write({ tags: tags(8) }, never), refused)
    t.match(cache.stats(), { blocks: 8, refused: 2 })
    t.equal(await cache.write({ tags: 'small' }, async () => 'written'), 'written', 'there is room for it')
    await cache.getOrLoad('a', { tags: tags(7).at(-1)! }, async () => 1)
    t.equal(cache.stats().entries, 0, 'what they block is not kept')
  })
}

t.test('a silent member is waited for by its own lease, whatever the writer\'s is', async (t) => {
  const redis = await redisServer(t)
  const siteId = uniqueName()
  const slow = await build(t, redis.url, siteId, { leaseMs: 3000 })
  const quick = (await build(t, redis.url, siteId, { leaseMs: 300 })).configCache
  const client = redis.connect()
  const keys = new CacheKeys((...parts) => slow.redisLink.key(...parts))
  t.equal(Number(await client.hget(keys.core[0], 'lease')), 3000, 'for who finds an epoch without members')
  const entries = async () => Object.entries(await client.hgetall(keys.core[1])).filter(([id]) => id !== '_')
  t.strictSame((await entries()).map(([, entry]) => Number(entry.split(' ')[3])).sort(), [300, 3000])
  // As one that is stopped: on another machine, and it never answers.
  await client.hset(keys.core[1], 'stopped', '0 token 1@elsewhere 1500')
  let start = performance.now()
  await quick.write({ keys: ['a'] }, async () => {})
  t.ok(performance.now() - start >= 1500)
  // One of the release before does not tell its lease.
  await client.hset(keys.core[1], 'older', '0 token 1@elsewhere')
  start = performance.now()
  await quick.write({ keys: ['a'] }, async () => {})
  t.ok(performance.now() - start >= 1000)
})

t.test('after an own write the next load is kept at once', async (t) => {
  const redis = await redisServer(t)
  const { configCache: cache } = await build(t, redis.url, uniqueName())
  for (let i = 0; i < 20; i++) {
    await cache.write({ keys: ['a'] }, async () => {})
    await cache.getOrLoad('a', {}, async () => i)
    const { l1Hits } = cache.stats()
    t.equal(await cache.getOrLoad('a', {}, async () => 'another'), i)
    t.equal(cache.stats().l1Hits, l1Hits + 1)
  }
})

t.test('any name can be a key and a tag', async (t) => {
  const { one, other } = await pair(t)
  for (const name of ['_', '__', ' ', '!', '*', '{a}', 'a|b', '\n', '\0', '🦊', '__proto__', 'constructor']) {
    let value = 'old'
    const read = () => Promise.all([one, other].map((cache) => cache.getOrLoad(`of ${name}`, { tags: [name] }, async () => value)))
    t.strictSame(await read(), ['old', 'old'])
    await one.write({ tags: [name] }, async () => { value = 'new' })
    t.strictSame(await read(), ['new', 'new'], JSON.stringify(name))
    await one.set(name, 1)
    t.equal(await one.get(name), 1)
    t.equal(await one.getOrLoad(name, { tags: [name] }, async () => 2), 2)
  }
})

t.test('a first replica that is attached is no outage', async (t) => {
  const redis = await redisServer(t)
  const app = await build(t, redis.url, uniqueName())
  const { configCache: cache } = app
  const keys = new CacheKeys((...parts) => app.redisLink.key(...parts))
  const client = redis.connect()
  const [id, nonce] = await client.hmget(keys.core[0], 'id', 'nonce')
  await redisServer(t, { args: ['--replicaof', '127.0.0.1', String(redis.port)] })
  await waitFor(async () => (await client.info('replication')).includes('connected_slaves:1'))
  await waitFor(async () => await client.hget(keys.core[0], 'id') !== id, { what: 'the new name of the history to be noted' })
  t.equal(await client.hget(keys.core[0], 'nonce'), nonce, 'the epoch goes on')
  await waitFor(() => cache.mode === 'coherent')
})

const printed = aclCommand(installedNeeds(import.meta.dirname).values(), { siteId: '*', env: '*', user: 'app', db: 0 }).replace('>PASSWORD', '>secret').split(' ').slice(3)
const WITHOUT_INFO = { 'who may do what is not dangerous': ['on', '>secret', '~*', '&*', '+@all', '-@dangerous'], 'the user of the printed ACL': [...printed, '-info'] }
for (const [who, rules] of Object.entries(WITHOUT_INFO)) {
  t.test(`${who}, to whom INFO is forbidden: it caches, and an old snapshot is an outage for it too`, async (t) => {
    const redis = await redisServer(t, { args: ['--appendonly', 'no', '--save', '', '--user', 'app', ...rules] })
    const siteId = uniqueName()
    const url = redis.url.replace('redis://', 'redis://app:secret@')
    if (isBeforeRedis7()) {
      const app = await connected(t, url, siteId)
      await waitFor(() => /version 7 or newer/.test(app.configCache.stats().reason ?? ''))
      t.equal(app.configCache.mode, 'bypass')
      return
    }
    const one = (await build(t, url, siteId)).configCache
    const other = (await build(t, url, siteId)).configCache
    await waitFor(() => one.mode === 'coherent' && other.mode === 'coherent')
    let value = 'old'
    const both = () => Promise.all([one, other].map((cache) => cache.getOrLoad('a', {}, async () => value)))
    t.strictSame(await both(), ['old', 'old'])
    // On a busy machine a lease may have lapsed under the first load.
    await waitFor(async () => { await both(); return (await redis.connect().keys('*:cache:c:*')).length > 0 })
    await redis.connect().call('SAVE')
    await one.write({ keys: ['a'] }, async () => { value = 'new' })
    t.strictSame(await both(), ['new', 'new'])
    await redis.kill()
    await redis.restart()
    await waitFor(() => one.mode === 'coherent' && other.mode === 'coherent', { timeoutMs: 30_000 })
    t.strictSame(await both(), ['new', 'new'], 'what the snapshot brought back is void')
  })
}

t.test('what Redis does not allow is said once, with its reason, in the log, in an event and in stats', async (t) => {
  const lines: string[] = []
  const reasons: Array<string | null> = []
  const listener = (message: unknown) => reasons.push((message as { reason: string | null }).reason)
  subscribe('jpulse:config-cache:mode', listener)
  t.teardown(() => unsubscribe('jpulse:config-cache:mode', listener))
  const redis = await redisServer(t, { args: ['--user', 'app', 'on', '>secret', '~other:*', '&*', '+@all'] })
  const app = Fastify({ logger: { level: 'warn', stream: { write: (line: string) => { lines.push(line) } } } })
  t.teardown(() => app.close())
  await app.register(redisLink, { url: redis.url.replace('redis://', 'redis://app:secret@'), siteId: uniqueName() })
  await app.register(configCache, { source: memorySource(), leaseMs: 200 })
  await app.ready()
  await waitFor(() => /permission|NOPERM/i.test(app.configCache.stats().reason ?? ''))
  await t.rejects(app.configCache.set('a', 1), { code: 'FST_ERR_CONFIG_CACHE_UNREACHABLE', message: /permission|NOPERM/i })
  await redis.connect().call('ACL', 'SETUSER', 'app', '~*')
  await waitFor(() => /epoch/.test(app.configCache.stats().reason ?? ''), { what: 'the reason to be another' })
  t.equal(lines.filter((line) => /nothing is cached/.test(line)).length, 1)
  t.ok(reasons.length >= 2)
})

t.test('a user of Redis without channels, from the start and later: said once, writes are refused, and it caches when it may hear', async (t) => {
  const lines: string[] = []
  const redis = await redisServer(t, { args: ['--user', 'app', 'on', '>secret', '~*', 'resetchannels', '+@all'] })
  const app = Fastify({ logger: { level: 'warn', stream: { write: (line: string) => { lines.push(line) } } } })
  t.teardown(() => app.close())
  await app.register(redisLink, { url: redis.url.replace('redis://', 'redis://app:secret@'), siteId: uniqueName() })
  await app.register(configCache, { source: memorySource(), leaseMs: 200, blockTtlMs: 500 })
  await app.ready()
  const { configCache: cache } = app
  const client = redis.connect()
  const said = () => lines.filter((line) => /nothing is cached/.test(line)).length
  for (const round of [1, 2]) {
    await waitFor(() => /subscription/.test(cache.stats().reason ?? ''), { what: 'the refusal to be the reason' })
    t.equal(cache.mode, 'bypass')
    await t.rejects(cache.set('a', 1), { code: 'FST_ERR_CONFIG_CACHE_UNREACHABLE', message: /subscription/ })
    await client.call('ACL', 'SETUSER', 'app', 'allchannels')
    await waitFor(() => cache.mode === 'coherent', { timeoutMs: 20_000 })
    await cache.set('a', round)
    t.equal(await cache.get('a'), round)
    t.equal(said(), round)
    if (round === 2) return
    await client.call('ACL', 'SETUSER', 'app', 'resetchannels')
    await client.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
  }
})

/** A server with the users `one` and `other`, who may do everything until a test takes something away, and an instance of each. */
async function pairOfUsers (t: Test, options: object = {}) {
  const users = ['one', 'other'].flatMap((name) => ['--user', name, 'on', '>secret', '~*', '&*', '+@all'])
  const redis = await redisServer(t, { args: users })
  const siteId = uniqueName()
  const [one, other] = [await build(t, redis.url.replace('redis://', 'redis://one:secret@'), siteId, options), await build(t, redis.url.replace('redis://', 'redis://other:secret@'), siteId, options)]
  const acl = (name: string, ...rules: string[]) => redis.connect().call('ACL', 'SETUSER', name, ...rules)
  const keys = new CacheKeys((...parts) => one.redisLink.key(...parts))
  return { redis, keys, acl, one: one.configCache, other: other.configCache }
}

t.test('PUBLISH refused within a script: a block leaves nothing behind, a release is a lost message, and the tag is shared again', ALONE, async (t) => {
  const { redis, keys, acl, one, other } = await pairOfUsers(t)
  const client = redis.connect()
  const state = async () => [await client.hget(keys.core[0], 'seq'), await client.hkeys(keys.core[2]), await client.hkeys(keys.core[3])]
  const read = () => Promise.all([one, other].map((cache) => cache.getOrLoad('a', {}, async () => value)))
  let value = 'old'
  t.strictSame(await read(), ['old', 'old'])
  // It hears the bus, and may acknowledge; only what it says on the bus is refused. Without selectors it may not acknowledge either.
  const hasSelectors = !isBeforeRedis7()
  const withoutBus = ['-publish', ...hasSelectors ? [`(+publish &${keys.bus.replace(/bus$/, 'ack:*')})`] : []]
  const allowed = ['+publish', ...hasSelectors ? ['clearselectors'] : []]
  const before = await state()
  await acl('one', ...withoutBus)
  await t.rejects(one.write({ keys: 'a' }, async () => t.fail('must not run')), { code: 'FST_ERR_CONFIG_CACHE_UNREACHABLE', message: /NOPERM|permission|channel/i })
  t.strictSame(await state(), before, 'not even a number is used')
  await acl('one', ...allowed)
  await waitFor(() => one.mode === 'coherent', { timeoutMs: 20_000 })
  // Taken away under the block.
  await one.write({ keys: 'a' }, async () => {
    value = 'new'
    await acl('one', ...withoutBus)
  })
  t.strictSame(await read(), ['new', 'new'])
  t.strictSame((await state()).slice(1), [['_'], ['_']], 'neither the block nor its count stays')
  await acl('one', ...allowed)
  await waitFor(() => one.mode === 'coherent' && other.mode === 'coherent', { timeoutMs: 20_000 })
  await waitFor(async () => {
    await read()
    const { l1Hits } = other.stats()
    await read()
    return other.stats().l1Hits > l1Hits && other.stats().blocks === 0
  }, { what: 'the other to have noticed that the block is over', timeoutMs: 20_000 })
  await one.write({ keys: 'a' }, async () => { value = 'newer' })
  t.strictSame(await read(), ['newer', 'newer'])
})

t.test('whatever Redis refuses in the middle of a write, for a while, leaves no block, count or mark behind', async (t) => {
  const { redis, keys, acl, one, other } = await pairOfUsers(t, { confirmTimeoutMs: 100, writeTimeoutMs: 1500 })
  const client = redis.connect()
  const full = { refuse: () => client.config('SET', 'maxmemory', '1'), allow: () => client.config('SET', 'maxmemory', '0') }
  const ways: Record<string, { refuse: () => Promise<unknown>, allow: () => Promise<unknown> }> = { full }
  for (const command of ['publish', 'hincrby', 'hset', 'hdel', 'set', 'get', 'hget', 'hgetall', 'evalsha']) {
    ways[command] = { refuse: () => acl('one', `-${command}`, ...command === 'evalsha' ? ['-eval'] : []), allow: () => acl('one', '+@all') }
  }
  let value = 0
  const read = () => Promise.all([one, other].map((cache) => cache.getOrLoad('a', { tags: 'b' }, async () => value)))
  for (const [name, { refuse, allow }] of Object.entries(ways)) {
    for (const when of ['before it', 'under it']) {
      await waitFor(() => one.mode === 'coherent' && other.mode === 'coherent', { timeoutMs: 20_000 })
      t.strictSame(await read(), [value, value])
      if (when === 'before it') await refuse()
      await one.write({ tags: ['a', 'b'] }, async () => {
        value++
        if (when === 'under it') await refuse()
      }).catch((err: { code: string }) => { t.match(err.code, /_UNREACHABLE$|_UNCONFIRMED$/) })
      await allow()
      const isClean = async () => (await client.hlen(keys.core[2])) === 1 && (await client.hlen(keys.core[3])) === 1
      await waitFor(isClean, { what: `${name} ${when}: blocks and counts to be gone`, timeoutMs: 20_000 })
      await waitFor(async () => {
        await read()
        const marks = await client.mget(keys.generation('a'), keys.generation('b'))
        return other.stats().blocks === 0 && one.stats().blocks === 0 && marks.every((mark) => mark !== null && !mark.startsWith('!'))
      }, { what: `${name} ${when}: both to share the key again`, timeoutMs: 20_000 })
      t.strictSame(await read(), [value, value], `${name} ${when}`)
    }
  }
})

t.test('an instance that may not acknowledge is no member: writers do not wait for it, it says why, and it caches when it may', async (t) => {
  const { redis, keys, acl, one, other } = await pairOfUsers(t)
  const client = redis.connect()
  const members = async () => (await client.hkeys(keys.core[1])).filter((id) => id !== '_').length
  t.equal(await members(), 2)
  await acl('other', '-publish')
  let value = 0
  const read = () => Promise.all([one, other].map((cache) => cache.getOrLoad('a', {}, async () => value)))
  // The first write finds it out, and waits for a lease.
  await one.write({ keys: 'a' }, async () => { value = 1 })
  t.strictSame(await read(), [1, 1])
  await waitFor(() => /publish/i.test(other.stats().reason ?? ''), { what: 'the reason to be told', timeoutMs: 20_000 })
  t.equal(other.mode, 'bypass')
  t.equal(await members(), 1)
  await t.rejects(other.set('a', 1), { code: 'FST_ERR_CONFIG_CACHE_UNREACHABLE', message: /publish/i })
  await acl('other', '+publish')
  await waitFor(() => other.mode === 'coherent', { timeoutMs: 20_000 })
  await other.write({ keys: 'a' }, async () => { value = 2 })
  t.strictSame(await read(), [2, 2])
})

t.test('the permissions that the README names are enough', async (t) => {
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')
  const rules = /^ACL SETUSER (app on >password .*)$/m.exec(readme)![1]!.split(' ')
  const redis = await redisServer(t, { args: ['--user', ...rules] })
  const url = redis.url.replace('redis://', 'redis://app:password@')
  const [one, other] = [(await build(t, url, 'shop')).configCache, (await build(t, url, 'shop')).configCache]
  await one.set('a', 1)
  t.equal(await one.get('a'), 1)
  await other.clear()
  t.strictSame([one.stats().reason, other.stats().reason], [null, null])
})
