import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { clusterBroadcast } from '@jpulse/cluster-broadcast'
import { redisLink } from '@jpulse/redis-link'
import Fastify from 'fastify'
import t from 'tap'
import { Type } from 'typebox'
import { connect as connectRedis, redisServer, sharedRedis, uniqueName, waitFor } from '../../../test/helpers/index.ts'
import { wsNamespaces, type Connection } from '../src/index.ts'
import { Cluster } from '../src/cluster/cluster.ts'
import { Requests } from '../src/cluster/requests.ts'
import { build, byHeader } from './support/build.ts'
import { connect, resume, type Client } from './support/client.ts'

const P = '/api/1/ws'

t.test('before the upgrade: 401, 403, 404, 426, 429, a wrong origin, and nothing is left of who was refused', async (t) => {
  const siteId = uniqueName('gate')
  let calls = 0
  const { app, port, complaints } = await build(t, {
    link: { url: sharedRedis(), siteId, env: 'test' },
    options: { aliases: ['/ws'] },
    setup: ({ wsNamespaces }) => {
      const authorize = async (request: Parameters<typeof byHeader>[0]) => {
        calls++
        await sleep(20)
        const identity = await byHeader(request)
        if (identity?.userId === 'teapot') throw Object.assign(new Error('short and stout'), { statusCode: 418 })
        if (identity?.userId === 'broken') throw new Error('secret of the database')
        return identity?.userId === 'mallory' ? false : identity
      }
      wsNamespaces.create('chat', { authorize, origins: ['https://good.example'], limits: { maxConnections: 3, maxConnectionsPerUser: 2 } })
      wsNamespaces.create('rooms/:id', { authorize, history: {}, presence: true, origins: ['https://good.example'] })
      wsNamespaces.create('same', { authorize })
      wsNamespaces.create('open', { public: true })
      wsNamespaces.create('closed', {})
    }
  })
  const status = async (path: string, user?: string, origin?: string) =>
    (await connect(t, port, path, { ...(user === undefined ? {} : { user }), headers: origin === undefined ? {} : { origin } })).refused?.status ?? 101
  t.equal(await status(`${P}/chat`), 401)
  t.equal(await status(`${P}/chat`, 'mallory'), 403)
  t.equal(await status(`${P}/chat`, 'teapot'), 418)
  t.equal(await status(`${P}/nowhere`, 'ann'), 404)
  for (const path of ['/chat/more', '/rooms/', '/rooms', '/rooms/a/b', '/', '/__proto__', '/constructor', '/rooms/%ff', '/stats/']) t.ok(await status(`${P}${path}`, 'ann') >= 400, path)
  t.equal(await status(`${P}/rooms/${encodeURIComponent('x'.repeat(600))}`, 'ann'), 404, 'a name without end')
  for (const origin of ['https://evil.example', 'https://good.example.evil', 'http://good.example', 'null', 'https://GOOD.example']) {
    t.equal(await status(`${P}/chat`, 'ann', origin), 403, origin)
    t.equal(await status(`${P}/rooms/1`, 'ann', origin), 403, `${origin} on a pattern`)
  }
  t.equal(await status(`${P}/same`, 'ann', 'https://evil.example'), 403, 'by default the own origin only')
  const broken = await connect(t, port, `${P}/chat`, { user: 'broken' })
  t.equal(broken.refused?.status, 500)
  t.notMatch(JSON.stringify(broken.refused?.body), /secret/)
  for (const id of ['a', 'b', 'c']) t.equal(await status(`${P}/rooms/${id}`, 'mallory'), 403)
  t.same(Object.keys(app.wsNamespaces.local()).sort(), ['chat', 'closed', 'open', 'same'], 'no room in memory')
  const redis = connectRedis(t, Number(new URL(sharedRedis()).port))
  t.same(await redis.keys(`${siteId}:test:ws:*`), [], 'nor in Redis')
  t.ok(Object.values(app.wsNamespaces.local()).every(({ connections, lastActivity }) => connections === 0 && lastActivity === null))

  t.equal(await status(`${P}/chat`, 'ann', 'https://good.example'), 101)
  t.equal(await status('/ws/chat', 'ann'), 101, 'by the alias, without an origin')
  t.equal(await status(`${P}/chat`, 'ann'), 429, 'two of one user')
  t.equal(await status(`${P}/chat`, 'bob'), 101)
  t.equal(await status(`${P}/chat`, 'cem'), 429, 'three in all')
  t.equal(await status(`${P}/same`, 'ann', `http://127.0.0.1:${port}`), 101)
  t.equal(await status(`${P}/open`), 101, 'a guest of a public one')
  const before = calls
  const rush = await Promise.all(Array.from({ length: 6 }, () => status(`${P}/same`, 'x')))
  t.ok(rush.every((one) => one === 101) && calls === before + 6)
  const plain = async (path: string, user: string) => (await app.inject({ url: `${P}${path}`, headers: { user } })).statusCode
  t.same(await Promise.all([plain('/same', 'ann'), plain('/same', 'mallory'), plain('/nowhere', 'ann')]), [426, 403, 404], 'plain requests are answered alike')
  t.equal((await app.inject(`${P}/same`)).statusCode, 401)
  for (const user of ['ann', 'bob']) t.equal(await status(`${P}/closed`, user), 401)
  t.equal(complaints.filter((one) => one.includes('nobody can enter')).length, 1, 'without sessions and authorize that is said once')
})

