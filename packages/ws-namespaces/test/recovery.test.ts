import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { connect as connectRedis, redisServer, sharedRedis, tcpProxy, uniqueName, waitFor, type Scope } from '../../../test/helpers/index.ts'
import { UserSlots } from '../src/cluster/user-slots.ts'
import { Keys } from '../src/delivery/keys.ts'
import { Once } from '../src/namespace/once.ts'
import type { Peer } from '../src/namespace/peer.ts'
import { MemoryRecords, RedisRecords } from '../src/recovery/records.ts'
import { MemoryReceipts } from '../src/recovery/memory-receipts.ts'
import type { Receipts } from '../src/recovery/receipts.ts'
import { RedisReceipts } from '../src/recovery/redis-receipts.ts'
import { build, byHeader } from './support/build.ts'
import { connect, has, range, resume, type Client } from './support/client.ts'
import { servers } from './support/processes.ts'

const PATH = '/api/1/ws/chat'
t.test('a client that resumes on another worker gets what it missed, in order, then live messages', async (t) => {
  const [a, b] = await servers(t, sharedRedis(), 2, { namespaces: { chat: { history: { maxLength: 50, maxAgeMs: 60_000 }, limits: { messages: 1000 } }, 'rooms/:id': { history: {} } } })
  const first = await connect(t, a!.port, PATH, { user: 'ann', headers: { rooms: 'red' } })
  t.equal(first.connected.recovered, false, 'a fresh one recovers nothing')
  t.type(first.connected.offset, 'string')
  await a!.call('publish', 'chat', 'broadcast', '', 1)
  await has([first], 1)
  first.ws.terminate()
  await first.end()

  await b!.call('publishAll', [['chat', 'broadcast', '', 2], ['chat', 'user', 'ann', 3], ['chat', 'user', 'bob', -1], ['chat', 'room', 'red', 4], ['chat', 'room', 'blue', -2]])
  const second = await connect(t, b!.port, PATH, { user: 'ann', headers: { rooms: 'red' }, offset: first.offset, clientId: first.connected.clientId })
  t.equal(second.connected.recovered, true)
  t.equal(second.connected.clientId, first.connected.clientId)
  await a!.call('publish', 'chat', 'broadcast', '', 5)
  t.same(await has([second], 4), [2, 3, 4, 5], 'to all, to the user, to a room of onConnect, then live')

  second.ws.terminate()
  await second.end()
  const third = await resume(t, a!.port, PATH, second, 'ann')
  t.equal(third.connected.recovered, true, 'also where nothing was missed')
  third.ws.terminate()
  await third.end()

  for (let n = 6; n <= 60; n++) await b!.call('publish', 'chat', 'broadcast', '', n)
  const late = await resume(t, a!.port, PATH, third, 'ann')
  t.equal(late.connected.recovered, false, '55 missed, 50 kept')
  await a!.call('publish', 'chat', 'broadcast', '', 61)
  t.same(await has([late], 1), [61], 'only what is new')
  const edge = `${String(late.connected.offset).split('.')[0]}.${Number(String(late.connected.offset).split('.')[1]) - 50}`
  const within = await connect(t, a!.port, PATH, { user: 'cem', offset: edge })
  t.equal(within.connected.recovered, false, 'one message more was published meanwhile')
  const exactly = await connect(t, a!.port, PATH, { user: 'dan', offset: edge.replace(/\d+$/, (seq) => String(Number(seq) + 1)) })
  t.equal(exactly.connected.recovered, true)
  t.same(await has([exactly], 50), range(12, 61))

  for (const offset of ['nonsense', 'abc.1', `${edge.split('.')[0]}.999999`, '__proto__.1']) {
    const odd = await connect(t, a!.port, PATH, { user: 'eve', offset })
    t.equal(odd.connected.recovered, false, offset)
  }

  const quiet = await connect(t, a!.port, PATH, { user: 'quiet' })
  const stood = quiet.offset
  for (let n = 0; n < 60; n++) await b!.call('publish', 'chat', 'user', 'nobody', n)
  await waitFor(() => quiet.offset !== stood, { what: 'an offset frame', timeoutMs: 30_000 })
  t.same(quiet.messages, [], 'which is no message')
  quiet.ws.terminate()
  await quiet.end()
  const again = await resume(t, b!.port, PATH, quiet, 'quiet')
  t.equal(again.connected.recovered, true, 'its place did not fall out of the window')

  const dynamic = await connect(t, a!.port, '/api/1/ws/rooms/ü%20%40', { user: 'ann' })
  dynamic.ws.terminate()
  await dynamic.end()
  await waitFor(async () => !('rooms/ü @' in await a!.call<object>('local')), { what: 'the room to go', timeoutMs: 30_000 })
  await b!.call('publish', 'rooms/ü @', 'broadcast', '', 1)
  const back = await resume(t, a!.port, '/api/1/ws/rooms/ü%20%40', dynamic, 'ann')
  t.equal(back.connected.recovered, true)
  t.same(await has([back], 1), [1], 'the history outlives the clients')
})

