import t from 'tap'
import { redisCluster, waitFor } from '../../../test/helpers/index.ts'
import { tagOf } from '../src/stores/ids.ts'
import { Browser, makeApp } from './support/app.ts'

t.test('a silent primary of a Cluster stops its own sessions only', async (t) => {
  const cluster = await redisCluster(t)
  // No failover: what is looked at is the time before it.
  for (const node of cluster.nodes) {
    await node.client.config('SET', 'cluster-node-timeout', '600000')
    await node.client.config('SET', 'cluster-require-full-coverage', 'no')
  }
  const app = await makeApp(t, { redis: { mode: 'cluster', cluster: { nodes: cluster.nodes.map(({ port }) => ({ port })) }, commandTimeoutMs: 1500, probeIntervalMs: 200 } })
  const users = await Promise.all(Array.from({ length: 12 }, async (_, index) => {
    const browser = new Browser(app)
    const user = `u${index}`
    await browser.post('/login', { user })
    return { user, browser, port: (await cluster.primaryOf(`{${tagOf(user)}}`)).port }
  }))
  const silent = cluster.node(users[0]!.port)
  const [theirs, others] = [users.filter(({ port }) => port === silent.port), users.filter(({ port }) => port !== silent.port)]
  t.ok(others.length > 0)
  silent.freeze()
  t.teardown(() => silent.thaw())
  for (let round = 0; round < 5; round++) {
    const answers = theirs.map(({ browser }) => browser.get('/me'))
    for (const { user, browser } of others) t.equal((await browser.get('/me')).json().userId, user)
    for (const answer of answers) t.equal((await answer).statusCode, 503)
    for (const { user, browser } of others) t.equal((await browser.get('/me')).json().userId, user)
  }
  t.match((await theirs[0]!.browser.get('/me')).json().message, /away/, 'refused at once, after one that did not answer in time')
  silent.thaw()
  for (const { user, browser } of theirs) await waitFor(async () => (await browser.get('/me')).json().userId === user)
})
