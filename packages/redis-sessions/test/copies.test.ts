import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { redisServer, sharedRedis, tcpProxy, uniqueName, waitFor, workers, type Worker } from '../../../test/helpers/index.ts'
import { History } from './support/history.ts'

const OPERATIONS = Number(process.env.SESSION_HISTORY ?? 2000)
const PARALLEL = 12

t.setTimeout(120_000 + OPERATIONS * 2)

interface Site { processes: Worker[], urls: string[] }

/** @param first what the first of them has in its environment beside that */
async function site (t: Test, env: Record<string, string> = {}, count = 4, first: Record<string, string> = {}): Promise<Site> {
  const SITE = uniqueName('copies')
  const processes = await workers(t, count, new URL('fixtures/copies-worker.js', import.meta.url), { env: (index) => ({ URL: sharedRedis(), SITE, ...env, ...(index === 0 ? first : {}) }) })
  await Promise.all(processes.map((process) => waitFor(async () => await process.call('mode') === 'coherent', { what: 'a lease', timeoutMs: 30_000 })))
  return { processes, urls: await Promise.all(processes.map((process) => process.call<string>('address'))) }
}

async function sumOf (processes: readonly Worker[], figure: 'hits' | 'told' | 'changes'): Promise<number> {
  return (await Promise.all(processes.map((process) => process.call<number>(figure)))).reduce((sum, one) => sum + one, 0)
}

/** Reads from copies so far. */
const hitsOf = (processes: readonly Worker[]) => sumOf(processes, 'hits')

t.test(`${OPERATIONS} operations on four processes: each read is of the last change, and who is out is out everywhere`, async (t) => {
  const { processes, urls } = await site(t)
  const { operations, refused, ...wrong } = await new History(urls, OPERATIONS).run(PARALLEL)
  const hits = await hitsOf(processes)
  t.comment(`${operations} operations, ${hits} reads from copies, ${refused} refused`)
  t.same(wrong, { stale: 0, signedOut: 0, resurrected: 0 })
  t.ok(hits > 0, 'copies were served')
})

t.test('sessions that are at home on one process each, and seldom elsewhere: as above, and most changes are told to nobody', async (t) => {
  const { processes, urls } = await site(t)
  const { operations, refused, ...wrong } = await new History(urls, Math.min(OPERATIONS, 50_000), { stray: 0.05 }).run(PARALLEL)
  const [hits, told, changes] = [await hitsOf(processes), await sumOf(processes, 'told'), await sumOf(processes, 'changes')]
  t.comment(`${operations} operations, ${hits} reads from copies, ${told} of ${changes} changes were told, ${refused} refused`)
  t.same(wrong, { stale: 0, signedOut: 0, resurrected: 0 })
  t.ok(told > 0 && told < changes, `${told} of ${changes}`)
})

for (const naive of ['ttl', 'pubsub', 'alone']) {
  t.test(`the same histories convict copies that are kept by ${naive}`, async (t) => {
    const { urls } = await site(t, { NAIVE: naive })
    const history = new History(urls, 20_000)
    const { stale, resurrected } = await history.run(PARALLEL, () => history.verdict.stale + history.verdict.resurrected > 0)
    t.comment(`${stale} stale, ${resurrected} resurrected`)
    t.ok(stale + resurrected > 0)
  })
}

t.test('processes that stand still, are busy, cut off or killed, and a Redis that stands still: nothing stale, nobody comes back', async (t) => {
  const redis = await redisServer(t)
  const proxy = await tcpProxy(t, redis.port)
  const { processes, urls } = await site(t, { URL: redis.url }, 4, { URL: `redis://127.0.0.1:${proxy.port}` })
  const history = new History(urls, Infinity)
  let isOver = false
  const running = history.run(PARALLEL, () => isOver)
  const living = [...processes]
  const [first, second, third] = processes as [Worker, Worker, Worker]
  const faults: Array<() => Promise<unknown>> = [
    async () => { first.kill('SIGSTOP'); await sleep(2500); first.kill('SIGCONT') },
    async () => { proxy.cut(); await sleep(2000); proxy.mend() },
    async () => { proxy.mute('down'); await sleep(2000); proxy.mend() },
    async () => { await second.call('hold', 1500) },
    async () => { redis.freeze(); await sleep(1200); redis.thaw() },
    async () => { second.kill('SIGSTOP'); redis.freeze(); await sleep(700); redis.thaw(); await sleep(700); second.kill('SIGCONT') },
    async () => {
      living.splice(living.indexOf(third), 1)
      third.kill('SIGKILL')
      await sleep(2000)
    }
  ]
  for (const fault of faults) {
    const begun = history.verdict.operations
    await fault()
    await waitFor(() => history.verdict.operations > begun + 200, { what: 'operations after a fault', timeoutMs: 60_000 })
    const hits = await hitsOf(living)
    await waitFor(async () => await hitsOf(living) > hits, { what: 'copies to be served again', timeoutMs: 60_000 })
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
  t.ok(await hitsOf(serving.processes) > 0, 'copies were served')
})
