import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import t, { type Test } from 'tap'
import { redisServer, sharedRedis, tcpProxy, uniqueName, waitFor, type TestRedis } from '../../../test/helpers/index.ts'
import type { AppCluster, FastifyClusterBroadcastOptions } from '../src/index.ts'
import { build, type Built } from './build.ts'

interface Pair {
  redis: TestRedis
  client: Redis
  /** Of the log and its state. */
  keys: { state: string, stream: string, members: string, leases: string, bus: string, channel: (...parts: string[]) => string, ownLog: (prefix: string) => { state: string, stream: string } }
  first: Built
  second: Built
  /** What the second got of `n`. */
  got: unknown[]
  publish (...numbers: number[]): Promise<void>
  /** One more instance. */
  add (serverId: string): Promise<Built>
}

/** Two instances in this process on a Redis of their own. */
async function pair (t: Test, options: FastifyClusterBroadcastOptions = {}): Promise<Pair> {
  const redis = await redisServer(t, { args: ['--save', '', '--appendonly', 'no'] })
  const siteId = uniqueName()
  const link = { url: redis.url, siteId, env: 'test' }
  const first = await build(t, link, { serverId: 'first', ...options })
  const second = await build(t, link, { serverId: 'second', ...options })
  const got: unknown[] = []
  await second.app.appCluster.broadcast.subscribe('n', ({ data }) => { got.push(data) })
  await waitFor(() => first.app.appCluster.members().length === 2)
  const key = (name: string) => `${siteId}:test:cluster:{${siteId}:test}:${name}`
  return {
    redis,
    client: redis.connect(),
    keys: { state: key('state'), stream: key('stream'), members: key('members'), leases: key('leases'), bus: `${siteId}:test:cluster:bus`, channel: (...parts) => [siteId, 'test', 'cluster', ...parts].join(':'), ownLog: (prefix) => ({ state: `${siteId}:test:cluster:log:{${siteId}:test:${prefix}}:state`, stream: `${siteId}:test:cluster:log:{${siteId}:test:${prefix}}:stream` }) },
    first,
    second,
    got,
    async publish (...numbers) {
      for (const number of numbers) await first.app.appCluster.broadcast.publish('n', number)
    },
    add: (serverId) => build(t, link, { ...options, serverId })
  }
}

/** Puts a message into the log without telling anybody, as a lost push of a Redis Cluster's bus looks to a subscriber. */
async function appendSilently ({ client, keys }: Pair, counter: number, data: unknown): Promise<void> {
  const epoch = await client.hget(keys.state, 'epoch')
  const seq = await client.hincrby(keys.state, 'seq', 1)
  await client.xadd(keys.stream, `${seq}-0`, 'f', `${epoch} ${seq} ${seq}\naaaaaaaaaaaa lost:0 ${counter}\n1 t n ${JSON.stringify(data)}`)
}

t.test('a push that was lost on the way is read from the log before the next one is handed over', async (t) => {
  const two = await pair(t)
  await two.publish(1, 2)
  await appendSilently(two, 1, 'lost 1')
  await appendSilently(two, 2, 'lost 2')
  await two.publish(3, 4)
  await waitFor(() => two.got.length === 6)
  t.same(two.got, [1, 2, 'lost 1', 'lost 2', 3, 4])
  t.same(two.second.gaps, [])
})

t.test('who is named after a worker of a pod with a long name is heard', async (t) => {
  const saved = { ...process.env }
  t.teardown(() => { process.env = saved })
  const two = await pair(t)
  for (const length of [63, 100]) {
    Object.assign(process.env, { KUBERNETES_SERVICE_HOST: '10.0.0.1', POD_NAME: 'p'.repeat(length), NODE_APP_INSTANCE: '0' })
    const { app } = await two.add(`long${length}`)
    await app.appCluster.broadcast.publish('n', length)
  }
  await two.publish(1)
  await waitFor(() => two.got.includes(1))
  t.same(two.got, [63, 100, 1])
})

t.test('a lost push that none follows is found by the next heartbeat', async (t) => {
  const two = await pair(t, { heartbeatMs: 200, leaseMs: 3000 })
  await two.publish(1)
  await appendSilently(two, 1, 'last')
  await waitFor(() => two.got.length === 2)
  t.same(two.got, [1, 'last'])
})