t.test('ids of every kind, over two workers: rooms, users, patterns and their ends', async (t) => {
  const siteId = uniqueName('ids')
  const two = await Promise.all(['0', '1'].map((pmId) => build(t, {
    link: { url: sharedRedis(), siteId, env: 'test' },
    pmId,
    setup: ({ wsNamespaces }) => {
      wsNamespaces.create('rooms/:id', { authorize: async (request, { id }) => id === 'private' ? false : byHeader(request), clientRooms: (_conn, room) => room !== 'secret', relay: ['room', 'user', 'broadcast'], publicFields: ['name'] })
      wsNamespaces.create('live', { authorize: byHeader })
    }
  })))
  const [a, b] = two as [typeof two[0], typeof two[0]]
  await waitFor(() => a.app.appCluster.members().length === 2 && b.app.appCluster.members().length === 2, { timeoutMs: 30_000 })
  const ids = ['a:b', '100%', 'ü @', 'a/b', '%25', '*', '?', '{x}', '~!\'()', '日本語 '.repeat(20), '..', 'private2']
  for (const id of ids) {
    const path = `${P}/rooms/${encodeURIComponent(id)}`
    if (id === '..') continue
    const [ann, bob] = await Promise.all([connect(t, a.port, path, { user: `ann ${id}` }), connect(t, b.port, path, { user: id })])
    const here = (built: typeof a) => built.app.wsNamespaces.get('rooms/:id', { id })!
    t.equal(ann!.connected.namespace, here(a).name)
    t.equal((await bob!.request({ type: 'join', data: { room: id } })).data.room, id)
    await ann!.request({ type: 'room', roomId: id, data: 1 })
    await ann!.request({ type: 'user', userId: id, data: 2 })
    await here(a).broadcast('all', 3)
    await bob!.wait('all')
    t.same(bob!.messages.filter(({ replyTo }) => replyTo === undefined).map(({ type, data, ctx, roomId }) => [type, data, ctx?.userId, roomId]),
      [['room', 1, `ann ${id}`, id], ['user', 2, `ann ${id}`, undefined], ['all', 3, undefined, undefined]], id)
    t.same(ann!.of('room').filter((data) => data === 1), [], 'not in the room')
    t.same(await here(b).presence(id), [{ userId: id, instances: ['test:1'] }])
    t.same(await here(a).online(id), { online: true, instances: ['test:1'] })
    ann!.ws.close()
    bob!.ws.close()
  }
  await waitFor(() => two.every(({ app }) => Object.keys(app.wsNamespaces.local()).every((name) => !name.startsWith('rooms/'))), { what: 'the rooms to go', timeoutMs: 30_000 })
  const subscriptions = () => two.flatMap(({ app }) => app.appCluster.status().subscriptions.map(({ pattern }) => pattern)).filter((pattern) => pattern.startsWith('ws:rooms'))
  await waitFor(() => subscriptions().length === 0, { what: 'the subscriptions to end', timeoutMs: 30_000 })
  t.equal(a.app.wsNamespaces.get('other/1'), null)
  t.equal((await connect(t, a.port, `${P}/rooms/private`, { user: 'ann' })).refused?.status, 403)

  const [one, two2, three] = await Promise.all([connect(t, a.port, `${P}/live`, { user: 'u' }), connect(t, b.port, `${P}/live`, { user: 'u' }), connect(t, b.port, `${P}/live`, { user: 'v' })])
  const patterns = (built: typeof a) => built.app.appCluster.status().subscriptions.map(({ pattern }) => pattern).filter((pattern) => pattern.startsWith('ws:live'))
  t.same([patterns(a).sort(), patterns(b).sort()], [['ws:live:broadcast', 'ws:live:user:u'], ['ws:live:broadcast', 'ws:live:user:u', 'ws:live:user:v']], 'each hears its own users only')
  await a.app.wsNamespaces.get('live')!.broadcast('x', 1, { except: two2!.connected.clientId })
  await a.app.wsNamespaces.get('live')!.toUser('u', 'y', 2)
  await Promise.all([one!.wait('x'), one!.wait('y'), two2!.wait('y'), three!.wait('x')])
  t.same(two2!.of('x'), [], 'except')
  two2!.ws.close()
  await waitFor(() => !patterns(b).includes('ws:live:user:u'), { timeoutMs: 30_000 })
  t.ok(patterns(a).includes('ws:live:user:u'), 'counted per process')
  const second = await connect(t, a.port, `${P}/live`, { user: 'u' })
  second.ws.close()
  await waitFor(() => a.app.wsNamespaces.local().live!.connections === 1, { timeoutMs: 30_000 })
  await b.app.wsNamespaces.get('live')!.toUser('u', 'z', 3)
  t.same(await one!.wait('z'), [3], 'and per socket: one of two that ended leaves the other hearing')
})

t.test('clients that choose rooms; what the server sends, asks and ends across workers', async (t) => {
  const siteId = uniqueName('srv')
  const conns: Connection[] = []
  const two = await Promise.all(['0', '1'].map((pmId) => build(t, {
    link: { url: sharedRedis(), siteId, env: 'test' },
    pmId,
    options: { authorize: (request) => request.headers.who === 'admin' },
    setup: ({ wsNamespaces }) => {
      wsNamespaces.create('chat', {
        authorize: async (request) => {
          const identity = await byHeader(request)
          return identity === null ? null : { ...identity, name: 'N', roles: ['secret role'] }
        },
        clientRooms: (_conn, room) => room !== 'secret',
        relay: ['broadcast'],
        publicFields: ['name'],
        onConnect: (conn) => {
          conns.push(conn as unknown as Connection)
          conn.send('welcome', conn.ctx.name)
        }
      })
    }
  })))
  const [a, b] = two as [typeof two[0], typeof two[0]]
  await waitFor(() => a.app.appCluster.members().length === 2 && b.app.appCluster.members().length === 2, { timeoutMs: 30_000 })
  const [ann, bob] = await Promise.all([connect(t, a.port, `${P}/chat`, { user: 'ann' }), connect(t, b.port, `${P}/chat`, { user: 'bob' })])
  await ann!.wait('welcome')
  t.equal((await ann!.request({ type: 'join', data: { room: 'secret' } })).error?.code, 'FORBIDDEN')
  t.equal((await ann!.request({ type: 'join', data: {} })).error?.code, 'INVALID_MESSAGE')
  t.equal((await ann!.request({ type: 'join', data: { room: 'r' } })).data.room, 'r')
  const chat = b.app.wsNamespaces.get('chat')!
  await chat.toRoom('r', 'in', 1)
  await ann!.wait('in')
  t.equal((await ann!.request({ type: 'leave', data: { room: 'r' } })).data.room, 'r')
  await chat.toRoom('r', 'in', 2)
  await ann!.request({ type: 'broadcast', data: 'to all' })
  await bob!.wait('broadcast')
  t.same(bob!.messages.find(({ type }) => type === 'broadcast')!.ctx, { userId: 'ann', name: 'N' }, 'no roles')
  t.same(ann!.of('in'), [1])

  const answers = (client: typeof ann, answer: (message: { id?: string, data: any }) => object) => client!.ws.on('message', (data) => {
    const message = JSON.parse(String(data))
    if (message.type === 'question') client!.send({ type: 'reply', replyTo: message.id, ...answer(message) })
  })
  answers(bob, ({ data }) => data === 'fail' ? { error: { code: 'NO', message: 'will not' } } : { data: data * 2 })
  t.equal(await a.app.wsNamespaces.get('chat')!.request('bob', 'question', 21, { timeoutMs: 30_000 }), 42, 'from another worker')
  t.equal(await chat.request('bob', 'question', 4, { timeoutMs: 30_000 }), 8, 'from its own')
  await t.rejects(chat.request('bob', 'question', 'fail', { timeoutMs: 30_000 }), { code: 'FST_ERR_WS_NAMESPACES_REQUEST_FAILED', message: /will not/ })
  await t.rejects(chat.request('nobody', 'question', 1), { code: 'NOT_CONNECTED' })
  await t.rejects(chat.request('ann', 'question', 1, { timeoutMs: 100 }), { code: 'REQUEST_TIMEOUT' })
  const conn = conns.find(({ userId }) => userId === 'bob')!
  t.equal(await chat.request(conn, 'question', 5, { timeoutMs: 30_000 }), 10, 'one connection')

  const admin = { who: 'admin' }
  const rest = async (method: 'GET' | 'POST', url: string, payload?: object, headers: Record<string, string> = admin) => {
    const answer = await a.app.inject({ method, url: `${P}${url}`, headers, ...(payload === undefined ? {} : { payload }) })
    return [answer.statusCode, answer.json()]
  }
  t.same((await rest('POST', '/chat/broadcast', { type: 'rest', data: 1 })), [200, { success: true, data: { delivered: 'cluster' } }])
  t.same((await rest('POST', '/chat/user/bob', { type: 'rest', data: 2 }))[0], 200)
  await bob!.wait('rest', 2)
  t.same(await rest('GET', '/chat/user/bob/online'), [200, { success: true, data: { online: true, instances: ['test:1'] } }])
  t.same((await rest('GET', '/chat/user/nobody/online'))[1].data, { online: false, instances: [] })
  t.same((await rest('POST', '/nowhere/broadcast', { type: 'x' }))[0], 404)
  t.same((await rest('POST', '/chat/broadcast', {}))[0], 400)
  t.same((await rest('POST', '/chat/broadcast', { type: 'x', data: 'x'.repeat(300_000) }))[0], 413)
  t.same((await rest('GET', '/stats', undefined, {}))[0], 401)
  const [status, { data: stats }] = await rest('GET', '/stats')
  t.equal(status, 200)
  t.match(stats.chat, { users: 2, connections: 2, instances: 2, status: 'green', drops: { oversize: 0, rateLimit: 0, invalid: 1, slow: 0 } })
  t.ok(Math.abs(Date.now() - stats.chat.lastActivity) < 60_000 && stats.chat.messages > 5)
  t.match(a.app.wsNamespaces.local(), { chat: { path: '/api/1/ws/chat', users: 1, connections: 1, rooms: 0 } })
  await t.rejects(chat.disconnect('bob', 1006), { code: 'FST_ERR_WS_NAMESPACES_INVALID_ARGUMENT' })
  await t.rejects(chat.disconnect('bob', 4403, 'x'.repeat(124)), { code: 'FST_ERR_WS_NAMESPACES_INVALID_ARGUMENT' })
  await Promise.all([ann!, bob!].map((client) => client.request({ type: 'join', data: { room: 'shared' } })))
  t.match(await chat.stats(), { rooms: 1, users: 2 }, 'a room on two workers is one')
  t.equal(await a.app.wsNamespaces.get('chat')!.disconnect('bob', 4403, 'out'), 1)
  t.same(await bob!.end(), { code: 4403, reason: 'out' })
  await chat.close()
  t.equal((await connect(t, b.port, `${P}/chat`, { user: 'x' })).refused?.status, 404)
})

