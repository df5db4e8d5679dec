import t, { type Test } from 'tap'
import { redisServer, uniqueName, waitFor, type TestRedis } from '../../../test/helpers/index.ts'
import type { Present } from '../src/index.ts'
import { build, byHeader, type Built } from './support/build.ts'
import { connect } from './support/client.ts'

const PATH = '/api/1/ws/chat'
const LEASE_MS = 60_000

/** A Redis of its own and two workers, of which no heartbeat comes within the test. */
async function two (t: Test) {
  const redis = await redisServer(t)
  const siteId = uniqueName('pre')
  const worker = (pmId: string): Promise<Built> => build(t, {
    link: { url: redis.url, siteId },
    pmId,
    options: { presenceLeaseMs: LEASE_MS },
    setup: ({ wsNamespaces }) => { wsNamespaces.create('chat', { presence: true, public: true, authorize: async (request) => await byHeader(request) ?? { userId: null } }) }
  })
  const [a, b] = [await worker('0'), await worker('1')]
  const key = (name: string) => a.app.redisLink.key('ws', name, '{chat}')
  const isOnline = async ({ app }: Built, user: string) => (await app.wsNamespaces.get('chat')!.online(user)).online
  return { redis, a, b, isOnline, online: key('online'), leases: key('leases'), beats: key('beats') }
}

/** So many users of an instance that died or will. */
async function usersOf ({ client }: TestRedis, online: string, token: string, count: number): Promise<void> {
  for (let from = 0; from < count; from += 5000) {
    const users = Array.from({ length: Math.min(5000, count - from) }, (_, index) => [`${token}-${from + index}`, token])
    await client.hset(online, ...users.flat())
  }
}

/** Its lease ended a second ago, and nobody has noticed. */
const lapse = async ({ client }: TestRedis, leases: string, token: string) => client.zadd(leases, Date.now() - 1000, token)

function died ({ app }: Built, bootId: string): void {
  app.appCluster.emit('leave', { bootId, instanceId: `test:${bootId}`, serverId: 'test', pid: 1, startedAt: 0, lastSeenMs: 0 })
}

t.test('the many users of an instance that died leave once each, and Redis serves others between a few hundred and the next', async (t) => {
  const { redis, a, online, leases, beats } = await two(t)
  const count = 20_000
  await redis.client.hset(beats, 'gen', 'g')
  await usersOf(redis, online, 'dead/test:dead', count)
  await redis.client.zadd(leases, Date.now() + LEASE_MS, 'dead/test:dead')
  const guest = await connect(t, a.port, PATH)
  t.equal(guest.connected.presence.length, count, 'a list that is read in pieces is whole')
  const heard: number[] = []
  const raw = redis.client.duplicate()
  t.teardown(() => { raw.disconnect() })
  raw.on('message', (_channel, text: string) => { heard.push((JSON.parse(text.slice(1)) as string[]).length) })
  await raw.subscribe(a.app.redisLink.channel('ws', 'chat', 'presence'))
  died(a, 'dead')
  await guest.wait('presence:leave', count)
  t.equal(new Set(guest.of('presence:leave').map(({ userId }) => userId)).size, count)
  await waitFor(() => heard.reduce((sum, length) => sum + length, 0) === count)
  t.ok(Math.max(...heard) < 2000, `at most ${Math.max(...heard)} at once`)
  t.same(await a.app.wsNamespaces.get('chat')!.presence(), [])
})

t.test('a look for the users of the dead that nobody finished is finished by who publishes next, also for those who died in its course', async (t) => {
  const { redis, a, b, isOnline, online, leases, beats } = await two(t)
  await redis.client.hset(beats, 'gen', 'g', 'dead', 'one/test:one', 'cursor', '1', 'looker', 'one/test:one', 'lookerUntil', Date.now() - 1000)
  for (const name of ['one', 'two']) await usersOf(redis, online, `${name}/test:${name}`, 3000)
  await lapse(redis, leases, 'two/test:two')
  await connect(t, a.port, PATH, { user: 'here' })
  await connect(t, b.port, PATH, { user: 'there' })
  await waitFor(async () => await redis.client.hexists(beats, 'cursor') === 0 && await isOnline(b, 'there'))
  const left = new Set((await redis.client.hvals(online)).map((token) => token.slice(token.indexOf('/') + 1)))
  t.same([...left].sort(), ['test:0', 'test:1'])
  t.same(await redis.client.hkeys(beats).then((fields) => fields.sort()), ['beatAt', 'gen'])
})

t.test('users whom a server skips that took over in the middle of a look are found in the next', async (t) => {
  const { redis, a, isOnline, online, beats } = await two(t)
  await usersOf(redis, online, 'one/test:one', 3000)
  // The cursor is of the server before, whose order was another: behind it are three quarters of the users.
  await redis.client.hset(beats, 'gen', 'g', 'dead', 'one/test:one', 'cursor', '3', 'again', '1')
  await connect(t, a.port, PATH, { user: 'here' })
  await waitFor(async () => await redis.client.hexists(beats, 'cursor') === 0 && await isOnline(a, 'here'))
  t.same(await redis.client.hkeys(online), ['here'])
})

// Until when somebody looks is an hour away where the clock of Redis was put back.
t.test('an instance that was taken for dead keeps its users when it comes again while they are being taken out', async (t) => {
  const { redis, a, b, online, leases, beats } = await two(t)
  await connect(t, a.port, PATH, { user: 'ann' })
  const guest = await connect(t, b.port, PATH)
  const token = await waitFor(async () => (await redis.client.zrange(leases, 0, '-1'))[0])
  await usersOf(redis, online, 'dead/test:dead', 3000)
  await redis.client.multi().zrem(leases, token).hset(beats, 'dead', `${token} dead/test:dead`, 'cursor', '0', 'looker', 'dead/test:dead', 'lookerUntil', Date.now() + 3_600_000).exec()
  await connect(t, a.port, PATH, { user: 'bob' })
  await waitFor(async () => await redis.client.hexists(beats, 'cursor') === 0)
  await guest.wait('presence:join', 1)
  t.same((await b.app.wsNamespaces.get('chat')!.presence()).map(({ userId }) => userId).sort(), ['ann', 'bob'])
  t.notOk(guest.of('presence:leave').some(({ userId }) => userId === 'ann'))
})

t.test('who reads the list after a lease ended hears of its users when the instance comes again', async (t) => {
  const { redis, a, b, leases, online } = await two(t)
  for (const user of ['ann', 'bob']) await connect(t, a.port, PATH, { user })
  await waitFor(async () => await redis.client.hlen(online) === 2)
  const [token] = await redis.client.zrange(leases, 0, '-1') as [string]
  await lapse(redis, leases, token)
  const guest = await connect(t, b.port, PATH)
  t.same(guest.connected.presence.map(({ userId }: Present) => userId), [], 'whose lease is over is not online')
  await connect(t, a.port, PATH, { user: 'eve' })
  await guest.wait('presence:join', 3)
  t.same(guest.of('presence:join').map(({ userId }) => userId).sort(), ['ann', 'bob', 'eve'])
})