t.test('a log of its own: only who listens gets it, once and in order, also what was lost on the way', async (t) => {
  const channels = { orders: { replay: 'own' }, 'orders:quick': { replay: false }, 'orders:quick:kept': { replay: true } } as const
  const two = await pair(t, { heartbeatMs: 200, leaseMs: 3000, channels })
  const { client, first, second, publish, keys } = two
  const third = await two.add('third')
  const bus = keys.channel('log', 'orders')
  const log = keys.ownLog('orders')
  const listening = async () => Number((await client.call('PUBSUB', 'NUMSUB', bus) as unknown[])[1])
  const { broadcast } = first.app.appCluster
  await broadcast.publish('orders:new', 'before anybody listened')
  t.equal(await listening(), 0)

  const got: unknown[] = []
  const all: unknown[] = []
  const stop = await second.app.appCluster.broadcast.subscribe('orders:new', ({ data }) => { got.push(data) })
  const stopAll = await second.app.appCluster.broadcast.subscribe('*', ({ data }) => { all.push(data) })
  t.equal(await listening(), 1, 'neither who publishes nor who does not listen')
  const many = Array.from({ length: 200 }, (_, number) => number)
  for (const number of many) {
    if (number === 100) await client.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
    await broadcast.publish('orders:new', number)
  }
  await waitFor(() => got.length === many.length)
  await publish(1000)
  await waitFor(() => all.includes(1000))
  t.same(got, many)
  t.same(all, [...many, 1000], 'a pattern above it too, and what all share beside it')
  t.same([first.gaps, second.gaps, third.gaps], [[], [], []])
  t.equal(await client.xlen(keys.stream), 1, 'it is not in the log that all share')

  // With no message after it by which that would be seen.
  const [epoch, seq] = [await client.hget(log.state, 'epoch'), await client.hincrby(log.state, 'seq', 1)]
  await client.xadd(log.stream, `${seq}-0`, 'f', `${epoch} ${seq} ${seq}\naaaaaaaaaaaa lost:0 1\n1 t orders:new "lost"`)
  await waitFor(() => got.at(-1) === 'lost')

  await third.app.appCluster.broadcast.subscribe('orders:new', () => 'third')
  t.equal(await listening(), 2)
  t.same((await broadcast.ask('orders:new', null, { timeoutMs: 20_000 })).replies.length, 3, 'an ask reaches everybody')
  await stop()
  t.equal(await listening(), 2, 'the pattern still covers it')
  await stopAll()
  t.equal(await listening(), 1)
  await broadcast.publish('orders:new', 'unheard')
  await second.app.appCluster.broadcast.subscribe('orders:new', ({ data }) => { got.push(data) })
  await broadcast.publish('orders:new', 'again')
  await waitFor(() => got.at(-1) === 'again')
  t.same(got.slice(many.length), ['lost', null, 'again'])

  const inner: unknown[] = []
  await second.app.appCluster.broadcast.subscribe('orders:quick:*', ({ data }) => { inner.push(data) })
  const [own, shared] = [await client.xlen(log.stream), await client.xlen(keys.stream)]
  await broadcast.publish('orders:quick:a', 1)
  await broadcast.publish('orders:quick:kept', 2)
  await waitFor(() => inner.length === 2)
  t.same(inner, [1, 2])
  t.same([await client.xlen(log.stream), await client.xlen(keys.stream)], [own, shared + 1], 'the longest prefix counts')
})

t.test('bytes arrive as they were, in order among JSON, live and from the log', async (t) => {
  const two = await pair(t, { heartbeatMs: 200, leaseMs: 3000, channels: { direct: { replay: false } } })
  const { client, keys, got, first, second } = two
  const { broadcast } = first.app.appCluster
  const all = Buffer.from(Array.from({ length: 600 }, (_, index) => index % 256))
  const odd = [Buffer.alloc(0), Buffer.from('\\n\n\\\\'), Buffer.from([0xc3, 0x0a, 0xff, 0xfe, 0x5c])]
  await second.app.appCluster.broadcast.subscribe('direct', ({ data }) => { got.push(data) })
  const own: unknown[] = []
  await broadcast.subscribe('n', ({ data }) => { own.push(data) })
  const changing = new Uint8Array([1, 2, 3])
  const sent = ['before', all, ...odd, 'between', changing, 'after']
  const published = Promise.all(sent.map((data) => broadcast.publish('n', data)))
  changing.fill(9)
  t.ok((await published).every(({ delivered }) => delivered === 'cluster'))
  const expected = sent.map((data) => data === changing ? new Uint8Array([1, 2, 3]) : typeof data === 'string' ? data : new Uint8Array(data))
  await waitFor(() => got.length === sent.length)
  t.strictSame(got, expected)
  t.strictSame(own, expected)
  await broadcast.publish('direct', all)
  await waitFor(() => got.length === sent.length + 1)
  t.strictSame(got.pop(), new Uint8Array(all))

  // The subscriber reads them from the log.
  got.length = 0
  await client.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
  await waitFor(() => second.app.appCluster.mode === 'local' || got.length > 0)
  for (const data of odd) await broadcast.publish('n', data)
  await waitFor(() => got.length === odd.length)
  t.strictSame(got, odd.map((data) => new Uint8Array(data)))
  t.ok(Number(await client.xlen(keys.stream)) > 0)

  await second.app.appCluster.broadcast.subscribe('asked', ({ data }) => data instanceof Uint8Array ? data.length : data)
  await first.app.appCluster.broadcast.subscribe('asked', () => new Uint8Array(1))
  // Answers come over the channel of who asks.
  await waitFor(() => first.app.appCluster.mode === 'cluster')
  const { replies } = await broadcast.ask('asked', all, { timeoutMs: 20_000 })
  t.same(replies.map((reply) => 'value' in reply ? reply.value : reply.error).toSorted(), [600, 'the answer is binary, and an answer must have a JSON form'])
  await t.rejects(broadcast.publish('n', new Uint8Array(256 * 1024 + 1)), { code: 'FST_ERR_CLUSTER_BROADCAST_MESSAGE_TOO_LARGE' })
})

