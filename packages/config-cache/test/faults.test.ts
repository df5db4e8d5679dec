import t, { type Test } from 'tap'
import { setTimeout as sleep } from 'node:timers/promises'
import { redisServer, sharedRedis, waitFor, type Worker } from '../../../test/helpers/index.ts'
import { SHORT_BLOCK_MS, TestCluster, type TestClusterOptions } from './cluster.ts'

// Each fault of the table in docs/coherence.md, with real processes under traffic, judged by the history of all of them.

t.setTimeout(400_000)
t.jobs = 2

const TRAFFIC = { keys: 6, writers: 2, readers: 3, ms: 60_000, pauseMs: 3 }

async function underTraffic (t: Test, options: TestClusterOptions, fault: (cluster: TestCluster) => Promise<void>): Promise<TestCluster> {
  const cluster = await TestCluster.start(t, { count: 3, ...options })
  await cluster.each('run', TRAFFIC)
  await fault(cluster)
  await sleep(300)
  await cluster.each('stop')
  await isCoherent(t, cluster)
  return cluster
}

async function isCoherent (t: Test, cluster: TestCluster): Promise<void> {
  const verdict = await cluster.verdict()
  t.strictSame(verdict.examples, [])
  t.match(verdict, { stale: 0, backwards: 0, early: 0 })
  t.ok(verdict.reads > 0)
  t.ok(await cluster.hitRate() > 0, 'and caches')
  t.comment(`${verdict.writes} writes, ${verdict.reads} reads, errors ${JSON.stringify(cluster.errors)}`)
}

/** Writes succeed while a member is silent: a write that waited for it longer than a lease would be refused. */
async function writesGoOn (worker: Worker): Promise<void> {
  for (let i = 0; i < 3; i++) await worker.call('write', `k${i}`)
}

const pid = (worker: Worker) => worker.pid

t.test('a lost invalidation message leaves nothing stale', async (t) => {
  await underTraffic(t, { redis: { url: sharedRedis() }, deaf: true }, async (cluster) => {
    for (let i = 0; i < 10; i++) {
      await cluster.instances[i % 3]!.call('lose', 1 + i % 3)
      await sleep(150)
    }
  })
})

t.test('after an instance was killed, writes go on without waiting for it', async (t) => {
  await underTraffic(t, { redis: { url: sharedRedis() } }, async (cluster) => {
    const victim = cluster.instances[2]!
    victim.kill('SIGKILL')
    await victim.exited
    await cluster.lost(victim)
    await writesGoOn(cluster.instances[0]!)
    t.throws(() => process.kill(pid(victim), 0))
  })
})

t.test('an instance that was stopped for longer than its lease and all blocks serves nothing old when it wakes, and delays writes by a lease at most', async (t) => {
  await underTraffic(t, { redis: { url: sharedRedis() } }, async (cluster) => {
    const victim = cluster.instances[2]!
    victim.kill('SIGSTOP')
    await writesGoOn(cluster.instances[0]!)
    // Writes go on meanwhile: the block of one that waited for the victim ends too.
    await sleep(2500)
    victim.kill('SIGCONT')
    await cluster.caching()
  })
})

t.test('an instance whose event loop was blocked for two leases serves nothing old afterwards', async (t) => {
  await underTraffic(t, { redis: { url: sharedRedis() } }, async (cluster) => {
    const blocked = cluster.instances[2]!.call('block', 2100)
    await writesGoOn(cluster.instances[0]!)
    await blocked
    await cluster.caching()
  })
})

