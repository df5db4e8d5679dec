import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { redisServer, sharedRedis, waitFor } from '../../../test/helpers/index.ts'
import { connect, resume, type Client } from './support/client.ts'
import { servers } from './support/processes.ts'

const PATH = '/api/1/ws/chat'
const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index)

/** Everything that a user got over all of its connections. */
const gotBy = (lives: readonly Client[], type = 'n'): number[] => lives.flatMap((client) => client.of(type) as number[])

async function has (lives: readonly Client[], count: number): Promise<number[]> {
  await waitFor(() => gotBy(lives).length >= count, { what: `${count} messages`, timeoutMs: 60_000 })
    .catch((err: Error) => { throw new Error(`${err.message}: ${gotBy(lives).length}, the last is ${gotBy(lives).at(-1)}`) })
  return gotBy(lives)
}

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
  const [a, b] = await servers(t, redis.url, 2, { namespaces: { chat: { history: {} } }, options: { publishWaitMs: 60_000 } })
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
