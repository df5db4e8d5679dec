import t from 'tap'
import { setTimeout as sleep } from 'node:timers/promises'
import { topologies, waitFor } from '../../../test/helpers/index.ts'
import { TestCluster } from './cluster.ts'

// The same harness on Sentinel and Redis Cluster, with fewer repetitions: what differs is who answers, and when it changes.

t.setTimeout(400_000)

for (const name of ['sentinel', 'cluster'] as const) {
  t.test(name, async (t) => {
    const topology = await topologies[name](t)
    const start = (t: Parameters<typeof TestCluster.start>[0], more: object = {}) => TestCluster.start(t, { count: 3, redis: topology.options, ...more })

    t.test('1,500 write-read pairs show no stale read', async (t) => {
      const cluster = await start(t)
      await cluster.each('run', { keys: 10, writers: 4, readers: 3, pairs: 500, ms: 60_000 })
      await cluster.each('finished')
      const verdict = await cluster.verdict()
      t.strictSame(verdict.examples, [])
      t.ok(verdict.writes >= 1500)
      t.ok(await cluster.hitRate() > 0)
      t.comment(`${verdict.writes} writes, ${verdict.reads} reads, hit rate ${(await cluster.hitRate() * 100).toFixed(1)}%`)
    })

    t.test('values are shared: an instance hits what another loaded', async (t) => {
      const cluster = await start(t)
      const [one, other] = [cluster.instances[0]!, cluster.instances[1]!]
      let attempt = 0
      // The write of a value to Redis is not waited for, and RELEASE may reach the other a moment after the write: then it asks the source.
      await waitFor(async () => {
        const key = `k${attempt++}`
        await one.call('write', key)
        await one.call('read', key)
        const reads = await cluster.database.call('reads')
        t.equal(await other.call('read', key), 1)
        return await cluster.database.call('reads') === reads
      }, { what: 'a hit in Redis' })
    })

    t.test('a lost message and a stopped instance leave nothing stale', async (t) => {
      const cluster = await start(t, { deaf: true })
      await cluster.each('run', { keys: 6, writers: 2, readers: 3, ms: 60_000, pauseMs: 3 })
      await cluster.instances[1]!.call('lose', 3)
      cluster.instances[2]!.kill('SIGSTOP')
      // Longer than a lease.
      await sleep(1500)
      cluster.instances[2]!.kill('SIGCONT')
      await cluster.caching()
      await cluster.each('stop')
      t.strictSame((await cluster.verdict()).examples, [])
    })

    t.test('a failover under traffic, which loses the last writes, leaves nothing stale, and caching resumes by itself', async (t) => {
      const cluster = await start(t)
      await cluster.each('run', { keys: 6, writers: 2, readers: 3, ms: 100_000, pauseMs: 3 })
      await sleep(500)
      await topology.failover(`{${cluster.siteId}:${process.env.NODE_ENV || 'development'}:cache}:state`)
      await cluster.caching()
      await sleep(500)
      await cluster.each('stop')
      const verdict = await cluster.verdict()
      t.strictSame(verdict.examples, [])
      t.comment(`${verdict.writes} writes, ${verdict.reads} reads, errors ${JSON.stringify(cluster.errors)}`)
    })
  })
}
