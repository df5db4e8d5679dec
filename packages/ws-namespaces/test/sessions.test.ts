import type { AddressInfo } from 'node:net'
import fastifyWebsocket from '@fastify/websocket'
import { clusterBroadcast } from '@jpulse/cluster-broadcast'
import { redisLink } from '@jpulse/redis-link'
import { redisSessions } from '@jpulse/redis-sessions'
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import { redisServer, tcpProxy, uniqueName, waitFor } from '../../../test/helpers/index.ts'
import { wsNamespaces } from '../src/index.ts'
import { build, type Built } from './support/build.ts'
import { connect, connectSeveral } from './support/client.ts'

const secret = 'a secret of at least thirty-two characters'

/** An application with logins and a namespace for those who are logged in. */
async function site (t: Parameters<typeof build>[0], url: string, siteId: string, pmId: string): Promise<Built> {
  return build(t, {
    link: { url, siteId, env: 'test', commandTimeoutMs: 2000 },
    options: { pingIntervalMs: 300, pongTimeoutMs: 10_000 },
    pmId,
    before: (app) => {
      app.register(redisSessions, { secret })
      app.post<{ Params: { user: string } }>('/login/:user', async (request) => { await app.sessions.login(request, request.params.user) })
      app.post('/logout', async (request) => { await app.sessions.logout(request) })
      app.post('/logout-others', async (request) => ({ ended: await app.sessions.logoutOthers(request) }))
    },
    setup: ({ wsNamespaces }) => {
      wsNamespaces.create('mine')
      wsNamespaces.create('admins', { authorize: async (request) => request.session?.userId === 'admin' ? { userId: 'admin' } : false })
      wsNamespaces.create('open', { public: true })
    }
  })
}

async function login ({ app }: Built, user: string): Promise<string> {
  const { headers } = await app.inject({ method: 'POST', url: `/login/${user}` })
  return String([headers['set-cookie']].flat()[0]).split(';', 1)[0]!
}

t.test('sessions: who gets in, and how their end ends connections on other workers', async (t) => {
  const redis = await redisServer(t, { args: ['--save', '', '--appendonly', 'no'] })
  const proxy = await tcpProxy(t, redis.port)
  const siteId = uniqueName('ses')
  const a = await site(t, redis.url, siteId, '0')
  const b = await site(t, `redis://127.0.0.1:${proxy.port}`, siteId, '1')
  await waitFor(() => a.app.appCluster.members().length === 2 && b.app.appCluster.members().length === 2, { timeoutMs: 30_000 })
  const open = (path: string, cookie?: string) => connect(t, b.port, `/api/1/ws/${path}`, { headers: cookie === undefined ? {} : { cookie } })
  const [ann, ann2, bob] = [await login(a, 'ann'), await login(a, 'ann'), await login(a, 'bob')]
  t.equal((await open('mine')).refused?.status, 401)
  t.equal((await open('nowhere')).refused?.status, 401, 'what exists is told to nobody')
  t.equal((await open('nowhere', ann)).refused?.status, 404)
  t.equal((await open('admins', ann)).refused?.status, 403)
  t.equal((await open('mine', `${ann}x`)).refused?.status, 401, 'a forged cookie')
  t.ok((await open('open')).connected)

  const [one, two, three] = [await open('mine', ann), await open('mine', ann2), await open('mine', bob)]
  t.same(b.app.wsNamespaces.local().mine!.users, 2)
  await a.app.inject({ method: 'POST', url: '/logout', headers: { cookie: ann } })
  t.equal((await one.end()).code, 4401)
  t.same(one.errors, ['SESSION_EXPIRED'])
  t.equal(two.closed, null, 'another session of the user')
  t.equal((await open('mine', ann)).refused?.status, 401)

  const ann3 = await login(a, 'ann')
  const kept = await open('mine', ann3)
  await a.app.inject({ method: 'POST', url: '/logout-others', headers: { cookie: ann3 } })
  t.equal((await two.end()).code, 4401)
  t.equal(kept.closed, null, 'the one that asked goes on')
  await a.app.sessions.logoutAll('ann')
  t.equal((await kept.end()).code, 4401)
  t.equal(three.closed, null)

  // What nobody announces is found with the next ping.
  const silent = await open('mine', await login(a, 'silent'))
  const keys = (await redis.client.keys(`${siteId}:*`)).filter((key) => key.includes('sess') && !key.includes('cluster'))
  await redis.client.del(keys)
  t.equal((await silent.end()).code, 4401)
  t.equal((await three.end()).code, 4401)

  const cookie = await login(a, 'cem')
  const lasting = await open('mine', cookie)
  proxy.cut()
  await waitFor(() => !b.app.redisLink.isUp, { timeoutMs: 30_000 })
  const pings = { count: 0 }
  lasting.ws.on('ping', () => { pings.count++ })
  await waitFor(() => pings.count >= 4, { what: 'pings, each with a look at the session', timeoutMs: 30_000 })
  t.equal(lasting.closed, null, 'a store that cannot be asked ends nobody')
  t.equal((await open('mine', cookie)).refused?.status, 503, 'and lets nobody in')
  t.ok((await open('open')).connected, 'but guests')
  await a.app.sessions.logoutAll('cem')
  proxy.mend()
  t.equal((await lasting.end()).code, 4401, 'what was missed is seen when it is back')
})

