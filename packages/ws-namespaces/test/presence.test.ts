import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { redisServer, sharedRedis, connect as connectRedis, uniqueName, waitFor } from '../../../test/helpers/index.ts'
import type { Present } from '../src/index.ts'
import { build, byHeader } from './support/build.ts'
import { connect, type Client } from './support/client.ts'
import { servers } from './support/processes.ts'

const PATH = '/api/1/ws/chat'
const namespaces = { chat: { presence: true }, limited: { limits: { maxConnectionsPerUser: 1 } } }

/** What an observer saw of a user. */
const seen = (observer: Client, user: string): string[] => observer.messages
  .filter(({ type, data }) => type.startsWith('presence:') && data.userId === user).map(({ type }) => type.slice('presence:'.length))

t.test('a user joins once and leaves once, however many sockets on however many workers; those of a killed worker leave, and count no more', async (t) => {
  const siteId = uniqueName('pre')
  const three = await servers(t, sharedRedis(), 3, { siteId, namespaces, options: { presenceLeaseMs: 6000 } })
  const [a, b, victim] = three as [typeof three[0], typeof three[0], typeof three[0]]
  const [onA, onB] = await Promise.all([connect(t, a.port, PATH, { user: 'watcher a' }), connect(t, b.port, PATH, { user: 'watcher b' })])
  const sees = (user: string, events: string[]) => Promise.all([onA!, onB!].map((observer) => waitFor(() => seen(observer, user).length >= events.length, { what: `${events} of ${user}`, timeoutMs: 60_000 })))
  const ann = await Promise.all([a, a, b, b].map(({ port }) => connect(t, port, PATH, { user: 'ann' })))
  await sees('ann', ['join'])
  await waitFor(async () => (await b.call<{ instances: string[] }>('online', 'chat', 'ann')).instances.length === 2, { timeoutMs: 30_000 })
  t.same((await victim.call<{ instances: string[] }>('online', 'chat', 'ann')).instances.sort(), ['test:0', 'test:1'])
  for (const client of ann.slice(0, 3)) client.ws.terminate()
  await waitFor(async () => (await a.call<{ instances: string[] }>('online', 'chat', 'ann')).instances.length === 1, { timeoutMs: 30_000 })
  t.same(seen(onA!, 'ann'), ['join'], 'one socket is left')
  ann[3]!.ws.terminate()
  await sees('ann', ['join', 'leave'])

  const odd = ['a:b', '100%', 'ü @', '{x} y']
  await Promise.all(odd.map((user) => connect(t, b.port, PATH, { user })))
  await Promise.all(odd.map((user) => sees(user, ['join'])))
  const present = async () => (await a.call<Present[]>('presence', 'chat')).map(({ userId }) => userId).sort()
  t.same(await present(), [...odd, 'watcher a', 'watcher b'].sort())
  const LIMITED = '/api/1/ws/limited'
  const mayEnter = async (port: number) => {
    const client = await connect(t, port, LIMITED, { user: 'ann' })
    client.ws.terminate()
    return client.refused?.status ?? 101
  }
  const held = await connect(t, victim.port, LIMITED, { user: 'ann' })
  t.same([held.refused, await mayEnter(a.port)], [null, 429], 'one connection, whatever worker it is to')
  // Longer than a lease in which nothing happens: only the heartbeat keeps them there.
  await sleep(7000)
  await waitFor(async () => (await present()).length === odd.length + 2, { timeoutMs: 15_000, everyMs: 100 }).catch(() => {})
  t.same(await present(), [...odd, 'watcher a', 'watcher b'].sort(), 'who only stays is still there')
  t.equal(await mayEnter(a.port), 429, 'and still counts')

  const [lost, both] = await Promise.all([connect(t, victim.port, PATH, { user: 'lost' }), connect(t, victim.port, PATH, { user: 'both' }), connect(t, a.port, PATH, { user: 'both' })])
  await Promise.all([sees('lost', ['join']), sees('both', ['join'])])
  await waitFor(async () => (await a.call<{ instances: string[] }>('online', 'chat', 'both')).instances.length === 2, { timeoutMs: 30_000 })
  const killedAt = performance.now()
  victim.kill('SIGKILL')
  await sees('lost', ['join', 'leave'])
  t.ok(performance.now() - killedAt < 30_000, 'within 30 s')
  t.same(await a.call('online', 'chat', 'lost'), { online: false, instances: [] })
  t.same(await b.call('online', 'chat', 'both'), { online: true, instances: ['test:0'] })
  t.same([seen(onA!, 'both'), seen(onA!, 'lost'), seen(onB!, 'ann')], [['join'], ['join', 'leave'], ['join', 'leave']], 'each once')
  t.ok(lost!.closed !== null || both !== undefined)
  await waitFor(async () => await mayEnter(a.port) === 101, { what: 'the connection of the killed worker to count no more', timeoutMs: 30_000, everyMs: 200 })

  t.ok(await a.call<number>('close') < 30_000)
  await waitFor(() => seen(onB!, 'both').includes('leave') && seen(onB!, 'watcher a').includes('leave'), { what: 'the users of a closing worker to leave', timeoutMs: 60_000 })
  const redis = connectRedis(t, Number(new URL(sharedRedis()).port))
  const keys = await redis.keys(`${siteId}:test:ws:*`)
  t.ok((await Promise.all(keys.map((key) => redis.pttl(key)))).every((ttl) => ttl > 0), 'every key ends by itself')
})