for (const [where, link] of [['over two workers', { url: sharedRedis() }], ['without Redis', {}]] as Array<[string, { url?: string }]>) {
  t.test(`what is called recovered is true, ${where}: rooms, the user, memberships, and what is volatile`, async (t) => {
    const siteId = uniqueName('true')
    const may = new Set(['lobby', 'later', 'chosen', 'own'])
    const two = await Promise.all((link.url === undefined ? ['0'] : ['0', '1']).map((pmId) => build(t, {
      link: { ...link, siteId, env: 'test' },
      pmId,
      setup: ({ wsNamespaces }) => wsNamespaces.create('chat', {
        authorize: byHeader,
        history: { maxLength: 50 },
        presence: { graceMs: 0 },
        clientRooms: (_conn, room) => may.has(room),
        onConnect: (conn) => conn.userId === 'member' ? conn.join('secret') : conn.join('lobby'),
        onMessage: async (conn, { type, data }, reply) => {
          if (type === 'enter') await conn.join(String(data))
          reply(data)
        }
      })
    })))
    const [a, b = a] = two as [typeof two[0], typeof two[0]?]
    await waitFor(() => two.every(({ app }) => app.appCluster.members().length === two.length), { timeoutMs: 30_000 })
    const chat = a!.app.wsNamespaces.get('chat')!
    const lose = async (client: Client) => {
      client.ws.terminate()
      await waitFor(() => two.every(({ app }) => app.wsNamespaces.local().chat!.connections < 20) && client.closed !== null, { timeoutMs: 30_000 })
    }

    const ann = await connect(t, a!.port, PATH, { user: 'ann' })
    await ann.request({ type: 'join', data: { room: 'chosen' } })
    await ann.request({ type: 'join', data: { room: 'own' } })
    await ann.request({ type: 'enter', data: 'later' })
    await chat.toRoom('later', 'n', 1)
    await ann.wait('n')
    await lose(ann)
    for (const [n, room] of ['later', 'chosen', 'own', 'lobby', 'elsewhere'].entries()) await chat.toRoom(room, 'n', 2 + n)
    may.delete('own')
    const back = await resume(t, b!.port, PATH, ann, 'ann')
    t.equal(back.connected.recovered, true)
    t.same(await has([back], 3), [2, 3, 5], 'rooms that were joined later too, but the one that it may not choose any more')
    await chat.toRoom('chosen', 'n', 9)
    await chat.toRoom('later', 'n', 10)
    t.same(await has([back], 5), [2, 3, 5, 9, 10], 'and it is in them again')
    await lose(back)
    await chat.broadcast('n', 11)
    await chat.toUser('bob', 'n', 12)
    const stolen = await connect(t, b!.port, PATH, { user: 'bob', offset: back.offset, clientId: back.connected.clientId })
    t.equal(stolen.connected.recovered, false, 'the offset of another user')
    t.equal(stolen.connected.userId, 'bob', 'who it is now')
    await chat.broadcast('end')
    await stolen.wait('end')
    t.same(stolen.of('n'), [])

    const outside = await connect(t, a!.port, PATH, { user: 'member-to-be' })
    await chat.toRoom('secret', 'n', 20)
    await chat.broadcast('n', 21)
    await has([outside], 1)
    const old = outside.offset!.replace(/\d+$/, (seq) => String(Number(seq) - 2))
    for (const clientId of [outside.connected.clientId as string, 'an-invented-client-id', undefined]) {
      const member = await connect(t, b!.port, PATH, { user: 'member', offset: old, ...(clientId === undefined ? {} : { clientId }) })
      await chat.toRoom('secret', 'end')
      await member.wait('end')
      t.same(member.of('n'), clientId === outside.connected.clientId ? [] : [21], 'nothing of a room from before it was in it; what everybody got, unless the client is another user\'s')
      t.equal(member.connected.recovered, false)
      await lose(member)
    }
    // Before what follows, which moves it on.
    const { offset: before } = outside
    await chat.toRoom('elsewhere', 'n', 23)
    await chat.broadcast('n', 24)
    await chat.toUser('member-to-be', 'n', 25)
    const unrecorded = await connect(t, b!.port, PATH, { user: 'member-to-be', offset: before, clientId: 'another-invented-id' })
    t.equal(unrecorded.connected.recovered, false, 'nobody knows in which rooms it was')
    t.same(await has([unrecorded], 2), [24, 25], 'but what everybody and its user got')
    await lose(unrecorded)
    const noRooms = await connect(t, b!.port, PATH, { user: 'member-to-be', offset: unrecorded.offset, clientId: 'a-third-invented-id' })
    t.equal(noRooms.connected.recovered, true, 'nothing was said in a room')
    await lose(noRooms)
    await outside.request({ type: 'enter', data: 'secret' })
    await chat.toRoom('secret', 'n', 22)
    await outside.wait('n', 4)
    await lose(outside)
    const again = await connect(t, b!.port, PATH, { user: 'member-to-be', offset: old, clientId: outside.connected.clientId })
    t.equal(again.connected.recovered, true)
    t.same(await has([again], 4), [21, 24, 25, 22], 'what was said since it is in it')

    const quiet = await connect(t, a!.port, PATH, { user: 'quiet' })
    await lose(quiet)
    await chat.broadcast('n', 30)
    for (let n = 0; n < 60; n++) await chat.broadcast('cursor', n, { volatile: true })
    await again.wait('cursor', 60)
    const real = await resume(t, b!.port, PATH, quiet, 'quiet')
    t.equal(real.connected.recovered, true)
    t.same([await has([real], 1), real.of('cursor')], [[30], []], 'sixty volatile ones push nothing out, and are not repeated')
    t.same((real.connected.presence as Array<{ userId: string }>).map(({ userId }) => userId).sort(), ['bob', 'member-to-be', 'quiet'])
  })
}