t.test('look-ups take no place in the log that all plugins share', async (t) => {
  const siteId = uniqueName('log')
  const two = await Promise.all(['0', '1'].map((pmId) => build(t, {
    link: { url: sharedRedis(), siteId, env: 'test' },
    pmId,
    options: { authorize: () => true },
    setup: ({ wsNamespaces }) => { wsNamespaces.create('chat', { authorize: byHeader, clientRooms: () => true }) }
  })))
  const [a, b] = two as [typeof two[0], typeof two[0]]
  await waitFor(() => two.every(({ app }) => app.appCluster.members().length === 2), { timeoutMs: 30_000 })
  for (const { port } of two) {
    const client = await connect(t, port, `${P}/chat`, { user: 'bob' })
    await client.request({ type: 'join', data: { room: 'r' } })
    client.ws.on('message', (data) => {
      const { type, id } = JSON.parse(String(data))
      if (type === 'question') client.send({ type: 'reply', replyTo: id, data: 1 })
    })
  }
  const redis = connectRedis(t, Number(new URL(sharedRedis()).port))
  const key = (name: string) => `${siteId}:test:cluster:{${siteId}:test}:${name}`
  const logged = async () => [await redis.xlen(key('stream')), Number(await redis.hget(key('state'), 'seq'))]
  await a.app.appCluster.broadcast.publish('other', 1)
  const before = await logged()
  const chat = a.app.wsNamespaces.get('chat')!
  for (let round = 0; round < 20; round++) {
    t.match(await chat.presence(), [{ userId: 'bob' }])
    t.match(await chat.presence('r'), [{ userId: 'bob' }])
    t.same((await chat.online('bob')).instances.toSorted(), ['test:0', 'test:1'])
    t.equal(await chat.request('bob', 'question', 1, { timeoutMs: 30_000 }), 1)
    t.match(await chat.stats(), { users: 1, connections: 2, rooms: 1 })
    t.equal((await b.app.inject({ url: `${P}/stats`, headers: { who: 'admin' } })).statusCode, 200)
  }
  t.same(await logged(), before)
  t.equal(await chat.disconnect('bob', 4403, 'out'), 2)
  t.same(await logged(), before.map((number) => number + 1), 'whoever reconnects just then must not miss this one')
})