t.test('an instance that is busy again and again leaves the members, is named, and joins again when its loop runs', async (t) => {
  const cluster = await TestCluster.start(t, { count: 3, redis: { url: sharedRedis() } })
  const [writer, other, victim] = cluster.instances
  await cluster.each('read', 'k0')
  await victim!.call('busy', true)
  let written = 0
  const mode = async (worker: Worker | undefined) => await worker!.call('mode')
  await waitFor(async () => {
    written = await writer!.call<number>('write', 'k0')
    t.equal(await other!.call('read', 'k0'), written)
    t.equal(await victim!.call('read', 'k0'), written)
    return await mode(victim) === 'bypass'
  }, { what: 'the busy instance to give way', timeoutMs: 30_000 })
  t.match((await writer!.call<{ slowest: { instance: string } }>('stats')).slowest.instance, new RegExp(`^${victim!.pid}@`))
  t.equal(await mode(other), 'coherent')
  await victim!.call('busy', false)
  await cluster.caching()
  t.equal(await victim!.call('read', 'k0'), written)
})

t.test('instances of different leases, one of them stopped, and one whose handlers answer before their work is done', async (t) => {
  const cluster = await TestCluster.start(t, { count: 1, redis: { url: sharedRedis() } })
  const cache = (leaseMs: number) => ({ cache: { blockTtlMs: SHORT_BLOCK_MS, leaseMs } })
  await cluster.grow(1, { ...cache(300), via: 'routes' })
  const [victim] = await cluster.grow(1, cache(3000))
  await cluster.each('run', TRAFFIC)
  await sleep(500)
  victim!.kill('SIGSTOP')
  await writesGoOn(cluster.instances[0]!)
  victim!.kill('SIGCONT')
  await cluster.caching()
  await sleep(300)
  await cluster.each('stop')
  await isCoherent(t, cluster)
})

t.test('1100 writes that give up waiting for the database, which they reach later, leave nothing stale', async (t) => {
  await underTraffic(t, { redis: { url: sharedRedis() } }, async (cluster) => {
    await cluster.instances[1]!.call('undecided', { count: 1100, keys: TRAFFIC.keys, withinMs: SHORT_BLOCK_MS * 0.8 })
    const blocks = async () => (await cluster.instances[0]!.call<{ blocks: number }>('stats')).blocks
    await waitFor(async () => await blocks() < 50, { what: 'the blocks to end', timeoutMs: 30_000 })
    const hits = async () => (await cluster.instances[0]!.call<{ l1Hits: number }>('stats')).l1Hits
    const before = await hits()
    await waitFor(async () => await hits() > before, { what: 'hits' })
  })
})

for (const step of ['blocked', 'safe', 'written']) {
  t.test(`a writer killed when its write is ${step} blocks its key for the block's life only, and nothing is stale`, async (t) => {
    await underTraffic(t, { redis: { url: sharedRedis() } }, async (cluster) => {
      const victim = cluster.instances[2]!
      await victim.call('dieAt', step)
      await t.rejects(victim.call('write', 'k0'))
      await victim.exited
      await cluster.lost(victim)
      await cluster.each('stop')
      const [one] = cluster.instances
      await waitFor(async () => (await one!.call<{ blocks: number }>('stats')).blocks === 0, { what: 'the block to be removed', timeoutMs: 10 * SHORT_BLOCK_MS })
      const hits = async () => (await one!.call<{ l1Hits: number }>('stats')).l1Hits
      const before = await hits()
      await waitFor(async () => {
        await one!.call('read', 'k0')
        return await hits() > before
      }, { what: 'the key to be cached again' })
    })
  })
}

t.test('an instance that joins during a write sees the block and never fills the old value', async (t) => {
  const cluster = await TestCluster.start(t, { count: 1, redis: { url: sharedRedis() } })
  const [writer] = cluster.instances
  await writer!.call('read', 'k0')
  await cluster.database.call('hold')
  const written = writer!.call('write', 'k0')
  await waitFor(async () => (await writer!.call<{ blocks: number }>('stats')).blocks === 1)
  const [joined] = await cluster.grow(1)
  t.equal((await joined!.call<{ blocks: number }>('stats')).blocks, 1, 'the block is known when it may cache')
  for (let i = 0; i < 20; i++) t.equal(await joined!.call('read', 'k0'), 0)
  await cluster.database.call('letGo')
  t.equal(await written, 1)
  t.equal(await joined!.call('read', 'k0'), 1)
  for (let i = 0; i < 5; i++) await cluster.each('read', 'k0')
  await isCoherent(t, cluster)
})