t.test('a client whose rooms cannot be read is not told that it recovered, and is in them when it joined again', async (t) => {
  const { app, port } = await build(t, {
    link: { url: sharedRedis() },
    setup: ({ wsNamespaces }) => wsNamespaces.create('chat', { authorize: byHeader, history: {}, clientRooms: () => true })
  })
  const chat = app.wsNamespaces.get('chat')!
  const ann = await connect(t, port, PATH, { user: 'ann' })
  await ann.request({ type: 'join', data: { room: 'own' } })
  ann.ws.terminate()
  await ann.end()
  const { read } = RedisRecords.prototype
  t.teardown(() => { RedisRecords.prototype.read = read })
  RedisRecords.prototype.read = async function (...args) {
    RedisRecords.prototype.read = read
    await read.apply(this, args)
    throw new Error('the answer was lost')
  }
  const back = await resume(t, port, PATH, ann, 'ann')
  t.equal(back.connected.recovered, false)
  await back.request({ type: 'join', data: { room: 'own' } })
  await chat.toRoom('own', 'n', 1)
  t.same(await has([back], 1), [1])
  back.ws.terminate()
  await back.end()
  t.equal((await resume(t, port, PATH, back, 'ann')).connected.recovered, true)
})

t.test('what Redis refuses though it is there is told once, and reaches the clients here', async (t) => {
  const siteId = uniqueName('refused')
  const { app, port, complaints } = await build(t, { link: { url: sharedRedis(), siteId, env: 'test' }, setup: ({ wsNamespaces }) => { wsNamespaces.create('chat', { authorize: byHeader, history: {} }) } })
  const chat = app.wsNamespaces.get('chat')!
  const client = await connect(t, port, PATH, { user: 'ann' })
  t.same(await chat.broadcast('n', 1), { delivered: 'cluster' })
  // An application that writes into what is ours: no number of ours comes after this one.
  await app.redisLink.run((redis) => redis.xadd(app.redisLink.key('ws', 'log', '{chat}'), '99999999999999-0', 'a', 'b'))
  for (const n of [2, 3]) t.same(await chat.broadcast('n', n), { delivered: 'local' })
  t.same(await client.wait('n', 3), [1, 2, 3])
  t.same(complaints, ['Redis refused a message, which reached the clients of this process only'])
})

