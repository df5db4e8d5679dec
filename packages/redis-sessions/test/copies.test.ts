import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { redisServer, sharedRedis, uniqueName, waitFor, workers, type Worker } from '../../../test/helpers/index.ts'
import { History } from './support/history.ts'

const OPERATIONS = Number(process.env.SESSION_HISTORY ?? 2000)
const PARALLEL = 12

t.setTimeout(120_000 + OPERATIONS * 2)

interface Site { processes: Worker[], urls: string[] }

async function site (t: Test, env: Record<string, string> = {}, count = 4): Promise<Site> {
  const processes = await workers(t, count, new URL('fixtures/copies-worker.js', import.meta.url), { env: { URL: sharedRedis(), SITE: uniqueName('copies'), ...env } })
  await Promise.all(processes.map((process) => waitFor(async () => await process.call('mode') === 'coherent', { what: 'a lease', timeoutMs: 30_000 })))
  return { processes, urls: await Promise.all(processes.map((process) => process.call<string>('address'))) }
}

t.test(`${OPERATIONS} operations on four processes: each read is of the last change, and who is out is out everywhere`, async (t) => {
  const { processes, urls } = await site(t)
  const { operations, refused, ...wrong } = await new History(urls, OPERATIONS).run(PARALLEL)
  const hits = (await Promise.all(processes.map((process) => process.call<number>('hits')))).reduce((sum, one) => sum + one, 0)
  t.comment(`${operations} operations, ${hits} reads from copies, ${refused} refused`)
  t.same(wrong, { stale: 0, signedOut: 0, resurrected: 0 })
  t.equal(refused, 0)
  t.ok(hits > 0, 'copies were served')
})

for (const naive of ['ttl', 'pubsub']) {
  t.test(`the same histories convict copies that are kept by ${naive}`, async (t) => {
    const { urls } = await site(t, { NAIVE: naive })
    const { stale, resurrected } = await new History(urls, Math.min(OPERATIONS, 20_000)).run(PARALLEL)
    t.comment(`${stale} stale, ${resurrected} resurrected`)
    t.ok(stale + resurrected > 0)
  })
}

t.test('processes that stand still, are killed, and a Redis that does: nothing stale, nobody comes back', async (t) => {
  const redis = await redisServer(t)
  const SITE = uniqueName('copies')
  const { processes, urls } = await site(t, { URL: redis.url, SITE })
  const history = new History(urls, Infinity)
  let isOver = false
  const running = history.run(PARALLEL, () => isOver)
  const [first, second, third] = processes as [Worker, Worker, Worker]
  const faults: Array<() => Promise<unknown>> = [
    async () => { first.kill('SIGSTOP'); await sleep(2500); first.kill('SIGCONT') },
    async () => { redis.freeze(); await sleep(1200); redis.thaw() },
    async () => { second.kill('SIGSTOP'); redis.freeze(); await sleep(700); redis.thaw(); await sleep(700); second.kill('SIGCONT') },
    async () => { third.kill('SIGKILL'); await sleep(2000) }
  ]
  for (const fault of faults) {
    const begun = history.verdict.operations
    await fault()
    // Time to go on in between.
    await waitFor(() => history.verdict.operations > begun + 200, { what: 'operations after a fault', timeoutMs: 60_000 })
  }
  isOver = true
  const { operations, refused, ...wrong } = await running
  t.comment(`${operations} operations, ${refused} refused`)
  t.same(wrong, { stale: 0, signedOut: 0, resurrected: 0 })
})

t.test('a deploy that turns copies on: instances that prepare tell those that serve', async (t) => {
  const SITE = uniqueName('copies')
  const [serving, preparing] = await Promise.all(['on', 'prepare'].map((LOCAL_READS) => site(t, { SITE, LOCAL_READS }, 2))) as [Site, Site]
  const { operations, refused, ...wrong } = await new History([...serving.urls, ...preparing.urls], Math.min(OPERATIONS, 20_000)).run(PARALLEL)
  t.comment(`${operations} operations, ${refused} refused`)
  t.same(wrong, { stale: 0, signedOut: 0, resurrected: 0 })
})
