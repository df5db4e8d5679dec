import type { AddressInfo } from 'node:net'
import t from 'tap'
import { WebSocket } from 'ws'
import { serversEnv } from '../../../test/helpers/index.ts'
import { networkOf } from '../src/auth/attempts.ts'
import { adminSite, Client, PASSWORD, site, siteIn } from './helper.ts'

t.setTimeout(120_000)

t.test('what another site makes a browser send is refused, whichever way it is sent, and changes nothing', async (t) => {
  const { app, admin } = await adminSite(t, 'embedded')
  const sends: readonly [what: string, headers: Record<string, string>][] = [
    ['a form of another site', { 'sec-fetch-site': 'cross-site' }],
    ['a form of a sibling domain', { 'sec-fetch-site': 'same-site' }],
    ['an older browser', { 'sec-fetch-site': '', origin: 'https://evil.example' }],
    ['a sandboxed frame', { 'sec-fetch-site': '', origin: 'null' }],
    ['nothing said about where it came from', { 'sec-fetch-site': '' }]
  ]
  for (const [what, headers] of sends) {
    const refused = await admin.form('/devices/sign-out-everywhere', {}, headers)
    t.match(refused, { statusCode: 403, body: /came from another site/ }, what)
    t.match(await admin.form('/admin/features', { name: 'banner', enabled: 'true' }, headers), { statusCode: 403 }, what)
  }
  const trick = await admin.json('POST', '/api/1/broadcast', { text: 'x' }, { 'content-type': 'text/plain' })
  t.equal(trick.statusCode, 403, 'JSON in disguise, which needs no permission to be sent')
  t.match(await admin.status(), { authenticated: true })
  t.equal(await app.configCache.isFeatureEnabled('banner'), false)
  t.equal((await admin.form('/admin/features', { name: 'banner', enabled: 'true' }, { 'sec-fetch-site': '', origin: 'http://localhost', host: 'localhost' })).statusCode, 303, 'the own form of an older browser')
  const [, token = ''] = /name="_csrf" value="([^"]+)"/.exec((await admin.get('/admin/')).body) ?? []
  t.equal((await admin.form('/admin/features', { name: 'banner', enabled: 'false', _csrf: token }, { 'sec-fetch-site': '' })).statusCode, 303, 'a program that sends back the form as it was')
  t.equal((await admin.form('/admin/features', { name: 'banner', enabled: 'true', _csrf: token.slice(1) }, { 'sec-fetch-site': '' })).statusCode, 403)
  t.equal(await app.configCache.isFeatureEnabled('banner'), false)
})

t.test('a session id that somebody planted is not taken on, and signing in makes a new one', async (t) => {
  const app = await siteIn(t, 'embedded')
  const planted = new Client(app)
  const plant = 'x'.repeat(43)
  planted.cookies.set('sessionId', plant)
  await planted.signUp('ada')
  const first = planted.cookies.get('sessionId')!
  t.not(first.split('.')[0], plant)
  const again = await planted.form('/sign-in', { username: 'ada', password: PASSWORD })
  t.not(planted.cookies.get('sessionId'), first)
  t.match(again.cookies[0], { name: 'sessionId', httpOnly: true, sameSite: 'Lax', path: '/' })
  const thief = new Client(app)
  thief.cookies.set('sessionId', first)
  t.same(await thief.status(), { authenticated: false }, 'the old one is dead')
})

t.test("Prometheus' token opens the scrape and nothing else", async (t) => {
  const METRICS_TOKEN = 'prometheus-0123456789'
  const { app, admin } = await adminSite(t, 'embedded', { METRICS_TOKEN })
  const get = async (url: string, authorization?: string) => app.inject({ url, headers: authorization === undefined ? {} : { authorization } })
  for (const url of ['/metrics', '/metrics?scope=cluster']) {
    t.match(await get(url, `Bearer ${METRICS_TOKEN}`), { statusCode: 200, headers: { 'content-type': /^text\/plain/ }, body: 'process_uptime_seconds' }, url)
    t.match(await get(url, `bearer ${METRICS_TOKEN}`), { statusCode: 200 }, 'the scheme is a word in any case')
    for (const authorization of [undefined, '', 'Bearer', 'Bearer ', METRICS_TOKEN, `Basic ${METRICS_TOKEN}`, `Bearer ${METRICS_TOKEN}x`, `Bearer ${METRICS_TOKEN.slice(1)}`, `Bearer ${METRICS_TOKEN.toUpperCase()}`, `Bearer ${METRICS_TOKEN} ${METRICS_TOKEN}`]) {
      t.match(await get(url, authorization), { statusCode: 401 }, `${url} ${authorization}`)
    }
    t.match(await admin.get(url), { statusCode: 200 }, 'administrators still may')
  }
  t.match((await get('/api/1/metrics', `Bearer ${METRICS_TOKEN}`)).json().data.servers[0].serverId, '***')
  t.match(await get('/admin/cluster', `Bearer ${METRICS_TOKEN}`), { statusCode: 303, headers: { location: '/sign-in?next=%2Fadmin%2Fcluster' } })
  for (const url of ['/api/1/metrics/servers', '/api/1/metrics/errors/recent', '/api/1/ws/stats']) t.match(await get(url, `Bearer ${METRICS_TOKEN}`), { statusCode: 401 }, url)

  const without = await siteIn(t, 'embedded')
  for (const authorization of ['Bearer undefined', 'Bearer ']) t.match(await without.inject({ url: '/metrics', headers: { authorization } }), { statusCode: 401 }, 'where none is set, none is right')
})

