import type { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { isBeforeRedis7, redisCluster, tcpProxy, waitFor, type TestCluster, type TestRedis } from '../../../test/helpers/index.ts'
import type { RedisClient } from '../src/index.ts'
import { build, rejection } from './build.ts'

/** A Redis Cluster whose primary of a key is reached through a proxy only, and an application on it. */
async function behindProxy (t: Test, key: string, commandTimeoutMs: number) {
  const cluster = await redisCluster(t)
  const primary = await cluster.primaryOf(key)
  const proxy = await tcpProxy(t, primary.port)
  const natMap = { [`127.0.0.1:${primary.port}`]: { host: '127.0.0.1', port: proxy.port } }
  const nodes = cluster.nodes.filter((node) => node !== primary).map(({ port }) => ({ host: '127.0.0.1', port }))
  const { app } = await build(t, { cluster: { nodes }, natMap, connectTimeoutMs: 10_000, commandTimeoutMs })
  t.ok(app.redisLink.isUp)
  return { link: app.redisLink, proxy, cluster, primary: primary.client }
}

t.test('a command whose answer was lost with its connection is rejected, not repeated', async (t) => {
  const { link, proxy, primary } = await behindProxy(t, 'counter', 10_000)
  proxy.mute('down')
  const single = rejection(link.run((client) => client.incr('counter')))
  const piped = link.run((client) => client.pipeline().incr('{counter}pipe').incr('{counter}pipe').exec())
  const multi = rejection(link.run((client) => client.multi().incr('{counter}multi').exec()))
  await waitFor(async () => await primary.get('counter') === '1' && await primary.get('{counter}pipe') === '2' && await primary.get('{counter}multi') === '1')
  proxy.mend()
  t.match(await single, { code: 'FST_ERR_REDIS_LINK_UNAVAILABLE', message: /closed before the answer came/ })
  for (const [err] of (await piped)!) t.match(err, { code: 'FST_ERR_REDIS_LINK_UNAVAILABLE' })
  await multi
  t.same(await primary.mget('counter', '{counter}pipe', '{counter}multi'), ['1', '2', '1'])
  t.equal(await waitFor(() => link.run((client) => client.incr('counter'))), 2, 'the next one is carried out')
})

t.test('a lock that Redis gave with a lost answer is not asked for again', async (t) => {
  const { link, proxy, primary } = await behindProxy(t, 'counter', 10_000)
  const key = '{counter}taken'
  proxy.mute('down')
  const lost = rejection(link.run((client) => client.set(key, 'token', 'PX', 60_000, 'NX')))
  await waitFor(() => primary.get(key))
  proxy.mend()
  t.equal((await lost).code, 'FST_ERR_REDIS_LINK_UNAVAILABLE', 'unknown, in contrast to null, which says that somebody holds it')
})

t.test('a command that timed out is not repeated when its connection closes later', async (t) => {
  const { link, proxy, primary } = await behindProxy(t, 'counter', 1000)
  proxy.mute('down')
  const { code } = await rejection(link.run((client) => client.incr('counter')))
  t.match(code, /^FST_ERR_REDIS_LINK_/)
  await waitFor(async () => await primary.get('counter') === '1')
  proxy.mend()
  // ioredis repeats after 100 ms: whatever is sent after as long an answer comes after the repetition.
  await waitFor(() => link.run((client) => client.incr('{counter}other')))
  await waitFor(() => link.run(async (client) => await client.incr('{counter}other') > 20 || null), { everyMs: 20 })
  t.equal(await primary.get('counter'), '1')
})

/**
 * Redis 6.2 sends what needs keys of which some have moved to the next server (ASK), which refuses it (TRYAGAIN). ioredis sends no
 * pipeline again that it was sent on with.
 */
const IS_SENT_ON = isBeforeRedis7()

/** Counts at two keys in one command, which waits while the one has moved to another server and the other has not. */
const BOTH = "redis.call('INCR', KEYS[1]) return redis.call('INCR', KEYS[2])"

t.test('what a Cluster is sent a second time, while its slot moves, is counted once, has its own time, and leaves no rejection behind', async (t) => {
  const unhandled: unknown[] = []
  const note = (err: unknown): void => { unhandled.push(err) }
  process.on('unhandledRejection', note)
  t.teardown(() => process.off('unhandledRejection', note))
  const { link, proxy, cluster, primary } = await behindProxy(t, '{m}', 2000)
  await primary.mset('{m}a', 0, '{m}b', 0)
  const move = await moving(cluster, '{m}')
  await move.keys('{m}b')
  const numbers = async (at: TestRedis, ...keys: string[]) => (await at.client.mget(keys)).map(Number)

  // Keys that are not there yet are the new server's: ASK.
  const asked = await link.run((client) => client.pipeline().incr('{m}c').incr('{m}c').incr('{m}d').exec())
  t.same(asked, [[null, 1], [null, 2], [null, 1]])
  t.same(await Promise.all(['{m}c', '{m}d'].map((key) => link.run((client) => client.incr(key)))), [3, 2])

  // Each round takes 300 ms: by the last the first attempt's time is over, and that of each later one is not. A single command has one
  // time for all its attempts, and is not sent again when that is over.
  proxy.delay(100)
  const refused = proxy.watch(IS_SENT_ON ? '-ASK ' : '-TRYAGAIN ')
  const piped = link.run((client) => client.pipeline().eval(BOTH, 2, '{m}a', '{m}b').eval(BOTH, 2, '{m}a', '{m}b').exec())
  const single = link.run((client) => client.eval(BOTH, 2, '{m}a', '{m}b')).then((value) => [null, value], (err) => [err])
  if (IS_SENT_ON) await Promise.all([piped, single])
  else await waitFor(() => refused() >= 20, { timeoutMs: 20_000 })
  await move.keys('{m}a')
  await move.finish()
  const outcomes = [...(await piped)!, await single]
  // Its time is over while it waits for an answer, or before it is sent again.
  t.match((outcomes[2]![0] as { code?: string } | null)?.code, /^FST_ERR_REDIS_LINK_(?:TIMEOUT|UNAVAILABLE)$/)
  const done = outcomes.filter(([err]) => err === null)
  t.same(await numbers(move.to, '{m}a', '{m}b'), [done.length, done.length], 'what was answered was carried out once, and what was not never')
  t.same(outcomes.slice(0, 2).map(([err]) => (err as Error | null)?.message.split(' ')[0]), Array(2).fill(IS_SENT_ON ? 'TRYAGAIN' : undefined), 'the pipeline was sent again until it could be carried out, or says that it was not')
  proxy.delay(0)

  // A client that does not know yet: MOVED.
  const other = await build(t, { cluster: { nodes: cluster.nodes.map(({ port }) => ({ host: '127.0.0.1', port })) }, connectTimeoutMs: 10_000 })
  const again = await moving(cluster, '{m}', move.to)
  await again.keys('{m}a', '{m}b', '{m}c', '{m}d')
  await again.finish()
  const moved = await other.app.redisLink.run((client) => client.pipeline().incr('{m}c').incr('{m}c').exec())
  t.same(moved, [[null, 4], [null, 5]])
  t.same(await numbers(again.to, '{m}c'), [5])
  t.same(unhandled, [])
})

t.test('what is sent a second time to a server that falls silent ends in its time', async (t) => {
  const { link, proxy, cluster, primary } = await behindProxy(t, '{m}', 1000)
  await primary.mset('{m}a', 0, '{m}b', 0)
  const move = await moving(cluster, '{m}')
  await move.keys('{m}b')
  const refused = proxy.watch(IS_SENT_ON ? '-ASK ' : '-TRYAGAIN ')
  const piped = link.run((client) => client.pipeline().eval(BOTH, 2, '{m}a', '{m}b').eval(BOTH, 2, '{m}a', '{m}b').exec())
  await waitFor(() => refused() > 0)
  proxy.mute()
  const outcomes = (await piped)!
  t.same(outcomes.map(([err]) => err?.message), Array(2).fill(IS_SENT_ON ? 'TRYAGAIN Multiple keys request during rehashing of slot' : 'Command timed out'))
  proxy.mend()
  await move.keys('{m}a')
  await move.finish()
  t.same((await move.to.client.mget('{m}a', '{m}b')).map(Number), [0, 0])
})

t.test('commands that were never sent still wait for a node that is connecting, and follow the slots to it', async (t) => {
  const cluster = await redisCluster(t)
  const nodes = cluster.nodes.map(({ port }) => ({ host: '127.0.0.1', port }))
  const { app } = await build(t, { cluster: { nodes }, connectTimeoutMs: 10_000, commandTimeoutMs: 5000 })
  const old = await cluster.primaryOf('a')
  const replica = await successorOf(old.client, cluster.nodes.map(({ client }) => client))
  await waitFor(async () => {
    await replica.call('CLUSTER', 'FAILOVER').catch(() => {})
    return (await replica.call('ROLE') as string[])[0] === 'master'
  }, { everyMs: 200, timeoutMs: 20_000 })
  await waitFor(async () => await cluster.primaryOf('a') !== old, { timeoutMs: 20_000 })
  const answers = await Promise.all(Array.from({ length: 20 }, () => app.redisLink.run((client) => client.incr('a'))))
  t.same(answers.sort((a, b) => a - b), Array.from({ length: 20 }, (_, at) => at + 1))

  const { redisLink } = app
  t.same(await redisLink.runAll([(client) => { client.set('b', 2) }, (client) => { client.get('b') }, (client) => client.set('c', 3)]), ['OK', '2', 'OK'], 'what many commands are answered, whatever the functions return')
  const failing = (client: RedisClient) => client.lpush('b', 1)
  t.match((await rejection(redisLink.runAll([failing, async (client) => { await failing(client) }, failing, () => { throw new Error('as asked') }]))).message, 'as asked', 'and nobody is left with a rejection')
  // A function that fails by itself keeps no other from being sent, and is no rejection that nobody handles.
  for (const fails of [() => { throw new Error('as asked') }, async () => { throw new Error('as asked') }]) {
    t.match((await rejection(redisLink.runAll([(client) => client.set(redisLink.key('faults'), 'old'), fails, (client) => client.set(redisLink.key('faults'), 'sent')]))).message, 'as asked')
    t.equal(await redisLink.run((client) => client.getdel(redisLink.key('faults'))), 'sent')
  }
  t.same(await redisLink.runAll([async (client) => { client.set(redisLink.key('faults'), 1); throw new Error('what it makes of an answer') }]), ['OK'])
  t.match((await rejection(redisLink.runAll([async () => { throw new Error('as asked') }]))).message, 'as asked', 'also where nothing is sent')
  t.match((await rejection(redisLink.runAll([(client) => client.get('c'), failing, (client) => { client.lpush('c', 1) }]))).message, /WRONGTYPE/)
})

t.test('a password is renewed on every node of a Cluster', async (t) => {
  const cluster = await redisCluster(t)
  const user = (...rules: string[]) => Promise.all(cluster.nodes.map(({ client }) => client.call('ACL', 'SETUSER', 'app', 'on', '~*', '&*', '+@all', ...rules)))
  await user('>one')
  let password = 'one'
  const { app } = await build(t, {
    cluster: { nodes: cluster.nodes.map(({ port }) => ({ host: '127.0.0.1', port })) },
    username: 'app',
    password: () => password,
    connectTimeoutMs: 10_000,
    required: true
  })
  await user('resetpass', '>two')
  password = 'two'
  await Promise.all(cluster.nodes.map(({ client }) => client.call('CLIENT', 'KILL', 'USER', 'app')))
  for (const key of ['a', 'b', 'c', 'd']) await waitFor(() => app.redisLink.run((client) => client.set(key, '1')), { timeoutMs: 20_000 })
  t.ok(app.redisLink.isUp)
})

t.test('the subscriber follows the topology when its server leaves the Cluster', async (t) => {
  const cluster = await redisCluster(t)
  const nodes = cluster.nodes.map(({ port }) => ({ host: '127.0.0.1', port }))
  const { app } = await build(t, { cluster: { nodes }, connectTimeoutMs: 10_000, probeIntervalMs: 100 })
  const link = app.redisLink
  const subscriber = link.subscriber()!
  await waitFor(() => subscriber.isUp)
  const heard: string[] = []
  await subscriber.subscribe(link.channel('a'), (message) => { heard.push(String(message)) })
  const isHome = async ({ client }: TestRedis) => / name=\S* .*sub=2 /.test(await client.call('CLIENT', 'LIST', 'TYPE', 'pubsub') as string)
  const homes = await Promise.all(cluster.nodes.map(isHome))
  const home = cluster.nodes[homes.indexOf(true)]!
  t.equal(homes.filter(Boolean).length, 1)
  // Scaled in: a primary hands its slots to its replica first, then all forget the node, which lives on by itself.
  if ((await home.client.call('ROLE') as string[])[0] === 'master') {
    const replica = await successorOf(home.client, cluster.nodes.map(({ client }) => client))
    await waitFor(async () => {
      await replica.call('CLUSTER', 'FAILOVER').catch(() => {})
      return (await home.client.call('ROLE') as string[])[0] === 'slave'
    }, { everyMs: 200, timeoutMs: 20_000 })
    await cluster.complete()
  }
  const id = await home.client.call('CLUSTER', 'MYID') as string
  const others = cluster.nodes.filter((node) => node !== home)
  await Promise.all(others.map(({ client }) => client.call('CLUSTER', 'FORGET', id)))
  await home.client.call('CLUSTER', 'RESET')
  await waitFor(async () => {
    await others[0]!.client.publish(link.channel('a'), 'x')
    return heard.length > 0
  }, { timeoutMs: 30_000, what: 'the subscriber to hear again' })
  t.notOk(await isHome(home))
})

t.test('a subscriber is on the primary of the key that it is asked for, and goes along with it', async (t) => {
  const cluster = await redisCluster(t)
  const nodes = cluster.nodes.map(({ port }) => ({ host: '127.0.0.1', port }))
  const { app } = await build(t, { cluster: { nodes }, connectTimeoutMs: 10_000, probeIntervalMs: 100 })
  const link = app.redisLink
  // The slots of these are 12182, 5061 and 866; the first of them is on the last primary, and the others on the first.
  const keys = ['foo', 'bar', '{hello}']
  const [foo, bar, hello] = keys.map((key) => link.subscriber(key)!)
  t.equal(hello, bar, 'one for each primary')
  t.not(foo, bar)
  t.equal(link.subscriber('foo'), foo)
  const heard = { foo: 0, bar: 0 }
  await foo!.subscribe(link.channel('foo'), () => { heard.foo++ })
  await bar!.subscribe(link.channel('bar'), () => { heard.bar++ })
  const listeners = async (key: string) => {
    const counts = await Promise.all(cluster.nodes.map(({ client }) => client.call('PUBSUB', 'NUMSUB', link.channel(key)) as Promise<[string, number]>))
    return cluster.nodes.filter((_node, index) => counts[index]![1] > 0)
  }
  for (const key of ['foo', 'bar']) t.same((await listeners(key)).map(({ port }) => port), [(await cluster.primaryOf(key)).port])
  const home = await cluster.primaryOf('foo')
  const replica = await successorOf(home.client, cluster.nodes.map(({ client }) => client))
  await waitFor(async () => {
    await replica.call('CLUSTER', 'FAILOVER').catch(() => {})
    return (await home.client.call('ROLE') as string[])[0] === 'slave'
  }, { everyMs: 200, timeoutMs: 20_000 })
  await waitFor(async () => (await listeners('foo')).map(({ port }) => port).join() === String(replica.options.port), { timeoutMs: 30_000, what: 'the subscriber to follow its key' })
  await waitFor(() => foo!.isUp)
  await replica.publish(link.channel('foo'), 'x')
  await waitFor(() => heard.foo > 0)
  t.ok(bar!.isUp)
  t.same((await listeners('bar')).map(({ port }) => port), [(await cluster.primaryOf('bar')).port], 'the other one stayed')
})

/** The replica of a primary. */
async function successorOf (primary: Redis, clients: Redis[]): Promise<Redis> {
  const [, , [[, port]]] = await primary.call('ROLE') as [string, number, [[string, string]]]
  return clients.find(({ options }) => options.port === Number(port))!
}

/** Begins to move the slot of a key to another primary, as redis-cli does. */
async function moving (cluster: TestCluster, key: string, from?: TestRedis) {
  from ??= await cluster.primaryOf(key)
  const primaries = await cluster.primaries()
  const to = primaries.find((one) => one !== from)!
  const slot = String(await from.client.call('CLUSTER', 'KEYSLOT', key))
  const [fromId, toId] = await Promise.all([from, to].map(({ client }) => client.call('CLUSTER', 'MYID') as Promise<string>)) as [string, string]
  await to.client.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', fromId)
  await from.client.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', toId)
  const { username, password } = from.client.options
  const auth = password === undefined || password === null ? [] : ['AUTH2', username ?? 'default', password]
  return {
    to,
    keys: (...keys: string[]) => from.client.call('MIGRATE', '127.0.0.1', String(to.port), '', '0', '5000', ...auth, 'KEYS', ...keys),
    async finish () {
      await to.client.call('CLUSTER', 'SETSLOT', slot, 'NODE', toId)
      for (const { client } of primaries) await client.call('CLUSTER', 'SETSLOT', slot, 'NODE', toId)
    }
  }
}
