import { connect as connectTcp, type Socket } from 'node:net'
import { once } from 'node:events'
import { randomBytes } from 'node:crypto'
import fastifyWebsocket from '@fastify/websocket'
import t from 'tap'
import { WebSocket, WebSocketServer } from 'ws'
import { redisServer, sharedRedis, uniqueName, waitFor } from '../../../test/helpers/index.ts'
import { QueuedSocket } from '../src/delivery/queued-socket.ts'
import { build, byHeader } from './support/build.ts'
import { connect, type Client } from './support/client.ts'
import { servers } from './support/processes.ts'

const PATH = '/api/1/ws/chat'
const MIB = 1024 * 1024

function upgradeOf (path: string, user: string, extensions = ''): string {
  return `GET ${path} HTTP/1.1\r\nHost: x\r\nUser: ${user}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n${extensions}\r\n`
}

/** A text frame of a client, with a mask of zeros. */
function frameOf (text: string): Buffer {
  const body = Buffer.from(text)
  const length = body.length < 126 ? [0x80 | body.length] : [0x80 | 126, body.length >> 8, body.length & 255]
  return Buffer.concat([Buffer.of(0x81, ...length, 0, 0, 0, 0), body])
}

/** A client that upgrades and then never reads, nor answers. */
async function deaf (t: { teardown (fn: () => unknown): unknown }, port: number, user: string, extensions = ''): Promise<void> {
  const socket = connectTcp(port, '127.0.0.1')
  socket.on('error', () => {})
  t.teardown(() => socket.destroy())
  await once(socket, 'connect')
  socket.write(upgradeOf(PATH, user, extensions))
  await once(socket, 'readable')
  // Not another byte from now on.
  socket.pause()
}

t.test('1000 clients that stop reading: memory stays, they are dropped with 4408, the others go on', async (t) => {
  const [server] = await servers(t, sharedRedis(), 1, { namespaces: { chat: { limits: { messages: 1_000_000 } } } })
  const reader = await connect(t, server!.port, PATH, { user: 'reader' })
  for (let first = 0; first < 1000; first += 100) await Promise.all(Array.from({ length: 100 }, (_, index) => deaf(t, server!.port, `d${first + index}`)))
  await waitFor(async () => (await server!.call<Record<string, { connections: number }>>('local')).chat!.connections === 1001, { timeoutMs: 60_000 })
  const before = await server!.call<number>('memory')
  const text = 'x'.repeat(60_000)
  let peak = 0
  let sent = 0
  // The kernel takes what it can, some MiB each, before anything piles up.
  for (; sent < 400; sent++) {
    await server!.call('publish', 'chat', 'broadcast', '', text)
    if (sent % 20 === 19) {
      peak = Math.max(peak, await server!.call<number>('memory'))
      if ((await server!.call<Record<string, { connections: number }>>('local')).chat!.connections === 1) break
    }
  }
  await waitFor(async () => (await server!.call<Record<string, number>>('closes'))[4408] === 1000, { what: 'all to be dropped', timeoutMs: 60_000 })
  peak = Math.max(peak, await server!.call<number>('memory'))
  t.comment(`after ${sent} messages of 60 kB, ${Math.round((peak - before) / MIB)} MiB more at most`)
  // With a copy of each frame for each client it would be `maxBufferedBytes` of each, 1 GiB; what Node keeps for itself differs by version.
  t.ok(peak - before < 250 * MIB, `${Math.round((peak - before) / MIB)} MiB`)
  t.equal((await server!.call<Record<string, { drops: { slow: number } }>>('local')).chat!.drops.slow, 1000)
  t.equal((await reader.request({ type: 'echo', data: 'here' })).data, 'here')
  t.equal(reader.closed, null)
})