t.test('a page that is reloaded within the grace period is not announced', async (t) => {
  const [a, b] = await servers(t, sharedRedis(), 2, { namespaces: { chat: { presence: { graceMs: 60_000 } }, quick: { presence: { graceMs: 0 } } } })
  const observer = await connect(t, a!.port, PATH, { user: 'observer' })
  const quick = await connect(t, a!.port, '/api/1/ws/quick', { user: 'observer' })
  for (let times = 0; times < 10; times++) {
    const page = await connect(t, (times % 2 === 0 ? a : b)!.port, PATH, { user: 'ann' })
    page.ws.terminate()
    await page.end()
    const other = await connect(t, b!.port, '/api/1/ws/quick', { user: 'ann' })
    await waitFor(() => seen(quick, 'ann').length === 2 * times + 1, { timeoutMs: 30_000 })
    other.ws.terminate()
    await waitFor(() => seen(quick, 'ann').length === 2 * times + 2, { what: 'to leave at once without a grace period', timeoutMs: 30_000 })
  }
  t.same(seen(observer, 'ann'), ['join'])
  t.same(((await connect(t, b!.port, PATH, { user: 'late' })).connected.presence as Present[]).map(({ userId }) => userId).sort(), ['ann', 'late', 'observer'])
})

t.test('nobody stays online after 200 random connects, disconnects, kills and losses of Redis', async (t) => {
  const redis = await redisServer(t, { args: ['--save', '', '--appendonly', 'no'] })
  const siteId = uniqueName('pre')
  const setup = { siteId, namespaces, options: { presenceLeaseMs: 6000 } }
  const workers = await servers(t, redis.url, 3, setup)
  const observer = await connect(t, workers[0]!.port, PATH, { user: 'observer' })
  const open: Array<{ client: Client, user: string, worker: number }> = []
  const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))
  t.comment(`SEED=${seed}`)
  let state = seed
  const random = (below: number): number => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff
    return (state >>> 8) % below
  }
  for (let step = 0; step < 200; step++) {
    if (step === 70) workers[2]!.kill('SIGKILL')
    if (step === 130) await redis.restart({ empty: true })
    const living = step < 70 ? 3 : 2
    if (open.length > 0 && random(5) < 2) open.splice(random(open.length), 1)[0]!.client.ws.terminate()
    else {
      const worker = random(living)
      const user = `u${random(12)}`
      open.push({ client: await connect(t, workers[worker]!.port, PATH, { user }), user, worker })
    }
  }
  const expected = new Map<string, Set<string>>([['observer', new Set(['test:0'])]])
  for (const { user, worker } of open) if (worker !== 2) expected.set(user, (expected.get(user) ?? new Set()).add(`test:${worker}`))
  const wanted = [...expected].map(([userId, instances]) => `${userId} ${[...instances].sort()}`).sort()
  let got: string[] = []
  await waitFor(async () => {
    got = (await workers[1]!.call<Present[]>('presence', 'chat')).map(({ userId, instances }) => `${userId} ${[...instances].sort()}`).sort()
    return String(got) === String(wanted)
  }, { timeoutMs: 40_000, everyMs: 200, what: 'the presence to be right' }).catch(() => {})
  t.same(got, wanted)
  const wrong = () => Array.from({ length: 12 }, (_, index) => `u${index}`).filter((user) => (seen(observer, user).at(-1) === 'join') !== expected.has(user))
  await waitFor(() => wrong().length === 0, { timeoutMs: 30_000 }).catch(() => {})
  t.same(wrong(), [], 'what the clients were told last is true')
  t.same(Array.from({ length: 12 }, (_, index) => seen(observer, `u${index}`)).filter((events) => events.some((event, index) => event === events[index - 1])), [], 'joins and leaves in turn')
})