t.test('a log that went back (a failover lost its end): one gap each, and what follows comes once', async (t) => {
  const two = await pair(t, { heartbeatMs: 200, leaseMs: 3000 })
  const { client, keys, got } = two
  await two.publish(1, 2, 3)
  const saved = await Promise.all([client.dumpBuffer(keys.state), client.dumpBuffer(keys.stream)])
  await two.publish(4, 5, 6)
  await waitFor(() => got.length === 6)
  await client.multi()
    .restore(keys.state, 0, saved[0]!, 'REPLACE').restore(keys.stream, 0, saved[1]!, 'REPLACE')
    .exec()
  await two.publish(7, 8)
  await waitFor(() => got.length === 8 && two.first.gaps.length === 1 && two.second.gaps.length === 1)
  await two.publish(9)
  await waitFor(() => got.length === 9)
  await sleep(500)
  t.same(got, [1, 2, 3, 4, 5, 6, 7, 8, 9])
  t.same([two.first.gaps, two.second.gaps], [[{ missed: null }], [{ missed: null }]])
  t.match(await client.hget(keys.state, 'epoch'), /\.1$/, 'everybody is told, also who could not notice')
})

t.test('a membership that went back (a snapshot lost a join and a leave): later joins and leaves are seen', async (t) => {
  const { client, keys, first, second, add } = await pair(t, { heartbeatMs: 200, leaseMs: 60_000 })
  const others = [first, second].map(({ app }) => app.appCluster)
  const beats = others.map((cluster) => {
    const count = { beats: 0 }
    cluster.on('heartbeat', () => { count.beats++ })
    return count
  })
  const serversOf = (cluster: typeof others[number]) => cluster.members().map(({ serverId }) => serverId).toSorted().join()
  const see = (servers: string) => waitFor(() => others.every((cluster) => serversOf(cluster) === servers), { what: servers, timeoutMs: 20_000 })
  const stays = await add('stays')
  await see('first,second,stays')
  const membership = [keys.state, keys.members, keys.leases]
  const saved = await Promise.all(membership.map((key) => client.dumpBuffer(key)))
  const lost = await add('lost')
  await see('first,lost,second,stays')
  await lost.app.close()
  await see('first,second,stays')
  const restored = client.multi()
  membership.forEach((key, index) => restored.restore(key, 0, saved[index]!, 'REPLACE'))
  await restored.exec()
  const before = beats.map(({ beats }) => beats)
  // Of two, the second was sent after the first was over.
  await waitFor(() => beats.every(({ beats }, index) => beats >= before[index]! + 2))
  await stays.app.close()
  const late = await add('late')
  await see('first,late,second')
  await late.app.close()
  await see('first,second')
})

t.test('any of the keys evicted: messages and membership go on', async (t) => {
  const two = await pair(t, { heartbeatMs: 200, leaseMs: 3000 })
  const { client, keys, got } = two
  let last = 0
  for (const key of [keys.stream, keys.state, keys.members, keys.leases, keys.state, keys.stream]) {
    await client.del(key)
    await two.publish(++last)
    await sleep(300)
    await two.publish(++last)
    await waitFor(() => got.at(-1) === last)
  }
  t.same(got, Array.from({ length: last }, (_, index) => index + 1))
  // Longer than a lease: nobody lapses for what was lost.
  await sleep(3500)
  t.equal(two.first.app.appCluster.members().length, 2)
  t.equal(two.first.gaps.length, 2, 'a gap for each time that the state was lost')
  const ttls = await Promise.all([keys.stream, keys.state, keys.members, keys.leases].map((key) => client.pttl(key)))
  t.ok(ttls.every((ttl) => ttl > 0), 'no key is immortal')
})

t.test('a pause in which nobody could renew counts as one heartbeat at most, and after a longer one every lease is whole', async (t) => {
  const heartbeatMs = 60_000
  const leaseMs = 3 * heartbeatMs
  const { client, keys } = await pair(t, { heartbeatMs, leaseMs })
  const clock = async () => Number((await client.time())[0]) * 1000
  /** A member whose lease ended half a heartbeat ago, on the first renewal after a pause. Returns what is left of its lease. */
  async function leftAfter (pauseMs: number): Promise<number | null> {
    const now = await clock()
    const record = { instanceId: 'slow:0', serverId: 'slow', bootId: 'slowslowslow', pid: 1, startedAt: 1, leaseMs }
    await client.multi()
      .hset(keys.members, record.bootId, JSON.stringify(record)).zadd(keys.leases, now - heartbeatMs / 2, record.bootId)
      .hset(keys.state, 'beatAt', now - pauseMs)
      .exec()
    // An announcement that does not follow makes who hears it renew.
    await client.publish(keys.channel('membership'), `${await client.hget(keys.state, 'epoch')} 999999 - nobody`)
    await waitFor(async () => Number(await client.hget(keys.state, 'beatAt')) > now - Math.min(1000, pauseMs))
    const end = await client.zscore(keys.leases, record.bootId)
    return end === null ? null : Number(end) - now
  }
  const left = async (pauses: number) => {
    const ms = await leftAfter(pauses * heartbeatMs)
    return ms === null ? null : Math.round(2 * ms / heartbeatMs) / 2
  }
  t.equal(await left(0.75), null, 'no pause: it leaves')
  t.equal(await left(1.25), null, 'a quarter of a heartbeat later than it would have ended')
  t.equal(await left(2), 3, 'a whole lease')
  t.equal(await left(10), 3, 'a whole lease')
})