t.test('a user over two workers: listed, put into a room and out of it for good, asked, ended for good', async (t) => {
  const siteId = uniqueName('ctl')
  const two = await Promise.all(['0', '1'].map((pmId) => build(t, {
    link: { url: sharedRedis(), siteId, env: 'test' },
    pmId,
    setup: ({ wsNamespaces }) => wsNamespaces.create('chat', {
      authorize: byHeader,
      history: {},
      clientRooms: true,
      limits: { maxConnectionsPerUser: 2, rooms: 3, messages: 1000 },
      onMessage: async (_conn, { type, data }, reply) => {
        if (type === 'both') reply('first')
        if (type === 'nothing') return undefined
        if (type === 'formless') return new Map()
        return { got: data }
      }
    })
  })))
  const [a, b] = two as [typeof two[0], typeof two[0]]
  await waitFor(() => two.every(({ app }) => app.appCluster.members().length === 2), { timeoutMs: 30_000 })
  const chat = a.app.wsNamespaces.get('chat')!
  const [one, other] = await Promise.all([connect(t, a.port, `${P}/chat`, { user: 'ann' }), connect(t, b.port, `${P}/chat`, { user: 'ann' })])
  const join = (client: Client, room: string) => client.request({ type: 'join', data: { room } })
  for (const room of ['1', '2', '3', '3']) t.equal((await join(one!, room)).data?.room, room)
  t.equal((await join(one!, '4')).error?.code, 'TOO_MANY_ROOMS')
  await one!.request({ type: 'leave', data: { room: '3' } })

  t.equal(await chat.joinUser('ann', 'staff'), 2)
  await chat.toRoom('staff', 'n', 1)
  await Promise.all([one!.wait('n'), other!.wait('n')])
  t.same((await chat.connections('ann')).sort((x, y) => x.instance.localeCompare(y.instance)), [
    { clientId: one!.connected.clientId, rooms: ['1', '2', 'staff'], instance: 'test:0' }, { clientId: other!.connected.clientId, rooms: ['staff'], instance: 'test:1' }])
  t.same(await chat.connections('nobody'), [])
  other!.ws.terminate()
  await waitFor(() => b.app.wsNamespaces.local().chat!.connections === 0, { timeoutMs: 30_000 })
  t.equal(await chat.leaveUser('ann', 'staff'), 1)
  await chat.toRoom('staff', 'n', 2)
  const back = await resume(t, b.port, `${P}/chat`, other!, 'ann')
  t.equal(back.connected.recovered, true)
  await chat.toRoom('staff', 'n', 3)
  await chat.broadcast('end')
  await Promise.all([one!.wait('end'), back.wait('end')])
  t.same([one!.of('n'), back.of('n')], [[1], []], 'neither who was there nor who was away for a moment')

  for (const { port } of two) t.equal((await connect(t, port, `${P}/chat`, { user: 'ann' })).refused?.status, 429, 'two on all workers')
  const near = await resume(t, a.port, `${P}/chat`, one!, 'ann')
  t.equal(near.refused, null, 'its own connection, which broke unnoticed, does not count')
  await one!.end()
  const replaced = await resume(t, b.port, `${P}/chat`, near, 'ann')
  t.equal(replaced.refused, null, 'nor one to another worker')
  await near.end()
  t.equal((await connect(t, a.port, `${P}/chat`, { user: 'ann' })).refused?.status, 429, 'and they are still two')
  const rush = await Promise.all(Array.from({ length: 12 }, (_, index) => connect(t, two[index % 2]!.port, `${P}/chat`, { user: 'rush' })))
  t.same(rush.filter(({ refused }) => refused === null).length, 2, 'of those who come at once, to both')
  for (const { ws } of rush) ws.terminate()
  await waitFor(async () => {
    const late = await connect(t, a.port, `${P}/chat`, { user: 'rush' })
    return late.refused === null
  }, { what: 'the slots to be free again', timeoutMs: 30_000 })

  const answers = async (first: unknown, second: unknown): Promise<unknown> => {
    const asked = chat.request('ann', 'question', null, { timeoutMs: 30_000 }).catch((err) => [err.code, err.clientCode])
    const [p, q] = await Promise.all([replaced, back].map((client) => waitFor(() => client.messages.findLast(({ type }) => type === 'question'))))
    replaced.messages.length = back.messages.length = 0
    replaced.send({ type: 'reply', replyTo: p!.id, ...(first as object) })
    await replaced.request({ type: 'echo' })
    back.send({ type: 'reply', replyTo: q!.id, ...(second as object) })
    return asked
  }
  const unknown = { error: { code: 'UNKNOWN_TYPE', message: 'nobody answers this' } }
  t.equal(await answers(unknown, { data: 7 }), 7, 'a tab that knows nothing does not spoil it')
  t.same(await answers({ error: { code: 'HANDLER_FAILED', message: 'no' } }, unknown), ['FST_ERR_WS_NAMESPACES_REQUEST_FAILED', 'HANDLER_FAILED'])

  t.same((await back.request({ type: 'x', data: 1 })).data, { got: 1 }, 'what a handler returns is the answer')
  t.equal((await back.request({ type: 'both' })).data, 'first')
  t.equal((await back.request({ type: 'nothing' })).error?.code, 'NO_REPLY')
  t.equal((await back.request({ type: 'formless' })).error?.code, 'HANDLER_FAILED')
  for (const data of [new ArrayBuffer(2), new Uint16Array(2), { deep: Buffer.from('x') }, { deep: [new Map()] }, new Set(), Promise.resolve(1), [/x/], new Error('m'), { at: NaN }, () => {}, Symbol('s'), 1n]) {
    await t.rejects(chat.broadcast('n', data), { code: 'FST_ERR_WS_NAMESPACES_INVALID_DATA' })
  }
  await chat.broadcast('date', { at: new Date(0), no: undefined })
  t.same(await back.wait('date'), [{ at: '1970-01-01T00:00:00.000Z' }])
  t.equal(await chat.disconnect('ann'), 2)
  t.same([(await replaced.end()).code, (await back.end()).code], [4403, 4403])
})

t.test('a Redis user that may subscribe to nothing: clients connect and hear this process, told once; later also the others', async (t) => {
  const redis = await redisServer(t)
  await redis.client.call('ACL', 'SETUSER', 'app', 'on', '>pw', 'resetchannels', '&*:link:*', '~*', '+@all')
  const siteId = uniqueName('acl')
  const { href } = Object.assign(new URL(redis.url), { username: 'app', password: 'pw' })
  const two = await Promise.all(['0', '1'].map((pmId) => build(t, {
    link: { url: href, siteId, env: 'test' },
    pmId,
    setup: ({ wsNamespaces }) => {
      wsNamespaces.create('live', { authorize: byHeader, presence: true })
      wsNamespaces.create('kept', { authorize: byHeader, history: {} })
    }
  })))
  const [a, b] = two as [typeof two[0], typeof two[0]]
  const clients = await Promise.all(['live', 'kept'].flatMap((name) => two.map(({ port }) => connect(t, port, `${P}/${name}`, { user: 'ann' }))))
  t.same(clients.map(({ connected }) => connected?.namespace), ['live', 'live', 'kept', 'kept'])
  for (const name of ['live', 'kept']) t.same(await a.app.wsNamespaces.get(name)!.broadcast('n', 1), { delivered: 'local' })
  t.same(await Promise.all([clients[0]!.wait('n'), clients[2]!.wait('n')]), [[1], [1]])
  for (const { complaints } of two) t.equal(complaints.filter((one) => one.includes('refuses a channel of the namespaces')).length, 1)
  await redis.client.call('ACL', 'SETUSER', 'app', 'allchannels')
  await waitFor(async () => {
    await a.app.wsNamespaces.get('live')!.broadcast('later', 2)
    await a.app.wsNamespaces.get('kept')!.broadcast('later', 2)
    return clients[1]!.of('later').length > 0 && clients[3]!.of('later').length > 0
  }, { what: 'the others to be heard', timeoutMs: 60_000, everyMs: 250 })
  await b.app.close()
})

