import t from 'tap'
import { adminSite, Client, PASSWORD } from './helper.ts'

t.test('HEAD is answered as GET, whoever asks', async (t) => {
  const { app, admin } = await adminSite(t, 'embedded')
  const [user, stranger] = [new Client(app), new Client(app)]
  await user.signUp('ada')
  const pages = ['/', '/guestbook', '/sign-in', '/profile', '/devices', '/users', '/analytics/', '/hello-app-cluster/', '/hello-websocket/', '/docs', '/docs/try', '/docs/json', '/nowhere', '/favicon.ico', '/assets/site.css', '/assets/ws/client.js']
  const admins = ['/admin/', '/admin/users', '/admin/users/ada/sessions', '/admin/audit', '/admin/websockets', '/admin/cluster', '/metrics']
  const programs = ['/health', '/health/live', '/api/1/health', '/api/1/metrics', '/api/1/users', '/api/1/guestbook', '/api/1/auth/status', '/api/1/features/banner', '/api/1/analytics/performance', '/api/1/ws/stats', '/api/1/config/config/site']
  for (const [who, client] of Object.entries({ admin, user, stranger })) {
    for (const url of [...pages, ...admins, ...programs]) {
      const of = async (method: 'GET' | 'HEAD') => {
        const { statusCode, headers: { location, 'content-type': type } } = await client.send({ method, url, headers: { accept: 'text/html' } })
        return { statusCode, location, type }
      }
      t.same(await of('HEAD'), await of('GET'), `${who} ${url}`)
    }
  }
})

t.test('an address is not said again in a header that no proxy takes', async (t) => {
  const { app, admin } = await adminSite(t, 'embedded', { SEED_PEOPLE: '300' })
  const stranger = new Client(app)
  t.match(await stranger.get(`/admin/users?search=${'x'.repeat(1000)}`), { statusCode: 303, headers: { location: '/sign-in?next=%2Fadmin%2Fusers' } }, 'no page refuses where it sends somebody')
  for (const path of ['/docs/', '/admin/users', '/users', '/api/1/users', '/nowhere', '/assets/site.css', '/admin/cluster/', '/api/1/ws/stats', '/health/live']) {
    for (const [client, letter] of [[admin, 'x'], [stranger, '%26'], [stranger, '&']] as const) {
      for (const length of [1000, 1990, 2100, 8000, 15_000]) {
        const url = `${path}?a=${letter.repeat(length / letter.length)}`
        const { headers, statusCode } = await client.get(url)
        const bytes = Object.entries(headers).reduce((sum, [name, value]) => sum + name.length + String(value).length + 4, 0)
        t.ok(bytes < 12_000, `${path} ${letter} ${length}: ${bytes}`)
        if (url.length > 2048) t.equal(statusCode, 414)
      }
    }
  }
  t.match((await admin.get(`/api/1/users?a=${'x'.repeat(3000)}`, {})).json(), { success: false, statusCode: 414, code: 'FST_ERR_SITE_URI_TOO_LONG' })
})

t.test('who has to sign in first comes to the page that was asked for, with its query, also below a path', async (t) => {
  const { app } = await adminSite(t, 'embedded', { BASE_PATH: '/shop' })
  for (const wanted of ['/admin/', '/admin/users?search=a%26b&done=x%20y', '/admin/audit?user=ada', '/admin/users/admin/sessions', '/admin/cluster?minutes=1', '/profile', '/devices']) {
    const visitor = new Client(app)
    const { statusCode, headers: { location } } = await visitor.get(`/shop${wanted}`)
    t.equal(statusCode, 303, wanted)
    const [, next = ''] = /name="next" value="([^"]*)"/.exec((await visitor.get(String(location))).body) ?? []
    t.match(await visitor.form('/shop/sign-in', { username: 'admin', password: PASSWORD, next: next.replaceAll('&amp;', '&') }), { statusCode: 303, headers: { location: `/shop${wanted}` } }, wanted)
  }
})

t.test('a page that refuses something knows who looks at it, and no cache keeps it', async (t) => {
  const { app, admin } = await adminSite(t, 'embedded')
  const [user, stranger] = [new Client(app), new Client(app)]
  await user.signUp('ada')
  for (const [client, name, urls] of [[user, 'ada', ['/nowhere', '/admin/', '/admin/cluster']], [admin, 'admin', ['/nowhere', '/admin/users/nobody/sessions']]] as const) {
    for (const url of urls) t.match(await client.get(url), { body: `data-testid="me">${name}<`, headers: { 'cache-control': 'no-store' } }, url)
  }
  t.match((await stranger.get('/nowhere')).body, 'href="/sign-in"')
  t.match((await stranger.get('/%ff')).body, 'href="/sign-in"', 'before anything was routed')
})

t.test('no page leads where the proxy of deploy/nginx.conf lets nobody in', async (t) => {
  const { admin } = await adminSite(t, 'embedded')
  for (const url of ['/', '/admin/', '/docs']) t.notMatch((await admin.get(url)).body, /href="\/metrics/, url)
})