t.test('a client that stops reading is dropped with permessage-deflate as without: what waits for the compressor counts', async (t) => {
  const { app, port } = await build(t, {
    before: (app) => app.register(fastifyWebsocket, { options: { maxPayload: MIB, perMessageDeflate: { threshold: 0 } }, preClose: (done: () => void) => done() }),
    setup: ({ wsNamespaces }) => { wsNamespaces.create('chat', { authorize: byHeader, limits: { maxBufferedBytes: 200_000 } }) }
  })
  const reader = new WebSocket(`ws://127.0.0.1:${port}${PATH}`, { headers: { user: 'reader' }, perMessageDeflate: true })
  t.teardown(() => reader.terminate())
  let got = 0
  reader.on('message', (data) => { got += JSON.parse(String(data)).type === 'n' ? 1 : 0 })
  await once(reader, 'open')
  t.match(reader.extensions, /permessage-deflate/)
  await deaf(t, port, 'deaf', 'Sec-WebSocket-Extensions: permessage-deflate\r\n')
  const chat = app.wsNamespaces.get('chat')!
  await waitFor(() => chat.local().connections === 2, { timeoutMs: 30_000 })
  // Nothing that a compressor could make small, and all at once: it waits before the compressor.
  let sent = 0
  for (; chat.local().drops.slow === 0 && sent < 2000; sent += 10) {
    for (let n = 0; n < 10; n++) chat.broadcast('n', randomBytes(15_000).toString('base64'))
    await waitFor(() => got === sent + 10 || chat.local().drops.slow > 0, { what: 'the reader to have all', timeoutMs: 30_000, everyMs: 1 })
  }
  t.comment(`dropped after ${sent * 20_000 / MIB} MiB`)
  t.equal(chat.local().drops.slow, 1)
  await waitFor(() => chat.local().connections === 1, { what: 'it to be gone', timeoutMs: 30_000 })
  await waitFor(() => got === sent, { what: 'the reader to have all', timeoutMs: 30_000 })
})

t.test('what waits for the first frame of a client is bounded by bytes, and comes after it', async (t) => {
  let begin = (): void => {}
  const begun = new Promise<void>((resolve) => { begin = resolve })
  const { app, port } = await build(t, {
    setup: ({ wsNamespaces }) => {
      for (const name of ['less', 'more']) wsNamespaces.create(name, { authorize: byHeader, limits: { maxBufferedBytes: 1000 }, onConnect: () => begun })
    }
  })
  const [less, more] = ['less', 'more'].map((name) => connect(t, port, `/api/1/ws/${name}`, { user: 'ann' }))
  const dropsOf = (name: string) => app.wsNamespaces.get(name)!.local()
  await waitFor(() => dropsOf('less').connections + dropsOf('more').connections === 2, { timeoutMs: 30_000 })
  for (const [name, count] of [['less', 3], ['more', 4]] as const) {
    for (let n = 0; n < count; n++) await app.wsNamespaces.get(name)!.broadcast('n', 'x'.repeat(1000))
  }
  t.same((await (await more!).end()), { code: 4408, reason: 'too slow' }, 'more than four times what may wait for a slow client')
  t.same([dropsOf('less').drops.slow, dropsOf('more').drops.slow], [0, 1])
  begin()
  const patient = await less!
  t.same((await patient.wait('n', 3)).length, 3)
  t.equal(patient.closed, null)
})