t.test('a question to a room or a user: each answer as it comes, over all workers', async (t) => {
  const siteId = uniqueName('each')
  const two = await Promise.all(['0', '1'].map((pmId) => build(t, {
    link: { url: sharedRedis(), siteId, env: 'test' },
    pmId,
    setup: ({ wsNamespaces }) => { wsNamespaces.create('chat', { authorize: byHeader, clientRooms: true }) }
  })))
  await waitFor(() => two.every(({ app }) => app.appCluster.members().length === 2), { timeoutMs: 30_000 })
  const chat = two[0]!.app.wsNamespaces.get('chat')!
  const clients = await Promise.all(['ann', 'bob', 'cem', 'dan'].map((user, index) => connect(t, two[index % 2]!.port, `${P}/chat`, { user })))
  for (const client of clients.slice(0, 3)) await client.request({ type: 'join', data: { room: 'r' } })
  const answer = async (client: Client, rest: object): Promise<void> => {
    await client.wait('vote')
    client.send({ type: 'reply', replyTo: client.messages.find(({ type, id }) => type === 'vote' && id !== undefined)!.id, ...rest })
  }
  const answers = chat.requestEach({ room: 'r' }, 'vote', { about: 1 })[Symbol.asyncIterator]()
  const first = answers.next()
  await answer(clients[1]!, { data: 'yes' })
  t.same((await first).value, { clientId: clients[1]!.connected.clientId, userId: 'bob', data: 'yes' }, 'before the others')
  await answer(clients[0]!, { error: { code: 'NO', message: 'no' } })
  t.match((await answers.next()).value, { userId: 'ann', error: { code: 'NO', message: 'no' } })
  await answer(clients[2]!, { data: 0 })
  t.match((await answers.next()).value, { userId: 'cem', data: 0 })
  t.equal((await answers.next()).done, true, 'all have answered')
  t.same(clients[3]!.of('vote'), [])
  const late: unknown[] = []
  for await (const { userId } of chat.requestEach({ userId: 'dan' }, 'vote', 2, { timeoutMs: 50 })) late.push(userId)
  for await (const one of chat.requestEach({ room: 'empty' }, 'vote')) late.push(one)
  t.same([late, await clients[3]!.wait('vote')], [[], [2]], 'who does not answer is not among them')
  t.throws(() => chat.requestEach({ room: '' }, 'vote'), { code: 'FST_ERR_WS_NAMESPACES_INVALID_ARGUMENT' })
  t.throws(() => chat.requestEach({ room: 'r' }, 'vote', 1n), { code: 'FST_ERR_WS_NAMESPACES_INVALID_DATA' })
  const { replies } = await two[0]!.app.appCluster.internal('ws').ask('ws:ask', { op: 'later', namespace: 'chat', userId: 'ann' })
  t.same(replies.map((reply) => 'error' in reply), [true, true], 'what a later release asks is not done by guess')
  const tooLarge = { code: 'FST_ERR_WS_NAMESPACES_MESSAGE_TOO_LARGE' }
  t.throws(() => chat.requestEach({ room: 'r' }, 'vote', 'x'.repeat(300_000)), tooLarge)
  await t.rejects(chat.request('ann', 'vote', 'x'.repeat(300_000)), tooLarge)
})

t.test('one guest and very many rooms: 256 where the namespace says nothing', async (t) => {
  const { app, port } = await build(t, { setup: ({ wsNamespaces }) => { wsNamespaces.create('chat', { public: true, clientRooms: true, limits: { messages: 10_000 } }) } })
  const guest = await connect(t, port, `${P}/chat`)
  for (let room = 0; room < 1000; room++) guest.send({ type: 'join', id: room, data: { room: `r${room}` } })
  await waitFor(() => guest.messages.length === 1000, { what: 'all answers', timeoutMs: 30_000 })
  t.same([guest.errors.length, new Set(guest.errors), app.wsNamespaces.local().chat!.rooms], [744, new Set(['TOO_MANY_ROOMS']), 256])
})

t.test('of a user all connections enter a room that may; what is not known of the cluster is told; what nobody reads on is not kept', async (t) => {
  const { app, port } = await build(t, { setup: ({ wsNamespaces }) => { wsNamespaces.create('chat', { authorize: byHeader, clientRooms: true, limits: { rooms: 1 } }) } })
  const [full, free] = [await connect(t, port, `${P}/chat`, { user: 'ann' }), await connect(t, port, `${P}/chat`, { user: 'ann' })]
  await full.request({ type: 'join', data: { room: 'other' } })
  const chat = app.wsNamespaces.get('chat')!
  t.equal(await chat.joinUser('ann', 'staff'), 1)
  t.same((await chat.connections('ann')).find(({ clientId }) => clientId === free.connected.clientId)!.rooms, ['staff'])

  for (const [what, state, replies, missing, status] of [
    ['all answered', 'up', [{ value: {} }], [], 'green'],
    ['one did not', 'up', [{ value: {} }], ['b'], 'yellow'],
    ['one with an error', 'up', [{ value: {} }, { error: 'of a later release' }], [], 'yellow'],
    ['not connected yet', 'connecting', [{ value: {} }], [], 'red'],
    ['away', 'down', [{ value: {} }], [], 'red'],
    ['without Redis', 'disabled', [{ value: {} }], [], 'green']
  ] as const) {
    const cluster = new Cluster({ ask: async () => ({ replies, missing }) } as never, { state } as never, {} as never, 'a', {})
    t.equal((await cluster.statsOf('nowhere')).status, status, what)
  }

  const requests = new Requests({} as never, 'a', {} as never)
  let id = ''
  const answers = requests.each(async (asked) => { id = asked; return 2 }, 20)
  const first = answers.next()
  await waitFor(() => id !== '')
  requests.answered(id, { data: 1 }, { clientId: 'c', userId: null })
  t.match((await first).value, { data: 1 })
  // The time, and once more for a process that was busy: timers of one length fire in their order.
  await sleep(20)
  await sleep(20)
  requests.answered(id, { data: 2 }, { clientId: 'd', userId: null })
  t.equal((await answers.next()).done, true, 'after its time the question is nobody\'s')
})

t.test('what is too long for the others nobody gets, and a client is told so of what it relays', async (t) => {
  const { app, port, complaints } = await build(t, {
    options: { maxOutgoingBytes: 600_000 },
    setup: ({ wsNamespaces }) => {
      for (const [name, history] of [['live', false], ['logged', {}]] as const) wsNamespaces.create(name, { authorize: byHeader, history, relay: ['broadcast'], limits: { maxMessageBytes: 1_000_000 } })
    }
  })
  const tooLarge = { code: 'FST_ERR_WS_NAMESPACES_MESSAGE_TOO_LARGE' }
  for (const [name, options, longest] of [['live', {}, 300_000], ['logged', { volatile: true }, 300_000], ['logged', {}, 700_000]] as const) {
    const client = await connect(t, port, `${P}/${name}`, { user: 'ann' })
    await t.rejects(app.wsNamespaces.get(name)!.broadcast('n', 'x'.repeat(longest), options), tooLarge)
    if (!('volatile' in options)) t.match(await client.request({ type: 'broadcast', data: 'x'.repeat(longest) }), { error: { code: 'MESSAGE_TOO_LARGE' } })
    await app.wsNamespaces.get(name)!.broadcast('end')
    await client.wait('end')
    t.same(client.messages.map(({ type }) => type).filter((type) => type !== 'error'), ['end'])
  }
  t.same(complaints, [])
})