t.test('the age of the history ends the recovery', async (t) => {
  const [a] = await servers(t, sharedRedis(), 1, { namespaces: { chat: { history: { maxLength: 50, maxAgeMs: 1000 } } } })
  const first = await connect(t, a!.port, PATH, { user: 'ann' })
  first.ws.terminate()
  await first.end()
  await a!.call('publish', 'chat', 'broadcast', '', 1)
  // The clock itself is what is tested.
  await sleep(1500)
  await a!.call('publish', 'chat', 'broadcast', '', 2)
  const second = await resume(t, a!.port, PATH, first, 'ann')
  t.equal(second.connected.recovered, false)
})

t.test('Redis comes back empty: nobody is disconnected, messages go on, who resumes is told that it lost', async (t) => {
  const redis = await redisServer(t, { args: ['--save', '', '--appendonly', 'no'] })
  const [a, b] = await servers(t, redis.url, 2, { namespaces: { chat: { history: {} }, limited: { limits: { maxConnectionsPerUser: 1 } } }, options: { publishWaitMs: 60_000, presenceLeaseMs: 1500 } })
  await connect(t, a!.port, '/api/1/ws/limited', { user: 'ann' })
  const [here, there, leaver] = await Promise.all([connect(t, a!.port, PATH, { user: 'ann' }), connect(t, b!.port, PATH, { user: 'bob' }), connect(t, b!.port, PATH, { user: 'cem' })])
  await a!.call('stream', 'chat', 1, 20, 0)
  await Promise.all([has([here!], 20), has([there!], 20), has([leaver!], 20)])
  leaver!.ws.terminate()
  await redis.restart({ empty: true })
  for (let n = 21; n <= 30; n++) await b!.call('publish', 'chat', 'broadcast', '', n)
  for (const client of [here!, there!]) t.same(await has([client], 30), range(1, 30))
  const back = await resume(t, a!.port, PATH, leaver!, 'cem')
  t.equal(back.connected.recovered, false)
  await a!.call('publish', 'chat', 'broadcast', '', 31)
  t.same(await has([back], 1), [31])
  await waitFor(async () => {
    const second = await connect(t, b!.port, '/api/1/ws/limited', { user: 'ann' })
    second.ws.terminate()
    return second.refused?.status === 429
  }, { what: 'the connections of a user to be counted again', timeoutMs: 30_000, everyMs: 100 })
})

t.test('Redis comes back empty: a client that nothing is meant for learns where the new log is', async (t) => {
  const redis = await redisServer(t, { args: ['--save', '', '--appendonly', 'no'] })
  const [a] = await servers(t, redis.url, 1, { namespaces: { chat: { history: { maxLength: 50, maxAgeMs: 300_000 } } }, options: { publishWaitMs: 60_000 } })
  const quiet = await connect(t, a!.port, PATH, { user: 'quiet' })
  await a!.call('publishAll', range(1, 200).map((n) => ['chat', 'broadcast', '', n]))
  await has([quiet], 200)
  const epochOf = (client: Client) => client.offset!.split('.')[0]
  const before = epochOf(quiet)
  await redis.restart({ empty: true })
  await a!.call('publishAll', range(1, 60).map((n) => ['chat', 'user', 'nobody', n]))
  await waitFor(() => epochOf(quiet) !== before, { what: 'an offset of the new log' })
  quiet.ws.terminate()
  await quiet.end()
  t.equal((await resume(t, a!.port, PATH, quiet, 'quiet')).connected.recovered, true)
})

t.test('Redis stays away: messages reach the clients here after the wait, and are not doubled when it returns', async (t) => {
  const redis = await redisServer(t)
  const [a, b] = await servers(t, redis.url, 2, { namespaces: { chat: { history: {} }, live: {} }, options: { publishWaitMs: 500 } })
  const [here, there, live] = await Promise.all([connect(t, a!.port, PATH, { user: 'ann' }), connect(t, b!.port, PATH, { user: 'bob' }), connect(t, a!.port, '/api/1/ws/live', { user: 'ann' })])
  await redis.kill()
  t.equal((await a!.call<{ delivered: string }>('publish', 'chat', 'broadcast', '', 1)).delivered, 'local')
  t.equal((await a!.call<{ delivered: string }>('publish', 'live', 'broadcast', '', 1)).delivered, 'local')
  t.same(await has([here!], 1), [1])
  t.same(await has([live!], 1), [1])
  await redis.restart()
  await waitFor(async () => await a!.call('mode') === 'cluster' && await b!.call('mode') === 'cluster', { timeoutMs: 60_000 })
  await waitFor(async () => (await a!.call<{ delivered: string }>('publish', 'chat', 'broadcast', '', 2, 'probe')).delivered === 'cluster', { timeoutMs: 60_000 })
  await a!.call('publish', 'chat', 'broadcast', '', 3)
  await a!.call('publish', 'live', 'broadcast', '', 3)
  await there!.wait('n')
  t.same(await has([here!], 2), [1, 3])
  t.same(there!.of('n'), [3], 'what is local reached one process')
  t.same(await has([live!], 2), [1, 3])
})

