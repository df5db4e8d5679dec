import fc from 'fast-check'
import t from 'tap'
import { sharedRedis, uniqueName, waitFor } from '../../../test/helpers/index.ts'
import { channelOf } from '../src/delivery/keys.ts'
import { define } from '../src/namespace/definition.ts'
import { Directory } from '../src/namespace/directory.ts'
import { decodePath, formatName, NamePattern, parseName } from '../src/namespace/names.ts'
import { build, byHeader } from './support/build.ts'
import { connect, type Client } from './support/client.ts'

const P = '/api/1/ws'
const numRuns = 10_000

/** What people put into ids, or try: slashes, encoded once and twice, dots, look-alikes, delimiters of every place where a name goes. */
const nasty = fc.constantFrom('a', 'b', '7', 'staff', 'acme', 'acme/north', 'north', '/', '//', '/a', 'a/', '.', '..', '../staff', '%', '%2F', '7%2Fstaff', '%252F', '%%', ':id', ':', 'user',
  'user:a', 'broadcast', 'presence', '{a}', '}', ' ', 'a b', ';', 'a;b', '?', '#', '*', '@', '\\', '\0', '\n', 'A', '\u0430', '\u00e1', 'a\u0301', '__proto__', 'constructor', 'x'.repeat(120), '/'.repeat(110))
const segment = fc.oneof(nasty, fc.string({ minLength: 1, maxLength: 8, unit: 'grapheme' }).filter((text) => !/\p{Surrogate}/u.test(text)))
const segments = fc.tuple(fc.constantFrom('rooms', 't', 'a'), fc.array(segment, { maxLength: 3 })).map(([first, rest]) => [first, ...rest])
const pattern = fc.tuple(fc.constantFrom('rooms', 't', 'a'), fc.array(fc.constantFrom(':x', ':y', ':z', 'a', 'staff', '7', '..'), { maxLength: 3 })).map(([first, rest]) => [first, ...rest].join('/'))

t.test('segments make different names, channels and keys, whatever they contain', async () => {
  fc.assert(fc.property(segments, segments, fc.constantFrom('broadcast', 'user:a', 'room:a', 'user:broadcast'), (one, two, topic) => {
    const [a, b] = [formatName(one), formatName(two)]
    const same = one.length === two.length && one.every((segment, index) => segment === two[index])
    const path = (all: string[]) => decodePath(all.map(encodeURIComponent).join('/'))
    return (a === b) === same &&
      (channelOf(a, topic as 'broadcast') === channelOf(b, topic as 'broadcast')) === same &&
      String(parseName(a)) === String(one) && parseName(a)!.length === one.length &&
      String(path(one)) === String(one) && path(one)!.length === one.length
  }), { numRuns })
})

t.test('10,000 sets of definitions: the narrowest answers, in whatever order they were made, and ambiguous ones are refused', async () => {
  fc.assert(fc.property(fc.array(pattern, { minLength: 1, maxLength: 6 }), segments, fc.infiniteStream(fc.nat()), (patterns, path, random) => {
    const valid = patterns.filter((one) => { try { return new NamePattern(one) } catch { return false } })
    const made = new Directory({})
    const accepted = valid.filter((one) => { try { made.add(define(one, {}, 1e6)) } catch { return false } return true })
    const other = new Directory({})
    for (const one of accepted.map((one) => [random.next().value, one] as const).sort(([a], [b]) => Number(a) - Number(b))) other.add(define(one[1], {}, 1e6))
    const fits = accepted.filter((one) => new NamePattern(one).match(path) !== null)
    const found = made.match(path)
    // As many literal segments as can be.
    const literals = (one: string) => one.split('/').filter((segment) => !segment.startsWith(':')).length
    const best = fits.filter((one) => literals(one) === Math.max(...fits.map(literals)))
    const isBest = found === null ? fits.length === 0 : best.length === 1 && best[0] === found.definition.name.pattern
    return isBest && other.match(path)?.definition.name.pattern === found?.definition.name.pattern && (found === null || found.name === formatName(path))
  }), { numRuns })
})

t.test('refused at create: what matches the same names and is not narrower', async (t) => {
  const { app: { wsNamespaces } } = await build(t)
  wsNamespaces.create('a/:x/c')
  for (const name of ['a/b/:y', 'a/:other/c']) t.throws(() => wsNamespaces.create(name), { code: 'FST_ERR_WS_NAMESPACES_AMBIGUOUS' }, name)
  wsNamespaces.create('a/b/c')
  wsNamespaces.create('a/:x/:y')
  t.throws(() => wsNamespaces.create('a/:x/:x/c'), { code: 'FST_ERR_WS_NAMESPACES_INVALID_NAME' })
  t.equal(wsNamespaces.get('a/:x/:y', { x: 'b', y: 'c' })!.name, 'a/b/c', 'the narrowest, however it is asked for')
  t.throws(() => wsNamespaces.get('a/:x/:y', { x: 'b' }), { code: 'FST_ERR_WS_NAMESPACES_INVALID_NAME' })
  t.throws(() => wsNamespaces.get('a/:x/:y', { x: '', y: 'c' }), { code: 'FST_ERR_WS_NAMESPACES_INVALID_NAME' })
  t.equal(wsNamespaces.get('nothing/:x', { x: 'b' }), null)
  await t.rejects(wsNamespaces.get('a/:x/:y')!.broadcast('n'), { code: 'FST_ERR_WS_NAMESPACES_INVALID_NAME' }, 'a pattern has no clients')
})