t.test('a client that answers a question twice counts once', async (t) => {
  const { app, port } = await build(t, { setup: ({ wsNamespaces }) => { wsNamespaces.create('chat', { authorize: byHeader, onConnect: (conn) => conn.join('r') }) } })
  const chat = app.wsNamespaces.get('chat')!
  const [loud, other, more] = await Promise.all(['ann', 'bob', 'bob'].map((user) => connect(t, port, `${P}/chat`, { user })))
  const answer = async (client: Client, times: number, rest: object): Promise<void> => {
    await client.wait('ask')
    const { id } = client.messages.findLast(({ type }) => type === 'ask')!
    for (let time = 0; time < times; time++) client.send({ type: 'reply', replyTo: id, ...rest })
    client.messages.length = 0
  }
  const answers = chat.requestEach({ room: 'r' }, 'ask')[Symbol.asyncIterator]()
  const first = answers.next()
  await answer(loud!, 3, { data: 'loud' })
  t.match((await first).value, { userId: 'ann', data: 'loud' })
  await answer(other!, 1, { data: 'other' })
  t.match((await answers.next()).value, { data: 'other' })
  await answer(more!, 1, { data: 'more' })
  t.match((await answers.next()).value, { data: 'more' })
  t.equal((await answers.next()).done, true)

  const good = chat.request('bob', 'ask')
  await answer(other!, 2, { error: { code: 'NO', message: 'no' } })
  await answer(more!, 1, { data: 'good' })
  t.equal(await good, 'good')
})

t.test('HTTP routes: names may be longer than a parameter of a route', async (t) => {
  const { app, port } = await build(t, {
    options: { authorize: ({ headers }) => headers.who === 'admin', aliases: ['/ws'] },
    setup: ({ wsNamespaces }) => {
      wsNamespaces.create('chat', { authorize: byHeader })
      wsNamespaces.create('rooms/:id', { authorize: byHeader })
    }
  })
  const ask = async (method: 'GET' | 'POST', path: string, headers: Record<string, string> = { who: 'admin' }, payload: object = { type: 'n', data: 1 }): Promise<[status: number, body: any]> => {
    const answer = await app.inject({ method, url: path, headers, ...(method === 'GET' ? {} : { payload }) })
    return [answer.statusCode, answer.json()]
  }
  const sent = [200, { success: true, data: { delivered: 'local' } }]
  for (const user of ['u'.repeat(300), 'ä/%2F:@ ?#'.repeat(30), '50%/online', 'x'.repeat(512)]) {
    for (const name of [['chat'], ['rooms/:id', { id: `${'r/'.repeat(60)}é` }]] as Array<[string, Record<string, string>?]>) {
      const namespace = app.wsNamespaces.get(...name)!
      const client = await connect(t, port, namespace.local().path, { user })
      const path = `/${encodeURIComponent(namespace.name)}`
      const ofUser = `${path}/user/${encodeURIComponent(user)}`
      t.same(await ask('POST', `${P}${ofUser}`), sent)
      t.same(await ask('POST', `${P}${path}/broadcast?x=/user/y`), sent)
      t.same(await client.wait('n', 2), [1, 1])
      t.match(await ask('GET', `${P}${ofUser}/online?x=1`), [200, { success: true, data: { online: true, instances: ['test:0'] } }])
      t.equal((await ask('GET', `${P}${ofUser}/online`, {}))[0], 401)
      t.equal((await ask('POST', `${P}${ofUser}`, {}))[0], 401)
      t.equal((await ask('GET', `/ws${ofUser}/online`))[1].code, 'FST_ERR_WS_NAMESPACES_NOT_FOUND', 'none below an alias')
      t.equal((await ask('POST', `${P}${ofUser}`, undefined, { data: 1 }))[0], 400)
      client.ws.terminate()
    }
  }
  const long = 'u'.repeat(300)
  t.match(await ask('GET', `${P}/chat/user/${long}/online`), [200, { data: { online: false, instances: [] } }])
  t.match(await ask('GET', `${P}/nowhere/user/${long}/online`), [404, { code: 'FST_ERR_WS_NAMESPACES_NOT_FOUND' }])
  t.match(await ask('POST', `${P}/nowhere/user/${long}`), [404, { code: 'FST_ERR_WS_NAMESPACES_NOT_FOUND' }])
  t.equal((await ask('POST', `${P}/chat/user/${'u'.repeat(513)}`))[0], 400)
  t.equal((await ask('GET', `${P}/chat/user/${'u'.repeat(513)}/online`))[0], 400)
  for (const path of [`/chat/user/${long}/else`, `/chat/user/${long}/online`, '/chat', '/', '/chat/broadcast//x', `/chat/${long}`]) t.equal((await ask('POST', `${P}${path}`))[0], 404, path)
})

t.test('limits: the stated code, and the connection stays, unless it is abuse', async (t) => {
  const { app, port, complaints } = await build(t, {
    options: { maxPayloadBytes: 8192 },
    setup: ({ wsNamespaces }) => {
      wsNamespaces.create('chat', {
        authorize: byHeader,
        limits: { maxMessageBytes: 1024, messages: 100, windowMs: 60_000 },
        schema: Type.Union([
          Type.Object({ type: Type.Literal('say'), data: Type.String({ maxLength: 100 }) }, { additionalProperties: false }),
          Type.Object({ type: Type.Literal('throw') }),
          Type.Object({ type: Type.Literal('reject') }),
          Type.Object({ type: Type.Literal('silent') }),
          Type.Object({ type: Type.Literal('twice') })
        ]),
        onMessage: async (_conn, message, reply) => {
          if (message.type === 'throw') throw new Error('secret one')
          if (message.type === 'reject') return Promise.reject(new Error('secret two'))
          if (message.type === 'silent') return
          reply(message.type)
          reply('again')
        }
      })
      wsNamespaces.create('bare', { authorize: byHeader })
      wsNamespaces.create('any', { authorize: byHeader, onMessage: (_conn, { data }, reply) => { reply(data) } })
      wsNamespaces.create('fast', { authorize: byHeader, limits: { messages: 10, windowMs: 100 }, onMessage: (_conn, { data }, reply) => { reply(data) } })
    }
  })
  const client = await connect(t, port, `${P}/chat`, { user: 'ann' })
  t.same(client.connected.limits, { maxMessageBytes: 1024, messages: 100, windowMs: 60_000 }, 'merged with the defaults')
  const code = async (message: object) => (await client.request(message)).error?.code
  t.equal((await client.request({ type: 'say', data: 'x' })).data, 'say')
  t.equal(await code({ type: 'say', data: 'x'.repeat(2000) }), 'MESSAGE_TOO_LARGE')
  t.equal(await code({ type: 'say', data: 1 }), 'INVALID_MESSAGE')
  t.equal(await code({ type: 'say' }), 'INVALID_MESSAGE')
  t.equal(await code({ data: 1 }), 'INVALID_MESSAGE')
  t.equal(await code({ type: 5 }), 'INVALID_MESSAGE')
  t.equal(await code({ type: 'toString' }), 'UNKNOWN_TYPE')
  t.equal(await code({ type: 'broadcast', data: 1 }), 'UNKNOWN_TYPE', 'no relays by default')
  t.equal(await code({ type: 'silent' }), 'NO_REPLY')
  for (const type of ['throw', 'reject']) {
    const answer = await client.request({ type })
    t.equal(answer.error?.code, 'HANDLER_FAILED')
    t.notMatch(JSON.stringify(answer), /secret/)
  }
  await client.request({ type: 'twice' })
  t.equal(client.messages.filter(({ replyTo }) => replyTo === 'r12').length, 1, 'exactly one answer')
  for (const text of ['{', '', '[]', 'null', '5', '"x"', '{"type":"say","data":"x","id":{}}']) client.send(text)
  await waitFor(() => client.errors.filter((one) => one === 'INVALID_MESSAGE').length >= 11, { timeoutMs: 30_000 })
  t.equal(client.closed, null)
  t.equal((await (await connect(t, port, `${P}/bare`, { user: 'ann' })).request({ type: 'x' })).error?.code, 'UNKNOWN_TYPE', 'nobody handles it')

  const loud = await connect(t, port, `${P}/chat`, { user: 'loud' })
  const asked = await Promise.all(Array.from({ length: 200 }, () => loud.request({ type: 'say', data: 'x' })))
  t.equal(asked.filter(({ error }) => error === undefined).length, 100)
  t.equal(asked.filter(({ error }) => error?.code === 'RATE_LIMIT_EXCEEDED').length, 100, 'each is answered')
  t.equal(loud.closed, null, 'twice the limit')
  for (let n = 0; n < 201; n++) loud.send({ type: 'say', data: 'x' })
  t.equal((await loud.end()).code, 4429)

  // What was sent while this process stood still is read at once, and was no more than one window's worth at any time.
  const steady = await connect(t, port, `${P}/fast`, { user: 'steady' })
  for (let n = 0; n < 45; n++) steady.send({ type: 'x', data: n })
  for (const end = performance.now() + 700; performance.now() < end;);
  t.equal((await steady.request({ type: 'x', data: 'in time' })).data, 'in time')
  t.same([steady.errors, steady.closed], [[], null])

  const binary = await connect(t, port, `${P}/any`, { user: 'b' })
  binary.send(Buffer.from('{"type":"x"}'))
  t.equal((await binary.end()).code, 1003)
  const huge = await connect(t, port, `${P}/any`, { user: 'b' })
  huge.send({ type: 'x', data: 'x'.repeat(9000) })
  t.equal((await huge.end()).code, 1009)
  t.match(app.wsNamespaces.local().chat!.drops, { oversize: 1, rateLimit: 301, slow: 0 })
  t.ok(app.wsNamespaces.local().chat!.drops.invalid >= 13)
  t.same([...new Set(complaints)], ['a message could not be handled'])
  t.equal((await client.request({ type: 'say', data: 'still here' })).data, 'say')
})

