import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import { WebSocket } from 'ws'
import { sharedRedis, tcpProxy, waitFor, type Scope } from '../../../test/helpers/index.ts'
import { environment } from '../../ws-client/src/environment.ts'
import { ClientError, connect, type Address, type Client, type ClientOptions, type Connected, type Messages, type Status, type StatusDetail } from '@jpulse/ws-client'
import { build, byHeader } from './support/build.ts'
import { servers } from './support/processes.ts'

/** Says who the client is, as a cookie does in a browser. */
const as = (user: string) => class extends WebSocket {
  constructor (url: string) { super(url, { headers: { user } }) }
}

interface Watched<M extends Messages = Messages> { client: Client<M>, statuses: Status[] }

function watched (t: Scope, url: Address, user = 'u', options: ClientOptions = {}): Watched {
  const statuses: Status[] = []
  const client = connect(url, { WebSocket: as(user) as never, maxDelayMs: 200, onStatus: (status) => { statuses.push(status) }, ...options })
  t.teardown(() => client.close())
  return { client, statuses }
}

const is = (client: Client, status: Status) => waitFor(() => client.status === status, { what: `the client to be ${status}`, timeoutMs: 60_000 })
const codeOf = (promise: Promise<unknown>) => promise.then(() => 'resolved', (err: unknown) => err instanceof ClientError ? err.code : err)

/** One process with a namespace that answers, asks and stays silent as its messages say. */
const one = (t: Scope) => build(t, {
  setup: ({ wsNamespaces }) => {
    const chat = wsNamespaces.create('chat', {
      authorize: byHeader,
      history: {},
      clientRooms: true,
      limits: { maxMessageBytes: 1000 },
      async onMessage (conn, { type, data }, reply) {
        if (type === 'echo') reply(data)
        if (type === 'ask') reply(await chat.request(conn, 'question', data, { timeoutMs: 30_000 }).catch((err) => err.message))
        if (type === 'never') await new Promise(() => {})
        if (type === 'end') conn.close(Number(data), 'as it wished')
        if (type === 'room') await chat.toRoom('r', 'said', data)
      }
    })
  }
})

t.test('a client connects, sends, asks and is asked', async (t) => {
  const { app, port } = await one(t)
  const { client, statuses } = watched(t, `http://127.0.0.1:${port}/api/1/ws/chat`)
  t.equal(client.status, 'connecting')
  await is(client, 'connected')
  t.match(client.clientId, /^[\w-]{16,}$/)
  t.same(await client.request('echo', { deep: [1, null, 'ü'] }), { deep: [1, null, 'ü'] })
  t.same(await Promise.all(Array.from({ length: 40 }, (_, n) => client.request('echo', n))), Array.from({ length: 40 }, (_, n) => n), 'each its own answer')

  t.match(await client.request('ask', 1), /UNKNOWN_TYPE/, 'a question without a handler is answered too')
  const off = client.on('question', async (data) => data + 1)
  t.equal(await client.request('ask', 1), 2)
  off()

  const heard: unknown[] = []
  client.on('said', (data) => { heard.push(data) })
  await client.join('r')
  client.send('room', 'one')
  await waitFor(() => heard.length === 1)
  await client.leave('r')
  await client.request('room', 'two').catch(() => {})
  await app.wsNamespaces.get('chat')!.broadcast('said', 'three')
  await waitFor(() => heard.includes('three'))
  t.same(heard, ['one', 'three'])
  t.same(statuses, ['connected'])
})

t.test('every request settles', async (t) => {
  const { port } = await one(t)
  const { client } = watched(t, `ws://127.0.0.1:${port}/api/1/ws/chat`)
  const early = [client.request('echo', 1), client.request('echo', 2)]
  t.ok(client.send('echo', 3), 'waits for the first connection')
  t.equal((await client.ready).namespace, 'chat')
  t.same(await Promise.all(early), [1, 2])
  const cycle: { self?: object } = {}
  cycle.self = cycle
  for (const data of [1n, cycle, { m: new Map() }, new Set(), Promise.resolve(1), /x/, new Error('m'), { deep: [Object.assign(new Error('m'), { code: 1 })] }, new Blob(['x']), NaN, [-Infinity], () => {}, { b: Buffer.from('x') }, [Symbol('s')]]) {
    t.equal(await codeOf(client.request('echo', data)), 'INVALID_DATA')
    t.throws(() => client.send('echo', data), { code: 'INVALID_DATA' })
  }
  class Empty {}
  t.same(await client.request('echo', [{}, [], new Empty(), Object.create(null), new Date(0), null]), [{}, [], {}, {}, '1970-01-01T00:00:00.000Z', null])
  t.equal(await codeOf(client.request('echo', 'x'.repeat(1000))), 'MESSAGE_TOO_LARGE')
  t.equal(await codeOf(client.request('quiet')), 'NO_REPLY')
  t.equal(await codeOf(client.request('never', null, { timeoutMs: 50 })), 'REQUEST_TIMEOUT')
  const broken = codeOf(client.request('never', null, { timeoutMs: 60_000 }))
  client.send('end', 1001)
  t.equal(await broken, 'NOT_CONNECTED', 'the connection broke')
  await is(client, 'connected')
  const closed = codeOf(client.request('never', null, { timeoutMs: 60_000 }))
  client.close()
  t.equal(await closed, 'NOT_CONNECTED', 'the client was closed')
  t.equal(client.status, 'disconnected')
})