t.test('a pause in which nobody could renew counts as one renewal at most', async (t) => {
  const siteId = uniqueName('pre')
  const leaseMs = 60_000
  const [worker] = await servers(t, sharedRedis(), 1, { siteId, namespaces, options: { presenceLeaseMs: leaseMs } }) as [Awaited<ReturnType<typeof servers>>[0]]
  await connect(t, worker.port, PATH, { user: 'here' })
  const redis = connectRedis(t, Number(new URL(sharedRedis()).port))
  const key = (name: string): string => `${siteId}:test:ws:${name}:{chat}`
  /** Whether a user stays whose instance's lease ended a sixth of a lease ago, when the first one renews after a pause. */
  async function stays (pauseMs: number): Promise<boolean> {
    const user = uniqueName('slow')
    const now = Number((await redis.time())[0]) * 1000
    await redis.multi()
      .hset(key('online'), user, 'slow/slow:0').zadd(key('leases'), now - leaseMs / 6, 'slow/slow:0')
      .hset(key('beats'), 'beatAt', now - pauseMs)
      .exec()
    const trigger = uniqueName('trigger')
    await connect(t, worker.port, PATH, { user: trigger })
    await waitFor(async () => (await worker.call<{ online: boolean }>('online', 'chat', trigger)).online)
    return (await worker.call<{ online: boolean }>('online', 'chat', user)).online
  }
  t.notOk(await stays(leaseMs / 4), 'no pause')
  t.ok(await stays(leaseMs * 2 / 3), 'some renewals were not possible')
  t.ok(await stays(leaseMs * 4), 'none for long')
})

t.test('the users of a worker that was killed stay offline when the first one comes to another worker', async (t) => {
  const { app, port } = await build(t, {
    link: { url: sharedRedis(), siteId: uniqueName('pre') },
    options: { presenceLeaseMs: 60_000 },
    setup: ({ wsNamespaces }) => { wsNamespaces.create('chat', { presence: true, authorize: byHeader }) }
  })
  const link = app.redisLink
  const [online, leases, beats] = ['online', 'leases', 'beats'].map((name) => link.key('ws', name, '{chat}')) as [string, string, string]
  const minutesAgo = (minutes: number) => Date.now() - 60_000 * minutes
  await link.run(async (redis) => {
    await redis.hset(beats, 'gen', 'g', 'beatAt', minutesAgo(3))
    await redis.hset(online, 'lost', 'dead/test:dead')
    await redis.zadd(leases, minutesAgo(2), 'dead/test:dead')
  })
  const first = await connect(t, port, PATH, { user: 'first' })
  await waitFor(async () => (await app.wsNamespaces.get('chat')!.online('first')).online)
  t.same(await app.wsNamespaces.get('chat')!.online('lost'), { online: false, instances: [] })
  t.equal(await link.run((redis) => redis.hexists(online, 'lost')), 0)
  t.equal(first.closed, null)
})

