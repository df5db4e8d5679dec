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
