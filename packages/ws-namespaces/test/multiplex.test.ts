import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { Type } from 'typebox'
import { sharedRedis, uniqueName, waitFor } from '../../../test/helpers/index.ts'
import { Bytes } from '../src/index.ts'
import { build, byHeader } from './support/build.ts'
import { connect, connectSeveral, type Several } from './support/client.ts'

const P = '/api/1/ws'

t.test('several namespaces over one socket: each refused, limited, closed and opened again by itself', async (t) => {
  const events: string[] = []
  const { app, port } = await build(t, {
    options: { aliases: ['/ws'] },
    setup: ({ wsNamespaces }) => {
      const onDisconnect = (conn: { namespace: string }, { code }: { code: number }): void => { events.push(`${conn.namespace} ${code}`) }
      wsNamespaces.create('chat', { authorize: byHeader, history: {}, presence: { graceMs: 0 }, onDisconnect, onMessage: (_conn, message) => message.data })
      wsNamespaces.create('staff', { authorize: async () => false as const })
      wsNamespaces.create('rooms/:id', { authorize: byHeader, clientRooms: true, onDisconnect, schema: Type.Object({ type: Type.Literal('say'), data: Type.String() }), limits: { messages: 5, windowMs: 60_000, maxConnectionsPerUser: 1 } })
    }
  })
  const several = await connectSeveral(t, port, { user: 'ann' })
  t.match(several.hello, { heartbeat: { everyMs: 30_000, timeoutMs: 5000 }, reconnectWindowMs: 2000, maxNamespaces: 64 })
  const [chat, room, staff, nowhere, bad] = await Promise.all(['chat', 'rooms/a%2Fb', 'staff', 'nowhere', 'rooms/%ff'].map((name) => several.open(name)))
  t.same([staff, nowhere, bad].map((one) => one!.refused!.status), [403, 404, 404])
  t.match(staff!.refused!.body, { code: 'FST_ERR_WS_NAMESPACES_FORBIDDEN', message: 'You may not use this' })
  t.match(chat!.connected, { namespace: 'chat', userId: 'ann', recovered: false, presence: [{ userId: 'ann' }] })
  t.equal(room!.connected.namespace, 'rooms//a%2Fb')
  t.equal((await several.open('chat')).refused!.body.code, 'FST_ERR_WS_NAMESPACES_ALREADY_OPEN')
  t.equal((await chat!.request({ type: 'echo', data: { deep: [1] } })).data.deep[0], 1)
  await app.wsNamespaces.get('chat')!.broadcast('n', 1)
  await app.wsNamespaces.get('rooms/:id', { id: 'a/b' })!.broadcast('n', 2)
  t.same([await chat!.wait('n'), await room!.wait('n')], [[1], [2]])

  // What concerns one leaves the others alone.
  t.equal((await room!.request({ type: 'say', data: 1 })).error!.code, 'INVALID_MESSAGE')
  room!.write('{no json')
  await waitFor(() => room!.errors.length === 2)
  for (let sent = 0; sent < 40; sent++) room!.send({ type: 'say', data: 'x' })
  t.equal((await room!.end()).code, 4429)
  t.same([chat!.errors, chat!.closed, several.closed], [[], null, null])
  t.equal((await several.open('rooms/other')).connected.namespace, 'rooms/other')
  t.equal((await connect(t, port, `${P}/rooms/other`, { user: 'ann' })).refused?.status, 429, 'and counts as a connection')
  await chat!.request({ type: 'echo', data: 'still here' })

  // Left, and opened again where it was.
  const { offset, connected: { clientId } } = chat!
  chat!.leave()
  t.equal((await chat!.end()).code, 1000)
  await app.wsNamespaces.get('chat')!.broadcast('n', 3)
  const again = await several.open('chat', { offset, clientId })
  t.match(again.connected, { recovered: true, clientId })
  t.same(await again.wait('n'), [3])
  await app.wsNamespaces.get('chat')!.disconnect('ann')
  t.equal((await again.end()).code, 4403)
  t.same(several.strays, [])
  await waitFor(() => events.length === 3)
  t.same(events, ['rooms//a%2Fb 4429', 'chat 1000', 'chat 4403'])
  t.equal((await connectSeveral(t, port, { user: 'bob', path: '/ws' })).refused, null, 'by the alias too')
  await app.wsNamespaces.drain()
  await waitFor(() => several.closed)
  t.equal(several.closed!.code, 1001)
})