t.test('instances that die at once leave at once, also where there are guests alone; what a later release announces is not guessed', async (t) => {
  const { app, port } = await build(t, {
    link: { url: sharedRedis(), siteId: uniqueName('pre') },
    options: { presenceLeaseMs: 60_000 },
    setup: ({ wsNamespaces }) => { wsNamespaces.create('chat', { presence: true, public: true, authorize: async (request) => await byHeader(request) ?? { userId: null } }) }
  })
  const link = app.redisLink
  const [online, leases, beats] = ['online', 'leases', 'beats'].map((name) => link.key('ws', name, '{chat}')) as [string, string, string]
  const here = ['one', 'two', 'three']
  await link.run(async (redis) => {
    await redis.hset(beats, 'gen', 'g')
    for (const user of here) {
      await redis.hset(online, user, `${user}/test:${user}`)
      await redis.zadd(leases, Date.now() + 60_000, `${user}/test:${user}`)
    }
  })
  const guest = await connect(t, port, PATH)
  t.same(guest.connected.presence.map(({ userId }: Present) => userId).sort(), here.toSorted())
  await link.run((redis) => redis.publish(link.channel('ws', 'chat', 'presence'), '~["one"]'))
  for (const bootId of ['one', 'two']) app.appCluster.emit('leave', { bootId, instanceId: `test:${bootId}`, serverId: 'test', pid: 1, startedAt: 0, lastSeenMs: 0 })
  await guest.wait('presence:leave', 2)
  t.same(guest.of('presence:leave').map(({ userId }) => userId), ['one', 'two'])
})

t.test('Redis looks through the users twice, however many instances die at once', async (t) => {
  const redis = await redisServer(t)
  const { app, port } = await build(t, {
    link: { url: redis.url, siteId: uniqueName('pre') },
    options: { presenceLeaseMs: 60_000 },
    setup: ({ wsNamespaces }) => { wsNamespaces.create('chat', { presence: true, public: true, authorize: async (request) => await byHeader(request) ?? { userId: null } }) }
  })
  const [online, leases, beats] = ['online', 'leases', 'beats'].map((name) => app.redisLink.key('ws', name, '{chat}')) as [string, string, string]
  const dead = Array.from({ length: 40 }, (_, index) => `boot${index}`)
  await redis.client.hset(beats, 'gen', 'g')
  for (const bootId of dead) {
    await redis.client.hset(online, bootId, `${bootId}/test:${bootId}`)
    await redis.client.zadd(leases, Date.now() + 60_000, `${bootId}/test:${bootId}`)
  }
  const guest = await connect(t, port, PATH)
  await connect(t, port, PATH, { user: 'here' })
  await guest.wait('presence:join', 1)
  const looks = async () => Number(/^cmdstat_hscan:calls=(\d+)/m.exec(await redis.client.info('commandstats'))?.[1] ?? 0)
  const before = await looks()
  for (const bootId of dead) app.appCluster.emit('leave', { bootId, instanceId: `test:${bootId}`, serverId: 'test', pid: 1, startedAt: 0, lastSeenMs: 0 })
  await guest.wait('presence:leave', dead.length)
  await waitFor(async () => await redis.client.hexists(beats, 'cursor') === 0)
  t.equal(await looks() - before, 2)
  t.same((await app.wsNamespaces.get('chat')!.presence()).map(({ userId }) => userId), ['here'])
})