t.test('a message of a kind that a later release sends is ignored and counted; what is with it comes', async (t) => {
  const two = await pair(t)
  const { client, keys, got, second } = two
  await two.publish(1)
  const seq = Number(await client.hincrby(keys.state, 'seq', 3))
  const frame = `${await client.hget(keys.state, 'epoch')} ${seq - 2} ${seq}\naaaaaaaaaaaa later:0 1\n1 t n 5\n1 z n {"later":true}\n1 t n 6`
  await client.xadd(keys.stream, `${seq}-0`, 'f', frame)
  await client.publish(keys.bus, frame)
  await two.publish(7)
  await waitFor(() => got.at(-1) === 7)
  t.same(got, [1, 5, 6, 7])
  t.equal(second.app.appCluster.status().ignored, 1)
  t.same(second.gaps, [])
})

t.test('a Redis user who may not subscribe: the process boots alone, says so once, and joins when the user may', async (t) => {
  const redis = await redisServer(t)
  const client = redis.connect()
  const [siteId, user] = [uniqueName(), 'narrow']
  await client.call('ACL', 'SETUSER', user, 'on', '>secret', 'resetchannels', '&*:link:*', '~*', '+@all')
  const { app, complaints } = await build(t, { url: redis.url.replace('redis://', `redis://${user}:secret@`), siteId }, { heartbeatMs: 200, leaseMs: 3000 })
  t.equal(app.appCluster.mode, 'local')
  await t.rejects(app.appCluster.broadcast.subscribe('n', () => {}), { code: 'FST_ERR_REDIS_LINK_SUBSCRIPTION_REFUSED' })
  t.same(app.appCluster.status().subscriptions, [])
  t.equal(complaints.filter((line) => /refuses a channel of the cluster/.test(line)).length, 1)
  await client.call('ACL', 'SETUSER', user, 'allchannels')
  await waitFor(() => app.appCluster.mode === 'cluster')
  const got: unknown[] = []
  await app.appCluster.broadcast.subscribe('n', ({ data }) => { got.push(data) })
  t.equal((await app.appCluster.broadcast.publish('n', 1)).delivered, 'cluster')
  t.same(got, [1])
})

t.test('a Redis user of the printed ACL listens by patterns, which an ACL allows only by name', async (t) => {
  const channels = { moves: { replay: false } }
  const { client, redis, first, keys } = await pair(t, { channels })
  const site = keys.bus.slice(0, -':cluster:bus'.length)
  const { redisNeeds } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { redisNeeds: { channels: string[] } }
  await client.call('ACL', 'SETUSER', 'printed', 'on', '>pw', '~*', '+@all', 'resetchannels', `&${site}:link:*`, ...redisNeeds.channels.map((pattern) => `&${pattern.replace('<site>', site)}`))
  const proxy = await tcpProxy(t, redis.port)
  const options = { siteId: site.split(':')[0]!, env: 'test', username: 'printed', password: 'pw' }
  const { app, complaints } = await build(t, { url: redis.url, ...options }, { channels, serverId: 'printed' })
  proxy.cut()
  const { app: late } = await build(t, { url: redis.url.replace(String(redis.port), String(proxy.port)), ...options, connectTimeoutMs: 1 }, { channels, serverId: 'late' })
  const heardLate: unknown[] = []
  await late.appCluster.broadcast.subscribe('moves:*', ({ data }) => { heardLate.push(data) })
  proxy.mend()
  await waitFor(() => late.appCluster.mode === 'cluster')
  const got: unknown[] = []
  const listen = (pattern: string) => app.appCluster.broadcast.subscribe(pattern, ({ data }) => { got.push(data) })
  const [stop] = [await listen('moves:*'), await listen('moves:a')]
  await first.app.appCluster.broadcast.publish('moves:a', 1)
  await waitFor(() => got.length >= 2)
  await stop()
  await first.app.appCluster.broadcast.publish('moves:b', 3)
  await first.app.appCluster.broadcast.publish('moves:a', 4)
  await waitFor(() => got.at(-1) === 4)
  t.same([got, complaints], [[1, 1, 4], []])
  t.same(heardLate, [1, 3, 4], 'also who subscribed while Redis was away')
})