t.test('before the upgrade of a socket of several, and what it takes: origins, limits, frames that are none', async (t) => {
  let isDecided = false
  const { app, port } = await build(t, {
    options: { multiplexPath: '/sockets', maxNamespacesPerSocket: 2, pingIntervalMs: 100, pongTimeoutMs: 5000 },
    setup: ({ wsNamespaces }) => {
      wsNamespaces.create('a', { authorize: byHeader, origins: ['https://a.example'] })
      wsNamespaces.create('b', { public: true })
      wsNamespaces.create('slow', { authorize: async (request) => { await waitFor(() => isDecided, { timeoutMs: 30_000 }); return byHeader(request) } })
    }
  })
  const path = '/sockets'
  t.equal((await app.inject(path)).statusCode, 426)
  t.equal((await connectSeveral(t, port, { path, headers: { origin: 'https://evil.example' } })).refused?.status, 403)
  const page = await connectSeveral(t, port, { path, user: 'ann', headers: { origin: 'https://a.example' } })
  t.same([(await page.open('a')).refused, (await page.open('b')).refused?.status], [null, 403], 'each namespace looks at the origin by itself')
  await waitFor(() => page.control.filter(({ type }) => type === 'connection:heartbeat').length > 1, { what: 'heartbeats, of the socket' })
  const guest = await connectSeveral(t, port, { path })
  t.same([(await guest.open('a')).refused?.status, (await guest.open('b')).connected.userId], [401, null])
  const full = await connectSeveral(t, port, { path, user: 'ann' })
  await Promise.all([full.open('a'), full.open('b')])
  t.equal((await full.open('slow')).refused?.status, 429)

  const cases: Array<[frame: string | Buffer, code: number]> = [['no json', 4400], ['', 4400], ['-1{"type":"x"}', 4400], [' 1{}', 4400], ['{', 4400], [Buffer.from('{"type":"open"}\n'), 1003], [Buffer.alloc(0), 1003], [randomBytes(64).fill(0, 0, 1), 1003]]
  for (const [frame, code] of cases) {
    const one = await connectSeveral(t, port, { path, user: 'ann' })
    const channel = await one.open('b')
    one.ws.send(frame)
    t.equal((await waitFor(() => one.closed)).code, code, String(frame))
    t.equal(channel.closed!.code, code)
  }
  const one = await connectSeveral(t, port, { path, user: 'ann' })
  const channel = await one.open('b')
  for (const control of ['{}', 'null', '[]', '{"type":"later"}', '{"type":"open","id":0,"path":"a"}', '{"type":"open","id":1.5,"path":"a"}', '{"type":"open","id":7}', '{"type":"open","id":1,"path":"a"}', '{"type":"close"}', '{"type":"close","id":99}', '99999{"type":"x"}', '99999999999999999999{"type":"x"}', '{"type":"connection:heartbeat"}']) one.ws.send(control)
  channel.write(Buffer.from('{"type":"x"}'))
  t.equal((await channel.end()).code, 1003, 'binary without its bytes ends the namespace')
  await waitFor(() => one.control.filter(({ type }) => type === 'error').length === 9)
  t.equal(one.closed, null)
  one.tell({ type: 'open', id: 100, path: 'slow' })
  one.tell({ type: 'close', id: 100 })
  isDecided = true
  t.match(await one.open('slow'), { connected: { namespace: 'slow' } }, 'given up while it was being opened, and opened again')
  t.equal(app.wsNamespaces.get('slow')!.local().connections, 1)
  for (let sent = 0; sent < 300; sent++) one.tell({ type: 'later' })
  t.equal((await waitFor(() => one.closed)).code, 4429)
})