const DEFINITIONS = ['rooms/:id', 'rooms/:id/staff', 'rooms/lobby', 't/:tenant/:room', 't/acme/:room'] as const
const instance = fc.oneof(
  fc.tuple(fc.constant('rooms'), segment), fc.tuple(fc.constant('rooms'), segment, fc.constant('staff')), fc.constant(['rooms', 'lobby']), fc.tuple(fc.constant('t'), segment, segment)
)

t.test('over two workers: every socket is admitted by its own definition and hears exactly its own namespace', async (t) => {
  const siteId = uniqueName('identity')
  const two = await Promise.all(['0', '1'].map((pmId) => build(t, {
    link: { url: sharedRedis(), siteId, env: 'test' },
    pmId,
    options: { authorize: async () => true },
    setup: ({ wsNamespaces }) => {
      // Each worker in an order of its own.
      for (const name of pmId === '0' ? DEFINITIONS : [...DEFINITIONS].reverse()) {
        wsNamespaces.create(name, {
          authorize: async (request, params) => name === 'rooms/:id/staff' && params.id === 'locked' ? false : byHeader(request),
          history: name.startsWith('t/') ? { maxLength: 100 } : false,
          presence: name.startsWith('t/'),
          onConnect: (conn) => { conn.send('served', name) }
        })
      }
    }
  })))
  await waitFor(() => two.every(({ app }) => app.appCluster.members().length === 2), { timeoutMs: 30_000 })
  const [first] = two
  const { wsNamespaces } = first!.app
  const paths = [...new Map([['rooms', '7/staff'], ['rooms', '7', 'staff'], ['t', 'acme/north', 'x'], ['t', 'acme', 'north/x'], ['rooms', ':id'],
    ...fc.sample(instance, 60)].map((path) => [path.map(encodeURIComponent).join('/'), path as string[]])).entries()]
    // A URL with such a segment is another one before it is sent.
    .filter(([, path]) => !path.some((one) => one === '.' || one === '..'))
  const clients = new Map<string, Client>()
  for (const [index, [url]] of paths.entries()) clients.set(url, await connect(t, two[index % 2]!.port, `${P}/${url}`, { user: 'ann' }))
  const handles = paths.map(([, path]) => {
    const [kind, a, b] = path as [string, string, string | undefined]
    const [pattern, params] = kind === 't' ? [a === 'acme' ? 't/acme/:room' : 't/:tenant/:room', { tenant: a, room: b! }] : path.length === 3 ? ['rooms/:id/staff', { id: a }] : a === 'lobby' ? ['rooms/lobby', {}] : ['rooms/:id', { id: a }]
    return [pattern, wsNamespaces.get(pattern, params)!] as const
  })
  t.equal(new Set(handles.map(([, { name }]) => name)).size, paths.length, 'each has a name of its own')
  for (const [index, [pattern, namespace]] of handles.entries()) {
    const client = clients.get(paths[index]![0])!
    t.same(client.of('served'), [pattern], paths[index]![0])
    t.equal(client.connected.namespace, namespace.name)
    t.equal(wsNamespaces.get(namespace.name)?.name, namespace.name, 'and is found by it')
    await namespace.broadcast('n', index)
    const response = await first!.app.inject({ method: 'POST', url: `${P}/${encodeURIComponent(namespace.name)}/user/ann`, payload: { type: 'http', data: index } })
    t.equal(response.statusCode, 200)
    t.equal((await namespace.stats()).connections, 1)
    if (pattern.startsWith('t/')) t.equal((await namespace.presence()).length, 1)
  }
  for (const [index, [url]] of paths.entries()) {
    const client = clients.get(url)!
    await client.wait('http')
    t.same([client.of('n'), client.of('http')], [[index], [index]], url)
  }
  t.equal((await connect(t, first!.port, `${P}/rooms/locked/staff`, { user: 'ann' })).refused?.status, 403)
  t.equal((await connect(t, first!.port, `${P}/rooms/a;b`, { user: 'ann' })).connected.namespace, 'rooms/a;b', 'as Fastify reads it')
  t.equal((await connect(t, first!.port, `${P}/rooms/locked%2Fstaff`, { user: 'ann' })).of('served')[0], 'rooms/:id')
})

t.test('a narrower definition that comes later asks those whom the wider one let in, and they hear nothing meanwhile', async (t) => {
  const { app, port } = await build(t, { setup: ({ wsNamespaces }) => wsNamespaces.create('rooms/:id', { authorize: byHeader }) })
  const ann = await connect(t, port, `${P}/rooms/board`, { user: 'ann' })
  const other = await connect(t, port, `${P}/rooms/other`, { user: 'ann' })
  const board = app.wsNamespaces.create('rooms/board', { authorize: async () => false as const })
  await board.broadcast('secret', 1)
  t.equal((await ann.end()).code, 1001)
  t.same(ann.of('secret'), [])
  t.equal((await connect(t, port, `${P}/rooms/board`, { user: 'ann' })).refused?.status, 403)
  t.equal(other.closed, null)
  await board.close()
  const again = app.wsNamespaces.create('rooms/board', { public: true })
  const guest = await connect(t, port, `${P}/rooms/board`)
  await again.broadcast('n', 1)
  t.same(await guest.wait('n'), [1])
})
