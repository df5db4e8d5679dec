import { Cluster, Redis } from 'ioredis'
import type { Test } from 'tap'
import fastifyRedis from '@fastify/redis'
import { uniqueName, waitFor, type Topology } from '../../../test/helpers/index.ts'
import { build, rejection } from './build.ts'

/** What a crowded machine may add to a limit, in milliseconds: less than any limit of ioredis that would take the place of ours. */
const SLACK = 5000

/** What the link promises on every topology. */
export async function linkSuite (t: Test, start: (t: Test) => Promise<Topology>): Promise<void> {
  t.test('Redis away at boot: the boot is bounded and serves, and Redis is used when it appears', async (t) => {
    const topology = await start(t)
    await topology.kill()
    const begin = performance.now()
    // A Sentinel knows nothing of databases.
    const db = topology.name === 'sentinel' ? 2 : 0
    const { app, complaints } = await build(t, { ...topology.options, connectTimeoutMs: 2500, db },
      async (app) => { app.get('/', async () => ({ count: await app.redisLink.kv.increment('visits') })) })
    const took = performance.now() - begin
    // The default is 2000.
    t.ok(took > 2400 && took < 2500 + SLACK, `within connectTimeoutMs, which it waits for: ${took} ms`)
    t.equal(app.redisLink.state, 'down')
    t.equal(complaints.length, 1, 'one line says what is wrong')
    t.match(complaints[0], /Redis is down: /)
    t.same((await app.inject('/')).json(), { count: 1 })
    t.equal(app.redis, app.redisLink.client, 'fastify.redis is there all the same')
    await topology.restart()
    await waitFor(() => app.redisLink.isUp, { timeoutMs: 20_000 })
    t.equal(await app.redisLink.kv.increment('visits'), 1, 'counts in Redis now')
    const primary = await topology.primaryOf(app.redisLink.key('kv', 'visits'))
    t.match(await primary.client.info('keyspace'), new RegExp(`^db${db}:`, 'm'), 'in its database')
    t.equal(complaints.length, 1, 'the retries were silent')
  })

  t.test('a frozen Redis: commands reject within their limit, the state follows, and close() is bounded', async (t) => {
    const topology = await start(t)
    const { app, changes } = await build(t, { ...topology.options, commandTimeoutMs: 500 })
    // No probe of its own finds the silence out before the command does.
    const { app: unprobed } = await build(t, { ...topology.options, commandTimeoutMs: 500, probeIntervalMs: 60_000 })
    t.ok(app.redisLink.isUp)
    topology.freeze()
    const { code, ms } = await rejection(unprobed.redisLink.run((client) => client.set('a', '1')))
    t.match(code, /^FST_ERR_REDIS_LINK_(TIMEOUT|UNAVAILABLE)$/)
    t.ok(ms < 500 + SLACK, `rejected after ${ms} ms`)
    await waitFor(() => app.redisLink.state === 'down')
    t.equal((await rejection(app.redisLink.ping())).code, 'FST_ERR_REDIS_LINK_UNAVAILABLE', 'not asked while down')
    topology.thaw()
    await waitFor(() => app.redisLink.isUp, { timeoutMs: 20_000 })
    // A probe may time out once more on a busy machine, so the number of transitions is not fixed.
    t.equal(changes[0]?.state, 'down')
    t.notOk(changes.some(({ state, epoch }, at) => state === changes[at - 1]?.state && epoch === changes[at - 1]?.epoch), 'one event per transition')

    topology.freeze()
    await app.close()
    topology.thaw()
    t.pass('closed while Redis was frozen')
  })

  t.test('Redis killed and restarted: kv goes to the process and back, and counters keep their TTL', async (t) => {
    const topology = await start(t)
    const { app, changes } = await build(t, topology.options)
    const { kv } = app.redisLink
    await kv.set('colour', { name: 'red' })
    t.equal(await kv.increment('hits', 5, 1000), 5)
    t.equal(kv.getMode(), 'redis')

    await topology.kill()
    await waitFor(() => kv.getMode() === 'memory')
    t.equal(await kv.get('colour'), null, 'nothing is invented')
    await kv.set('colour', 'blue', 60)
    t.equal(await kv.get('colour'), 'blue')
    t.equal(await kv.increment('hits', 1, 1000), 1)

    await topology.restart()
    await waitFor(() => kv.getMode() === 'redis', { timeoutMs: 20_000 })
    t.same(await kv.get('colour'), { name: 'red' }, 'what was written during the outage is dropped')
    t.equal(await kv.increment('hits', 1, 1000), 6)
    const ttl = await app.redisLink.run((client) => client.pttl(app.redisLink.key('kv', 'hits')))
    t.ok(ttl > 900_000 && ttl <= 1_000_000, `expires in ${ttl} ms`)
    // A change of the epoch alone is one more, so only what tells nothing new is one too many.
    t.notOk(changes.some(({ state, epoch }, at) => state === changes[at - 1]?.state && epoch === changes[at - 1]?.epoch))
    const states = changes.map(({ state }) => state)
    t.same(states.filter((state, at) => state !== states[at - 1]), ['down', 'up'])
  })

  t.test('a primary lost to a restart or failover: the epoch is another, and the link heals', async (t) => {
    const topology = await start(t)
    const { app } = await build(t, topology.options)
    const key = app.redisLink.key('kv', 'a')
    const before = app.redisLink.epoch
    t.match(before, /^\w{40}:\w{40}/)
    const identity = (await (await topology.primaryOf(key)).client.info('server')).match(/run_id:(\w+)/)![1]!
    t.ok(before!.includes(identity), 'names the run of the primary')
    await topology.failover(key)
    await waitFor(() => app.redisLink.isUp && app.redisLink.epoch !== before, { timeoutMs: 20_000 })
    await waitFor(() => app.redisLink.run((client) => client.set(key, '1')), { timeoutMs: 20_000 })
    t.equal(await app.redisLink.kv.get('a'), 1)
  })

  t.test('two sites and two environments on one Redis never see each other', async (t) => {
    const topology = await start(t)
    const siteId = uniqueName()
    const sites = await Promise.all([{ siteId, env: 'a' }, { siteId, env: 'b' }, { siteId: `${siteId}x`, env: 'a' }]
      .map((site) => build(t, { ...topology.options, ...site })))
    const links = sites.map(({ app }) => app.redisLink)
    const heard: string[] = []
    for (const [index, link] of links.entries()) {
      await link.kv.set('key', index)
      await link.subscriber()!.subscribe(link.channel('news'), (message) => { heard.push(`${index}:${message}`) })
    }
    t.same(await Promise.all(links.map((link) => link.kv.get('key'))), [0, 1, 2])
    for (const [index, link] of links.entries()) t.ok(await link.tryLock('lock', 60_000), `site ${index} has its own locks`)
    for (const [index, link] of links.entries()) await link.run((client) => client.publish(link.channel('news'), String(index)))
    await waitFor(() => heard.length >= 3)
    t.same(heard.sort(), ['0:0', '1:1', '2:2'])
  })

  t.test('an injected client is used as it is, and left open', async (t) => {
    const topology = await start(t)
    const client = 'cluster' in topology.options
      ? new Cluster(topology.options.cluster.nodes)
      : new Redis('url' in topology.options ? { port: Number(new URL(topology.options.url).port) } : { name: topology.options.sentinel.name, sentinels: topology.options.sentinel.sentinels })
    client.on('error', () => {})
    t.teardown(() => client.disconnect())
    const { app } = await build(t, { client, commandTimeoutMs: 500 })
    t.equal(app.redisLink.mode, topology.name)
    t.equal(app.redisLink.client, client)
    t.equal(app.redis, client)
    await waitFor(() => app.redisLink.isUp)
    topology.freeze()
    const { ms } = await rejection(app.redisLink.run((any) => any.set('a', '1')))
    t.ok(ms < 500 + SLACK, `its commands are bounded through run() too: ${ms} ms`)
    topology.thaw()
    await app.close()
    t.equal(await client.set('still', 'open'), 'OK')
  })

  t.test('a @fastify/redis that the application registered is accepted', async (t) => {
    const topology = await start(t)
    const client = 'cluster' in topology.options ? new Cluster(topology.options.cluster.nodes) : undefined
    client?.on('error', () => {})
    if (client !== undefined) t.teardown(() => client.disconnect())
    const own = client !== undefined
      ? { client }
      : 'url' in topology.options ? { url: topology.options.url } : { name: (topology.options as { sentinel: { name: string } }).sentinel.name, sentinels: (topology.options as { sentinel: { sentinels: Array<{ host: string, port: number }> } }).sentinel.sentinels }
    const { app } = await build(t, {}, async (app) => { await app.register(fastifyRedis, own as { url: string }) })
    t.equal(app.redisLink.client, app.redis)
    t.equal(app.redisLink.state, 'up')
    t.equal(await app.redisLink.kv.increment('n'), 1)
  })

  t.test('a subscriber hears again after an outage, and says that it had a gap', async (t) => {
    const topology = await start(t)
    const { app } = await build(t, topology.options)
    const link = app.redisLink
    const subscriber = link.subscriber()!
    t.equal(link.subscriber(), subscriber, 'one per process')
    await waitFor(() => subscriber.isUp)
    const heard: string[] = []
    const unsubscribe = await subscriber.subscribe(link.channel('exact'), (message) => { heard.push(String(message)) })
    await subscriber.psubscribe(link.channel('glob:*'), (message, channel) => { heard.push(`${channel.slice(link.channel('').length)} ${message}`) })
    let gaps = 0
    subscriber.on('gap', () => { gaps++ })
    const publish = (channel: string, text: string) => waitFor(() => link.run((client) => client.publish(link.channel(channel), text)).then(() => true), { timeoutMs: 20_000 })
    await publish('exact', 'one')
    await publish('glob:a', 'two')
    await waitFor(() => heard.length === 2)
    // Nodes of a Cluster pass on what they get, each over a line of its own.
    t.same(heard.sort(), ['glob:a two', 'one'])
    t.equal(gaps, 0)

    await topology.kill()
    await waitFor(() => !subscriber.isUp)
    const late = await subscriber.subscribe(link.channel('late'), (message) => { heard.push(`late ${message}`) })
    await topology.restart()
    await waitFor(() => subscriber.isUp && link.isUp, { timeoutMs: 20_000 })
    t.equal(gaps, 1)
    heard.length = 0
    for (const channel of ['exact', 'glob:b', 'late']) await publish(channel, 'again')
    await waitFor(() => heard.length === 3)
    t.same(heard.sort(), ['again', 'glob:b again', 'late again'])

    await unsubscribe()
    await late()
    heard.length = 0
    for (const channel of ['exact', 'late', 'glob:c']) await publish(channel, 'end')
    await waitFor(() => heard.length > 0)
    t.same(heard, ['glob:c end'], 'what was left is not heard')
  })
}