t.test('a Redis user who may not publish: it is a member, runs a once and leaves, though nobody is told', async (t) => {
  const two = await pair(t, { heartbeatMs: 200, leaseMs: 3000 })
  const { client, redis, first, second, publish, got } = two
  await client.call('ACL', 'SETUSER', 'silent', 'on', '>pw', '~*', '&*', '+@all', '-publish')
  const [siteId] = two.keys.bus.split(':')
  const { app } = await build(t, { url: redis.url, siteId: siteId!, env: 'test', username: 'silent', password: 'pw' }, { heartbeatMs: 200, leaseMs: 3000, serverId: 'silent' })
  t.equal(app.appCluster.members().length, 3, 'with the first renewal')
  await waitFor(() => first.app.appCluster.members().length === 3)
  t.equal((await app.appCluster.broadcast.publish('n', 'unheard')).delivered, 'local')
  let ran = 0
  const one = await app.appCluster.broadcast.once('job', 60_000, () => ++ran)
  t.same([one, await first.app.appCluster.broadcast.once('job', 60_000, () => ++ran)], [{ ran: true, value: 1 }, { ran: false, reason: 'claimed' }])
  await app.close()
  await waitFor(() => second.app.appCluster.members().length === 2)
  await publish(1)
  await waitFor(() => got.at(-1) === 1)
})

t.test('a leader that cannot reach Redis is deposed by its own clock before another is elected, whose token is greater', async (t) => {
  const redis = await redisServer(t)
  const proxy = await tcpProxy(t, redis.port)
  const siteId = uniqueName()
  const options = { heartbeatMs: 200, leaseMs: 1000 }
  const first = (await build(t, { url: `redis://127.0.0.1:${proxy.port}`, siteId, commandTimeoutMs: 300 }, options)).app.appCluster
  const second = (await build(t, { url: redis.url, siteId }, options)).app.appCluster
  const told: Array<[who: string, what: string | number, wrong: boolean]> = []
  const leaders: Array<ReturnType<typeof first.leader>> = []
  const stand = (cluster: typeof first, who: string) => {
    const leader = cluster.leader('jobs', { leaseMs: 1500 })
    const others = [...leaders]
    leaders.push(leader)
    leader.on('elected', (token) => { told.push([who, token, others.some(({ isLeader }) => isLeader)]) })
    leader.on('deposed', () => { told.push([who, 'deposed', leader.isLeader]) })
    return leader
  }
  const one = stand(first, 'first')
  await waitFor(() => one.isLeader)
  const two = stand(second, 'second')
  await two.stand()
  t.same([two.isLeader, two.token], [false, null])
  const tokens = [one.token!]
  proxy.mute()
  await waitFor(() => two.isLeader)
  t.equal(one.isLeader, false)
  tokens.push(two.token!)
  proxy.mend()
  await waitFor(() => first.mode === 'cluster')
  await one.stand()
  t.equal(one.isLeader, false)
  await redis.kill()
  await waitFor(() => !two.isLeader)
  await redis.restart()
  await waitFor(() => one.isLeader || two.isLeader, { timeoutMs: 20_000 })
  tokens.push((one.token ?? two.token)!)
  await (one.isLeader ? one : two).resign()
  await waitFor(() => one.isLeader || two.isLeader)
  tokens.push((one.token ?? two.token)!)
  t.same(tokens, [...new Set(tokens)].sort((a, b) => a - b), 'tokens grow, also where Redis lost all')
  // The event may come later than the end that it tells of, on a busy machine; `isLeader` never does.
  t.same(told.filter(([who]) => who === 'first').slice(0, 2).map(([, what]) => what), [tokens[0], 'deposed'])
  t.notOk(told.some(([, , wrong]) => wrong), 'nobody was elected while the other led')
})

t.test('a timetable: each tick once in the cluster; one that nobody could begin in time is skipped and told', async (t) => {
  const two = await pair(t)
  const ran: Array<[who: string, at: number]> = []
  const missed: number[] = []
  const schedules = [two.first, two.second].map(({ app }, index) => {
    const schedule = app.appCluster.schedule('jobs', '* * * * * *', (at) => { ran.push([String(index), at.getTime()]) }, { graceMs: 500 })
    return schedule.on('missed', (at) => { missed.push(at.getTime()) })
  })
  await waitFor(() => ran.length >= 3)
  await two.redis.kill()
  await waitFor(() => missed.length >= 2, { timeoutMs: 20_000 })
  await two.redis.restart()
  const before = ran.length
  await waitFor(() => ran.length >= before + 2, { timeoutMs: 20_000 })
  for (const schedule of schedules) schedule.stop()
  const ticks = ran.map(([, at]) => at)
  t.equal(new Set(ticks).size, ticks.length, 'none twice')
})