t.test('after signing in nobody is sent to another site', async (t) => {
  const app = await siteIn(t, 'embedded')
  const ada = new Client(app)
  await ada.signUp('ada')
  const elsewhere = ['https://evil.example', '//evil.example', '/\\evil.example', '/\t/evil.example', 'javascript:alert(1)', '\\\\evil.example', '/%0d%0aSet-Cookie:x', ' //evil.example', '/' + 'x'.repeat(550)]
  for (const next of elsewhere) {
    const location = (await ada.form('/sign-in', { username: 'ada', password: PASSWORD, next })).headers.location as string
    t.equal(new URL(location, 'http://own.test').origin, 'http://own.test', JSON.stringify(next))
    t.notMatch(location, /[\r\n\\]/)
    t.notMatch((await new Client(app).get(`/sign-in?next=${encodeURIComponent(next)}`)).body, /value="[^"]*evil/)
  }
})

t.test('what people type is text on every page that shows it', async (t) => {
  const hostile = '"><script>alert(1)</script>'
  const { app, admin } = await adminSite(t, 'embedded')
  const visitor = new Client(app)
  for (const [path, fields] of [['/sign-in', { username: hostile, password: 'x' }], ['/sign-up', { username: hostile, email: hostile, password: PASSWORD }]] as const) {
    const { body } = await visitor.form(path, fields)
    t.match(body, '&quot;&gt;&lt;script&gt;')
    t.notMatch(body, '<script>')
  }
  t.notMatch((await admin.get(`/admin/?saved=${encodeURIComponent(hostile)}`)).body, '<script>')
  await admin.json('POST', '/api/1/notices', { text: hostile })
  t.notMatch((await admin.get('/hello-app-cluster/')).body, '<script>alert')
  await admin.form('/admin/config', { collection: 'doctypes', key: 'person', value: JSON.stringify({ columns: [{ field: 'name', label: hostile }] }) })
  t.notMatch((await admin.get('/users')).body, '<script>alert')
  t.notMatch((await admin.get(`/users?sort=name&x=${encodeURIComponent(hostile)}`)).body, '<script>alert')
})

t.test('administrators only: each of their routes refuses a user and a stranger, and no state changes', async (t) => {
  const { app } = await adminSite(t, 'embedded')
  const [user, stranger] = [new Client(app), new Client(app)]
  await user.signUp('ada')
  const gets = ['/admin/', '/admin/users', '/admin/websockets', '/admin/audit', '/admin/users/ada/sessions', '/admin/cluster', '/metrics', '/api/1/metrics/servers', '/api/1/metrics/errors/recent', '/api/1/ws/stats', '/api/1/config/config/site', '/api/1/cache/stats', '/api/1/app-cluster/status', '/api/1/admin/templates/welcome']
  for (const url of gets) {
    const page = url.startsWith('/admin/')
    const refused = await user.get(url)
    t.equal(refused.statusCode, 403, url)
    if (page) t.match(refused.body, '<h1>Forbidden</h1>', `${url}: a person reads why`)
    t.match(await stranger.get(url), page ? { statusCode: 303, headers: { location: `/sign-in?next=${encodeURIComponent(url)}` } } : { statusCode: 401 }, url)
  }
  const posts: readonly ['POST' | 'PUT' | 'DELETE', string, object?][] = [
    ['POST', '/admin/features', { name: 'banner', enabled: 'true' }], ['POST', '/admin/users/admin/sessions', { handle: 'x' }], ['POST', '/admin/config', {}], ['POST', '/admin/templates', {}], ['POST', '/api/1/broadcast', { text: 'x' }],
    ['POST', '/api/1/message/ada', { text: 'x' }], ['PUT', '/api/1/features/banner', { enabled: true }], ['PUT', '/api/1/config/config/site', { value: 1 }], ['DELETE', '/api/1/config/config/site'],
    ['POST', '/api/1/cache/clear'], ['POST', '/api/1/admin/templates/refresh'], ['PUT', '/api/1/admin/templates/welcome', { body: 'x' }], ['POST', '/api/1/ws/hello-todo/broadcast', { type: 'x' }], ['POST', '/api/1/app-cluster/broadcast/x', { data: 1 }]
  ]
  for (const [method, url, body] of posts) {
    t.equal((await user.json(method, url, body)).statusCode, 403, `${method} ${url}`)
    t.equal((await stranger.json(method, url, body)).statusCode, 401, `${method} ${url}`)
  }
  t.equal(await app.configCache.isFeatureEnabled('banner'), false)
  t.match((await stranger.get('/api/1/metrics')).body, /\*\*\*/, 'anybody gets the metrics, masked')
})