t.test('it comes back after what can be mended, with its name, and not after what cannot', async (t) => {
  const { port } = await one(t)
  for (const code of [1001, 1011, 4408, 4429]) {
    const { client, statuses } = watched(t, `ws://127.0.0.1:${port}/api/1/ws/chat`)
    await is(client, 'connected')
    const name = client.clientId
    client.send('end', code)
    await waitFor(() => statuses.length === 3, { what: `to be back after ${code}` })
    t.same(statuses, ['connected', 'reconnecting', 'connected'])
    t.equal(client.clientId, name)
  }
  for (const code of [4401, 4403]) {
    const { client, statuses } = watched(t, `ws://127.0.0.1:${port}/api/1/ws/chat`)
    await is(client, 'connected')
    client.send('end', code)
    await is(client, 'auth-required')
    t.same(statuses, ['connected', 'auth-required'])
  }
})

t.test('after it came back it stands where the log is, whoever the last messages were for', async (t) => {
  const { app, port } = await one(t)
  const chat = app.wsNamespaces.get('chat')!
  const asked: Array<string | null> = []
  let away = false
  const leaving = class extends WebSocket {
    constructor (url: string) {
      if (!away) asked.push(new URL(url).searchParams.get('offset'))
      super(away ? 'ws://127.0.0.1:1' : url, { headers: { user: 'u' } })
    }
  }
  const { client } = watched(t, `ws://127.0.0.1:${port}/api/1/ws/chat`, 'u', { WebSocket: leaving as never })
  const began: Connected[] = []
  const heard: unknown[] = []
  client.on('connected', (data) => { began.push(data) })
  client.on('n', (data) => { heard.push(data) })
  await is(client, 'connected')
  const leave = async (): Promise<void> => {
    away = true
    await chat.disconnect('u', 1001)
    await is(client, 'reconnecting')
  }
  const back = async (times: number): Promise<void> => {
    away = false
    await waitFor(() => began.length === times, { timeoutMs: 30_000 })
  }
  await leave()
  await chat.toUser('other', 'n', 1)
  await back(2)
  await leave()
  await chat.toUser('u', 'n', 2)
  await chat.toUser('other', 'n', 3)
  await back(3)
  await leave()
  await back(4)
  t.same(asked, [null, ...began.slice(0, 3).map(({ offset }) => offset)])
  t.same(began.map(({ recovered }) => recovered), [false, true, true, true])
  t.equal(new Set(asked).size, 4)
  t.same(heard, [2])
})

