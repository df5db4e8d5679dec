import t, { type Test } from 'tap'
import { mongo, redisServer, sentinel, uniqueName, waitFor, workers, type Worker } from '../../../test/helpers/index.ts'
import { History } from './support/history.ts'

// What happens to Redis while four processes serve copies of sessions, judged by the history of all of them.

const PARALLEL = 12

t.setTimeout(240_000)

interface Running {
  /** Waits until operations go on, and copies are served. */
  goesOn (): Promise<void>
  verdict (): Promise<Record<'stale' | 'signedOut' | 'resurrected', number>>
}

/** @param link options of redis-link */
async function start (t: Test, link: object, env: Record<string, string> = {}): Promise<Running> {
  const SITE = uniqueName('copies')
  const processes = await workers(t, 4, new URL('fixtures/copies-worker.js', import.meta.url), { env: { LINK: JSON.stringify(link), SITE, ...env } })
  const coherent = () => Promise.all(processes.map((process) => waitFor(async () => await process.call('mode') === 'coherent', { what: 'a lease', timeoutMs: 100_000 })))
  await coherent()
  const history = new History(await Promise.all(processes.map((process) => process.call<string>('address'))), Infinity, { stray: 0.3 })
  let isOver = false
  const running = history.run(PARALLEL, () => isOver)
  const answered = () => history.verdict.operations - history.verdict.refused
  const hits = async (all: Worker[]) => (await Promise.all(all.map((process) => process.call<number>('hits')))).reduce((sum, one) => sum + one, 0)
  return {
    async goesOn () {
      await coherent()
      const [operations, served] = [answered(), await hits(processes)]
      await waitFor(async () => answered() > operations + 200 && await hits(processes) > served, { what: 'operations', timeoutMs: 60_000 })
    },
    async verdict () {
      isOver = true
      const { operations, refused, ...wrong } = await running
      t.comment(`${operations} operations, ${refused} refused, ${JSON.stringify(wrong)}`)
      return wrong
    }
  }
}

t.test('Redis is killed again and again, and comes back with its data: nothing stale, nobody lost, nobody comes back', async (t) => {
  const redis = await redisServer(t)
  const { goesOn, verdict } = await start(t, { url: redis.url })
  // A change that was refused and came all the same, late, was seen in one of three runs of eight.
  for (let time = 0; time < 5; time++) {
    await goesOn()
    await redis.kill()
    await redis.restart()
  }
  await goesOn()
  t.same(await verdict(), { stale: 0, signedOut: 0, resurrected: 0 })
})

t.test('Redis comes back empty, and has its sessions from the backup: nobody lost, nobody comes back', async (t) => {
  const redis = await redisServer(t)
  const { url, db } = await mongo(t)
  const { goesOn, verdict } = await start(t, { url: redis.url }, { BACKUP: JSON.stringify({ url, db: db.databaseName }) })
  for (let time = 0; time < 2; time++) {
    await goesOn()
    await redis.kill()
    await redis.restart({ empty: true })
  }
  await goesOn()
  // Changes are in the backup with the next batch only.
  t.match(await verdict(), { signedOut: 0, resurrected: 0 })
})

t.test('Redis fails over to a replica that may lack what came last, and the backup knows: nobody lost, nobody comes back', async (t) => {
  const { sentinels, name, primary, nodes } = await sentinel(t)
  const { url, db } = await mongo(t)
  const { goesOn, verdict } = await start(t, { mode: 'sentinel', sentinel: { name, sentinels } }, { BACKUP: JSON.stringify({ url, db: db.databaseName }) })
  await goesOn()
  const former = await primary()
  await former.kill()
  await waitFor(async () => await primary() !== former, { what: 'another primary', timeoutMs: 60_000 })
  t.ok(nodes.includes(await primary()))
  await goesOn()
  t.match(await verdict(), { signedOut: 0, resurrected: 0 })
})

t.test('Redis stands still for longer than every lease, and for longer than a command: nothing stale, nobody comes back', async (t) => {
  const redis = await redisServer(t)
  // What was sent before may arrive when it thaws, and is one of the database operations that must not outlive their block.
  const { goesOn, verdict } = await start(t, { url: redis.url }, { BLOCK_MS: '5000' })
  for (const ms of [300, 2500]) {
    await goesOn()
    redis.freeze()
    await new Promise((resolve) => setTimeout(resolve, ms))
    redis.thaw()
  }
  await goesOn()
  t.same(await verdict(), { stale: 0, signedOut: 0, resurrected: 0 })
})

t.test('Redis evicts who has copies, and what the leases stand on: nothing stale, nobody comes back', async (t) => {
  const redis = await redisServer(t)
  const { goesOn, verdict } = await start(t, { url: redis.url })
  await goesOn()
  for (let time = 0; time < 30; time++) {
    const keys = (await redis.client.keys('*')).filter((key) => /:holders:/.test(key) && Math.random() < 0.5)
    if (keys.length > 0) await redis.client.unlink(...keys)
    if (time % 10 === 9) await redis.client.unlink(...await redis.client.keys('*:cache}:*'))
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  await goesOn()
  t.same(await verdict(), { stale: 0, signedOut: 0, resurrected: 0 })
})
