import type { AddressInfo } from 'node:net'
import clusterBroadcast from '@jpulse/cluster-broadcast'
import redisLink from '@jpulse/redis-link'
import Fastify from 'fastify'
import t from 'tap'
import { serversEnv, waitFor } from '../../../test/helpers/index.ts'
import { adminSite, Client, MODES, site } from './helper.ts'
import { LiveSocket } from './socket.ts'

const endpoint = (name: string, more: Record<string, string> = {}) => ({ name, audience: 'users', ...more })

for (const mode of MODES) {
  t.test(`${mode}: endpoints that an administrator makes are bounded, checked, and refuse whom they are not for`, async (t) => {
    const { app, admin } = await adminSite(t, mode)
    const ada = new Client(app)
    await ada.signUp('ada')
    const make = (fields: Record<string, string>) => admin.form('/admin/websockets', fields)
    const status = async (client: Client, name: string) => (await client.get(`/api/1/ws/${name}`)).statusCode

    t.equal(await status(ada, 'shop'), 404)
    t.match(await make(endpoint('shop')), { statusCode: 303, headers: { location: /shop\+is\+open%2C\+on\+every\+worker/ } })
    t.equal(await status(ada, 'shop'), 426)
    t.equal(await status(new Client(app), 'shop'), 401)
    t.equal((await make(endpoint('staff', { audience: 'admins', sending: 'on' }))).statusCode, 303)
    t.same([await status(ada, 'staff'), await status(admin, 'staff'), await status(new Client(app), 'staff')], [403, 426, 401])
    t.match((await admin.get('/admin/websockets')).body, /data-namespace="shop"[^]*data-namespace="staff"[^]*for administrators, all may send/)

    for (const name of ['', '-', 'Shop', 'a/b', ':id', 'a b', 'x'.repeat(33), '<b>', 'rooms/:id']) t.equal((await make(endpoint(name))).statusCode, 400, name)
    for (const name of ['shop', 'hello-todo', 'jpulse-ws-status', 'stats']) t.match(await make(endpoint(name)), { statusCode: 400, body: /already/ }, name)
    t.equal((await make({ name: 'shop2', audience: 'everybody' })).statusCode, 400)
    t.equal((await admin.form('/admin/websockets/remove', { name: 'hello-todo' })).statusCode, 400, 'those of the site stay')
    t.equal((await ada.form('/admin/websockets', endpoint('mine'))).statusCode, 403)

    // All at once: none is lost, and the bound holds.
    const all = await Promise.all(Array.from({ length: 22 }, (_, n) => make(endpoint(`many-${n}`))))
    const made = all.filter(({ statusCode }) => statusCode === 303).length
    t.equal(made, 18)
    t.ok(all.every(({ statusCode }) => [303, 400].includes(statusCode)), all.map(({ statusCode }) => statusCode).join())
    t.equal((await app.endpoints.list()).length, made + 2)
    for (const { name } of await app.endpoints.list()) t.equal(await status(admin, name), 426, name)

    await app.configCache.set('endpoints', { endpoints: [{ name: 'hello-todo' }] }, { collection: 'config' })
    await app.endpoints.refresh()
    t.equal(await status(admin, 'hello-todo'), 426, 'what is no list of endpoints does no harm')
    t.equal(await status(admin, 'shop'), 426, 'nor does it end those of before')
    t.equal((await admin.get('/admin/websockets')).statusCode, 200)
    t.equal((await make(endpoint('other'))).statusCode, 400, 'and nothing is written over it')
    await app.configCache.set('endpoints', { endpoints: [] }, { collection: 'config' })
    await waitFor(async () => await status(admin, 'shop') === 404, { what: 'the endpoints to go' })
    t.equal((await make(endpoint('shop'))).statusCode, 303)
    t.equal(await status(admin, 'shop'), 426)
  })
}