for (const fault of ['cut', 'mute both ways', 'mute to Redis', 'mute from Redis']) {
  t.test(`an instance whose connection is ${fault} bypasses, and the others cache on`, async (t) => {
    const redis = await redisServer(t)
    await underTraffic(t, { redis: { url: redis.url }, proxied: redis.port }, async (cluster) => {
      const [victim, ...others] = cluster.instances
      const [proxy] = cluster.proxies
      if (fault === 'cut') proxy!.cut()
      else proxy!.mute(fault === 'mute to Redis' ? 'up' : fault === 'mute from Redis' ? 'down' : 'both')
      await cluster.caching([victim!], 'bypass')
      await cluster.caching(others)
      const hits = async () => (await others[0]!.call<{ l1Hits: number }>('stats')).l1Hits
      const before = await hits()
      await waitFor(async () => await hits() > before + 20, { what: 'the others to have hits' })
      proxy!.mend()
      await cluster.caching()
    })
  })
}

for (const how of ['empty', 'with its append-only file', 'with an old snapshot']) {
  t.test(`Redis killed and restarted ${how} leaves nothing stale, and caching resumes by itself`, async (t) => {
    const isOld = how === 'with an old snapshot'
    const redis = await redisServer(t, isOld ? { args: ['--appendonly', 'no', '--save', ''] } : {})
    const cluster = await underTraffic(t, { redis: { url: redis.url } }, async (cluster) => {
      await sleep(200)
      if (isOld) await redis.connect().call('SAVE')
      await sleep(500)
      await redis.kill()
      await cluster.caching(cluster.instances, 'bypass')
      await t.rejects(cluster.instances[0]!.call('write', 'k0'), { code: 'FST_ERR_CONFIG_CACHE_UNREACHABLE' })
      t.type(await cluster.instances[0]!.call('read', 'k0'), 'number', 'reads go to the source')
      await redis.restart({ empty: how === 'empty' })
      await cluster.caching()
    })
    t.ok(Object.keys(cluster.errors).every((code) => /UNREACHABLE|UNCONFIRMED/.test(code)), JSON.stringify(cluster.errors))
  })
}

t.test('an instance that is busy while Redis is restarted serves nothing old from a lease that is longer than the quarantine', async (t) => {
  const redis = await redisServer(t)
  const cluster = await TestCluster.start(t, { count: 2, redis: { url: redis.url }, cache: { blockTtlMs: 500, leaseMs: 5000 } })
  const [writer, busy] = cluster.instances
  await busy!.call('read', 'k0')
  const late = busy!.call('blockAndRead', 3500, 'k0')
  await redis.restart({ empty: true })
  await cluster.caching([writer!])
  await writer!.call('write', 'k0')
  await late
  t.match(await cluster.verdict(), { stale: 0, backwards: 0, early: 0 })
})

t.test('a Redis that freezes for longer than every timeout leaves nothing stale, and reads go on', async (t) => {
  const redis = await redisServer(t)
  await underTraffic(t, { redis: { url: redis.url } }, async (cluster) => {
    redis.freeze()
    await cluster.caching(cluster.instances, 'bypass')
    t.type(await cluster.instances[0]!.call('read', 'k0'), 'number')
    // Longer than a lease and a command.
    await sleep(1200)
    redis.thaw()
    await cluster.caching()
  })
})

t.test('a refused write has not touched the database', async (t) => {
  const redis = await redisServer(t)
  const cluster = await TestCluster.start(t, { count: 2, redis: { url: redis.url } })
  await cluster.instances[0]!.call('write', 'k0')
  await redis.kill()
  await cluster.caching(cluster.instances, 'bypass')
  for (let i = 0; i < 20; i++) await t.rejects(cluster.instances[i % 2]!.call('write', 'k0'), { code: 'FST_ERR_CONFIG_CACHE_UNREACHABLE' })
  t.equal(await cluster.instances[0]!.call('read', 'k0'), 1)
})