t.test('a network that fails: silence without a FIN, a handshake that never ends, a proxy that knows nothing', async (t) => {
  const { app, port } = await build(t, {
    options: { pingIntervalMs: 200, pongTimeoutMs: 300 },
    setup: ({ wsNamespaces }) => {
      wsNamespaces.create('chat', { authorize: byHeader, history: {} })
      wsNamespaces.create('closed', { authorize: async () => false as const })
      wsNamespaces.create('foreign', { authorize: byHeader, origins: ['https://good.example'] })
    }
  })
  const proxy = await tcpProxy(t, port)
  const told: Array<[Status, StatusDetail]> = []
  const { client, statuses } = watched(t, `ws://127.0.0.1:${proxy.port}/api/1/ws/chat`, 'u', { connectTimeoutMs: 500, onStatus: (status, detail) => { told.push([status, detail]); statuses.push(status) } })
  const heard: number[] = []
  const recovered: boolean[] = []
  client.on('n', (data) => { heard.push(data) })
  client.on('connected', (data) => { recovered.push(data.recovered) })
  await is(client, 'connected')
  for (const direction of ['both', 'down'] as const) {
    proxy.mute(direction)
    await is(client, 'reconnecting')
    t.match(told.at(-1), ['reconnecting', { code: 1006, reason: /not heard/ }], direction)
    // New connections are mute as well: the handshake gets no answer.
    await waitFor(() => proxy.connections > 0)
    await app.wsNamespaces.get('chat')!.broadcast('n', heard.length + 1)
    proxy.mend()
    await is(client, 'connected')
    await waitFor(() => heard.length === recovered.length - 1, { timeoutMs: 30_000 })
  }
  t.same([heard, recovered], [[1, 2], [false, true, true]])

  const replies = [[403, '<html>Not from here'], [503, 'away']] as Array<[number, string]>
  const wall = createServer().on('upgrade', (_request, socket) => {
    const [status, body] = replies[0]!
    if (replies.length > 1) replies.shift()
    socket.on('error', () => {}).end(`HTTP/1.1 ${status} No\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`)
  }).listen(0, '127.0.0.1')
  await once(wall, 'listening')
  t.teardown(() => wall.close())
  const at = (port: number, path: string, WebSocket = as('u') as unknown): Watched & { details: StatusDetail[] } => {
    const details: StatusDetail[] = []
    return { details, ...watched(t, `ws://127.0.0.1:${port}/api/1/ws/${path}`, 'u', { WebSocket: WebSocket as never, onStatus: (_status, detail) => { details.push(detail) } }) }
  }
  const behind = at((wall.address() as AddressInfo).port, 'chat')
  await waitFor(() => behind.details.length === 2, { what: 'both answers' })
  t.same([behind.client.status, behind.details.map(({ httpStatus }) => httpStatus)], ['reconnecting', [403, 503]])
  for (const [path, httpStatus, status] of [['closed', 403, 'auth-required'], ['nowhere', 404, 'reconnecting']] as Array<[string, number, Status]>) {
    const refused = at(port, path)
    await is(refused.client, status)
    t.match(refused.details[0], { code: 1006, reason: String, httpStatus }, path)
  }
  const FromElsewhere = class extends WebSocket { constructor (url: string) { super(url, { headers: { user: 'u' }, origin: 'https://evil.example' }) } }
  const foreign = at(port, 'foreign', FromElsewhere)
  await is(foreign.client, 'auth-required')
  t.match(foreign.details, [{ code: 1006, reason: /origin/i, httpStatus: 403 }], 'a page of an origin that may not')
  // A proxy that drops Upgrade: the server sees a plain request.
  const plain = createServer().on('upgrade', async (request, socket) => {
    const answer = await fetch(`http://127.0.0.1:${port}${request.url}`, { headers: { user: 'u' } })
    const body = await answer.text()
    socket.on('error', () => {}).end(`HTTP/1.1 ${answer.status} No\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`)
  }).listen(0, '127.0.0.1')
  await once(plain, 'listening')
  t.teardown(() => plain.close())
  const dropped = at((plain.address() as AddressInfo).port, 'chat')
  await waitFor(() => dropped.details.length > 0, { what: 'the answer to a plain request' })
  t.match(dropped.details[0], { code: 1006, reason: /WebSocket/, httpStatus: 426 })
  t.equal(dropped.client.status, 'reconnecting', 'the proxy may be mended')

  const attempts: number[] = []
  const busy = createServer((_request, response) => response.writeHead(429, { 'retry-after': '1' }).end('slowly')).on('upgrade', (_request, socket) => {
    attempts.push(performance.now())
    // Who reads no more than it needs resets the connection.
    socket.on('error', () => {}).end('HTTP/1.1 429 No\r\nretry-after: 1\r\ncontent-length: 6\r\nconnection: close\r\n\r\nslowly')
  }).listen(0, '127.0.0.1')
  await once(busy, 'listening')
  t.teardown(() => busy.close())
  const busyPort = (busy.address() as AddressInfo).port
  at(busyPort, 'chat')
  await waitFor(() => attempts.length === 2, { what: 'the second attempt', timeoutMs: 30_000 })
  t.ok(attempts[1]! - attempts[0]! > 1000, 'not before Retry-After says')
  t.match(await environment.probe(`ws://127.0.0.1:${busyPort}/api/1/ws/chat`, 30_000, null), { httpStatus: 429, holdMs: 1000, code: 0 }, 'as a page asks')
})

t.test('what handlers throw reaches the application, and no other handler', async (t) => {
  const { app, port } = await one(t)
  const errors: unknown[] = []
  const { client } = watched(t, `ws://127.0.0.1:${port}/api/1/ws/chat`, 'u', { onError: (err) => { errors.push((err as Error).message) } })
  const heard: unknown[] = []
  client.on('n', () => { throw new Error('mine') })
  client.on('n', (data) => { heard.push(data) })
  await is(client, 'connected')
  await app.wsNamespaces.get('chat')!.broadcast('n', 1)
  await waitFor(() => heard.length === 1 && errors.length === 1)
  t.same([heard, errors], [[1], ['mine']])
})