t.test('two processes: what one makes the other has, messages go between them, a removed one ends its connections, a late one finds all', async (t) => {
  const env = await serversEnv(t)
  const { app: one, admin } = await adminSite(t, 'servers', env)
  const two = await site(t, { ...env, SERVER_ID: '026' })
  const addressOf = async (app: typeof one) => {
    await app.listen({ port: 0, host: '127.0.0.1' })
    return `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`
  }
  const [first, second] = [await addressOf(one), await addressOf(two)]
  const names = () => [one.endpoints.names, two.endpoints.names]

  t.match((await admin.form('/admin/websockets', endpoint('shop', { sending: 'on', history: 'on' }))).headers.location, 'on+every+worker')
  t.same(names(), [['shop'], ['shop']], 'when the form has been answered')
  const [here, there] = [new LiveSocket(t, first, 'shop', admin.cookie), new LiveSocket(t, second, 'shop', admin.cookie)]
  await waitFor(() => here.isOpen && there.isOpen, { what: 'both sockets', timeoutMs: 30_000 })
  here.send({ type: 'broadcast', data: 'hello' })
  await waitFor(() => there.of('broadcast').length === 1, { what: 'a message from one process to the other', timeoutMs: 30_000 })
  await admin.json('POST', '/api/1/ws/shop/broadcast', { type: 'news', data: 1 })
  await waitFor(() => here.of('news').length === 1 && there.of('news').length === 1, { what: 'what an administrator sends', timeoutMs: 30_000 })

  const { app: three } = { app: await site(t, { ...env, SERVER_ID: '027' }) }
  await three.ready()
  t.same(three.endpoints.names, ['shop'], 'who comes later has it when it is ready')

  // By the cache's event alone, as where it is written by the API of the cache.
  await admin.json('PUT', '/api/1/config/config/endpoints', { value: { endpoints: [{ name: 'shop', audience: 'users', sending: false, history: true, presence: false }, { name: 'other', audience: 'users', sending: false, history: false, presence: false }] } })
  await waitFor(() => [one, two, three].every((app) => app.endpoints.names.join() === 'other,shop'), { what: 'the other one on each', timeoutMs: 30_000 })
  await waitFor(() => [here, there].every((socket) => socket.closes.includes(1001) && socket.isOpen), { what: 'the clients of the one that is another now to be back', timeoutMs: 30_000 })

  for (const socket of [here, there]) socket.closes.length = 0
  t.match((await admin.form('/admin/websockets/remove', { name: 'shop' })).headers.location, 'on+every+worker')
  t.same([...names(), three.endpoints.names], [['other'], ['other'], ['other']])
  await waitFor(() => here.closes.includes(1001) && there.closes.includes(1001), { what: 'both sockets to be closed', timeoutMs: 30_000 })
  for (const address of [first, second]) t.equal((await fetch(`${address}/api/1/ws/shop`, { headers: { cookie: admin.cookie } })).status, 404)
})

for (const mode of MODES) {
  t.test(`${mode}: an endpoint that is made anew tells nothing of what was said at the former one of its name`, async (t) => {
    const { app, admin } = await adminSite(t, mode)
    await app.listen({ port: 0, host: '127.0.0.1' })
    const address = `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`
    const make = async () => t.equal((await admin.form('/admin/websockets', endpoint('shop', { history: 'on' }))).statusCode, 303)
    const say = async (data: string) => t.equal((await admin.json('POST', '/api/1/ws/shop/broadcast', { type: 'news', data })).statusCode, 200)
    await make()
    const socket = new LiveSocket(t, address, 'shop', admin.cookie)
    await waitFor(() => socket.isOpen, { what: 'the socket' })
    await say('heard')
    await waitFor(() => socket.of('news').length === 1, { what: 'the news' })
    socket.stop()
    await say('missed')
    t.equal((await admin.form('/admin/websockets/remove', { name: 'shop' })).statusCode, 303)
    await make()
    await say('of the new one')
    socket.resume()
    await waitFor(() => socket.recoveries.length === 1, { what: 'the socket to be back', timeoutMs: 30_000 })
    await say('last')
    await waitFor(() => socket.of('news').includes('last'), { what: 'the last news' })
    t.same([socket.recoveries, socket.of('news')], [[false], ['heard', 'last']])
  })
}

t.test('a worker of an older release, which knows nothing of endpoints, or not of this one, is not said to have it', async (t) => {
  const env = await serversEnv(t)
  const { app, admin } = await adminSite(t, 'servers', env)
  const older = Fastify()
  t.teardown(() => older.close())
  await older.register(redisLink, { siteId: env.SITE_ID!, env: 'development', url: env.REDIS_URL! })
  await older.register(clusterBroadcast, { serverId: 'older', pmId: '0' })
  await older.ready()
  await waitFor(() => app.appCluster.members().length === 2, { what: 'both to be members', timeoutMs: 30_000 })
  const done = (answer: { headers: Record<string, unknown> }) => new URL(String(answer.headers.location), 'http://site').searchParams.get('done')

  t.equal(done(await admin.form('/admin/websockets', endpoint('shop'))), 'shop is open; older:0 will follow.')
  // What the release before answers: it has refreshed, and says no more.
  await older.appCluster.broadcast.subscribe('site:endpoints', async () => {})
  t.equal(done(await admin.form('/admin/websockets', endpoint('other'))), 'other is open; older:0 will follow.')
  t.equal(done(await admin.form('/admin/websockets/remove', { name: 'shop' })), 'shop is removed; older:0 will follow.')
  await older.close()
  await waitFor(() => app.appCluster.members().length === 1, { what: 'it to have left', timeoutMs: 30_000 })
  t.equal(done(await admin.form('/admin/websockets/remove', { name: 'other' })), 'other is removed, on every worker.')
})
