import t from 'tap'
import { site, waitFor } from '../../../test/helpers/index.ts'
import { load } from '../../../test/helpers/load.ts'

const WORKERS = 4
const REQUESTS = 50_000

t.setTimeout(400_000)

t.test(`a reload of ${WORKERS} workers under load on keep-alive connections fails none of ${REQUESTS} requests`, async (t) => {
  const { address, pm2, output } = await site(t, { workers: WORKERS })
  const pids = async (): Promise<number[]> => JSON.parse(await pm2('jlist')).map(({ pid }: { pid: number }) => pid)
  const before = await pids()
  const traffic = load(address, { connections: 20, paths: ['/', ...Array.from({ length: 19 }, () => '/health/live')] })
  t.teardown(() => traffic.stop())

  await waitFor(() => traffic.succeeded > 2000, { what: 'the load to flow', timeoutMs: 60_000 })
  await pm2('reload', 'jpulse-site')
  const after = await pids()
  const atReload = traffic.succeeded
  await waitFor(() => traffic.succeeded >= Math.max(REQUESTS, atReload + 2000), { what: `${REQUESTS} requests`, timeoutMs: 200_000 })
  await traffic.stop()

  t.equal(traffic.failures.length, 0, 'no request failed')
  t.same(count(traffic.failures), {})
  if (traffic.failures.length > 0) t.comment(output())
  t.equal(after.length, WORKERS)
  t.same(after.filter((pid) => before.includes(pid)), [], 'every worker is a new process')
  t.equal(traffic.workers.size, WORKERS, 'all of them took part')
  t.comment(`${traffic.succeeded} requests, ${atReload} of them until the reload was over`)
})

function count (texts: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const text of texts) counts[text] = (counts[text] ?? 0) + 1
  return counts
}