t.test('of namespaces that were closed nothing is kept', async (t) => {
  const { port } = await build(t, { setup: ({ wsNamespaces }) => { wsNamespaces.create('rooms/:id', { public: true }) } })
  const { client: socket } = watched(t, `ws://127.0.0.1:${port}/api/1/ws`)
  const closed = await Promise.all(Array.from({ length: 20 }, async (_, id) => {
    const namespace = socket.namespace(`rooms/${id}`)
    await namespace.ready
    namespace.close()
    return new WeakRef(namespace)
  }))
  await socket.namespace('rooms/next').ready
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  await waitFor(() => {
    collect()
    return closed.every((one) => one.deref() === undefined)
  }, { everyMs: 100 })
})

t.test('what is sent in an outage waits, and is done once: over lost answers, another worker, and a killed one', async (t) => {
  const [one, other, third] = await servers(t, sharedRedis(), 3, { namespaces: { chat: { history: {}, limits: { messages: 200 } } }, options: { pingIntervalMs: 300, pongTimeoutMs: 300, reconnectWindowMs: 100 } })
  const proxies = await Promise.all([one!, other!, third!].map(({ port }) => tcpProxy(t, port)))
  let at = 0
  const queueing = connect(() => `ws://127.0.0.1:${proxies[at]!.port}/api/1/ws/chat`, { WebSocket: as('u') as never, maxDelayMs: 200, queue: { maxMessages: 200 } })
  t.teardown(() => queueing.close())
  const codes: Array<string | number> = []
  const asked: Array<Promise<unknown>> = []
  const ask = (from: number, to: number): void => {
    for (let n = from; n < to; n++) asked.push(queueing.request('note', n, { timeoutMs: 60_000 }).then((data) => { codes[n] = data as number }, (err: ClientError) => { codes[n] = err.code }))
  }
  const noted = () => third!.call<number[]>('noted')
  await queueing.ready
  ask(0, 20)
  await waitFor(async () => (await noted()).length === 20)
  // The server goes on hearing it, and its answers are lost; then it is another worker.
  proxies[0]!.mute('down')
  ask(20, 60)
  await waitFor(async () => (await noted()).length === 60, { timeoutMs: 30_000 })
  at = 1
  await is(queueing, 'reconnecting')
  ask(60, 80)
  await is(queueing, 'connected')
  await waitFor(async () => (await noted()).length === 80, { timeoutMs: 30_000 })
  await waitFor(() => codes.filter((code) => code !== undefined).length === 80, { timeoutMs: 30_000 })
  t.same(codes, Array.from({ length: 80 }, (_, n) => n), 'each has its answer, also where that was lost at first')
  at = 2
  ask(80, 120)
  other!.kill('SIGKILL')
  ask(120, 160)
  await Promise.all(asked)
  const done = await noted()
  t.same(done, [...new Set(done)].sort((a, b) => a - b), 'once, in order')
  for (const [n, code] of codes.entries()) t.ok(code === n ? done.includes(n) : code === 'OUTCOME_UNKNOWN', `${n}: ${code}`)
})

t.test('messages are all there, in order, once: over cut connections, another worker, and a killed one', async (t) => {
  const [first, second, third] = await servers(t, sharedRedis(), 3, { namespaces: { feed: { history: { maxLength: 5000 } } } })
  const proxies = await Promise.all([first!, second!].map(({ port }) => tcpProxy(t, port)))
  // A load balancer that has two workers behind it, of which one may be away.
  let target = 0
  const balanced = class extends WebSocket {
    constructor (url: string) { super(url.replace('0.0.0.0:1', `127.0.0.1:${proxies[target % 2]!.port}`), { headers: { user: 'u' } }) }
  }
  const { client, statuses } = watched(t, 'ws://0.0.0.0:1/api/1/ws/feed', 'u', { WebSocket: balanced as never })
  const heard: number[] = []
  const recovered: boolean[] = []
  client.on('n', (data: number) => { heard.push(data) })
  client.on('connected', (data) => { recovered.push(data.recovered) })
  await is(client, 'connected')
  const stream = third!.call<string[]>('stream', 'feed', 1, 600, 5)
  for (const seen of [50, 150, 250]) {
    await waitFor(() => heard.length >= seen, { what: `${seen} messages`, timeoutMs: 60_000 })
    proxies[target++ % 2]!.reset()
    await waitFor(() => statuses.at(-1) === 'connected' && client.status === 'connected', { timeoutMs: 60_000 })
  }
  await waitFor(() => heard.length >= 350, { what: '350 messages', timeoutMs: 60_000 })
  const here = target % 2
  target++
  ;[first, second][here]!.kill('SIGKILL')
  t.same((await stream).filter((delivered) => delivered !== 'cluster'), [])
  await waitFor(() => heard.length >= 600, { what: 'all messages', timeoutMs: 60_000 })
  t.same(heard, Array.from({ length: 600 }, (_, n) => n + 1))
  t.same(recovered.slice(1).filter((was) => !was), [], 'each time it was told that nothing is missing')
  t.ok(recovered.length >= 5, `${recovered.length} connections`)
})