t.test('a session that gets another id ends at once the sockets that its old one let in, on every worker, and no other', async (t) => {
  const redis = await redisServer(t, { args: ['--save', '', '--appendonly', 'no'] })
  const siteId = uniqueName('ses')
  const worker = (pmId: string) => build(t, {
    link: { url: redis.url, siteId, env: 'test' },
    // No look with a ping before the test is over.
    options: { pingIntervalMs: 600_000, pongTimeoutMs: 10_000 },
    pmId,
    before: (app) => {
      app.register(redisSessions, { secret })
      app.post<{ Params: { user: string } }>('/login/:user', async (request) => { await app.sessions.login(request, request.params.user) })
      app.post('/regenerate', async (request) => { await request.session.regenerate() })
    },
    setup: ({ wsNamespaces }) => { wsNamespaces.create('mine') }
  })
  const [a, b] = [await worker('0'), await worker('1')]
  await waitFor(() => a.app.appCluster.members().length === 2 && b.app.appCluster.members().length === 2, { timeoutMs: 30_000 })
  const open = (cookie: string) => connect(t, b.port, '/api/1/ws/mine', { headers: { cookie } })
  const [ann, phone] = [await login(a, 'ann'), await login(a, 'ann')]
  const [old, other] = [await open(ann), await open(phone)]
  const regenerate = async (cookie: string) => String([(await a.app.inject({ method: 'POST', url: '/regenerate', headers: { cookie } })).headers['set-cookie']].flat()[0]).split(';', 1)[0]!
  const moved = await regenerate(ann)
  t.equal((await old.end()).code, 4401)
  t.same(old.errors, ['SESSION_EXPIRED'])
  const next = await open(moved)
  // A message that comes late meets a socket of the new id, which has the handle of the old one.
  const handles = (await a.app.sessions.list('ann')).map(({ handle }) => handle)
  await a.app.appCluster.internal('session').publish('session:moved', { userId: 'ann', handles })
  await regenerate(phone)
  t.equal((await other.end()).code, 4401)
  t.equal(next.closed, null)
})

t.test('a session that ends while its connection is being made does not get one that stays', async (t) => {
  const redis = await redisServer(t, { args: ['--save', '', '--appendonly', 'no'] })
  const siteId = uniqueName('ses')
  let release = (): void => {}
  const held = new Promise<void>((resolve) => { release = resolve })
  const built = await build(t, {
    link: { url: redis.url, siteId, env: 'test' },
    before: (app) => {
      app.register(redisSessions, { secret })
      app.post<{ Params: { user: string } }>('/login/:user', async (request) => { await app.sessions.login(request, request.params.user) })
    },
    setup: ({ wsNamespaces }) => { wsNamespaces.create('slow', { authorize: async (request) => { await held; return { userId: String(request.session?.userId ?? 'ann') } } }) }
  })
  const cookie = await login(built, 'ann')
  const pending = connect(t, built.port, '/api/1/ws/slow', { headers: { cookie } })
  await waitFor(async () => await new Promise<number>((resolve) => built.app.server.getConnections((_err, count) => resolve(count))) > 0, { timeoutMs: 30_000 })
  await built.app.sessions.logoutAll('ann')
  release()
  const client = await pending
  t.equal(client.refused === null ? (await client.end()).code : 4401, 4401)
})