t.test('what was handled of a client is remembered, across processes with Redis', async (t) => {
  const { app } = await build(t, { link: { url: sharedRedis(), siteId: uniqueName('once') } })
  for (const [what, receipts, other] of [
    ['in the process', ...[new MemoryReceipts('a')].flatMap((one) => [one, one])],
    ['in Redis', new RedisReceipts(app.redisLink, 'a'), new RedisReceipts(app.redisLink, 'b')]
  ] as Array<[string, Receipts, Receipts]>) {
    t.teardown(() => [receipts, other].forEach((one) => one.close()))
    const ann = { namespace: 'rooms/a:b', userId: 'ann', clientId: 'c' }
    t.same(await receipts.claim(ann, 1), { state: 'new' }, what)
    t.match(await other.claim(ann, 1), { state: 'running', bootId: 'a' })
    await receipts.done(ann, 1, '{"type":"x"}')
    t.same(await other.claim(ann, 1), { state: 'done', answer: '{"type":"x"}' })
    for (const another of [{ ...ann, userId: null }, { ...ann, clientId: 'd' }, { ...ann, namespace: 'other' }]) t.same(await other.claim(another, 1), { state: 'new' }, 'each client for itself')
    t.same(await receipts.claim(ann, 257), { state: 'new' })
    t.same(await other.claim(ann, 1), { state: 'forgotten' })
    t.same(await other.claim(ann, 2), { state: 'new' })
    t.same(await receipts.claim(ann, 2 ** 53 - 1), { state: 'new' })
    t.same(await other.claim(ann, 257), { state: 'forgotten' })
  }
})

t.test('in a graceful stop what is being handled is recorded, and what carries an answer is claimed by nobody', async (t) => {
  const link = { url: sharedRedis(), siteId: uniqueName('once') }
  let end = (): void => {}
  const handling = new Promise<void>((resolve) => { end = resolve })
  const onMessage = async (_conn: unknown, { type }: { type: string }): Promise<unknown> => {
    if (type === 'slow') await handling
    return { done: type }
  }
  const { app, port } = await build(t, { link, setup: ({ wsNamespaces }) => { wsNamespaces.create('chat', { authorize: byHeader, onMessage }) } })
  const { app: { redisLink } } = await build(t, { link })
  const client = await connect(t, port, PATH, { user: 'ann' })
  const found = (id: string) => redisLink.run((one) => one.hget(redisLink.key('ws', 'once', '{chat}', 'ann', client.connected.clientId), id))
  client.send({ type: 'x', id: '1', once: true, replyTo: 'x.AAAAAAAAAAAAAAAA' })
  client.send({ type: 'quick', id: '2', once: true })
  await waitFor(() => client.of('quick').length > 0, { what: 'the answer' })
  client.send({ type: 'slow', id: '3', once: true })
  await waitFor(async () => await found('3') !== null, { what: 'the claim' })
  const closing = app.close()
  await client.end()
  end()
  await closing
  t.same([await found('1'), JSON.parse((await found('3'))!).data], [null, { done: 'slow' }])
})

t.test('an answer that comes after the close is still tried once, and a claim that Redis lost is not told of again', async (t) => {
  const { a, b, key, link } = await receiptsOf(t)
  const ann = { namespace: 'chat', userId: 'ann', clientId: 'c' }
  await a.claim(ann, 1)
  a.close()
  await a.done(ann, 1, '{}')
  t.same(await b.claim(ann, 1), { state: 'done', answer: '{}' })
  await b.claim(ann, 2)
  await link.run((client) => client.del(key))
  const beats: unknown[] = []
  const { runScript } = link
  Object.assign(link, {
    runScript: (...args: Parameters<typeof runScript>) => {
      beats.push(args[1])
      return runScript.apply(link, args)
    }
  })
  const another = { ...ann, clientId: 'd' }
  await b.claim(another, 1)
  await waitFor(async () => (await link.run((client) => client.hget(key.replace(/c$/, 'd'), '1')))?.endsWith(' 3'), { what: 'three beats of another' })
  t.ok(beats.filter((told) => JSON.stringify(told).includes(JSON.stringify(key))).length <= 2, 'told once, and perhaps before')
  t.match(await b.claim(ann, 2), { state: 'running', bootId: 'b' }, 'it is still being handled')
})