t.test('10,000 fuzzed frames and envelopes: never a crash, never another client\'s problem', async (t) => {
  const { app, port, complaints } = await build(t, {
    setup: ({ wsNamespaces }) => {
      wsNamespaces.create('chat', {
        authorize: byHeader,
        limits: { messages: 1_000_000 },
        relay: ['broadcast', 'user', 'room'],
        clientRooms: true,
        history: { maxLength: 10 },
        onMessage: (_conn, { data }, reply) => { reply(data) }
      })
    }
  })
  const bystander = await connect(t, port, `${P}/chat`, { user: 'bystander' })
  const pick = <T>(list: readonly T[]): T => list[Math.floor(Math.random() * list.length)]!
  const deep = '['.repeat(15_000) + ']'.repeat(15_000)
  const values = ['1', 'null', '""', '"x"', '{}', '[]', 'true', '-1e999', '{"__proto__":{"polluted":1}}', '"\\ud800"', '{"constructor":{"prototype":{"polluted":1}}}', '1e308', '"__proto__"', '"join"', '"user"', '"room"', '"leave"', '"reply"', '{"room":"__proto__"}', '{"room":"r"}', '{"room":"\\ud800"}']
  const keys = ['type', 'data', 'id', 'replyTo', 'userId', 'roomId', 'error', '__proto__', 'constructor', 'toString', 'offset', 'ctx']
  const texts: Array<() => string> = [
    () => `{${Array.from({ length: 1 + Math.floor(Math.random() * 5) }, () => `"${pick(keys)}":${pick(values)}`).join(',')}}`,
    () => `{"type":"${pick(['join', 'leave', 'user', 'room', 'x', 'reply', 'error', 'connected', 'offset'])}","data":${pick(values)},"userId":${pick(values)},"roomId":${pick(values)},"id":${pick(values)}}`,
    () => randomBytes(Math.floor(Math.random() * 100)).toString('latin1'),
    () => pick(values),
    () => `{"type":"x","replyTo":"${app.appCluster.bootId}.${randomBytes(12).toString('base64url')}","data":1}`
  ]
  let client = await connect(t, port, `${P}/chat`, { user: 'fuzz' })
  const rare = [() => `{"type":"x","data":${deep}}`, () => `{"type":"broadcast","data":${deep},"id":1}`]
  for (let n = 0; n < 9000; n++) {
    if (n % 500 === 0) await client.request({ type: 'echo' })
    client.send(n % 1000 === 7 ? pick(rare)() : pick(texts)())
  }
  await client.request({ type: 'echo' })
  t.equal(client.closed, null, 'text does not end a connection')
  // Raw bytes on the socket: broken frames, reserved bits and opcodes, endless fragments, bad lengths and close codes.
  const raws: Array<() => Buffer> = [
    () => randomBytes(1 + Math.floor(Math.random() * 60)),
    () => Buffer.concat([Buffer.from([0x80 | Math.floor(Math.random() * 16), 0x80 | Math.floor(Math.random() * 128)]), randomBytes(30)]),
    () => Buffer.from([0x01, 0x81, 1, 2, 3, 4, 5, 0x00, 0x81, 1, 2, 3, 4, 5]),
    () => Buffer.from([0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
    () => Buffer.from([0x88, 0x82, 0, 0, 0, 0, Math.floor(Math.random() * 20), Math.floor(Math.random() * 256)]),
    () => Buffer.from([0x81, 0x84, 0, 0, 0, 0, 0xff, 0xfe, 0x80, 0x80])
  ]
  for (let sent = 0; sent < 1000; sent += 25) {
    client = await connect(t, port, `${P}/chat`, { user: 'fuzz' })
    const { _socket: socket } = client.ws as unknown as { _socket: { write (bytes: Buffer): void, on (event: 'error', listener: () => void): void } }
    socket.on('error', () => {})
    for (let n = 0; n < 25; n++) socket.write(pick(raws)())
  }
  t.equal(({} as { polluted?: unknown }).polluted, undefined)
  t.equal((await bystander.request({ type: 'echo', data: 'fine' })).data, 'fine')
  t.ok(bystander.messages.every(({ type }) => ['broadcast', 'echo'].includes(type)), String([...new Set(bystander.messages.map(({ type }) => type))]))
  t.equal(bystander.closed, null)
  t.ok(complaints.length < 100, `${complaints.length} complaints`)
  await waitFor(() => app.wsNamespaces.local().chat!.connections <= 3, { what: 'the broken connections to end', timeoutMs: 60_000 })
})

t.test('options and names: a bad one is an error that names it', async (t) => {
  const bad = async (options: object, message: RegExp) => t.rejects(build(t, { options: options as never }), { code: 'FST_ERR_WS_NAMESPACES_INVALID_OPTION', message })
  await bad({ routePrefix: 'ws' }, /routePrefix/)
  await bad({ unheardOf: 1 }, /unheardOf|unknown/)
  await bad({ drainMs: -1 }, /drainMs/)
  await bad({ authorize: true }, /authorize/)
  const { app } = await build(t)
  const { wsNamespaces } = app
  t.equal((wsNamespaces.create as unknown as () => typeof wsNamespaces.create)()('chat').name, 'chat', 'called twice, for its types')
  t.throws(() => wsNamespaces.create('chat'), { code: 'FST_ERR_WS_NAMESPACES_EXISTS' })
  for (const name of ['', undefined, 'stats', 'a b', '/a', 'a/', ':id', 'a/:', 'ü', 5]) t.throws(() => wsNamespaces.create(name as string), { code: 'FST_ERR_WS_NAMESPACES_INVALID_NAME' }, String(name))
  for (const [options, message] of [
    [{ limits: { messages: 0 } }, /limits.messages/], [{ limits: { maxConnections: -1 } }, /maxConnections/], [{ limits: { nope: 1 } }, /limits|unknown/],
    [{ history: { maxLength: 0 } }, /history/], [{ relay: ['all'] }, /relay/], [{ onMessage: 1 }, /onMessage/], [{ limits: { maxMessageBytes: 2 ** 21 } }, /maxPayloadBytes/],
    [{ unknown: true }, /unknown/], [{ clientRooms: 'yes' }, /clientRooms/]
  ] as Array<[object, RegExp]>) {
    t.throws(() => wsNamespaces.create('x', options), { code: 'FST_ERR_WS_NAMESPACES_INVALID_OPTION', message }, JSON.stringify(options))
  }
  const chat = wsNamespaces.get('chat')!
  await t.rejects(chat.toUser('', 'x'), { code: 'FST_ERR_WS_NAMESPACES_INVALID_ARGUMENT' })
  await t.rejects(chat.toRoom('\ud800', 'x'), { code: 'FST_ERR_WS_NAMESPACES_INVALID_ARGUMENT' })
  for (const options of [{ exept: 'a' }, new Map([['except', 'a']]), null]) await t.rejects(chat.broadcast('x', 1, options as object), { code: 'FST_ERR_WS_NAMESPACES_INVALID_OPTION' }, 'all would get it')
  for (const except of [[null], new Set(['a']), {}]) await t.rejects(chat.broadcast('x', 1, { except: except as never }), { code: 'FST_ERR_WS_NAMESPACES_INVALID_ARGUMENT' })
  await t.rejects(chat.request('ann', 'x', 1, { timeout: 5 } as object), { code: 'FST_ERR_WS_NAMESPACES_INVALID_OPTION', message: /timeout is unknown/ })
  const cycle: { self?: object } = {}
  cycle.self = cycle
  await t.rejects(async () => chat.broadcast('x', cycle), { code: 'FST_ERR_WS_NAMESPACES_INVALID_DATA' })
  await t.rejects(async () => chat.broadcast('x', 'x'.repeat(300_000)), { code: 'FST_ERR_WS_NAMESPACES_MESSAGE_TOO_LARGE' })
  const described = wsNamespaces.create('typed/:id', {
    relay: ['user'],
    schema: Type.Union([Type.Object({ type: Type.Literal('say'), data: Type.String() }), Type.Object({ type: Type.Literal('ask'), data: Type.Number() })])
  }).asyncApi()
  t.match(described, {
    asyncapi: '3.0.0',
    channels: { 'typed/:id': { address: '/api/1/ws/typed/{id}', parameters: { id: {} } } },
    components: { messages: { say: { payload: { properties: { data: { type: 'string' } } } }, ask: { payload: { type: 'object' } }, user: {} } }
  })
})

t.test('below a prefix of the application, paths that are told are those that clients connect to', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  let path = ''
  app.register(async (scope) => {
    await scope.register(redisLink)
    await scope.register(clusterBroadcast)
    await scope.register(wsNamespaces)
    const chat = scope.wsNamespaces.create('chat', { public: true })
    t.match(chat.asyncApi(), { channels: { chat: { address: '/shop/api/1/ws/chat' } } })
    path = chat.local().path
  }, { prefix: '/shop' })
  await app.ready()
  t.equal((await app.inject(path)).statusCode, 426, path)
})

t.test('without Redis: rooms, presence, history and drain within the process', async (t) => {
  const { app, port } = await build(t, {
    setup: ({ wsNamespaces }) => {
      wsNamespaces.create('chat', { authorize: byHeader, history: { maxLength: 20 }, presence: true, clientRooms: true, relay: ['broadcast', 'room'] })
      wsNamespaces.create('rooms/:id', { authorize: byHeader, history: { maxLength: 20 } })
    }
  })
  const chat = app.wsNamespaces.get('chat')!
  const [ann, bob] = await Promise.all([connect(t, port, `${P}/chat`, { user: 'ann' }), connect(t, port, `${P}/chat`, { user: 'bob' })])
  await ann!.request({ type: 'join', data: { room: 'r' } })
  await bob!.request({ type: 'room', roomId: 'r', data: 'hello' })
  await ann!.wait('room')
  t.same(bob!.of('room').filter((data) => data === 'hello'), [])
  t.same((await chat.presence()).map(({ userId }) => userId).sort(), ['ann', 'bob'])
  bob!.ws.terminate()
  t.same(await ann!.wait('presence:leave'), [{ userId: 'bob' }])
  t.same(await chat.online('bob'), { online: false, instances: [] })
  for (let n = 1; n <= 10; n++) await chat.broadcast('n', n)
  const back = await resume(t, port, `${P}/chat`, bob!, 'bob')
  t.equal(back.connected.recovered, true)
  t.same(await back.wait('n', 10), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
  for (let n = 11; n <= 40; n++) await chat.broadcast('n', n)
  const late = await connect(t, port, `${P}/chat`, { user: 'cem', offset: bob!.offset })
  t.equal(late.connected.recovered, false)
  const room = await connect(t, port, `${P}/rooms/1`, { user: 'ann' })
  room.ws.terminate()
  await waitFor(() => !('rooms/1' in app.wsNamespaces.local()), { timeoutMs: 30_000 })
  await app.wsNamespaces.get('rooms/1')!.broadcast('n', 1)
  t.same(await (await connect(t, port, `${P}/rooms/1`, { user: 'ann', offset: room.offset })).wait('n'), [1])
  t.match(await chat.stats(), { users: 3, connections: 3, instances: 1, status: 'green' })

  const drained = app.wsNamespaces.drain()
  t.equal(app.wsNamespaces.drain(), drained, 'once')
  t.equal((await connect(t, port, `${P}/chat`, { user: 'x' })).refused?.status, 503)
  await drained
  t.same((await ann!.end()).code, 1001)
})