t.test('with several realms of sessions each registration lets in those of the realm in its own scope', async (t) => {
  const complaints: string[] = []
  const app = Fastify({ logger: { level: 'warn', stream: { write: (line: string) => { complaints.push(JSON.parse(line).msg) } } } })
  t.teardown(() => app.close())
  app.register(redisLink, { siteId: uniqueName('ses') })
  app.register(clusterBroadcast)
  app.register(fastifyWebsocket, { options: { maxPayload: 1_048_576 }, preClose: (done) => done() })
  const scopes: Record<string, FastifyInstance> = {}
  for (const realm of ['shop', 'staff']) {
    app.register(async (scope) => {
      scopes[realm] = scope
      scope.register(redisSessions, { secret, name: realm, cookieName: realm })
      scope.register(wsNamespaces, { routePrefix: `/${realm}/ws`, pingIntervalMs: 300, pongTimeoutMs: 10_000, authorize: async () => true })
      scope.post(`/${realm}/login`, async (request) => { await scope.sessions.login(request, 'ann') })
      scope.after(() => { scope.wsNamespaces.create(`${realm}-news`) })
    })
  }
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const cookies = await Promise.all(['shop', 'staff'].map(async (realm) => String([(await app.inject({ method: 'POST', url: `/${realm}/login` })).headers['set-cookie']].flat()[0]).split(';', 1)[0]!))
  const open = (realm: string, cookie: string) => connect(t, port, `/${realm}/ws/${realm}-news`, { headers: { cookie } })
  t.same([(await open('shop', cookies[1]!)).refused?.status, (await open('staff', cookies[0]!)).refused?.status], [401, 401], 'of the other realm')
  const [shop, staff] = [await open('shop', cookies[0]!), await open('staff', cookies[1]!)]
  await scopes.shop!.sessions.logoutAll('ann')
  t.equal((await shop.end()).code, 4401)
  await scopes.staff!.wsNamespaces.get('staff-news')!.broadcast('n', 1)
  t.same(await staff.wait('n'), [1])
  t.equal(staff.closed, null, 'the same user of the other realm')
  const { shop: inShop, staff: inStaff } = Object.fromEntries(Object.entries(scopes).map(([realm, scope]) => [realm, scope.wsNamespaces.get(`${realm}-news`)!]))
  await waitFor(async () => !(await inShop!.online('ann')).online, { what: 'who was cut to be gone' })
  t.equal((await inStaff!.online('ann')).online, true, 'one registration answers for all')
  t.match(await inStaff!.stats(), { connections: 1, users: 1, instances: 1, status: 'green' })
  t.equal(await inStaff!.joinUser('ann', 'desk'), 1)
  t.match(await inStaff!.connections('ann'), [{ rooms: ['desk'] }])
  for (const realm of Object.keys(scopes)) t.same(Object.keys((await app.inject(`/${realm}/ws/stats`)).json().data), [`${realm}-news`], 'and tells each of its own')
  t.same(complaints, [])
  const several = await connectSeveral(t, port, { path: '/staff/ws', headers: { cookie: cookies.join('; ') } })
  t.equal((await several.open('staff-news')).refused, null)
  t.equal((await several.open('shop-news')).refused?.status, 404)
  scopes.shop!.wsNamespaces.create('rooms/:id')
  for (const name of ['shop-news', 'rooms/:id', 'rooms/lobby']) t.throws(() => scopes.staff!.wsNamespaces.create(name), { code: 'FST_ERR_WS_NAMESPACES_EXISTS', message: /another registration/ }, name)
})

t.test('what keeps the session of a connection from timing out: messages, the connection itself, or nothing', async (t) => {
  for (const sessionActivity of ['messages', 'connection', 'none'] as const) {
    const touched: string[] = []
    const built = await build(t, {
      link: { siteId: uniqueName('ses') },
      options: { pingIntervalMs: 100, sessionActivity },
      before: (app) => {
        app.register(redisSessions, { secret, touchIntervalMs: 0 })
        app.post<{ Params: { user: string } }>('/login/:user', async (request) => { await app.sessions.login(request, request.params.user) })
      },
      setup: ({ wsNamespaces, sessions }) => {
        const { touch } = sessions.store
        sessions.store.touch = async function (ref, seen) {
          touched.push(ref.hash)
          return await touch.call(this, ref, seen)
        }
        wsNamespaces.create('mine', { onMessage: () => true })
      }
    })
    const client = await connect(t, built.port, '/api/1/ws/mine', { headers: { cookie: await login(built, 'ann') } })
    const pings = { count: 0 }
    client.ws.on('ping', () => { pings.count++ })
    touched.length = 0
    await waitFor(() => pings.count >= 3 && (sessionActivity !== 'connection' || touched.length > 0), { what: 'pings' })
    if (sessionActivity !== 'connection') t.same(touched, [], `${sessionActivity}: pings and pongs`)
    touched.length = 0
    await client.request({ type: 'here' })
    if (sessionActivity === 'messages') t.equal(touched.length, 1)
    if (sessionActivity === 'none') t.same(touched, [])
  }
})