t.test('a timetable that is stopped while a tick is being claimed begins nothing, says so, and leaves the tick to others', async (t) => {
  const two = await pair(t)
  const { appCluster } = two.first.app
  const ran: Date[] = []
  const missed: number[] = []
  let at: number | undefined
  while (at === undefined) {
    const schedule = appCluster.schedule('stopped', '* * * * * *', (at) => { ran.push(at) }).on('missed', (at) => { missed.push(at.getTime()) })
    const next = schedule.next!.getTime()
    await waitFor(() => next - Date.now() < 100)
    await two.client.client('PAUSE', 10_000, 'WRITE')
    if (schedule.next!.getTime() === next) {
      at = next
      await waitFor(() => schedule.next!.getTime() > next)
    }
    // Of ticks that came before the pause.
    ran.length = 0
    schedule.stop()
    await two.client.client('UNPAUSE')
  }
  await waitFor(() => missed.includes(at))
  t.same(ran, [])
  t.same(await two.client.keys(`*schedule:stopped:${at}`), [])
})

t.test('a tick that a process has claimed when it is stopped is run by another, though that one was told that somebody has it', async (t) => {
  const two = await pair(t)
  const [one, other] = [two.first, two.second].map(({ app }) => app.appCluster) as [AppCluster, AppCluster]
  const ran: number[] = []
  let at: number | undefined
  while (at === undefined) {
    const stopped = one.schedule('left', '* * * * * *', () => {})
    const going = other.schedule('left', '* * * * * *', (at) => { ran.push(at.getTime()) })
    const next = stopped.next!.getTime()
    await waitFor(() => next - Date.now() < 100)
    await two.client.client('PAUSE', 10_000, 'WRITE')
    if (stopped.next!.getTime() === next) {
      await waitFor(() => stopped.next!.getTime() > next && going.next!.getTime() > next)
      stopped.stop()
      await two.client.client('UNPAUSE')
      at = next
      await waitFor(() => ran.includes(next), { what: 'the tick to be run by the other', timeoutMs: 10_000 }).catch(() => {})
    }
    await two.client.client('UNPAUSE')
    stopped.stop()
    going.stop()
  }
  t.equal(ran.filter((one) => one === at).length, 1)
})

t.test('a tick whose claim is answered too late is not begun', async (t) => {
  const two = await pair(t)
  const late: number[] = []
  const schedule = two.first.app.appCluster.schedule('late', '* * * * * *', (at) => { if (Date.now() - at.getTime() > 1000) late.push(at.getTime()) }, { graceMs: 0 })
  const missed: number[] = []
  schedule.on('missed', (at) => { missed.push(at.getTime()) })
  const next = schedule.next!.getTime()
  await waitFor(() => next - Date.now() < 100)
  await two.client.client('PAUSE', 10_000, 'WRITE')
  await waitFor(() => Date.now() > next + 1200)
  await two.client.client('UNPAUSE')
  await waitFor(() => missed.length > 0 || late.length > 0)
  schedule.stop()
  t.same(late, [])
})

t.test('10,000 malformed messages on every channel: nothing throws, nothing is delivered, what follows is', async (t) => {
  const two = await pair(t)
  const { client, keys, got } = two
  await two.publish(1)
  const epoch = await client.hget(keys.state, 'epoch')
  const seq = Number(await client.hget(keys.state, 'seq'))
  const { bootId } = two.second.app.appCluster
  const head = `${epoch} ${seq + 1} ${seq + 1}\nbbbbbbbbbbbb x:0 1\n`
  const valid = Buffer.from(`${head}1 t n 1`)
  const channels = [keys.bus, keys.channel('membership'), keys.channel('reply', bootId), keys.channel('app', 'n'), keys.channel('app', '::everybody'), keys.channel('done')]
  const forgeries: Array<() => Buffer> = [
    () => randomBytes(Math.floor(Math.random() * 200)),
    () => Buffer.concat([Buffer.from('- 0 0\nbbbbbbbbbbbb x:0 1\n'), randomBytes(50)]),
    () => Buffer.from(`- 0 0\nbbbbbbbbbbbb x:0 ${Math.floor(Math.random() * 1e9)}\n1 t n {"broken":`),
    () => Buffer.from('- 0 0\nbbbbbbbbbbbb x:0 999999999999999\nNaN t n 1\n\n1 x n 1\n1 t'),
    () => Buffer.from(`${epoch} ${seq + 1} ${seq + 900}\nbbbbbbbbbbbb x:0 1\n1 t n 1`),
    () => Buffer.from(`${bootId}-1 ${bootId} x:0\n{"value":`),
    () => Buffer.from(`${epoch} 9 + {"bootId":5}`),
    () => Buffer.from(`${epoch} 1e9 - x`),
    () => Buffer.from('null'),
    () => Buffer.from('{"__proto__":{"polluted":1}}'),
    () => {
      const bytes = Buffer.from(valid)
      bytes[Math.floor(Math.random() * head.length)] = Math.floor(Math.random() * 256)
      // A frame that is well-formed still, and says what it should, is none of the malformed.
      return bytes.equals(valid) || /^\S+ \d+ \d+\n[a-z2-7]{12} \S+:\S+ \d+\n/.test(bytes.toString()) ? Buffer.from('x') : bytes
    }
  ]
  for (let sent = 0; sent < 10_000; sent += 250) {
    const pipeline = client.pipeline()
    for (let i = 0; i < 250; i++) pipeline.publish(channels[(sent + i) % channels.length]!, forgeries[Math.floor(Math.random() * forgeries.length)]!() as unknown as string)
    await pipeline.exec()
  }
  for (const channel of channels) await client.publish(channel, 'x'.repeat(20_000_000))
  await two.publish(2, 3)
  await waitFor(() => got.at(-1) === 3)
  t.same(got, [1, 2, 3])
  t.same(two.second.gaps, [])
  t.equal(two.second.app.appCluster.members().length, 2)
  t.ok(two.second.complaints.length > 0 && two.second.complaints.length < 20_000, 'complained about')
  t.ok(two.second.complaints.filter((line) => /malformed/.test(line)).length <= 2, 'malformed frames do not flood the log')
})