t.test('several namespaces on one socket: each by itself, over cut connections and another worker, and bytes both ways', async (t) => {
  const [first, second] = await servers(t, sharedRedis(), 2, { namespaces: { a: { history: {} }, b: { history: {}, limits: { messages: 5, windowMs: 60_000 } }, staff: {}, 'rooms/:id': {}, 't/:a/:b': {} }, options: { pingIntervalMs: 300, pongTimeoutMs: 2000, reconnectWindowMs: 100 } })
  let port = first!.port
  const proxy = await tcpProxy(t, port)
  const { client: socket, statuses } = watched(t, () => `http://127.0.0.1:${port === first!.port ? proxy.port : port}/api/1/ws`, 'ann')
  const detail: Array<[Status, StatusDetail]> = []
  const a = socket.namespace<{ n: number, bytes: Uint8Array }>('a')
  const b = socket.namespace('b', { onStatus: (status, more) => { detail.push([status, more]) } })
  t.equal(socket.namespace('a'), a, 'one client for a namespace')
  const [got, bytes, welcomes]: [number[], Uint8Array[], boolean[]] = [[], [], []]
  a.on('n', (n) => { got.push(n) })
  a.on('bytes', (data) => { bytes.push(data) })
  a.on('connected', ({ recovered }) => { welcomes.push(recovered) })
  t.same(await Promise.all([a.request('echo', 1), b.request('echo', { x: 'y' })]), [1, { x: 'y' }], 'what is sent first waits')
  t.strictSame(await a.request('echo', Uint8Array.of(0, 10, 255)), Uint8Array.of(0, 10, 255))
  await second!.call('publish', 'a', 'broadcast', '', 1)
  await waitFor(() => got.length === 1)
  const missing = socket.namespace('nowhere', { onStatus: (status, more) => { detail.push([status, more]) } })
  await waitFor(() => detail.some(([, { code }]) => code === 4404))
  await t.rejects(missing.ready, { code: 'NOT_FOUND', message: 'There is no such namespace' })
  t.equal(missing.status, 'reconnecting', 'a deploy may bring it')
  missing.close()
  t.equal(socket.namespace('nowhere') === missing, false, 'one that is closed is made anew')
  socket.namespace('nowhere').close()

  for (const name of ['rooms/..', 'rooms/.', 't/../staff']) {
    const dotted = socket.namespace(name)
    t.equal((await dotted.ready).namespace, name, 'a URL would take the dots out')
    t.equal(await dotted.request('echo', name), name)
    dotted.close()
  }

  // One namespace in trouble leaves the other alone.
  for (let sent = 0; sent < 40; sent++) b.send('echo', sent)
  await waitFor(() => detail.some(([, { code }]) => code === 4429))
  t.equal(await a.request('echo', 'still here'), 'still here')
  t.equal(a.status, 'connected')

  // The socket breaks; both come back where they were, on another worker too.
  proxy.reset()
  await second!.call('publish', 'a', 'broadcast', '', 2)
  await waitFor(() => got.length === 2, { timeoutMs: 60_000 })
  port = second!.port
  first!.kill('SIGKILL')
  await second!.call('publish', 'a', 'broadcast', '', 3)
  await waitFor(() => got.length === 3, { timeoutMs: 60_000 })
  t.same(got, [1, 2, 3])
  t.same([...new Set(welcomes.slice(1))], [true])
  t.ok(statuses.includes('reconnecting'))
  await second!.call('disconnect', 'a', 'ann', 4403, 'out')
  await is(a, 'auth-required')
  t.equal(socket.status, 'connected')
  socket.close()
  await is(b, 'disconnected')
  await t.rejects(socket.namespace('a').ready, { code: 'NOT_CONNECTED' })
})