t.test('a request that offers another protocol, h2c, is answered as without the plugin', async (t) => {
  const { app, port } = await build(t, {
    before: (app) => {
      app.post('/echo', async ({ body }) => ({ got: body }))
      app.get('/plain', async () => 'plain')
    },
    setup: ({ wsNamespaces }) => { wsNamespaces.create('chat', { authorize: byHeader }) }
  })
  const socket = connectTcp(port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  let answer = ''
  socket.on('data', (chunk) => { answer += String(chunk) })
  const offer = 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n'
  const body = JSON.stringify({ text: 'x'.repeat(100_000) })
  socket.write(`POST /echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n${offer}\r\n${body.slice(0, 10)}`)
  socket.write(body.slice(10))
  await waitFor(() => answer.endsWith(`{"got":${body}}`), { what: 'the answer with the body', timeoutMs: 30_000 })
  t.match(answer, /^HTTP\/1.1 200/)
  answer = ''
  socket.write(`GET /plain HTTP/1.1\r\nHost: x\r\n${offer}\r\n`)
  await waitFor(() => answer.endsWith('plain'), { what: 'the next on the same connection', timeoutMs: 30_000 })
  t.notMatch(answer, /connection: close/i)
  answer = ''
  socket.write(`GET ${PATH} HTTP/1.1\r\nHost: x\r\nUser: u\r\n${offer}\r\n`)
  await waitFor(() => answer.includes('UPGRADE_REQUIRED'), { timeoutMs: 30_000 })
  t.equal((await connect(t, port, PATH, { user: 'ann' })).connected.namespace, 'chat')
  socket.write(`POST ${PATH} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\n{}`)
  await waitFor(() => answer.includes(' 404 '), { what: 'no WebSocket either', timeoutMs: 30_000 })
  await app.close()
})

t.test('after a stall longer than the pong timeout, pongs that came in time are read before connections are cut', async (t) => {
  const [server] = await servers(t, sharedRedis(), 1, { namespaces: { chat: { limits: { messages: 1_000_000 } } }, options: { pingIntervalMs: 100, pongTimeoutMs: 300 } })
  const clients = await Promise.all(Array.from({ length: 100 }, (_, index) => connect(t, server!.port, PATH, { user: `u${index}` })))
  for (let times = 0; times < 5; times++) {
    await server!.call('stall', 700)
    t.equal((await clients[times]!.request({ type: 'echo', data: times })).data, times)
  }
  t.same(clients.filter(({ closed }) => closed !== null), [])
})

t.test('drain: 1001 for all in slices, bounded with clients that do not answer, refused meanwhile, once', async (t) => {
  const [server] = await servers(t, sharedRedis(), 1, { namespaces: { chat: {} }, options: { drainMs: 3000 } })
  const clients = await Promise.all(Array.from({ length: 200 }, (_, index) => connect(t, server!.port, PATH, { user: `u${index}` })))
  for (let index = 0; index < 5; index++) await deaf(t, server!.port, `d${index}`)
  const draining = server!.call<number>('drain')
  await waitFor(() => clients.some(({ closed }) => closed !== null), { timeoutMs: 30_000, everyMs: 1 })
  const early = clients.filter(({ closed }) => closed !== null).length
  t.equal((await connect(t, server!.port, PATH, { user: 'late' })).refused?.status, 503)
  const ms = await draining
  await Promise.all(clients.map((client) => client.end()))
  t.same([...new Set(clients.map(({ closed }) => closed!.code))], [1001])
  t.ok(early < 200, `${early} were closed first, not all at once`)
  t.comment(`${Math.round(ms)} ms`)
  // ws by itself waits 30 s for a client that does not answer a close.
  t.ok(ms < 25_000)
  t.equal((await server!.call<Record<string, { connections: number }>>('local')).chat!.connections, 0, 'also the deaf ones')
  await server!.call('close')
})

t.test('who is slow is not dead: a long message on its way up counts as heard, on both kinds of sockets', async (t) => {
  const got: number[] = []
  const { app, port } = await build(t, {
    options: { pingIntervalMs: 100, pongTimeoutMs: 1500 },
    setup: ({ wsNamespaces }) => { wsNamespaces.create('chat', { authorize: byHeader, onMessage: (_conn, { data }) => { got.push((data as string).length) } }) }
  })
  const text = 'x'.repeat(40_000)
  const upgraded = async (path: string) => {
    const socket = connectTcp(port, '127.0.0.1')
    t.teardown(() => socket.destroy())
    let heard = ''
    socket.on('data', (chunk) => { heard += String(chunk) })
    socket.write(upgradeOf(path, 'u'))
    const said = (what: RegExp) => waitFor(() => what.exec(heard), { what: String(what), timeoutMs: 20_000 })
    await said(/"connected"/)
    return { socket, said }
  }
  const { socket: single } = await upgraded(PATH)
  const { socket: several, said } = await upgraded('/api/1/ws')
  several.write(frameOf('{"type":"open","id":1,"path":"chat"}'))
  const channel = (await said(/"channel":(\d+)/))![1]!
  await waitFor(() => app.wsNamespaces.local().chat!.connections === 2)
  const frames = ['', channel].map((before) => frameOf(`${before}${JSON.stringify({ type: 'x', data: text })}`))
  // Neither answers a ping meanwhile, as who has sent more than the network takes cannot.
  const begun = performance.now()
  let sent = 0
  for (; performance.now() - begun < 5000; sent += 100) {
    single.write(frames[0]!.subarray(sent, sent + 100))
    several.write(frames[1]!.subarray(sent, sent + 100))
    await new Promise((resolve) => { setTimeout(resolve, 50) })
  }
  t.equal(app.wsNamespaces.local().chat!.connections, 2, 'after more than three times what a silent one has')
  single.write(frames[0]!.subarray(sent))
  await waitFor(() => got.length === 1, { timeoutMs: 20_000 })
  t.same(got, [text.length])
  await waitFor(() => app.wsNamespaces.local().chat!.connections === 0, { what: 'who sends no more to be ended', timeoutMs: 20_000 })
})

t.test('who is so slow that it answers no ping for long is ended', async (t) => {
  const { app, port } = await build(t, {
    options: { pingIntervalMs: 100, pongTimeoutMs: 300 },
    setup: ({ wsNamespaces }) => { wsNamespaces.create('chat', { authorize: byHeader }) }
  })
  const socket = connectTcp(port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  socket.on('error', () => {}).resume()
  socket.write(upgradeOf(PATH, 'u'))
  await waitFor(() => app.wsNamespaces.local().chat!.connections === 1)
  const frame = frameOf(JSON.stringify({ type: 'x', data: 'x'.repeat(40_000) }))
  let sent = 0
  await waitFor(() => {
    if (socket.writable) socket.write(frame.subarray(sent, ++sent))
    return app.wsNamespaces.local().chat!.connections === 0
  }, { what: 'it to be ended', everyMs: 20, timeoutMs: 20_000 })
  t.ok(sent < frame.length, 'though it sent all the time')
})

t.test('who is slow is not dead: nor is who takes what lies before the ping', async (t) => {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
  t.teardown(() => server.close())
  await once(server, 'listening')
  const reader = connectTcp((server.address() as { port: number }).port, '127.0.0.1')
  t.teardown(() => reader.destroy())
  reader.write(upgradeOf('/', 'u'))
  const [ws] = await once(server, 'connection')
  t.teardown(() => ws.terminate())
  const socket = new QueuedSocket(ws, true)
  await once(reader, 'data')
  reader.pause()
  // More than the kernel takes, in one write.
  socket.push(Buffer.alloc(64 * MIB))
  await waitFor(() => !socket.isMoving() && socket.backlog > MIB, { what: 'the kernel to be full' })
  socket.ping()
  const asked = socket.pingedAt
  t.notOk(socket.isMoving())
  for (let round = 0; round < 3; round++) {
    reader.resume()
    await waitFor(() => socket.isMoving(), { what: 'the reader to have taken some', everyMs: 1 })
    reader.pause()
  }
  await waitFor(() => !socket.isMoving() && socket.backlog > 0, { what: 'it to stop again' })
  t.equal(socket.pingedAt, asked, 'the ping has not left')
  reader.resume()
  await waitFor(() => socket.pingedAt > asked, { what: 'the ping to leave', timeoutMs: 30_000 })
  socket.isMoving()
  // What the kernel takes from now on tells nothing of who should read it.
  socket.push(Buffer.alloc(1000))
  await waitFor(() => socket.backlog === 0)
  t.notOk(socket.isMoving())
})

t.test('close() with Redis frozen and connections open is bounded; silent clients are found', async (t) => {
  const redis = await redisServer(t, { args: ['--save', '', '--appendonly', 'no'] })
  const { app, port } = await build(t, {
    link: { url: redis.url, siteId: uniqueName('life'), env: 'test', commandTimeoutMs: 500 },
    // Client and server share this process: the pong has to have time for both.
    options: { pingIntervalMs: 200, pongTimeoutMs: 5000, drainMs: 500 },
    setup: ({ wsNamespaces }) => { wsNamespaces.create('chat', { authorize: async (request) => await byHeader(request) ?? { userId: String(request.headers.user) }, history: {}, presence: true }) }
  })
  const client: Client = await connect(t, port, PATH, { user: 'ann' })
  await deaf(t, port, 'silent')
  await waitFor(() => app.wsNamespaces.local().chat!.connections === 2, { timeoutMs: 30_000 })
  await waitFor(() => app.wsNamespaces.local().chat!.connections === 1, { what: 'the silent one to be ended', timeoutMs: 30_000 })
  t.equal(client.closed, null, 'who answers pings stays')
  redis.freeze()
  const begin = performance.now()
  await app.close()
  const ms = performance.now() - begin
  redis.thaw()
  t.comment(`${Math.round(ms)} ms`)
  t.ok(ms < 10_000)
  t.equal((await client.end()).code, 1001)
})

t.test('what a client sent before the server ended its connection is not handled, kept for a reconnection or not', async (t) => {
  const handled: string[] = []
  const { port } = await build(t, {
    setup: ({ wsNamespaces }) => {
      wsNamespaces.create('chat', {
        authorize: byHeader,
        onMessage (conn, { type }) {
          handled.push(type)
          if (type === 'last') conn.close(4403, 'out')
        }
      })
    }
  })
  for (const once of [false, true]) {
    const client = await connect(t, port, PATH, { user: 'ann' })
    const { _socket: socket } = client.ws as unknown as { _socket: Socket }
    // One write, so that the server reads them in one turn.
    socket.cork()
    for (const [index, type] of ['last', 'more', 'more'].entries()) client.send({ type, id: index + 1, once })
    socket.uncork()
    t.equal((await client.end()).code, 4403)
  }
  t.same(handled, ['last', 'last'])
})

t.test('an answer to a message whose claim Redis lost leaves no key without an end', async (t) => {
  let answer = (): void => {}
  const { app, port } = await build(t, {
    link: { url: sharedRedis(), siteId: uniqueName('once') },
    setup: ({ wsNamespaces }) => { wsNamespaces.create('chat', { authorize: byHeader, onMessage: () => new Promise<string>((resolve) => { answer = () => resolve('late') }) }) }
  })
  const client = await connect(t, port, PATH, { user: 'ann' })
  const key = app.redisLink.key('ws', 'once', '{chat}', 'ann', client.connected.clientId)
  const ttl = () => app.redisLink.run((redis) => redis.pttl(key))
  client.send({ type: 'ask', id: 1, once: true })
  await waitFor(async () => await ttl() > 0)
  await app.redisLink.run((redis) => redis.del(key))
  answer()
  await client.wait('ask')
  t.equal(await ttl(), -2)
})

t.test('an id on a socket of several that is used again while its namespace was being opened is that of the second', async (t) => {
  const decide: Record<string, () => void> = {}
  const asked = (name: string) => new Promise<{ userId: string }>((resolve) => { decide[name] = () => resolve({ userId: 'ann' }) })
  const { port } = await build(t, {
    setup: ({ wsNamespaces }) => { for (const name of ['first', 'second']) wsNamespaces.create(name, { authorize: () => asked(name) }) }
  })
  const ws = new WebSocket(`ws://127.0.0.1:${port}/api/1/ws`)
  t.teardown(() => ws.terminate())
  const heard: string[] = []
  ws.on('message', (data) => { heard.push(String(data)) })
  await once(ws, 'open')
  for (const control of [{ type: 'open', path: 'first' }, { type: 'close' }, { type: 'open', path: 'second' }]) ws.send(JSON.stringify({ ...control, id: 1 }))
  await waitFor(() => decide.second)
  decide.first!()
  await new Promise(setImmediate)
  decide.second!()
  const connected = await waitFor(() => heard.find((text) => /^\d+.*"connected"/.test(text)))
  t.match(connected, '"namespace":"second"')
})