for (const history of [false, {}] as const) {
  t.test(`bytes arrive as bytes, on both kinds of sockets, over two workers, ${history === false ? 'without' : 'with'} history`, async (t) => {
    const siteId = uniqueName('bytes')
    const two = await Promise.all(['0', '1'].map((pmId) => build(t, {
      link: { url: sharedRedis(), siteId, env: 'test' },
      pmId,
      setup: ({ wsNamespaces }) => {
        wsNamespaces.create('files', {
          authorize: byHeader,
          history,
          relay: ['broadcast', 'room', 'user'],
          clientRooms: true,
          schema: Type.Union([Type.Object({ type: Type.Literal('put'), data: Bytes({ maxBytes: 1000 }) }), Type.Object({ type: Type.Literal('object'), data: Type.Object({}) })]),
          onMessage: (_conn, { data }) => data instanceof Uint8Array && data.constructor === Uint8Array ? data.toReversed() : 'an object'
        })
      }
    })))
    const [a, b] = two as [typeof two[0], typeof two[0]]
    await waitFor(() => two.every(({ app }) => app.appCluster.members().length === 2), { timeoutMs: 30_000 })
    const ann = await connect(t, a.port, `${P}/files`, { user: 'ann' })
    const several: Several = await connectSeveral(t, b.port, { user: 'bob' })
    const bob = await several.open('files')
    const payloads = [Uint8Array.of(), Uint8Array.of(10), Uint8Array.of(0xff, 0xfe, 0, 10, 13), Uint8Array.from(Buffer.from('{"type":"x"}\n')), new Uint8Array(randomBytes(150_000))]
    for (const bytes of payloads) await a.app.wsNamespaces.get('files')!.broadcast('bytes', Buffer.from(bytes))
    await b.app.wsNamespaces.get('files')!.toUser('ann', 'end', 'text between')
    await bob.request({ type: 'join', data: { room: 'r' } })
    bob.sendBytes({ type: 'room', roomId: 'r' }, Uint8Array.of(1))
    bob.sendBytes({ type: 'user', userId: 'ann' }, Uint8Array.of(2))
    await a.app.wsNamespaces.get('files')!.broadcast('rare', Uint8Array.of(3), { volatile: true, except: ann.connected.clientId })
    t.strictSame(await ann.wait('bytes', 5), payloads)
    t.strictSame(await bob.wait('bytes', 5), payloads)
    t.same([await ann.wait('end'), await bob.wait('room'), await ann.wait('user'), await bob.wait('rare')], [['text between'], [Uint8Array.of(1)], [Uint8Array.of(2)], [Uint8Array.of(3)]])
    t.strictSame((await bob.request({ type: 'put' }, Uint8Array.of(1, 2, 3))).data, Uint8Array.of(3, 2, 1), 'an answer')
    t.equal((await ann.request({ type: 'put' }, new Uint8Array(1001))).error!.code, 'INVALID_MESSAGE', 'longer than the schema says')
    t.equal((await ann.request({ type: 'object' }, Uint8Array.of(1))).error!.code, 'INVALID_MESSAGE', 'bytes are no object')
    t.equal((await ann.request({ type: 'put', data: { 0: 1 } })).error!.code, 'INVALID_MESSAGE')
    t.equal((await ann.request({ type: 'object', data: {} })).data, 'an object')
    // A question across workers, and its answer.
    const asked = a.app.wsNamespaces.get('files')!.request('bob', 'ask', Uint8Array.of(7))
    const question = await waitFor(() => bob.messages.find(({ type }) => type === 'ask'))
    t.strictSame(question.data, Uint8Array.of(7))
    bob.sendBytes({ type: 'reply', replyTo: question.id }, Uint8Array.of(10, 255))
    t.strictSame(await asked, Uint8Array.of(10, 255))
    await t.rejects(a.app.wsNamespaces.get('files')!.broadcast('x', { deep: Uint8Array.of(1) }), { code: 'FST_ERR_WS_NAMESPACES_INVALID_DATA' })
    await t.rejects(a.app.wsNamespaces.get('files')!.broadcast('x', new Uint8Array(300_000)), { code: 'FST_ERR_WS_NAMESPACES_MESSAGE_TOO_LARGE' })
    if (history === false) return
    const { offset, connected: { clientId } } = bob
    several.ws.terminate()
    for (const bytes of payloads) await a.app.wsNamespaces.get('files')!.broadcast('bytes', bytes)
    const back = await (await connectSeveral(t, a.port, { user: 'bob' })).open('files', { offset, clientId })
    t.equal(back.connected.recovered, true)
    t.strictSame(await back.wait('bytes', 5), payloads, 'through the history')
  })
}

