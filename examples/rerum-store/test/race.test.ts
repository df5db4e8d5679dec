import t from 'tap'
import { waitFor } from '../../../test/helpers/index.ts'
import { racePairs } from './pairs.ts'
import { storeCluster, write } from './store-cluster.ts'
import { makeSubject } from './subject.ts'
import { Traffic } from './traffic.ts'

// The race procedure of plan 004. `npm run race` runs it at length.
const ROUNDS = Number(process.env.RACE_ROUNDS ?? 8)
const SECONDS = Number(process.env.RACE_SECONDS ?? 4)

t.setTimeout(600_000 + ROUNDS * 10_000 + SECONDS * 4000)

t.test('the harness convicts the usual caches', async (t) => {
  for (const design of ['own-process', 'late-messages']) {
    const { pins } = await storeCluster(t, { workers: 2, env: { NAIVE_CACHE: design } })
    const subject = await makeSubject([...pins.values()][0]![0]!, 'naive')
    const { stale, reads } = await racePairs(pins, subject, 2)
    t.ok(stale.length > 0, design)
    t.comment(`${design}: ${stale.length} of ${reads} reads were stale`)
  }
})

t.test('four workers', async (t) => {
  const { address, pins } = await storeCluster(t)
  const [first] = [...pins.values()][0]!

  t.test(`${ROUNDS} rounds of a write by each worker, read at once from every worker: none stale, all from caches before`, async (t) => {
    const subject = await makeSubject(first!, 'pairs')
    const { samples, stale, reads, warmed } = await racePairs(pins, subject, ROUNDS)
    t.strictSame(stale.slice(0, 10), [])
    t.equal(samples.size, 16, 'each pair of a writing and a reading worker')
    t.ok([...samples.values()].every((count) => count >= 30), `${Math.min(...samples.values())} samples of each at least`)
    t.ok(warmed >= reads)
    t.comment(`${stale.length} stale of ${reads} reads; ${Math.min(...samples.values())} samples of each pair; ${warmed} reads from caches before the writes`)
  })

  t.test('readers and writers at the same time: each object is one register', async (t) => {
    const subjects = await Promise.all(['ra', 'rb', 'rc'].map((mark) => makeSubject(first!, mark)))
    const traffic = new Traffic(address, subjects)
    const end = performance.now() + SECONDS * 1000
    await waitFor(() => performance.now() > end && traffic.writes >= 30, { timeoutMs: SECONDS * 1000 + 120_000, everyMs: 50, what: 'the traffic' })
    const verdict = await traffic.stop()
    t.strictSame(verdict.examples, [])
    t.match(verdict, { stale: 0, backwards: 0, early: 0 })
    t.ok(traffic.hits > 0)
    t.equal(traffic.workers.size, 4)
    t.comment(`${verdict.writes} writes, ${verdict.reads} reads, ${(100 * traffic.hits / verdict.reads).toFixed(1)}% hits, ${JSON.stringify(traffic.errors)}`)
  })

  t.test('versions made at the same time from one object are all linked to it', async (t) => {
    const all = [...pins.values()].flat()
    const { json: parent } = await write(first!, 'POST', '/create', { role: 'parent' })
    const made = await Promise.all(all.flatMap((pin) => [1, 2].map((n) => write(pin, 'PUT', '/update', { '@id': parent['@id'], n }))))
    const uris = made.map(({ json }) => json['@id']).sort()
    for (const [worker, [pin]] of pins) {
      const { json } = await pin!.ask({ path: new URL(parent['@id']).pathname })
      t.same([...json.__rerum.history.next].sort(), uris, worker)
    }
  })
})
