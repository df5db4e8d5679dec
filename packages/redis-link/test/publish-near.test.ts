import t from 'tap'
import { redisCluster, redisServer, uniqueName, waitFor, type TestRedis } from '../../../test/helpers/index.ts'
import { build, rejection } from './build.ts'

const published = async ({ client }: TestRedis) => Number(/cmdstat_publish:calls=(\d+)/.exec(await client.info('commandstats'))?.[1] ?? 0)

t.test('what is published near a key is published by its server, in order', async (t) => {
  const cluster = await redisCluster(t)
  const nodes = cluster.nodes.map(({ port }) => ({ host: '127.0.0.1', port }))
  const { app } = await build(t, { cluster: { nodes }, connectTimeoutMs: 10_000, probeIntervalMs: 60_000 })
  const link = app.redisLink
  const key = link.key('{foo}')
  const heard: string[] = []
  const subscriber = link.subscriber(key)!
  for (const name of ['a', 'b']) await subscriber.subscribe(link.channel(name), (message) => { heard.push(`${name} ${message}`) })
  const home = await cluster.primaryOf(key)
  const others = cluster.nodes.filter((node) => node !== home)
  const before = await Promise.all([home, ...others].map(published))
  await link.publishNear(key, [])
  await link.publishNear(key, [[link.channel('a'), '1']])
  await link.publishNear(key, [[link.channel('b'), Buffer.from('2')], [link.channel('a'), '3'], [link.channel('b'), '4']])
  await waitFor(() => heard.length === 4)
  t.same(heard, ['a 1', 'b 2', 'a 3', 'b 4'])
  const after = await Promise.all([home, ...others].map(published))
  t.same(after.map((count, index) => count - before[index]!), [4, 0, 0, 0, 0, 0])
})

t.test('a channel that Redis refuses keeps no message of another back, and is told', async (t) => {
  const redis = await redisServer(t)
  const siteId = uniqueName()
  await redis.client.call('ACL', 'SETUSER', 'some', 'on', '>pw', '~*', '+@all', 'resetchannels', '&*:open', '&*:link:*')
  const { app } = await build(t, { url: redis.url, username: 'some', password: 'pw', siteId })
  const link = app.redisLink
  const heard: string[] = []
  await link.subscriber()!.subscribe(link.channel('open'), (message) => { heard.push(String(message)) })
  const [open, closed] = [link.channel('open'), link.channel('closed')]
  t.match((await rejection(link.publishNear('k', [[closed, '1']]))).message, /^NOPERM/)
  const refused = await rejection(link.publishNear('k', [[open, '2'], [closed, '3'], [open, '4']]))
  t.match(refused.message, /permission|can't publish/i)
  t.not(refused.code, 'FST_ERR_REDIS_LINK_UNAVAILABLE')
  await link.publishNear('k', [[open, '5']])
  await waitFor(() => heard.length === 3)
  t.same(heard, ['2', '4', '5'])
})