/** Receipts of three processes; of what the first asks the replies are lost while `loses` is set. */
async function receiptsOf (t: Scope) {
  const { app: { redisLink } } = await build(t, { link: { url: sharedRedis(), siteId: uniqueName('once') } })
  const lossy = { loses: false }
  const link = {
    key: (...parts: string[]) => redisLink.key(...parts),
    runScript: async (...args: Parameters<typeof redisLink.runScript>) => {
      const reply = await redisLink.runScript(...args)
      if (lossy.loses) throw new Error('the reply was lost')
      return reply
    }
  } as unknown as typeof redisLink
  const [a, b, c] = [new RedisReceipts(link, 'a'), new RedisReceipts(redisLink, 'b'), new RedisReceipts(redisLink, 'c')]
  t.teardown(() => [a, b, c].forEach((one) => one.close()))
  return { lossy, a, b, c, key: redisLink.key('ws', 'once', '{chat}', 'ann', 'c'), link: redisLink }
}

t.test('a claim or an answer whose reply was lost is still this process\' own', async (t) => {
  const { lossy, a, b } = await receiptsOf(t)
  const ann = { namespace: 'chat', userId: 'ann', clientId: 'c' }
  lossy.loses = true
  await t.rejects(a.claim(ann, 1))
  await t.rejects(a.claim(ann, 2))
  await t.rejects(a.claim(ann, 2))
  lossy.loses = false
  t.match(await b.claim(ann, 1), { state: 'running', bootId: 'a' }, 'Redis did it')
  t.same(await a.claim(ann, 1), { state: 'new' })
  t.same(await a.claim(ann, 1), { state: 'running', bootId: 'a', beat: null }, 'once')
  await a.giveUp(ann, 1)
  t.match(await b.claim(ann, 1), { state: 'running', bootId: 'a' }, 'what is held is not given up')
  lossy.loses = true
  const recorded = a.done(ann, 1, '{"type":"x"}')
  t.same(await a.claim(ann, 1), { state: 'done', answer: '{"type":"x"}' })
  lossy.loses = false
  await recorded
  t.same(await b.claim(ann, 1), { state: 'done', answer: '{"type":"x"}' })
  await a.giveUp(ann, 2)
  t.same(await b.claim(ann, 2), { state: 'new' }, 'whichever attempt Redis did')
  t.same(await a.done(ann, 2, '{}'), undefined, 'of what is not its own nothing is recorded')
  t.match(await a.claim(ann, 2), { state: 'running', bootId: 'b' })
})

t.test('what Redis does late, because it was sent on a connection that broke, ends no later claim', async (t) => {
  const { a, b, key, link } = await receiptsOf(t)
  const ann = { namespace: 'chat', userId: 'ann', clientId: 'c' }
  t.same(await a.claim(ann, 1), { state: 'new' })
  await a.free(ann, 1)
  t.same(await a.claim(ann, 1), { state: 'new' })
  const stands = await link.run((client) => client.hget(key, '1'))
  t.match(stands, /^running a 2 /)
  // Another process of this boot id knows attempt 1 only.
  const late = new RedisReceipts(link, 'a')
  t.teardown(() => late.close())
  t.match(await late.claim(ann, 1), { state: 'running', bootId: 'a', beat: /^running a 2 / })
  await late.done(ann, 1, '{}')
  t.match(await link.run((client) => client.hget(key, '1')), /^running a 2 /)
  t.match(await b.claim(ann, 1), { state: 'running', bootId: 'a' })
})