t.test('a publish whose answer is lost says local; its process gets it once, the others at most once, in order', async (t) => {
  const two = await pair(t)
  const { broadcast } = two.first.app.appCluster
  const here: unknown[] = []
  await broadcast.subscribe('n', ({ data }) => { here.push(data) })
  const publish = async (number: number) => (await broadcast.publish('n', number)).delivered
  t.equal(await publish(1), 'cluster')
  // What a frozen Redis has received it carries out when it goes on, long after the publisher gave up.
  two.redis.freeze()
  t.same(await Promise.all([2, 3].map(publish)), ['local', 'local'])
  t.equal(await publish(4), 'local')
  two.redis.thaw()
  await waitFor(() => two.first.app.appCluster.mode === 'cluster' && two.second.app.appCluster.mode === 'cluster', { timeoutMs: 20_000 })
  t.equal(await publish(5), 'cluster')
  await waitFor(() => two.got.at(-1) === 5)
  await sleep(200)
  t.same(here, [1, 2, 3, 4, 5])
  t.same(two.got, [...new Set(two.got as number[])].sort())
  t.ok([1, 5].every((number) => two.got.includes(number)))
})

t.test('a once claim whose answer is lost: it is asked for again, or given back, so that the work is done', async (t) => {
  const redis = await redisServer(t)
  const proxy = await tcpProxy(t, redis.port)
  const siteId = uniqueName()
  const link = { siteId, env: 'test', commandTimeoutMs: 300 }
  const first = (await build(t, { ...link, url: `redis://127.0.0.1:${proxy.port}` })).app.appCluster
  const second = (await build(t, { ...link, url: redis.url })).app.appCluster
  const client = redis.connect()
  const claims = async (name: string) => (await client.get(`${siteId}:test:cluster:once:app:${name}`))?.split(' ')[0] ?? null
  proxy.mute('down')
  const asked = first.broadcast.once('asked', 3_600_000, () => 1)
  await waitFor(async () => await claims('asked') === 'running')
  proxy.mend()
  t.same(await asked, { ran: true, value: 1 })
  await waitFor(() => first.mode === 'cluster')
  proxy.mute('down')
  const lost = first.broadcast.once('lost', 3_600_000, () => 1)
  await waitFor(async () => await claims('lost') === 'running')
  t.same(await lost, { ran: false, reason: 'unavailable' })
  const other = second.broadcast.once('lost', 3_600_000, () => 2)
  proxy.mend()
  t.same(await other, { ran: true, value: 2 })
})

t.test('a once claim that has lapsed when it is read runs nothing beside its successor', async (t) => {
  const link = { url: sharedRedis(), siteId: uniqueName() }
  const first = (await build(t, link)).app.appCluster.broadcast
  const second = (await build(t, link)).app.appCluster.broadcast
  await first.once('warm', 1000, () => {})
  const ran: number[] = []
  const late = first.once('job', 500, () => { ran.push(1) })
  await new Promise(setImmediate)
  for (const end = performance.now() + 700; performance.now() < end;);
  const outcomes = await Promise.all([late, second.once('job', 60_000, () => { ran.push(2) })])
  t.equal(ran.length, 1)
  t.equal(outcomes.filter((outcome) => outcome.ran).length, 1)
})

t.test('a log with large entries on a slow line: each message comes, in order', async (t) => {
  const redis = await redisServer(t)
  const proxy = await tcpProxy(t, redis.port)
  const siteId = uniqueName()
  const text = 'x'.repeat(100_000)
  const options = { maxMessageBytes: 4_000_000 }
  const first = await build(t, { url: redis.url, siteId }, options)
  const second = await build(t, { url: `redis://127.0.0.1:${proxy.port}`, siteId }, options)
  const got: number[] = []
  await second.app.appCluster.broadcast.subscribe<{ n: number }>('n', ({ data }) => { got.push(data.n) })
  proxy.cut()
  await waitFor(() => second.app.appCluster.mode === 'local')
  // One after the other, so that each makes an entry of its own.
  for (let n = 1; n <= 20; n++) await first.app.appCluster.broadcast.publish('n', { n, text })
  // One that alone takes longer than a command may.
  await first.app.appCluster.broadcast.publish('n', { n: 21, text: 'x'.repeat(2_000_000) })
  proxy.mend()
  proxy.throttle(1_500_000)
  await waitFor(() => got.length === 21, { timeoutMs: 60_000, what: 'all messages' })
  t.same(got, Array.from({ length: 21 }, (_, index) => index + 1))
  t.same(second.gaps, [])
})

