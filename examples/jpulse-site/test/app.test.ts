import { once } from 'node:events'
import { connect, type AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { WebSocket } from 'ws'
import { serversEnv } from '../../../test/helpers/index.ts'
import { memoryGuestBook } from '../src/guestbook/memory-guestbook.ts'
import { adminSite, Client, form, MODES, PASSWORD, site, siteIn } from './helper.ts'

const API = '/api/1/guestbook'
const HOSTILE = '<script>alert(1)</script>"\'><img src=x onerror=alert(2)>&amp;'

for (const mode of MODES) {
  t.test(`${mode}: the home page names the worker, counts visits and shows the guest book`, async (t) => {
    const app = await siteIn(t, mode)
    const first = await app.inject('/')
    t.equal(first.statusCode, 200)
    t.match(first.headers, { 'content-type': 'text/html; charset=utf-8', 'x-worker': '025:0', 'cache-control': 'no-store' })
    t.match(first.body, 'data-testid="worker">025:0<')
    t.match(first.body, 'data-testid="visits">1<')
    t.match((await app.inject('/')).body, 'data-testid="visits">2<')
    await app.inject({ method: 'HEAD', url: '/' })
    t.match((await app.inject('/')).body, 'data-testid="visits">3<', 'asking for the headers is no visit')
    t.match(first.body, 'Nobody has signed yet')
    t.match(first.body, mode === 'embedded' ? 'Embedded mode' : '<dd class="state up">up</dd>')
  })

  t.test(`${mode}: an entry posted through the API is trimmed, and the newest is listed first`, async (t) => {
    const app = await siteIn(t, mode)
    for (const name of ['Ada', 'Bob', 'Cyd']) {
      const posted = await app.inject({ method: 'POST', url: API, payload: { name: ` ${name}\t`, message: '\n one\r\ntwo ' } })
      t.equal(posted.statusCode, 201)
      t.match(posted.json(), { success: true, data: { id: /^[\w-]+$/, name, message: 'one\ntwo', createdAt: /^\d{4}-\d\d-\d\dT.+Z$/ } })
    }
    const listed = (await app.inject(API)).json()
    t.same(listed.data.map((entry: { name: string }) => entry.name), ['Cyd', 'Bob', 'Ada'])
    t.same((await app.inject(`${API}?limit=2`)).json().data, listed.data.slice(0, 2))
  })

  t.test(`${mode}: a submitted form redirects to the book, which shows the entry and a thank-you`, async (t) => {
    const app = await siteIn(t, mode)
    const posted = await app.inject(form({ name: 'Ada', message: 'Hello' }))
    t.equal(posted.statusCode, 303)
    const page = await app.inject(posted.headers.location as string)
    t.equal(page.statusCode, 200)
    t.match(page.body, '<p class="message">Hello</p>')
    t.match(page.body, 'Thank you')
    t.match((await app.inject('/')).body, '<p class="message">Hello</p>', 'the home page shows it too')
    t.notMatch((await app.inject('/guestbook')).body, 'Thank you', 'a later visit is not thanked')
  })

  t.test(`${mode}: what visitors write is text, on every page`, async (t) => {
    const app = await siteIn(t, mode)
    t.equal((await app.inject(form({ name: HOSTILE, message: HOSTILE }))).statusCode, 303)
    for (const url of ['/', '/guestbook']) {
      const { body } = await app.inject(url)
      t.match(body, '&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&gt;&lt;img src=x onerror=alert(2)&gt;&amp;amp;')
      t.notMatch(body, /<script|<img src=x/)
    }
    t.equal((await app.inject(API)).json().data[0].message, HOSTILE, 'the API gives it as it was written')
    const again = await app.inject(form({ name: HOSTILE.repeat(3), message: `</textarea>${HOSTILE}` }))
    t.equal(again.statusCode, 400)
    t.notMatch(again.body, /<script|<img src=x/, 'nor is the form that comes back anything but text')
    const unknown = await app.inject({ url: '/o\'clock&x', headers: { accept: 'text/html' } })
    t.equal(unknown.statusCode, 404)
    t.match(unknown.body, '/o&#39;clock&amp;x')
  })
}

t.test('the longest name and message are taken, counted in characters; one more is refused', async (t) => {
  const app = await siteIn(t, 'servers')
  const name = '😀'.repeat(80)
  const message = '漢'.repeat(1000)
  t.equal((await app.inject({ method: 'POST', url: API, payload: { name, message } })).statusCode, 201)
  t.match((await app.inject(API)).json().data[0], { name, message })
  t.equal((await app.inject(form({ name, message: `${'é'.repeat(499)}\r\n${'x'.repeat(500)}` }))).statusCode, 303, 'a line break counts once')
  for (const payload of [{ name: `${name}x`, message }, { name, message: `${message}x` }]) {
    t.match((await app.inject({ method: 'POST', url: API, payload })).json(), { success: false, code: 'FST_ERR_VALIDATION', statusCode: 400 })
    t.equal((await app.inject(form(payload))).statusCode, 400)
  }
  t.equal((await app.inject(API)).json().data.length, 2)
})

const BAD_BODIES: readonly [what: string, payload: string, type?: string, status?: number, code?: string][] = [
  ['no name', '{"message":"m"}'],
  ['no message', '{"name":"n"}'],
  ['an empty name', '{"name":"","message":"m"}'],
  ['a name of blanks', '{"name":" \\t\\n ","message":"m"}'],
  ['a message of blanks', '{"name":"n","message":"  "}'],
  ['a number for a name', '{"name":1,"message":"m"}'],
  ['an object for a message', '{"name":"n","message":{"$gt":""}}'],
  ['a field nobody knows', '{"name":"n","message":"m","admin":true}'],
  ['an array', '[]'],
  ['null', 'null'],
  ['text', '"text"'],
  ['a name twice in a form', 'name=a&name=b&message=m', 'application/x-www-form-urlencoded'],
  ['half a JSON text', '{"name":', 'application/json', 400, 'FST_ERR_CTP_INVALID_JSON_BODY'],
  ['no body', '', 'application/json', 400, 'FST_ERR_CTP_EMPTY_JSON_BODY'],
  ['a prototype', '{"__proto__":{"x":1},"name":"n","message":"m"}', 'application/json', 400, 'FST_ERR_CTP_INVALID_JSON_BODY'],
  ['a type nobody reads', '<name/>', 'application/xml', 415, 'FST_ERR_CTP_INVALID_MEDIA_TYPE'],
  ['far too much', JSON.stringify({ name: 'n', message: 'm'.repeat(40_000) }), 'application/json', 413, 'FST_ERR_CTP_BODY_TOO_LARGE']
]

t.test('a body that is not an entry is refused with a code, and nothing is kept', async (t) => {
  const app = await siteIn(t, 'embedded')
  for (const [what, payload, type = 'application/json', statusCode = 400, code = 'FST_ERR_VALIDATION'] of BAD_BODIES) {
    const response = await app.inject({ method: 'POST', url: API, payload, headers: { 'content-type': type } })
    t.equal(response.statusCode, statusCode, what)
    t.match(response.json(), { success: false, code, statusCode, error: /.{8}/ }, what)
    t.equal(response.headers['x-worker'], '025:0', 'errors name their worker too')
  }
  t.same((await app.inject(API)).json(), { success: true, data: [] })
})

t.test('a form that is wrong comes back with what was typed and what is wrong with it', async (t) => {
  const app = await siteIn(t, 'embedded')
  const response = await app.inject(form({ name: '   ', message: 'kept "as it was"' }))
  t.equal(response.statusCode, 400)
  t.match(response.headers['content-type'], 'text/html')
  t.match(response.body, /id="name"[^>]+aria-invalid="true" aria-describedby="name-problem"/)
  t.match(response.body, 'Please give a name of 1 to 80 characters.')
  t.notMatch(response.body, 'id="message-problem"')
  t.match(response.body, 'kept &quot;as it was&quot;</textarea>')
  t.match((await app.inject(form({ name: 'n' }))).body, 'id="message-problem"', 'a missing field is named')
  const unread = await app.inject({ method: 'POST', url: '/guestbook', headers: { 'content-type': 'text/csv', accept: 'application/json' }, payload: 'n,m' })
  t.equal(unread.statusCode, 415)
  t.match(unread.json(), { success: false, code: 'FST_ERR_CTP_INVALID_MEDIA_TYPE' }, 'a program gets the envelope here too')
})

t.test('a limit that makes no sense is refused, the largest one is 100', async (t) => {
  const app = await siteIn(t, 'embedded')
  for (const limit of ['0', '-1', '101', 'abc', '', '1&limit=2', '1e9']) {
    t.match((await app.inject(`${API}?limit=${limit}`)).json(), { success: false, code: 'FST_ERR_VALIDATION', statusCode: 400 }, `limit=${limit}`)
  }
  t.equal((await app.inject(`${API}?limit=100`)).statusCode, 200)
  t.equal((await app.inject(`${API}?offset=1`)).statusCode, 400, 'nor is there a parameter that nobody knows')
})

t.test('the embedded guest book keeps the newest 1000 entries', async (t) => {
  const book = memoryGuestBook()
  for (let i = 1; i <= 1001; i++) await book.add({ name: 'n', message: String(i) })
  const all = await book.list(5000)
  t.equal(all.length, 1000)
  t.equal(all[0]?.message, '1001')
  t.equal(all.at(-1)?.message, '2')
})

t.test('two workers of a site share its counter and its book, another site on the same servers has its own', async (t) => {
  const env = await serversEnv(t)
  const [one, same, other] = [await site(t, env), await site(t, env), await siteIn(t, 'servers')]
  await one.inject('/')
  await one.inject({ method: 'POST', url: API, payload: { name: 'n', message: 'm' } })
  t.match((await same.inject('/')).body, 'data-testid="visits">2<')
  t.equal((await same.inject(API)).json().data.length, 1)
  t.match((await other.inject('/')).body, 'data-testid="visits">1<')
  t.same((await other.inject(API)).json().data, [])
})

t.test('unknown addresses and broken ones get a page or the envelope, and name the worker', async (t) => {
  const app = await siteIn(t, 'embedded')
  for (const [url, statusCode] of [['/nowhere', 404], ['/%ff', 400], ['/assets/nowhere.css', 404], ['/assets/%2e%2e/package.json', 404]] as const) {
    const page = await app.inject({ url, headers: { accept: 'text/html' } })
    t.equal(page.statusCode, statusCode, url)
    t.match(page.headers['content-type'], 'text/html')
    t.equal(page.headers['x-worker'], '025:0')
    t.match((await app.inject({ url, headers: { accept: 'application/json' } })).json(), { success: false, statusCode, code: /^FST_/ }, url)
  }
  t.match((await app.inject('/api/1/nowhere')).json(), { success: false, code: 'FST_ERR_SITE_NOT_FOUND' }, 'the API never answers with a page')
})

t.test('what is no HTTP gets the envelope, names the worker, and does no harm', async (t) => {
  const app = await siteIn(t, 'embedded')
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const cases = [['nonsense\r\n\r\n', 400], [`GET / HTTP/1.1\r\nhost: site\r\nx: ${'y'.repeat(80_000)}\r\n\r\n`, 431]] as const
  for (const [sent, statusCode] of cases) {
    const answer = await text(connect(port, '127.0.0.1').setTimeout(10_000).end(sent))
    t.match(answer, new RegExp(`^HTTP/1\\.1 ${statusCode} [^]*x-worker: 025:0\r\n[^]*"code":"FST_ERR_SITE_BAD_REQUEST","statusCode":${statusCode}`, 'i'))
  }
  connect(port, '127.0.0.1').end().destroy()
  t.equal((await app.inject('/health/live')).statusCode, 200)
})

t.test('every answer forbids the browser what the site does not need', async (t) => {
  const app = await siteIn(t, 'embedded')
  for (const url of ['/', '/guestbook', '/nowhere', '/assets/site.css', '/api/1/guestbook', `/?${'x'.repeat(3000)}`, '/%zz', '/api/1/%zz']) {
    const { headers } = await app.inject(url)
    const what = url.slice(0, 20)
    t.match(headers['content-security-policy'], /default-src 'none'/, what)
    t.notMatch(headers['content-security-policy'], /unsafe|data:|\*/, what)
    t.match(headers, { 'x-content-type-options': 'nosniff', 'x-frame-options': 'DENY', 'referrer-policy': 'same-origin' }, what)
  }
  const proxied = await siteIn(t, 'embedded', { TRUST_PROXY: 'true' })
  for (const [proto, policy] of [['https', 'same-origin'], ['http', undefined]] as const) {
    t.equal((await proxied.inject({ url: '/', headers: { 'x-forwarded-proto': proto } })).headers['cross-origin-opener-policy'], policy, proto)
  }
  t.equal((await app.inject('/assets/site.css')).headers['content-type'], 'text/css; charset=utf-8')
  t.equal((await app.inject('/assets/icon.svg')).statusCode, 200)
})

t.test('a page is found with a slash too many or too few', async (t) => {
  const app = await siteIn(t, 'embedded')
  t.match(await app.inject('/analytics?x=1'), { statusCode: 308, headers: { location: '/analytics/?x=1' } })
  t.match(await app.inject('/users/'), { statusCode: 308, headers: { location: '/users' } })
  t.match(await app.inject('//evil.example'), { statusCode: 404 })
  t.match(await app.inject({ method: 'POST', url: '/analytics' }), { statusCode: 404 })
})

t.test('below a path each address of each page is below it, and leads somewhere', async (t) => {
  const { app, admin } = await adminSite(t, 'embedded', { BASE_PATH: '/shop' })
  const seen = new Set<string>()
  const follow = async (url: string): Promise<void> => {
    if (seen.has(url) || seen.size > 80) return
    seen.add(url)
    const { statusCode, body, headers } = await admin.get(url)
    t.equal(statusCode, 200, url)
    if (!String(headers['content-type']).startsWith('text/html')) {
      t.same([...body.matchAll(/(?:from|import|fetch|assign)\s*\(?['"`](\/[^'"`]*)/g)].map(([, address]) => address), [], `${url} has no address from the root`)
      return
    }
    for (const [, attribute, address = ''] of body.matchAll(/\b(href|src|action)="([^"]*)"/g)) {
      if (attribute === 'action') t.match(address, /^\/shop\//, url)
      else if (!/^[#?]|^https?:/.test(address)) await follow(new URL(address.replaceAll('&amp;', '&'), `http://h${url}`).pathname)
    }
  }
  for (const url of ['/shop', '/shop/admin/cluster', '/shop/admin/', '/shop/profile', '/shop/devices', '/shop/guestbook']) await follow(url)
  for (const url of ['/shop/assets/site.css', '/shop/assets/session.js', '/shop/admin/cluster/dashboard.js', '/shop/users', '/shop/docs/json']) t.ok(seen.has(url), url)
  for (const file of ['connect.js', 'notices.js', 'ws/client.js']) await follow(`/shop/assets/${file}`)
  t.match(await admin.form('/shop/profile/password', { present: PASSWORD, wanted: 'another good one' }), { statusCode: 303, headers: { location: '/shop/profile?changed' } })
  t.match(await admin.get('/shop/analytics'), { statusCode: 308, headers: { location: '/shop/analytics/' } })
  t.match(await new Client(app).get('/shop/profile'), { statusCode: 303, headers: { location: '/shop/sign-in?next=%2Fprofile' } })
  t.equal((await app.inject('/health/live')).statusCode, 200, 'an app server itself is asked as ever')
  t.equal((await app.inject('/shopping')).statusCode, 404)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const socket = new WebSocket(`ws://127.0.0.1:${port}/shop/api/1/ws/jpulse-ws-test`, { headers: { cookie: admin.cookie } })
  const [first] = await once(socket, 'message')
  t.match(JSON.parse(String(first)), { type: 'connected' })
  socket.terminate()
})

t.test('names that fit no parameter are taken by the plugins, whose schemas do not depend on the validator of the site', async (t) => {
  const { admin } = await adminSite(t, 'embedded')
  for (const name of ['x', `${'x'.repeat(100)}:${'y'.repeat(50)}`]) t.match((await admin.json('POST', `/api/1/app-cluster/broadcast/${name}`, { data: 1 })).json(), { success: true }, name)
  t.match((await admin.json('POST', `/api/1/ws/rooms%2F${'x'.repeat(120)}/broadcast`, { type: 'x' })).json(), { success: true })
})

t.test('a value that the database does not keep as it is, or refuses, is refused, through the API and through the form', async (t) => {
  const { admin } = await adminSite(t, 'servers')
  for (const value of ['a\ud800b', { 'a\0b': 1 }]) {
    t.match((await admin.json('PUT', '/api/1/config/config/site', { value })).json(), { statusCode: 400, code: 'FST_ERR_CONFIG_CACHE_INVALID_VALUE' })
    t.match(await admin.form('/admin/config', { collection: 'config', key: 'site', value: JSON.stringify(value) }), { statusCode: 400 })
  }
  t.equal((await admin.get('/api/1/config/config/site')).statusCode, 404)
})

t.test('every route of every plugin takes or refuses whatever comes, under the validator of the site: none fails', async (t) => {
  const { admin } = await adminSite(t, 'embedded')
  type Operation = { parameters?: Array<{ name: string, in: string }>, requestBody?: object, responses: Record<string, unknown> }
  const { paths } = (await admin.get('/docs/json')).json() as { paths: Record<string, Record<string, Operation>> }
  const values = ['x', 'x'.repeat(200), '0', '-1', '1e999', '*', '..', '%00', '%F0%9F%98%80', '__proto__', 'true', '[]']
  const bodies: unknown[] = [undefined, null, [], 'text', 1, {}, { data: 1, value: { '*': 1 }, text: 'x', type: 'x', body: 'x', keys: ['x'], tags: ['x'], enabled: true, version: 'x' }, { constructor: 1, value: null }]
  let asked = 0
  for (const [path, operations] of Object.entries(paths)) {
    for (const [method, { parameters = [], responses }] of Object.entries(operations)) {
      // Whoever signs out is nobody for the rest; and there is no Redis here to be healthy.
      if (path.includes('/auth/logout') || path === '/health/redis') continue
      for (const [n, value] of values.entries()) {
        const query = parameters.filter((one) => one.in === 'query').map(({ name }) => `${name}=${value}`).join('&')
        const url = `${path.replaceAll(/\{[^}]+\}/g, value)}${query === '' ? '' : `?${query}`}`
        const body = method === 'get' || method === 'head' ? undefined : bodies[n % bodies.length]
        const { statusCode } = await admin.send({ method: method.toUpperCase() as 'GET', url, ...(body !== undefined && { payload: JSON.stringify(body), headers: { 'content-type': 'application/json' } }) })
        const isDescribed = [String(statusCode), `${String(statusCode)[0]}XX`, 'default'].some((status) => status in responses)
        if (statusCode >= 500 || !(isDescribed || statusCode === 404 || statusCode === 308)) t.fail(`${method} ${url} ${JSON.stringify(body)}: ${statusCode}, of ${Object.keys(responses).join()}`)
        asked++
      }
    }
  }
  t.ok(asked > 400, String(asked))
})

t.test('an error nobody expected is a 500 that tells the client nothing about it', async (t) => {
  const app = await siteIn(t, 'embedded')
  app.get('/broken', async () => { throw new Error('a secret') })
  for (const accept of ['application/json', 'text/html']) {
    const response = await app.inject({ url: '/broken', headers: { accept } })
    t.equal(response.statusCode, 500)
    t.match(response.body, accept === 'text/html' ? '<h1>Internal Server Error</h1>' : '"code":"FST_ERR_SITE_INTERNAL"')
    t.notMatch(response.body, 'secret')
  }
})

t.test('a connection string that its driver does not understand fails the boot, without its password', async (t) => {
  for (const [name, url] of [['MONGODB_URI', 'mongodb://u:hunter2@host:port'], ['REDIS_URL', 'redis://:hunter2@host:port']] as const) {
    await t.rejects(site(t, { [name]: url }), { code: /^FST_ERR_(SITE_CONFIG|REDIS_LINK_INVALID_OPTION)$/, message: /^(?!.*hunter2)/ })
  }
})
