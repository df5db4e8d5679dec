import t from 'tap'
import { sharedRedis } from '../../../test/helpers/index.ts'
import { SHORT_BLOCK_MS, TestCluster } from './cluster.ts'
import { History } from './history.ts'

t.setTimeout(process.env.SOAK_PAIRS === undefined ? 400_000 : 7_200_000)

t.test('the checker accepts what one register could have answered, and nothing else', async (t) => {
  const writes = { keys: ['a', 'a'], starts: [0, 20], ends: [10, 30], values: [1, 2] }
  const commits = { keys: ['a', 'a'], versions: [1, 2], times: [5, 25] }
  const judge = (starts: number[], ends: number[], values: number[]) => new History()
    .add({ writes, errors: {}, reads: { keys: values.map(() => 'a'), starts, ends, values } }).commits(commits).check()
  t.match(judge([1, 11, 21, 31], [9, 12, 29, 32], [0, 1, 1, 2]), { stale: 0, backwards: 0, early: 0, reads: 4, writes: 2 })
  t.match(judge([31], [32], [1]), { stale: 1 }, 'a read that began after the write resolved is older')
  t.match(judge([21, 27], [26, 28], [2, 1]), { stale: 0, backwards: 1 }, 'during the write the new value was seen, then the old')
  t.match(judge([21, 22], [26, 28], [2, 1]), { backwards: 0 }, 'reads that overlap may differ')
  t.match(judge([21], [24], [2]), { early: 1 }, 'a value that was not yet written')
})

for (const design of ['pubsub-after-write', 'del-without-generations', 'no-acknowledgement', 'single-flight-across-writes']) {
  t.test(`the harness finds the stale reads of the design ${design}`, async (t) => {
    const cluster = await TestCluster.start(t, { design, redis: { url: sharedRedis() } })
    let verdict
    for (let round = 0; round < 5 && !verdict?.stale; round++) {
      await cluster.each('run', { keys: 4, writers: 4, readers: 4, pairs: 500, ms: 5000 })
      await cluster.each('finished')
      verdict = await cluster.verdict()
    }
    t.ok(verdict!.stale > 0)
    t.comment(`${verdict!.stale} of ${verdict!.reads} reads were stale, ${verdict!.backwards} more went back`)
  })
}

// What messages can do to one member is shown by view.test.ts in every order; here it is processes, sockets and Redis.
const ROUND = 10_000
/** `npm run soak` asks for 1,000,000. */
const PAIRS = Number(process.env.SOAK_PAIRS ?? ROUND)

t.test(`${PAIRS.toLocaleString('en')} write-read pairs of 4 workers on the same keys show no stale read, and hits`, async (t) => {
  // Not all alike: leases as in a rolling deploy, and one that is reached through routes.
  const cluster = await TestCluster.start(t, { count: 2, redis: { url: sharedRedis() } })
  await cluster.grow(1, { cache: { blockTtlMs: SHORT_BLOCK_MS, leaseMs: 3000 } })
  await cluster.grow(1, { cache: { blockTtlMs: SHORT_BLOCK_MS, leaseMs: 300 }, via: 'routes' })
  const start = performance.now()
  let [writes, reads] = [0, 0]
  while (writes < PAIRS) {
    // The last one makes a request of each operation, which takes longer.
    const shares = [0.35, 0.3, 0.3, 0.05]
    await Promise.all(cluster.instances.map((one, i) => one.call('run', { keys: 40, writers: 12, readers: 4, pairs: ROUND * shares[i]!, ms: 250_000 })))
    await cluster.each('finished')
    const verdict = await cluster.verdict({ settle: true })
    t.strictSame(verdict.examples, [])
    t.match(verdict, { stale: 0, backwards: 0, early: 0 })
    if (!t.ok(verdict.writes >= ROUND, `${verdict.writes} writes in a round`)) break
    writes += verdict.writes
    reads += verdict.reads
  }
  t.ok(Object.keys(cluster.errors).every((code) => code.endsWith('_UNREACHABLE')), JSON.stringify(cluster.errors))
  const hitRate = await cluster.hitRate()
  t.ok(hitRate > 0)
  t.comment(`${writes} writes, ${reads} reads, hit rate ${(hitRate * 100).toFixed(1)}%, ${((performance.now() - start) / 1000).toFixed(1)} s, errors ${JSON.stringify(cluster.errors)}`)
})

t.test('concurrent writers on one key show no stale read', async (t) => {
  const cluster = await TestCluster.start(t, { redis: { url: sharedRedis() } })
  await cluster.each('run', { keys: 1, writers: 4, readers: 8, pairs: 400, ms: 30_000 })
  await cluster.each('finished')
  const verdict = await cluster.verdict()
  t.strictSame(verdict.examples, [])
  t.match(verdict, { stale: 0, backwards: 0, early: 0 })
  t.ok(verdict.writes >= 1600)
})

t.test('80% reads by Zipf and 20% writes over 1000 keys: more than 90% of the reads are hits', async (t) => {
  const cluster = await TestCluster.start(t, { redis: { url: sharedRedis() }, handOn: 1 })
  let best = 0
  // A machine that is too busy to renew a lease reads from the database: that says nothing of the traffic.
  for (let round = 0; round < 5 && best <= 0.9; round++) {
    const before = await cluster.database.call<number>('reads')
    await cluster.each('zipf', { keys: 1000, operations: 8000, clients: 6 })
    const { reads, writes, values, examples } = await cluster.verdict({ settle: true })
    t.strictSame(examples, [])
    const share = 1 - (await cluster.database.call<number>('reads') - before) / reads
    best = Math.max(best, share)
    // A cache that does not hand on what was written has to load each value once.
    const part = (some: number) => `${(some * 100).toFixed(1)}%`
    t.comment(`${reads} reads, ${writes} writes: ${part(share)} without the database; without handing on ${part(1 - values / reads)} at best`)
  }
  t.ok(best > 0.9)
})