t.test('Redis away at boot: the process boots alone, and joins when Redis is there', async (t) => {
  const redis = await redisServer(t)
  await redis.kill()
  // A renewal over its time on a loaded machine would be a change of mode as well.
  const { app, gaps } = await build(t, { url: redis.url, siteId: uniqueName(), connectTimeoutMs: 200, commandTimeoutMs: 30_000 })
  const { appCluster } = app
  const modes: string[] = []
  appCluster.on('mode', (mode) => modes.push(mode))
  const got: unknown[] = []
  await appCluster.broadcast.subscribe('n', ({ data }) => { got.push(data) })
  t.equal(appCluster.mode, 'local')
  t.equal((await appCluster.broadcast.publish('n', 1)).delivered, 'local')
  t.equal((await appCluster.broadcast.ask('n', 2)).replies.length, 1)
  t.same(await appCluster.broadcast.once('job', 1000, () => 1), { ran: false, reason: 'unavailable' }, 'nobody can tell whether another runs it')
  await redis.restart()
  await waitFor(() => appCluster.mode === 'cluster', { timeoutMs: 10_000 })
  t.equal((await appCluster.broadcast.publish('n', 3)).delivered, 'cluster')
  t.same(got, [1, 2, 3])
  t.same(gaps, [])
  t.same(modes, ['cluster'])
  t.equal((await appCluster.broadcast.once('job', 1000, () => 1)).ran, true)
  await app.close()
  await app.close()
  t.equal((await appCluster.broadcast.publish('n', 4)).delivered, 'local', 'after close() nothing throws')
})

t.test('Redis gone while an ask waits and while it is away: the own answer, and who could not be asked is missing', async (t) => {
  const two = await pair(t)
  await two.redis.kill()
  await waitFor(() => two.first.app.appCluster.mode === 'local')
  const { replies, missing } = await two.first.app.appCluster.broadcast.ask('n', 1, { timeoutMs: 60_000 })
  t.same([replies.map(({ instanceId }) => instanceId.split(':')[0]), missing.map((id) => id.split(':')[0])], [['first'], ['second']])
})

t.test('an ask that Redis has not taken when its time is over: the own answer, and everybody else is missing', async (t) => {
  const two = await pair(t)
  const { broadcast } = two.first.app.appCluster
  two.redis.freeze()
  // Each ends before the command does, the second behind the batch of the first.
  const first = broadcast.ask('n', 1)
  await new Promise(setImmediate)
  const asked = await Promise.all([first, broadcast.ask('n', 2, { timeoutMs: 500 })])
  two.redis.thaw()
  const serverOf = (id: string) => id.split(':')[0]
  for (const { replies, missing } of asked) t.same([replies.map(({ instanceId }) => serverOf(instanceId)), missing.map(serverOf)], [['first'], ['second']])
})

t.test('a plugin asks everybody without a place in the log', async (t) => {
  const { client, keys, first, second, publish } = await pair(t)
  const handles = [first, second].map(({ app }) => app.appCluster.internal('jp'))
  for (const handle of handles) await handle.subscribe('jp:q', ({ data }) => data)
  await publish(1)
  for (let asked = 0; asked < 20; asked++) {
    const { replies, missing } = await handles[0]!.ask('jp:q', asked, { timeoutMs: 30_000, replay: false })
    t.same([replies.map((reply) => 'value' in reply && reply.value), missing], [[asked, asked], []])
  }
  t.equal(await client.xlen(keys.stream), 1)
  t.equal((await handles[0]!.ask('jp:q', 0, { timeoutMs: 30_000 })).replies.length, 2)
  t.equal(await client.xlen(keys.stream), 2, 'as configured otherwise')
})

t.test('an answer that cannot be sent is an error, not a silence', async (t) => {
  const two = await pair(t, { maxMessageBytes: 100 })
  const answers: unknown[] = [1n, 'x'.repeat(200), undefined, { a: 1 }]
  await two.second.app.appCluster.broadcast.subscribe('q', ({ data }) => answers[data as number])
  const answer = async (index: number) => {
    const { replies } = await two.first.app.appCluster.broadcast.ask('q', index, { timeoutMs: 30_000 })
    const reply = replies.find(({ instanceId }) => instanceId.startsWith('second'))!
    return 'error' in reply ? `error: ${reply.error}` : reply.value
  }
  t.match(await answer(0), /error: .*BigInt/)
  t.match(await answer(1), /error: .*longer than/)
  t.equal(await answer(2), undefined)
  t.same(await answer(3), { a: 1 })
})