t.test('keys of ours that Redis evicts, of every kind, leave nothing stale', async (t) => {
  const redis = await redisServer(t)
  await underTraffic(t, { redis: { url: redis.url } }, async (cluster) => {
    const client = redis.connect()
    for (const kind of ['members', 'ops', 'tags', 'state']) {
      await cluster.caching()
      for (let i = 0; i < 60; i++) {
        const values = (await client.keys('*')).filter((key) => /:(c|g|hello):/.test(key))
        if (values.length > 0) await client.del(...values.filter(() => Math.random() < 0.5), 'none')
        await sleep(5)
      }
      await client.del((await client.keys(`*:${kind}`))[0]!)
      await cluster.caching(cluster.instances, 'bypass')
    }
    await client.flushdb()
    await cluster.caching()
  })
})

t.test('a step of the clock of Redis, which ends every time to live at once or never, leaves nothing stale', async (t) => {
  const redis = await redisServer(t)
  await underTraffic(t, { redis: { url: redis.url } }, async (cluster) => {
    const client = redis.connect()
    let coherent = 0
    for (let i = 0; i < 60; i++) {
      const command = i % 3 === 0 ? 'PERSIST' : 'PEXPIRE'
      for (const key of await client.keys('*')) if (await client.pttl(key) > 0) await (command === 'PERSIST' ? client.persist(key) : client.pexpire(key, 0))
      // Once would be one moment, in which a busy machine may have let every lease lapse.
      coherent += (await cluster.each('mode')).filter((mode) => mode === 'coherent').length
      await sleep(10)
    }
    t.ok(coherent > 0, 'no lease and no block depends on it')
  })
})

t.test('a database slower than the life of a block: the block is renewed, and nothing is stale', async (t) => {
  const cluster = await TestCluster.start(t, { count: 2, redis: { url: sharedRedis() } })
  await cluster.each('read', 'k0')
  await cluster.database.call('hold')
  const written = cluster.instances[0]!.call('write', 'k0')
  const end = performance.now() + 3 * SHORT_BLOCK_MS
  while (performance.now() < end) {
    await cluster.each('read', 'k0')
    await sleep(10)
  }
  t.equal((await cluster.instances[1]!.call<{ blocks: number }>('stats')).blocks, 1)
  await cluster.database.call('letGo')
  t.equal(await written, 1)
  t.equal(await cluster.instances[1]!.call('read', 'k0'), 1)
  for (let i = 0; i < 5; i++) await cluster.each('read', 'k0')
  await isCoherent(t, cluster)
})

t.test('a writer stopped for longer than its block, with its write still on the way, resolves only when nobody is stale', async (t) => {
  const cluster = await TestCluster.start(t, { count: 2, redis: { url: sharedRedis() } })
  const [writer, reader] = cluster.instances
  await reader!.call('read', 'k0')
  await cluster.database.call('hold')
  const written = writer!.call<number>('write', 'k0')
  const blocks = async () => (await reader!.call<{ blocks: number }>('stats')).blocks
  await waitFor(async () => await blocks() === 1)
  // The request must have left for the database.
  await sleep(200)
  writer!.kill('SIGSTOP')
  await waitFor(async () => await blocks() === 0, { what: 'the block to be removed', timeoutMs: 20_000 })
  const hits = async () => (await reader!.call<{ l1Hits: number }>('stats')).l1Hits
  const before = await hits()
  await waitFor(async () => {
    t.equal(await reader!.call('read', 'k0'), 0)
    return await hits() > before
  }, { what: 'the old value to be cached again, as the write is not yet done' })
  await cluster.database.call('letGo')
  await sleep(100)
  writer!.kill('SIGCONT')
  t.equal(await written, 1)
  t.equal(await reader!.call('read', 'k0'), 1)
  t.equal((await cluster.verdict()).stale, 0)
})