t.test('10,000 random namespaces of random definitions on sockets of several: each channel hears exactly its own, whatever the names are made of', async (t) => {
  const { app: { wsNamespaces }, port } = await build(t, { setup: ({ wsNamespaces }) => wsNamespaces.create('undecided', { authorize: () => new Promise(() => {}) }) })
  const undecided = (await connectSeveral(t, port)).open('undecided')
  const segment = fc.oneof(fc.constantFrom('staff', 'lobby', 'acme', 'a/b', '7/staff', 'acme/north', ':id', '%2F', '%', '7', 'é', 'e\u0301', 'аcme', '{', '7{"type":"x"}', ' ', '.', '..', '..a', 'x'.repeat(120)), fc.string({ unit: 'grapheme', minLength: 1, maxLength: 8 }), fc.string({ unit: 'binary-ascii', minLength: 1, maxLength: 8 }))
  const pattern = fc.tuple(fc.constantFrom('rooms', 't'), fc.array(fc.constantFrom(':a', ':b', ':c', 'staff', 'acme', '7', '..'), { minLength: 1, maxLength: 3 })).map(([first, rest]) => [first, ...rest].join('/'))
  const isParameter = (one: string) => one.startsWith(':')
  const wrong: string[] = []
  let opened = 0
  while (opened < 10_000) {
    const patterns = fc.sample(pattern, 8).filter((name) => {
      try {
        return wsNamespaces.create(name, { public: true, onConnect: (conn) => { conn.send('served', name) } })
      } catch {
        return false
      }
    })
    const fill = (name: string, given: string[]) => name.split('/').map((one, index) => isParameter(one) ? given[index]! : one)
    const path = fc.tuple(fc.constantFrom(...patterns), fc.array(segment, { minLength: 4, maxLength: 4 })).map(([name, given]) => fill(name, given))
    /** By whom a path is served: of those that match it the one with most literal segments. */
    const definitionOf = (path: string[]): [name: string, params: Record<string, string>] => {
      const fits = patterns.map((name) => name.split('/')).filter((parts) => parts.length === path.length && parts.every((one, index) => isParameter(one) || one === path[index]))
      const best = fits.sort((a, b) => a.filter(isParameter).length - b.filter(isParameter).length)[0]!
      return [best.join('/'), Object.fromEntries(best.flatMap((one, index) => isParameter(one) ? [[one.slice(1), path[index]!]] : []))]
    }
    const several = await connectSeveral(t, port)
    const all = await Promise.all([...new Map(fc.sample(path, 50).map((one) => [one.map(encodeURIComponent).join('/'), one]))].map(async ([url, one]) => {
      const [name, params] = definitionOf(one)
      return { url, name, namespace: wsNamespaces.get(name, params)!, channel: await several.open(url) }
    }))
    for (const [index, { namespace }] of all.entries()) await namespace.broadcast('n', index)
    for (const { namespace } of all) await namespace.broadcast('end')
    await Promise.all(all.map(({ channel }) => channel.refused ?? channel.wait('end')))
    for (const [index, { url, name, namespace, channel }] of all.entries()) {
      if (channel.connected?.namespace !== namespace.name || String(channel.of('n')) !== String(index) || channel.of('end').length !== 1 || channel.of('served')[0] !== name) wrong.push(`${url} of ${patterns.join(' ')}`)
    }
    wrong.push(...several.strays)
    opened += all.length
    several.ws.terminate()
    for (const name of patterns) await wsNamespaces.get(name)!.close()
  }
  t.same(wrong, [])
  t.match((await undecided).refused, { status: 503, body: { code: 'FST_ERR_WS_NAMESPACES_ADMISSION_TIMEOUT' } }, 'an authorize that never resolves')
})

t.test('fuzzed frames on a socket of several, text and binary: never a crash, never another client\'s problem', async (t) => {
  const { app, port, complaints } = await build(t, {
    setup: ({ wsNamespaces }) => {
      wsNamespaces.create('chat', { authorize: byHeader, limits: { messages: 1_000_000 }, relay: ['broadcast'], clientRooms: true, onMessage: (_conn, { data }) => data })
      wsNamespaces.create('rooms/:id', { authorize: byHeader, limits: { messages: 1_000_000 } })
    }
  })
  const bystander = await (await connectSeveral(t, port, { user: 'bystander' })).open('chat')
  const pick = <T>(list: readonly T[]): T => list[Math.floor(Math.random() * list.length)]!
  const values = ['1', '0', '-1', '1e999', 'null', '""', '"x"', '{}', '[]', '"__proto__"', '{"__proto__":{"polluted":1}}', '"rooms/%ff"', '"rooms/a?clientId=x&offset=y"', '"chat"', '["bearer.x"]', '[1]', '"\\ud800"']
  const texts: Array<(channel: number) => string | Buffer> = [
    (channel) => `${channel}{"type":${pick(values)},"data":${pick(values)},"id":${pick(values)}}`,
    (channel) => `${channel}${randomBytes(20).toString('latin1')}`,
    (channel) => Buffer.concat([Buffer.from(`${channel}{"type":"x","data":${pick(values)}}\n`), randomBytes(30)]),
    (channel) => Buffer.concat([Buffer.from(String(channel)), randomBytes(10)]),
    () => `{"type":${pick(['"open"', '"close"', '"connection:heartbeat"', ...values])},"id":${pick(values)},"path":${pick(values)},"protocols":${pick(values)}}`,
    () => `${Math.floor(Math.random() * 100)}{"type":"x"}`,
    () => randomBytes(Math.floor(Math.random() * 40)),
    () => randomBytes(20).toString('latin1')
  ]
  for (let sent = 0; sent < 4000;) {
    const several = await connectSeveral(t, port, { user: 'fuzz' })
    const channel = await several.open('chat')
    for (let n = 0; n < 100 && several.closed === null; n++, sent++) {
      several.ws.send(pick(texts)(channel.number!))
      if (n % 10 === 9) await new Promise(setImmediate)
    }
    several.ws.terminate()
  }
  t.equal(({} as { polluted?: unknown }).polluted, undefined)
  t.equal((await bystander.request({ type: 'echo', data: 'fine' })).data, 'fine')
  t.equal(bystander.closed, null)
  t.ok(complaints.length < 50, `${complaints.length} complaints: ${complaints[0]}`)
  await waitFor(() => app.wsNamespaces.local().chat!.connections === 1, { what: 'the others to end', timeoutMs: 30_000 })
})
