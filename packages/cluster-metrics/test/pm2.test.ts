import { existsSync, mkdirSync } from 'node:fs'
import { get } from 'node:http'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { Value } from 'typebox/value'
import { cleanEnv } from '../../../scripts/bootstrap.js'
import { runCluster } from '../../../scripts/site/run-site.js'
import { freePort, sharedRedis, temporaryFolder, uniqueName, waitFor } from '../../../test/helpers/index.ts'
import type { ClusterData } from '../src/index.ts'
import { Pm2Siblings } from '../src/process/pm2.ts'
import { PLAN } from './plan.ts'

t.setTimeout(180_000)
const slow = { timeoutMs: 90_000, everyMs: 100 }

t.test('any of 4 PM2 workers on two servers gives the document of the plan, with the siblings that PM2 does not run', async (t) => {
  const dir = join(temporaryFolder(t), 'run')
  mkdirSync(dir)
  const env: NodeJS.ProcessEnv = { ...cleanEnv(), PORT: String(await freePort()), SITE: uniqueName(), REDIS_URL: sharedRedis(), FAILING: '4' }
  const running = await runCluster({
    env,
    log: join(dir, 'log'),
    home: join(dir, 'pm2'),
    instances: 5,
    ecosystem: fileURLToPath(new URL('fixtures/pm2.config.cjs', import.meta.url)),
    app: 'metrics'
  })
  t.teardown(() => running.stop())

  const ask = async (path: string): Promise<{ worker: string, text: string }> => {
    // A connection each, because PM2 hands out connections, not requests.
    const [response] = await once(get(running.address + path, { agent: false }), 'response')
    return { worker: response.headers['x-worker'], text: (await response.setEncoding('utf8').toArray()).join('') }
  }
  /** The document as each of the living workers gives it. */
  const everywhere = async (workers: number): Promise<Array<{ data: ClusterData }>> => {
    const seen = new Map<string, { data: ClusterData }>()
    return waitFor(async () => {
      const { worker, text } = await ask('/api/1/metrics')
      seen.set(worker, JSON.parse(text))
      return seen.size === workers && [...seen.values()]
    }, { what: 'every worker to answer', ...slow, everyMs: 1 })
  }
  const all = async (workers: number, holds: (statistics: ClusterData['statistics']) => boolean) => waitFor(async () => {
    const documents = await everywhere(workers)
    return documents.every(({ data: { statistics } }) => statistics.totalInstances === workers && holds(statistics)) && documents
  }, { what: `${workers} workers in every document`, ...slow })

  // PM2's command line starts a daemon of its own where it finds none yet, and nobody would end that one.
  await everywhere(4)
  await waitFor(async () => JSON.parse(await running.pm2('jlist').then((text) => text.slice(text.indexOf('[{')))).some(({ pm2_env: { status } }: { pm2_env: { status: string } }) => status === 'errored'), { what: 'PM2 to give up the fifth', ...slow })
  // Each of the two simulated servers sees the one PM2, each in its own time.
  const documents = await all(4, ({ erroredProcesses }) => erroredProcesses === 2)
  for (const document of documents) {
    t.same([...Value.Errors(PLAN, document)], [])
    const { statistics, servers } = document.data
    t.match(statistics, { totalServers: 2, totalInstances: 4, runningProcesses: 4, stoppedProcesses: 0, erroredProcesses: 2, totalProcesses: 6 })
    t.same(servers.map(({ serverId, instances }) => [serverId, instances.map(({ instanceId, pm2Available, pm2ProcessName, restarts }) => [instanceId, pm2Available, pm2ProcessName, restarts]).sort()]), [
      ['web1', [['web1:0', true, 'metrics-0', 0], ['web1:1', true, 'metrics-1', 0]]],
      ['web2', [['web2:2', true, 'metrics-2', 0], ['web2:3', true, 'metrics-3', 0]]]
    ])
  }
  t.notOk(documents.some((document) => JSON.stringify(document).includes('pm2_env')))

  await running.pm2('restart', '1')
  const restarted = await all(4, () => true).then(() => waitFor(async () => {
    const [{ data }] = await everywhere(4) as [{ data: ClusterData }]
    return data.servers.flatMap(({ instances }) => instances).find(({ instanceId, restarts }) => instanceId === 'web1:1' && restarts === 1)
  }, { what: 'the restart to be counted', ...slow }))
  t.ok(restarted)
  await running.pm2('stop', '0')
  const stopped = await all(3, ({ stoppedProcesses }) => stoppedProcesses === 2)
  t.match(stopped.map(({ data }) => data.statistics), stopped.map(() => ({ totalInstances: 3, runningProcesses: 3, stoppedProcesses: 2, erroredProcesses: 2, totalProcesses: 7 })))
})

t.test('no PM2 daemon is ever started', async (t) => {
  const home = temporaryFolder(t)
  const env = { PM2_HOME: home, pm_id: '0', name: 'app' }
  const siblings = new Pm2Siblings(true, 1000, env)
  await siblings.refresh()
  t.equal(siblings.siblings, null)
  t.notOk(existsSync(join(home, 'pm2.pid')))
  t.notOk(existsSync(join(home, 'rpc.sock')))
  const none = new Pm2Siblings(true, 1000, {})
  await none.refresh()
  t.equal(none.siblings, null)
})

t.test('a PM2 that answers nonsense, or not at all, is no sibling', async (t) => {
  for (const answer of ['nonsense', Buffer.from([0x12, 0, 0, 0, 4, 106, 58, 123, 125]), null]) {
    const home = temporaryFolder(t)
    const server = createServer((socket) => {
      socket.on('error', () => {})
      if (answer !== null) socket.end(answer)
      else socket.resume()
    })
    server.listen(join(home, 'rpc.sock'))
    await once(server, 'listening')
    t.teardown(() => server.close())
    const siblings = new Pm2Siblings(true, 1000, { PM2_HOME: home, pm_id: '0', name: 'app' })
    await siblings.refresh()
    t.equal(siblings.siblings, null)
  }
})
