import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { redisServer, tcpProxy, waitFor } from '../../../test/helpers/index.ts'
import { storeCluster } from './store-cluster.ts'
import { makeSubject, type Subject } from './subject.ts'
import { Traffic } from './traffic.ts'

// The race procedure of plan 004 while something breaks. `npm run race` and `npm run soak:store` repeat it.
const TIMES = Number(process.env.RACE_FAULTS ?? 1)
const WORKERS = 4

t.setTimeout(300_000 + TIMES * 300_000)

t.test('nothing is stale while something breaks', async (t) => {
  const redis = await redisServer(t)
  // One more than there are workers, for the one that is added.
  const proxies = await Promise.all(Array.from({ length: WORKERS + 1 }, () => tcpProxy(t, redis.port)))
  const cluster = await storeCluster(t, { each: 1, env: { REDIS_URLS: proxies.map(({ port }) => `redis://127.0.0.1:${port}`).join(), CACHE_BLOCK_TTL_MS: '2000' } })
  const { address, site, pids } = cluster
  const [first] = [...cluster.pins.values()][0]!
  const subjects: Subject[] = []
  for (const mark of ['fa', 'fb', 'fc']) subjects.push(await makeSubject(first!, mark))

  /** Traffic before, during and after a fault: it must come to writes and to hits again. */
  const under = async (t: Test, fault: (traffic: Traffic) => Promise<void>, { mayGoBack = false } = {}) => {
    // Twice as many readers fill two cores: a reload then takes a minute and a half in which nothing else is shown. At length they do.
    const traffic = new Traffic(address, subjects, { readers: TIMES > 1 ? 16 : 8, pauseMs: 25 })
    const flows = async (what: string) => {
      const [writes, hits] = [traffic.writes, traffic.hits]
      await waitFor(() => traffic.writes >= writes + 10 && traffic.hits >= hits + 50, { timeoutMs: 120_000, everyMs: 20, what: `traffic ${what}` })
    }
    let verdict
    try {
      await flows('before')
      await fault(traffic)
      await flows('after')
    } catch (err) {
      t.comment(site.output().slice(-3000))
      throw err
    } finally {
      verdict = await traffic.stop()
    }
    t.strictSame(verdict.examples.filter((example) => !mayGoBack || !example.startsWith('backwards')), [])
    t.match(verdict, { stale: 0, early: 0, ...!mayGoBack && { backwards: 0 } })
    t.comment(`${verdict.writes} writes, ${verdict.reads} reads, ${(100 * traffic.hits / verdict.reads).toFixed(1)}% hits, ${verdict.stale} stale, ${verdict.backwards} went back; ${JSON.stringify(traffic.errors)}`)
  }

  for (let time = 0; time < TIMES; time++) {
    await t.test('a worker is killed', (t) => under(t, async () => {
      const before = await pids()
      process.kill(before[0]!, 'SIGKILL')
      await waitFor(async () => (await pids()).filter((pid) => pid > 0 && !before.includes(pid)).length === 1, { timeoutMs: 60_000, everyMs: 200, what: 'its successor' })
    }))

    // A database operation that slept for longer than its block may let others see the old value again before its write
    // resolves (config-cache, README): never after, which is what stale means.
    await t.test('a worker is stopped for 5 s', (t) => under(t, async () => {
      const [pid] = await pids()
      process.kill(pid!, 'SIGSTOP')
      try { await sleep(5000) } finally { process.kill(pid!, 'SIGCONT') }
    }, { mayGoBack: true }))

    await t.test('the Redis connections of one worker are cut', (t) => under(t, async (traffic) => {
      const writes = traffic.writes
      // A worker that a writer is connected to, or nothing would be refused; its number stands in its name.
      const proxy = proxies[Number(traffic.lastWriter.split(':').at(-1)) % proxies.length]!
      proxy.cut()
      await waitFor(() => (traffic.errors.FST_ERR_CONFIG_CACHE_UNREACHABLE ?? 0) > 0 && traffic.writes > writes + 10, { timeoutMs: 60_000, what: 'its writes to be refused, and those of the others to go on' })
      proxy.mend()
    }))

    await t.test('Redis is killed, and started again', (t) => under(t, async (traffic) => {
      await redis.kill()
      await waitFor(() => (traffic.errors.FST_ERR_CONFIG_CACHE_UNREACHABLE ?? 0) > 3, { timeoutMs: 60_000, what: 'writes to be refused' })
      const reads = traffic.reads.keys.length
      await waitFor(() => traffic.reads.keys.length > reads + 100, { timeoutMs: 60_000, what: 'reads to go on' })
      await redis.restart()
    }))

    await t.test('Redis is killed, and started again empty', (t) => under(t, async () => {
      await redis.restart({ empty: true })
    }))

    await t.test('Redis is frozen', (t) => under(t, async (traffic) => {
      redis.freeze()
      try {
        await waitFor(() => (traffic.errors.FST_ERR_CONFIG_CACHE_UNREACHABLE ?? 0) > 3, { timeoutMs: 60_000, what: 'writes to be refused' })
      } finally {
        redis.thaw()
      }
    }))

    await t.test('all workers are reloaded', (t) => under(t, async () => {
      const before = await pids()
      await site.pm2('reload', 'rerum-store')
      const after = await pids()
      t.strictSame(after.filter((pid) => before.includes(pid)), [])
    }))
  }

  await t.test('a worker is added', (t) => under(t, async (traffic) => {
    await site.pm2('scale', 'rerum-store', String(WORKERS + 1))
    // Connections that stand stay where they are; new ones find the new worker.
    await waitFor(async () => (await pids()).length === WORKERS + 1, { timeoutMs: 60_000 })
    const more = new Traffic(address, subjects, { readers: 10, writers: 2, pauseMs: 25 })
    try {
      await waitFor(() => more.workers.size === WORKERS + 1, { timeoutMs: 60_000, what: 'the new worker to answer' })
      await waitFor(() => more.writes >= 10, { timeoutMs: 60_000 })
    } finally {
      t.match(await more.stop(), { stale: 0, backwards: 0, early: 0 })
    }
    t.ok(traffic.writes > 0)
  }))
})