t.test('a message whose client moved meanwhile is handled there, waits for who handles it, and is given up when that one is silent', async (t) => {
  const { lossy, a, b, c, key, link } = await receiptsOf(t)
  const claimed = (id: number) => waitFor(async () => await link.run((client) => client.hget(key, String(id))) !== null, { what: 'the claim' })
  const conn = (): { isGone: boolean, told: unknown[] } & Peer => {
    const told: unknown[] = []
    return { isGone: false, ended: null, namespace: 'chat', userId: 'ann', clientId: 'c', told, fail: (code: string) => { told.push(code) }, deliver: ({ single }: { single: Buffer }) => { told.push(single.toString('utf8', 2)) }, hub: { log: { error: t.fail } } } as never
  }
  const [atA, atB] = [a, b].map((receipts) => new Once(receipts, () => true)) as [Once, Once]
  const done: string[] = []
  // Redis took the claim, and this worker does not know; then the client is gone.
  const [old, moved] = [conn(), conn()]
  lossy.loses = true
  atA.take(old, 1, () => { done.push('old') })
  await claimed(1)
  old.isGone = true
  lossy.loses = false
  atB.take(moved, 1, () => { done.push('moved') })
  await waitFor(() => done.length > 0, { what: 'it to be handled where the client is now', timeoutMs: 30_000 })

  // Two connections, so that neither waits for the other's turn: of one worker that takes its time, of one that is silent.
  const [slow, patient, impatient] = [conn(), conn(), conn()]
  let finish = (): void => {}
  atA.take(slow, 2, (record) => { finish = () => record({ json: '{"type":"x","replyTo":2}', bytes: null }) })
  t.same(await c.claim(slow, 3), { state: 'new' })
  c.close()
  await claimed(2)
  atB.take(patient, 2, () => { done.push('patient') })
  atB.take(impatient, 3, () => { done.push('impatient') })
  await waitFor(() => impatient.told.length > 0, { what: 'the silent one to be given up', timeoutMs: 15_000 })
  t.same([impatient.told, patient.told], [['OUTCOME_UNKNOWN'], []])
  finish()
  await waitFor(() => patient.told.length > 0)
  t.same([patient.told, done], [['{"type":"x","replyTo":2}'], ['moved']])
})

t.test('what the process itself remembers is bounded, and what was handled is not handled again', async (t) => {
  const records = new MemoryRecords(60_000, 1000)
  for (const client of ['a', 'b', 'c', 'c']) await records.write(client, { userId: null, rooms: new Map([['x'.repeat(200), { since: null, byClient: true }]]) })
  t.same(await Promise.all(['a', 'b', 'c'].map(async (client) => await records.read(client) !== null)), [false, true, true], 'rooms of clients')
  const receipts = new MemoryReceipts('a', 1000, 3)
  const sender = (clientId: string) => ({ namespace: 'chat', userId: null, clientId })
  for (const client of ['a', 'b']) {
    for (let id = 1; id <= 5; id++) {
      t.same(await receipts.claim(sender(client), id), { state: 'new' })
      await receipts.done(sender(client), id, 'x'.repeat(150))
    }
  }
  const states = async (client: string) => Promise.all([1, 2, 3, 4, 5].map(async (id) => JSON.stringify(await receipts.claim(sender(client), id))))
  t.same(new Set(await states('a')), new Set(['{"state":"done","answer":"ALREADY_HANDLED"}']))
  t.same(new Set(await states('b')), new Set([`{"state":"done","answer":"${'x'.repeat(150)}"}`]))
  for (const client of ['c', 'd']) await receipts.claim(sender(client), 1)
  t.same(await receipts.claim(sender('a'), 1), { state: 'new' }, 'the client that was silent for longest is forgotten')
})

t.test('the connections of a user are counted over processes, and over an outage, neither for ever nor never', async (t) => {
  const redis = await redisServer(t)
  const siteId = uniqueName('slots')
  const make = async (bootId: string) => {
    const { app: { redisLink: link } } = await build(t, { link: { url: redis.url, siteId, env: 'test', commandTimeoutMs: 300 } })
    const replaced: string[] = []
    return { link, replaced, slots: new UserSlots('chat', { link, bootId, leaseMs: 1000, onReplaced: (...client) => { replaced.push(client.join(' ')) } }) }
  }
  const [a, b] = await Promise.all([make('aaaa'), make('bbbb')])
  const client = (n: number) => `client-number-${n}`
  const until = (condition: () => unknown, what: string) => waitFor(condition as () => boolean, { what, timeoutMs: 30_000 })
  const first = await a.slots.claim('ann', client(1), 1)
  t.equal(await b.slots.claim('ann', client(2), 1), null, 'one in all processes')
  const moved = await b.slots.claim('ann', client(1), 1)
  t.same(b.replaced, [`chat ann ${client(1)}`], 'the same client is one, and its old connection is cut')
  first!()
  await until(() => a.slots.isIdle, 'the slot to be given back')
  t.equal(await a.slots.claim('ann', client(3), 1), null, 'what was replaced frees nothing of its successor')
  moved!()
  await until(() => b.slots.isIdle, 'the slot to be free')
  const third = await a.slots.claim('ann', client(3), 1)
  t.type(third, 'function')

  redis.freeze()
  const fourth = await b.slots.claim('ann', client(4), 1)
  t.type(fourth, 'function', 'nobody is refused while Redis is away')
  third!()
  const renew = async () => (await Promise.allSettled([a.slots.renew(), b.slots.renew()])).every(({ status }) => status === 'fulfilled')
  // Longer than a lease: the clock itself is what is tested.
  for (const end = performance.now() + 1500; performance.now() < end; await sleep(100)) await renew()
  redis.thaw()
  await waitFor(renew, { what: 'Redis to be back', timeoutMs: 30_000, everyMs: 50 })
  t.ok(a.slots.isIdle, 'what could not be freed ended with its lease')
  // Again where a slow machine let a lease of a second lapse between the renewal and the claim.
  await waitFor(async () => {
    await renew()
    const fifth = await a.slots.claim('ann', client(5), 1)
    fifth?.()
    return fifth === null
  }, { what: 'who came meanwhile to count', timeoutMs: 30_000 })
  fourth!()
  await until(() => b.slots.isIdle, 'the slot to be free')
  t.type(await a.slots.claim('ann', client(5), 1), 'function')
})