t.test('wrong passwords make who guesses wait, counted over all workers, and nobody else', async (t) => {
  const env = { ...await serversEnv(t), TRUST_PROXY: 'true' }
  const workers = [await site(t, env), await site(t, env)]
  let turn = 0
  const login = (username: string, password: string, ip: string) =>
    new Client(workers[turn++ % 2]!).json('POST', '/api/1/auth/login', { username, password }, { 'x-forwarded-for': ip })
  await new Client(workers[0]!).signUp('ada')
  const guesses = await Promise.all(Array.from({ length: 30 }, () => login('ada', 'wrong', '192.0.2.1')))
  const statuses = guesses.map(({ statusCode }) => statusCode).sort()
  t.same(statuses, [...Array(11).fill(401), ...Array(19).fill(429)], 'ten are free, one more has the first pause to itself, whether or not they come at once')
  for (const { statusCode, headers } of guesses) if (statusCode === 429) t.ok(Number(headers['retry-after']) > 0)
  t.equal((await login('ada', PASSWORD, '192.0.2.1')).statusCode, 429, 'the guesser has to wait, even with the right one')
  t.equal((await login('ada', PASSWORD, '192.0.2.2')).statusCode, 200, 'the owner elsewhere has not')
  t.equal((await login('bob', 'wrong', '192.0.2.1')).statusCode, 401, 'nor has another name')
  const page = await new Client(workers[0]!).form('/sign-in', { username: 'ada', password: 'wrong' }, { 'x-forwarded-for': '192.0.2.1' })
  t.match(page, { statusCode: 429, body: /Too many attempts/ })
  t.equal((await workers[0]!.inject('/')).statusCode, 200, 'the rest of the site has no such limit')
})

t.test('right passwords are no attempts: 28 of four people from one address', async (t) => {
  const app = await siteIn(t, 'embedded')
  const names = ['ada', 'bob', 'cyd', 'dan']
  for (const name of names) await new Client(app).signUp(name)
  for (let n = 0; n < 28; n++) t.equal((await new Client(app).json('POST', '/api/1/auth/login', { username: names[n % 4]!, password: PASSWORD })).statusCode, 200)
})

t.test('a network, not an address, is what guesses', async (t) => {
  t.equal(networkOf('192.0.2.7'), '192.0.2.7')
  t.equal(networkOf('::ffff:192.0.2.7'), '192.0.2.7')
  t.equal(networkOf('2001:db8:1:2:3:4:5:6'), '2001:db8:1:2::/64')
  t.equal(networkOf('2001:0db8:1:2::9'), '2001:db8:1:2::/64')
  t.equal(networkOf('2001:db8::9'), '2001:db8:0:0::/64')
  t.equal(networkOf('::1'), '0:0:0:0::/64')
  t.equal(networkOf('fe80::1%eth0'), 'fe80:0:0:0::/64')
})

t.test('bodies beyond what a route needs are refused before they are read', async (t) => {
  const { admin } = await adminSite(t, 'embedded')
  const big = 'x'.repeat(1_100_000)
  t.equal((await admin.json('POST', '/api/1/auth/login', { username: big.slice(0, 20_000), password: 'x' })).statusCode, 413)
  t.equal((await admin.form('/sign-up', { username: 'x', email: 'x', password: big.slice(0, 20_000) })).statusCode, 413)
  t.equal((await admin.form('/admin/templates', { name: 'welcome', body: big })).statusCode, 413)
  t.equal((await admin.json('POST', '/api/1/notices', { text: big })).statusCode, 413)
})

t.test('a WebSocket is for whoever is signed in, and for pages of this site', async (t) => {
  const { app, admin } = await adminSite(t, 'embedded')
  await app.listen({ port: 0, host: '127.0.0.1' })
  const host = `127.0.0.1:${(app.server.address() as AddressInfo).port}`
  const open = (path: string, headers: Record<string, string>) => new Promise<number>((resolve, reject) => {
    const socket = new WebSocket(`ws://${host}${path}`, { headers })
    socket.once('open', () => { socket.close(); resolve(101) })
    socket.once('unexpected-response', (_request, response) => { response.resume(); resolve(response.statusCode!) })
    socket.once('error', reject)
  })
  for (const path of ['/api/1/ws/hello-todo', '/ws/hello-todo', '/api/1/ws/rooms/x']) {
    t.equal(await open(path, {}), 401, path)
    t.equal(await open(path, { cookie: admin.cookie, origin: 'https://evil.example' }), 403, path)
    t.equal(await open(path, { cookie: admin.cookie, origin: `http://${host}` }), 101, path)
  }
  for (const page of ['/', '/api/1/users', '/nowhere']) t.equal(await open(page, { cookie: admin.cookie, origin: `http://${host}` }), 404, `${page} is no WebSocket, which is said before the handshake`)
})