t.test('what could not be freed in an outage of a lease is free when its process is back, whoever is first', async (t) => {
  const redis = await redisServer(t)
  const proxy = await tcpProxy(t, redis.port)
  const { app: { redisLink: link } } = await build(t, { link: { url: `redis://127.0.0.1:${proxy.port}`, siteId: uniqueName('slots'), env: 'test', commandTimeoutMs: 300 } })
  const leaseMs = 1000
  for (const isFirst of [true, false]) {
    const [a, b] = ['aaaa', 'bbbb'].map((bootId) => new UserSlots(`chat-${isFirst}`, { link, bootId, leaseMs, onReplaced: () => {} })) as [UserSlots, UserSlots]
    const free = await a.claim('ann', 'client-of-a', 1)
    await (isFirst ? a : b).claim('bob', 'client-of-another', 1)
    proxy.cut()
    await waitFor(() => !link.isUp, { what: 'the outage to be noticed' })
    free!()
    // Longer than a lease: the clock itself is what is tested.
    for (const end = performance.now() + 1.5 * leaseMs; performance.now() < end; await sleep(100)) await Promise.allSettled([a.renew(), b.renew()])
    proxy.mend()
    const isBack = (slots: UserSlots) => waitFor(() => slots.renew().then(() => true, () => false), { what: 'Redis to be back', timeoutMs: 30_000, everyMs: 50 })
    for (const slots of isFirst ? [a] : [b, a]) await isBack(slots)
    t.type(await b.claim('ann', 'client-of-b', 1), 'function', isFirst ? 'the first to renew' : 'the second, with nothing else')
    if (!isFirst) t.ok(a.isIdle)
  }
})

t.test('the connections of a killed process count no more when its lease ends, also where nobody had any to renew', async (t) => {
  const { app: { redisLink: link } } = await build(t, { link: { url: sharedRedis(), siteId: uniqueName('slots'), env: 'test' } })
  const leaseMs = 60_000
  const process = (bootId: string) => new UserSlots('chat', { link, bootId, leaseMs, onReplaced: () => {} })
  const keys = new Keys(link, 'chat')
  // Of its own: the link's user need not be allowed what no script does.
  const client = connectRedis(t, Number(new URL(sharedRedis()).port))
  /** As if so many leases had gone by in which nobody did anything. */
  const later = async (leases: number) => {
    for (const process of await client.zrange(keys.slotLeases, '0', '-1')) await client.zincrby(keys.slotLeases, -leases * leaseMs, process)
    await client.hset(keys.slotBeats, 'beatAt', Number(await client.hget(keys.slotBeats, 'beatAt')) - leases * leaseMs)
  }
  const [victim, other] = [process('dead'), process('next')]
  for (const user of ['ann', 'bob']) t.type(await victim.claim(user, 'client-of-the-dead', 1), 'function')
  for (const leases of [0, 0.6]) {
    await later(leases)
    t.equal(await other.claim('ann', 'client-that-tries', 1), null, 'its lease has not ended')
  }
  await later(0.6)
  const free = await other.claim('ann', 'client-that-tries', 1)
  t.type(free, 'function')
  t.type(await other.claim('bob', 'client-that-tries', 1), 'function')
  const third = process('last')
  t.type(await third.claim('cleo', 'client-of-another', 1), 'function')
  // Who has something to renew takes it for an outage.
  await later(5)
  t.equal(await third.claim('ann', 'another-client', 1), null)
})
