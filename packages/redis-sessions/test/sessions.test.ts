import fastifyWebsocket from '@fastify/websocket'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { connect, redisMonitor, redisServer, sharedRedis, uniqueName, waitFor } from '../../../test/helpers/index.ts'
import type { EndedSessions } from '../src/index.ts'
import { refOf, tagOf } from '../src/stores/ids.ts'
import { Browser, fieldsOf, makeApp, SECRET, type Setup, cookieOf, isWithCopies } from './support/app.ts'

/** Runs a test in the process and on Redis. */
function both (name: string, run: (t: Test, setup: (more?: Setup) => Setup) => Promise<void>): void {
  t.test(`${name} (memory)`, (t) => run(t, (more = {}) => more))
  t.test(`${name} (Redis)`, (t) => {
    const siteId = uniqueName()
    return run(t, (more = {}) => ({ ...more, redis: { url: sharedRedis(), siteId } }))
  })
}

async function logIn (app: FastifyInstance, user: string, data: object = {}, headers: Record<string, string> = {}): Promise<Browser> {
  const browser = new Browser(app, headers)
  const response = await browser.post('/login', { user, ...data })
  if (response.statusCode !== 200) throw new Error(response.body)
  return browser
}

const idOf = (browser: Browser) => decodeURIComponent(browser.cookie!).split('.')[0]!

both('list shows the devices of a user, and which is current', async (t, setup) => {
  const app = await makeApp(t, setup({ sessions: { touchIntervalMs: 0 } }))
  const phone = await logIn(app, 'u', {}, { 'user-agent': 'Phone/1' })
  const laptop = await logIn(app, 'u', {}, { 'user-agent': 'Laptop/2' })
  await logIn(app, 'somebody else')
  await sleep(20)
  await phone.get('/me')
  const devices = (await phone.get('/list?user=u')).json()
  t.match(devices, [
    { userAgent: 'Phone/1', ip: '127.0.0.1', current: true },
    { userAgent: 'Laptop/2', ip: '127.0.0.1', current: false }
  ])
  t.ok(devices[0].lastSeenAt > devices[0].createdAt && devices[0].lastSeenAt > devices[1].lastSeenAt)
  t.ok(Math.abs(devices[0].createdAt - Date.now()) < 60_000)
  t.same((await laptop.get('/list?user=nobody')).json(), [])
  for (const { handle } of devices) {
    t.match(handle, /^[\w-]{16}$/)
    for (const browser of [phone, laptop]) t.notOk(browser.cookie!.includes(handle) || idOf(browser).includes(handle), 'a handle tells nothing of the id')
  }
})

both('revoke ends one device by its handle; an unknown handle is a typed error', async (t, setup) => {
  const app = await makeApp(t, setup())
  const [phone, laptop] = [await logIn(app, 'u'), await logIn(app, 'u')]
  const { handle } = (await laptop.get('/me')).json()
  await t.rejects(app.sessions.revoke('another', handle), { code: 'FST_ERR_REDIS_SESSIONS_UNKNOWN_HANDLE', statusCode: 404 }, 'not by another user')
  await app.sessions.revoke('u', handle)
  t.notOk((await laptop.get('/me')).json().userId)
  t.equal((await phone.get('/me')).json().userId, 'u')
  for (const wrong of [handle, 'no such', '', '__proto__']) await t.rejects(app.sessions.revoke('u', wrong), { code: 'FST_ERR_REDIS_SESSIONS_UNKNOWN_HANDLE' })
})

both('logoutOthers leaves the request its session, logoutAll none, and both spare other users', async (t, setup) => {
  const app = await makeApp(t, setup())
  const [phone, laptop, other] = [await logIn(app, 'u', { n: 1 }), await logIn(app, 'u'), await logIn(app, 'v')]
  t.equal((await phone.post('/logout-others')).body, '1')
  t.match((await phone.get('/me')).json(), { userId: 'u', fields: { n: 1 } })
  t.notOk((await laptop.get('/me')).json().userId)
  t.equal((await phone.post('/logout-all', { user: 'u' })).body, '1')
  t.notOk((await phone.get('/me')).json().userId)
  t.equal((await other.get('/me')).json().userId, 'v')
  t.equal((await new Browser(app).post('/logout-others')).statusCode, 401)
})

both('the end of sessions is an event with their handles', async (t, setup) => {
  const app = await makeApp(t, setup())
  const events: EndedSessions[] = []
  app.sessions.on('ended', () => { throw new Error('of a listener') })
  app.sessions.on('ended', async () => { throw new Error('of an asynchronous listener') })
  app.sessions.on('ended', (ended) => { events.push(ended) })
  const browsers = [await logIn(app, 'u'), await logIn(app, 'u'), await logIn(app, 'u'), await logIn(app, 'u')]
  const handles = await Promise.all(browsers.map(async (browser) => (await browser.get('/me')).json().handle))
  await browsers[0]!.post('/logout')
  await app.sessions.revoke('u', handles[1])
  await browsers[2]!.post('/logout-others')
  await app.sessions.logoutAll('u')
  t.same(events, [
    { userId: 'u', handles: [handles[0]], reason: 'logout' },
    { userId: 'u', handles: [handles[1]], reason: 'revoked' },
    { userId: 'u', handles: [handles[3]], reason: 'logout-others', except: handles[2] },
    { userId: 'u', handles: [handles[2]], reason: 'logout-all' }
  ])
})

both('fixation: login gives a new id that keeps nothing of the old session, whose id is dead', async (t, setup) => {
  const app = await makeApp(t, setup())
  const browser = new Browser(app)
  await browser.post('/set', { cart: [1], planted: true })
  const planted = browser.header()
  t.ok(planted)
  await browser.post('/login', { user: 'u', n: 1 })
  t.not(browser.header(), planted)
  t.same((await browser.get('/me')).json().fields, { n: 1 })
  t.same((await app.inject({ url: '/me', headers: { cookie: planted } })).json().fields, {})
  const second = browser.header()
  await browser.post('/login', { user: 'u' })
  t.notOk((await app.inject({ url: '/me', headers: { cookie: second } })).json().userId, 'a second login ends the first')
  t.equal((await app.sessions.list('u')).length, 1)
})

both('logout ends the session, clears the cookie, and does nothing without a session', async (t, setup) => {
  const app = await makeApp(t, setup())
  const browser = await logIn(app, 'u')
  const cookie = browser.header()
  const response = await browser.post('/logout')
  t.match(response.headers['set-cookie'], /^sessionId=; .*Expires=Thu, 01 Jan 1970/)
  t.equal(browser.cookies.size, 0)
  t.notOk((await app.inject({ url: '/me', headers: { cookie } })).json().userId)
  t.equal((await app.inject({ method: 'POST', url: '/logout', headers: { cookie } })).statusCode, 200)
  t.equal((await app.inject({ method: 'POST', url: '/logout' })).statusCode, 200)
})

both('a session object that outlives its logout within the request cannot bring it back', async (t, setup) => {
  const app = await makeApp(t, setup({
    routes (app) {
      app.post('/cling', async (request) => {
        const { session } = request
        await app.sessions.logout(request)
        session.n = 2
        await session.save()
        await session.regenerate(['n'])
        return 'ok'
      })
      app.post('/switch', async (request) => {
        await app.sessions.logout(request)
        await app.sessions.login(request, 'v', { n: 3 })
        return 'ok'
      })
    }
  }))
  const browser = await logIn(app, 'u', { n: 1 })
  const cookie = browser.header()
  t.equal((await browser.post('/cling')).statusCode, 200)
  t.same((await app.inject({ url: '/me', headers: { cookie } })).json().fields, {})
  t.equal(await app.sessions.count(), 0)
  const other = await logIn(app, 'u')
  await other.post('/switch')
  t.match((await other.get('/me')).json(), { userId: 'v', fields: { n: 3 } }, 'a login after the logout of the same request holds')
})

both('regenerate keeps the user, the handle and the fields asked for, and leaves no old id', async (t, setup) => {
  const app = await makeApp(t, setup({
    routes (app) {
      app.post('/regenerate', async (request) => {
        await request.session.regenerate(['a'])
        request.session.c = 3
        return 'ok'
      })
    }
  }))
  const browser = await logIn(app, 'u', { a: 1, b: 2 })
  const [cookie, before] = [browser.header(), (await browser.get('/me')).json()]
  await browser.post('/regenerate')
  t.same((await browser.get('/me')).json(), { userId: 'u', handle: before.handle, fields: { a: 1, c: 3 } })
  t.same((await app.inject({ url: '/me', headers: { cookie } })).json().fields, {})
  t.equal((await browser.get('/list?user=u')).json().length, 1)
  await app.sessions.revoke('u', before.handle)
  t.notOk((await browser.get('/me')).json().userId)
})

both('regenerate of a session that a logout-all ended makes none, also where it comes in the middle', async (t, setup) => {
  const app = await makeApp(t, setup({
    routes (app) {
      app.post('/late', async (request) => {
        await app.sessions.logoutAll('u')
        await request.session.regenerate(['a'])
        return 'ok'
      })
      app.post('/middle', async (request) => {
        const { remove } = app.sessions.store
        app.sessions.store.remove = async (ref) => {
          app.sessions.store.remove = remove
          const removed = await app.sessions.store.remove(ref)
          await app.sessions.logoutAll('v')
          return removed
        }
        await request.session.regenerate(['a'])
        return 'ok'
      })
    }
  }))
  for (const [user, url] of [['u', '/late'], ['v', '/middle']] as const) {
    const browser = await logIn(app, user, { a: 1 })
    const response = await browser.post(url)
    t.equal(response.statusCode, 200)
    t.notOk(response.headers['set-cookie'])
    t.same(await app.sessions.list(user), [])
    t.notOk((await browser.get('/me')).json().userId)
  }
})

both('save and reload work within a request, and merge with what others wrote', async (t, setup) => {
  const other: { write: () => Promise<unknown> } = { write: async () => {} }
  const app = await makeApp(t, setup({
    routes (app) {
      app.post('/work', async (request) => {
        request.session.a = 1
        await request.session.save()
        await other.write()
        await request.session.reload()
        const seen = { ...fieldsOf(request.session) }
        request.session.d = 4
        await new Promise<void>((resolve, reject) => request.session.save((err?: Error) => err ? reject(err) : resolve()))
        return seen
      })
    }
  }))
  const browser = await logIn(app, 'u', { gone: 1, b: 0 })
  other.write = () => browser.post('/set', { b: 2 })
  t.same((await browser.post('/work')).json(), { gone: 1, a: 1, b: 2 })
  t.same((await browser.get('/me')).json().fields, { gone: 1, a: 1, b: 2, d: 4 })
})

both('a field is deleted by delete, or by undefined, and changed within', async (t, setup) => {
  const app = await makeApp(t, setup({
    routes (app) {
      app.post('/change', async ({ session }) => {
        delete session.a
        session.b = undefined
        ;(session.deep as { list: number[] }).list.push(2)
        return 'ok'
      })
    }
  }))
  const browser = await logIn(app, 'u', { a: 1, b: 1, deep: { list: [1] } })
  await browser.post('/change')
  t.same((await browser.get('/me')).json().fields, { deep: { list: [1, 2] } })
})

both('values without a JSON form, too large ones and reserved names are typed errors, and change nothing', async (t, setup) => {
  const cyclic: Record<string, unknown> = {}
  cyclic.self = cyclic
  const values: Record<string, unknown> = {
    bigint: 1n,
    cyclic,
    function: () => {},
    symbol: Symbol('s'),
    nested: { deep: [1n] },
    map: new Map([[1, 2]]),
    set: new Set([1]),
    error: new Error('x'),
    coded: Object.assign(new Error('x'), { code: 1 }),
    promise: Promise.resolve(1),
    pattern: /x/,
    bytes: new Uint8Array([1]),
    deepMap: { list: [{ map: new Map() }] },
    deepFunction: { do: { it () {} } },
    deepSymbol: [[Symbol('s')]],
    hidden: new (class Hidden { #n = 1; get n () { return this.#n } })(),
    toMap: { toJSON: () => new Map() }
  }
  const wholes: Record<string, object> = { map: new Map([['role', 'admin']]), getter: new (class { get role () { return 'admin' } })(), list: [] }
  const app = await makeApp(t, setup({
    sessions: { maxBytes: 1000 },
    routes (app) {
      app.post('/fine', async ({ session }) => {
        session.fine = { date: new Date(0), none: null, nan: NaN, empty: {}, bare: Object.create(null), list: [], buffer: Buffer.from('x'), own: new (class Own { n = 1 })(), gone: undefined, toJSON () { return { ...this, toJSON: undefined } } }
        return 'ok'
      })
      app.post('/empty-map', async ({ session }) => {
        session.n = new Map([[1, 1]])
        return 'ok'
      })
      app.post('/put/:name', async (request) => {
        request.session.value = values[(request.params as { name: string }).name]
        return 'ok'
      })
      app.post('/login-by/:name', async (request) => app.sessions.login(request, 'u', wholes[(request.params as { name: string }).name] as object).then(() => 'ok'))
      app.post('/login-with/:name', async (request) => app.sessions.login(request, 'u', { value: values[(request.params as { name: string }).name] }).then(() => 'ok'))
    }
  }))
  const browser = await logIn(app, 'u', { n: 1 })
  for (const name of Object.keys(values)) {
    for (const url of [`/put/${name}`, `/login-with/${name}`]) {
      const response = await browser.post(url)
      t.equal(response.statusCode, 400, url)
      t.match(response.json(), { code: 'FST_ERR_REDIS_SESSIONS_NOT_SERIALIZABLE', message: /"value"/ })
    }
  }
  for (const name of Object.keys(wholes)) t.match((await browser.post(`/login-by/${name}`)).json(), { code: 'FST_ERR_REDIS_SESSIONS_NOT_SERIALIZABLE', message: /"data" .* a \w*/ }, `${name}: a login without its fields`)
  const large = await browser.post('/set', { text: 'x'.repeat(1000) })
  t.equal(large.statusCode, 413)
  t.equal(large.json().code, 'FST_ERR_REDIS_SESSIONS_TOO_LARGE')
  t.equal((await browser.post('/login', { user: 'u', text: 'x'.repeat(1000) })).statusCode, 413)
  for (const field of ['cookie', 'save', 'sessionId', 'constructor']) t.equal((await browser.post('/login', { user: 'u', [field]: 1 })).json().code, 'FST_ERR_REDIS_SESSIONS_RESERVED_FIELD')
  t.equal((await browser.post('/set', { save: 1 })).json().code, 'FST_ERR_REDIS_SESSIONS_RESERVED_FIELD')
  t.match((await browser.get('/me')).json(), { userId: 'u', fields: { n: 1 } }, 'the session is as it was')
  await browser.post('/set', { n: {} })
  t.equal((await browser.post('/empty-map')).statusCode, 400, 'also where its JSON is what is stored')
  t.equal((await browser.post('/fine')).statusCode, 200)
  t.match((await browser.get('/me')).json().fields.fine, { date: '1970-01-01T00:00:00.000Z', none: null, nan: null, empty: {}, list: [], own: { n: 1 } })
})

both('an error handler and hooks of the application see the session, also where it could not be saved', async (t, setup) => {
  const seen: unknown[] = []
  const app = await makeApp(t, setup({
    routes (app) {
      app.setErrorHandler((err: Error & { statusCode?: number }, request, reply) => reply.code(err.statusCode ?? 500).send({ user: request.session.name, message: err.message }))
      app.addHook('onResponse', async (request) => { seen.push(request.session?.name) })
      app.get('/bad', async (request) => {
        request.session.bad = 1n
        return 'never sent'
      })
    }
  }))
  const browser = await logIn(app, 'u', { name: 'Ada' })
  const response = await browser.get('/bad')
  t.equal(response.statusCode, 400)
  t.equal(response.json().user, 'Ada')
  await browser.get('/me')
  await waitFor(() => seen.length === 3)
  t.same(seen, ['Ada', 'Ada', 'Ada'])
})

both('any user id works; what is none is a typed error', async (t, setup) => {
  const app = await makeApp(t, setup())
  const users = ['a:b', 'a b', 'a{b}c', '{}', '*', 'ünï 😀', 'x'.repeat(1024), '日'.repeat(1024), '__proto__', '\n\0', 'a', 'A']
  const browsers = await Promise.all(users.map((user) => logIn(app, user)))
  for (const [index, user] of users.entries()) {
    t.equal((await browsers[index]!.get('/me')).json().userId, user)
    t.equal((await app.sessions.list(user)).length, 1)
  }
  await app.sessions.logoutAll('a:b')
  t.equal((await browsers[1]!.get('/me')).json().userId, 'a b')
  for (const wrong of ['', 'x'.repeat(1025), '\ud800', 7, null, undefined, {}, ['a']] as string[]) {
    await t.rejects(app.sessions.logoutAll(wrong), { code: 'FST_ERR_REDIS_SESSIONS_INVALID_USER', statusCode: 400 })
    await t.rejects(app.sessions.list(wrong), { code: 'FST_ERR_REDIS_SESSIONS_INVALID_USER' })
    await t.rejects(app.sessions.login({} as FastifyRequest, wrong), { code: 'FST_ERR_REDIS_SESSIONS_INVALID_USER' })
  }
})

both('idle and absolute timeouts of seconds hold, and the cookie of a browser slides along', async (t, setup) => {
  const app = await makeApp(t, setup({ sessions: { idleTimeoutMs: 2000, absoluteTimeoutMs: 6000 } }))
  const [seen, idle] = [await logIn(app, 'seen'), await logIn(app, 'idle')]
  const idleCookie = idle.header()
  const start = Date.now()
  while (Date.now() - start < 3500) {
    t.equal((await seen.get('/me')).json().userId, 'seen', `seen after ${Date.now() - start} ms`)
    await sleep(400)
  }
  t.notOk((await app.inject({ url: '/me', headers: { cookie: idleCookie } })).json().userId)
  const lasting = seen.header()
  await waitFor(async () => (await app.inject({ url: '/me', headers: { cookie: lasting } })).json().userId === undefined, { what: 'the absolute timeout', everyMs: 300 })
  t.ok(Date.now() - start > 5000, 'seen every 300 ms it ended by the absolute timeout')
})

both('cookie.expires follows the sliding timeout', async (t, setup) => {
  const app = await makeApp(t, setup({
    sessions: { idleTimeoutMs: 60_000, touchIntervalMs: 50 },
    routes (app) { app.get('/expires', async ({ session }) => Number(cookieOf(session).expires)) }
  }))
  const browser = await logIn(app, 'u')
  const first = Number((await browser.get('/expires')).body)
  t.ok(Math.abs(first - Date.now() - 60_000) < 5000)
  await sleep(80)
  const response = await browser.get('/expires')
  t.ok(Number(response.body) > first)
  t.match(response.headers['set-cookie'], /Expires=/, 'and the browser is told')
})

t.test('secrets rotate without logging anybody out, and the browser gets a cookie signed with the new one', async (t) => {
  const redis = { url: sharedRedis(), siteId: uniqueName() }
  const next = 'another secret of more than thirty-two characters'
  const browser = await logIn(await makeApp(t, { redis }), 'u')
  const old = browser.cookie
  const rotated = await makeApp(t, { redis, sessions: { secret: [next, SECRET] } })
  t.equal((await browser.get('/me', rotated)).json().userId, 'u')
  t.not(browser.cookie, old)
  const after = await makeApp(t, { redis, sessions: { secret: next } })
  t.equal((await browser.get('/me', after)).json().userId, 'u')
  t.notOk((await after.inject({ url: '/me', headers: { cookie: `sessionId=${old}` } })).json().userId)
})

t.test('secure auto: behind a TLS-terminating proxy the cookie is Secure and has the __Host- name; on http it is plain', async (t) => {
  const app = await makeApp(t, { fastify: { trustProxy: true } })
  const https = await app.inject({ method: 'POST', url: '/login', payload: { user: 'u' }, headers: { 'x-forwarded-proto': 'https' } })
  const cookie = String(https.headers['set-cookie'])
  t.match(cookie, /^__Host-sessionId=[^;]+; Max-Age=86400; Path=\/; Expires=[^;]+; HttpOnly; Secure; SameSite=Lax$/)
  const pair = cookie.split(';')[0]!
  t.equal((await app.inject({ url: '/me', headers: { cookie: pair, 'x-forwarded-proto': 'https' } })).json().userId, 'u')
  t.notOk((await app.inject({ url: '/me', headers: { cookie: pair.replace('__Host-', ''), 'x-forwarded-proto': 'https' } })).json().userId, 'a plain cookie on https may be planted')
  const out = await app.inject({ method: 'POST', url: '/logout', headers: { cookie: pair, 'x-forwarded-proto': 'https' } })
  t.match(String(out.headers['set-cookie']), /^__Host-sessionId=;.*Expires=Thu, 01 Jan 1970.*Secure/)
  const http = await app.inject({ method: 'POST', url: '/login', payload: { user: 'u' } })
  t.match(String(http.headers['set-cookie']), /^sessionId=[^;]+; Max-Age=86400; Path=\/; Expires=[^;]+; HttpOnly; SameSite=Lax$/)
  const untrusted = await makeApp(t)
  const spoofed = await untrusted.inject({ method: 'POST', url: '/login', payload: { user: 'u' }, headers: { 'x-forwarded-proto': 'https' } })
  t.notMatch(String(spoofed.headers['set-cookie']), /Secure/)
})

t.test('cookie attributes: domain and path take the __Host- away; secure: true sends none over http', async (t) => {
  const login = { method: 'POST', url: '/login', payload: { user: 'u' }, headers: { 'x-forwarded-proto': 'https' } } as const
  const wide = await makeApp(t, { fastify: { trustProxy: true }, sessions: { cookieName: 'sid', cookie: { domain: 'example.com', sameSite: 'strict' } } })
  t.match(String((await wide.inject(login)).headers['set-cookie']), /^sid=[^;]+; Max-Age=86400; Domain=example.com; Path=\/;.*Secure; SameSite=Strict/)
  const strict = await makeApp(t, { fastify: { trustProxy: true }, sessions: { cookie: { secure: true } } })
  t.match(String((await strict.inject(login)).headers['set-cookie']), /^__Host-sessionId=/)
  t.notOk((await strict.inject({ ...login, headers: {} })).headers['set-cookie'])
  const narrow = await makeApp(t, { sessions: { cookie: { path: '/app' } } })
  t.equal((await narrow.inject('/public')).statusCode, 200, 'outside the path there is no session')
  t.equal((await narrow.inject({ method: 'POST', url: '/login', payload: { user: 'u' } })).json().code, 'FST_ERR_REDIS_SESSIONS_NO_SESSION')
})

both('cookies that are none of ours are anonymous, never an error, and no id of a visitor is adopted', async (t, setup) => {
  const app = await makeApp(t, setup())
  const browser = await logIn(app, 'u')
  const [id, signature] = decodeURIComponent(browser.cookie!).split('.') as [string, string]
  const { Signer } = (await import('@fastify/cookie')).default as unknown as { Signer: new (secret: string) => { sign: (value: string) => string } }
  const sign = (value: string) => encodeURIComponent(new Signer(SECRET).sign(value))
  const cookies = ['', '.', 'x', `${id}.`, `${id}.x`, `.${signature}`, `${id}x.${signature}`, 'x'.repeat(7000), '%', '%00', '%ff%fe', '"quoted"', '😀', `${id}.${signature}.${signature}`,
    sign('a'), sign('../../etc'), sign('x'.repeat(32)), sign('x'.repeat(54)), sign('x'.repeat(5000)), sign('sess:*'), sign('')]
  for (const cookie of cookies) {
    const response = await app.inject({ url: '/me', headers: { cookie: `sessionId=${cookie}` } })
    t.equal(response.statusCode, 200, cookie.slice(0, 40))
    t.same(response.json().fields, {})
  }
  const made = await app.inject({ method: 'POST', url: '/set', payload: { n: 1 }, headers: { cookie: `sessionId=${sign('x'.repeat(32))}` } })
  t.notMatch(String(made.headers['set-cookie']), /xxxxxxxx/, 'a new session has a new id')
})

t.test('a cookie of the same name from elsewhere, whatever comes first, leaves a visitor logged in', async (t) => {
  const app = await makeApp(t)
  const browser = new Browser(app)
  await browser.post('/login', { user: 'ann' })
  const own = browser.header()
  const other = `sessionId=${'x'.repeat(54)}.${'y'.repeat(43)}`
  for (const cookie of [own, `${own}; ${other}`, `${other}; ${own}`, `sessionId=; sessionId=%zz; ${other}; a=b; ${own}; c`]) {
    t.equal((await app.inject({ url: '/me', headers: { cookie } })).json().userId, 'ann', cookie)
  }
  t.notOk('userId' in (await app.inject({ url: '/me', headers: { cookie: `${other}; ${other}` } })).json(), 'two of others')
})

t.test('a cookie whose value a client puts into quotes, as RFC 6265 has it, is the session', async (t) => {
  const app = await makeApp(t, { sessions: { formerCookieNames: ['sid'] } })
  const browser = await logIn(app, 'u')
  const value = browser.cookie!
  const dead = `${'x'.repeat(54)}.${'y'.repeat(43)}`
  for (const cookie of [`sessionId="${value}"`, `sessionId="${dead}"; sessionId="${value}"`, `sid="${value}"`, `a="b"; sessionId="${decodeURIComponent(value)}"`]) {
    t.equal((await app.inject({ url: '/me', headers: { cookie } })).json().userId, 'u', cookie)
  }
  for (const cookie of [`sessionId="${value}`, `sessionId=${value}"`, `sessionId=""${value}""`, 'sessionId="', 'sessionId=""']) {
    t.notOk((await app.inject({ url: '/me', headers: { cookie } })).json().userId, cookie)
  }
})

t.test('a stored value that is garbage is an anonymous session and a log line; a foreign type is no error either', async (t) => {
  const lines: string[] = []
  const redis = { url: sharedRedis(), siteId: uniqueName(), env: 'e' }
  const app = await makeApp(t, { redis, fastify: { logger: { level: 'warn', stream: { write: (line: string) => { lines.push(line) } } } } })
  const client = connect(t, Number(new URL(sharedRedis()).port))
  const browser = await logIn(app, 'u', { n: 1 })
  const { hash, tag } = refOf(idOf(browser))!
  const key = `${redis.siteId}:e:sess:{${tag}}:${hash}`
  const good = (await client.get(key))!
  t.ok(good)
  for (const text of ['', 'garbage', '{', 'S1', good.slice(0, 56), `${good.slice(0, 56)}P{}\n{}`, `${good.slice(0, 56)}P["u"]\nnull`, good.slice(0, -3), `${good.slice(0, 56)}Pnull\n{}`,
    good.replace('{"n":1}', '[1]'), good.replace('{"n":1}', '{"save":1}'), good.replace('{"n":1}', '{"__proto__":{"admin":true}}'), '\xff\xfe'.repeat(40)]) {
    await client.set(key, text)
    for (const url of ['/me', '/list?user=u']) t.equal((await browser.get(url)).statusCode, 200, text.slice(0, 80))
    const { userId, fields } = (await browser.get('/me')).json()
    t.notOk(userId)
    t.same(fields, {})
    t.equal((await browser.post('/set', {})).statusCode, 200)
  }
  t.ok(lines.some((line) => /cannot be read/.test(line)))
  t.notOk(lines.some((line) => line.includes(hash) || line.includes(idOf(browser))), 'the log names no whole id')
  await client.del(key)
  await client.lpush(key, 'a')
  t.equal((await browser.get('/me')).statusCode, 200)
  await client.del(`${redis.siteId}:e:user:sessions:{${tag}}`)
  await client.set(`${redis.siteId}:e:user:sessions:{${tag}}`, 'foreign')
  t.equal((await browser.get('/list?user=u')).statusCode, 503)
  t.equal((await browser.post('/logout-all', { user: 'u' })).statusCode, 200, 'holds without its index')
  t.equal((await browser.post('/login', { user: 'u' })).statusCode, 200)
})

t.test('encryption: Redis holds no text of the session, keys rotate, and tampering or moving a value is refused', async (t) => {
  const redis = { url: sharedRedis(), siteId: uniqueName(), env: 'e' }
  const [one, two] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)]
  const client = connect(t, Number(new URL(sharedRedis()).port))
  const keyOf = (browser: Browser) => {
    const { hash, tag } = refOf(idOf(browser))!
    return `${redis.siteId}:e:sess:{${tag}}:${hash}`
  }
  const first = await makeApp(t, { redis, sessions: { encryption: { keys: [one] } } })
  const browser = await logIn(first, 'secretuser', { secret: 'secretvalue' })
  const other = await logIn(first, 'other', { n: 1 })
  const sealed = (await client.get(keyOf(browser)))!
  t.notMatch(sealed, /secret/)
  const notices = JSON.stringify(await client.hgetall(`${redis.siteId}:e:user:notices:{${refOf(idOf(browser))!.tag}}`))
  t.match(notices, /"E/)
  t.notMatch(notices, /secret|127\.0\.0\.1/)
  const rotated = await makeApp(t, { redis, sessions: { encryption: { keys: [two.toString('hex'), one.toString('base64')] } } })
  t.equal((await browser.get('/me', rotated)).json().fields.secret, 'secretvalue')
  await browser.post('/set', { n: 2 }, rotated)
  const last = await makeApp(t, { redis, sessions: { encryption: { keys: [two] } } })
  t.equal((await browser.get('/me', last)).json().fields.n, 2)
  await client.set(keyOf(other), sealed)
  t.notOk((await other.get('/me', first)).json().userId, 'a value moved to another session')
  for (const index of [60, 80, sealed.length - 2]) {
    await client.set(keyOf(browser), sealed.slice(0, index) + (sealed[index] === 'A' ? 'B' : 'A') + sealed.slice(index + 1))
    const response = await browser.get('/me', first)
    t.equal(response.statusCode, 200)
    t.notOk(response.json().userId)
  }
  const plain = await logIn(await makeApp(t, { redis }), 'plain')
  t.notOk((await plain.get('/me', last)).json().userId)
  t.equal((await plain.get('/me', await makeApp(t, { redis, sessions: { encryption: { keys: [two], acceptPlain: true } } }))).json().userId, 'plain')
})

t.test('Redis contains no session id: the whole dump is searched', async (t) => {
  const server = await redisServer(t)
  const app = await makeApp(t, { redis: { url: server.url } })
  const browsers = [await logIn(app, 'u'), await logIn(app, 'v')]
  await browsers[0]!.post('/set', { n: 1 })
  const anonymous = new Browser(app)
  await anonymous.post('/set', { n: 1 })
  const client = server.connect()
  const keys = await client.keys('*')
  t.ok(keys.length >= 5)
  const dump = Buffer.concat(await Promise.all(keys.map(async (key) => Buffer.concat([Buffer.from(key), (await client.dumpBuffer(key))!]))))
  const readable = (await Promise.all(keys.map(async (key) => await client.type(key) === 'string' ? client.get(key) : JSON.stringify(await client.type(key) === 'hash' ? await client.hgetall(key) : await client.zrange(key, '0', '-1'))))).join()
  for (const browser of [...browsers, anonymous]) {
    const id = idOf(browser)
    for (const part of [id, id.slice(0, 32), id.slice(0, 12), browser.cookie!]) t.notOk(dump.includes(part) || readable.includes(part) || keys.join().includes(part))
  }
})

t.test(isWithCopies ? 'MONITOR: a read of a copy is no command' : 'MONITOR: a read is one command and writes no payload', async (t) => {
  const server = await redisServer(t)
  const redis = { url: server.url, siteId: uniqueName(), probeIntervalMs: 60_000 }
  const [app, other] = [await makeApp(t, { redis }), await makeApp(t, { redis })]
  const browser = await logIn(app, 'u', { n: 1 })
  const commands: string[][] = []
  const ofSession = (args: string[]) => args.some((arg) => arg.includes(redis.siteId) && !arg.includes(`${redis.siteId}:development:cache`))
  // Each takes its copy.
  if (isWithCopies) for (const each of [app, other]) await browser.get('/me', each)
  await redisMonitor(t, server.url, (args) => { if (ofSession(args)) commands.push(args) })
  for (let index = 0; index < 10; index++) for (const each of [app, other]) t.match((await browser.get('/me', each)).json(), { userId: 'u', fields: { n: 1 } })
  const marker = server.connect()
  await marker.get(`${redis.siteId}:marker`)
  await waitFor(() => commands.some(([, key]) => key?.endsWith('marker')))
  commands.pop()
  t.equal(commands.length, isWithCopies ? 0 : 20)
  t.ok(commands.every(([name]) => name!.toLowerCase() === 'mget'), JSON.stringify(commands[0]))
})

t.test('eviction: with its index gone, logout-all still ends every session, and sessions that are seen rebuild it', async (t) => {
  const server = await redisServer(t, { args: ['--maxmemory-policy', 'allkeys-lru', '--maxmemory-samples', '64'] })
  const siteId = uniqueName()
  const app = await makeApp(t, { redis: { url: server.url, siteId }, sessions: { touchIntervalMs: 0 } })
  const browsers = await Promise.all(Array.from({ length: 5 }, () => logIn(app, 'u')))
  const other = await logIn(app, 'v')
  const client = server.connect()
  const evict = async () => client.del(await client.keys('*user:sessions:*'))
  t.equal(await evict(), 2)
  await browsers[0]!.get('/me')
  t.equal((await app.sessions.list('u')).length, 1, 'seen, so listed again')
  await evict()
  t.equal(await app.sessions.logoutAll('u'), 0)
  for (const browser of browsers) t.notOk((await browser.get('/me')).json().userId)
  t.equal((await other.get('/me')).json().userId, 'v')
  const again = await logIn(app, 'u')
  t.equal((await again.get('/me')).json().userId, 'u')

  // For real: fill the memory with newer keys until the index goes, while the session is in use. Redis evicts by a
  // sample, so now and then the session goes too: then that was another case, and the next user is tried.
  const reader = await makeApp(t, { redis: { url: server.url, siteId }, sessions: { touchIntervalMs: 60_000 } })
  const loseIndex = async (user: string) => {
    const kept = await logIn(app, user)
    const index = app.redisLink.key('user', 'sessions', `{${tagOf(user)}}`)
    await waitFor(async () => Number(await client.object('IDLETIME', index)) >= 2, { what: 'the index to be older than what comes' })
    const size = Number(/used_memory:(\d+)/.exec(await client.info('memory'))![1])
    await client.config('SET', 'maxmemory', String(size + 300_000))
    for (let fillers = 0; await client.exists(index) === 1 && fillers < 20_000; fillers++) {
      await client.set(`filler:${user}:${fillers}`, 'x'.repeat(1000))
      // Read, but not noted as seen, which would use the index.
      if (fillers % 20 === 0) await kept.get('/me', reader)
    }
    t.equal(await client.exists(index), 0, 'evicted')
    await client.config('SET', 'maxmemory', '0')
    return (await kept.get('/me', reader)).json().userId === user ? { user, kept } : undefined
  }
  let lost: Awaited<ReturnType<typeof loseIndex>>
  for (let attempt = 0; !lost && attempt < 10; attempt++) lost = await loseIndex(`w${attempt}`)
  if (!lost) return t.fail('no session outlived its index')
  await app.sessions.logoutAll(lost.user)
  t.notOk((await lost.kept.get('/me')).json().userId)
})

both('count knows the sessions, and an anonymous visitor who stores nothing has none', async (t, setup) => {
  const app = await makeApp(t, setup())
  const visitor = new Browser(app)
  t.notOk((await visitor.get('/me')).headers['set-cookie'])
  t.equal(await app.sessions.count(), 0)
  await visitor.post('/set', { n: 1 })
  await logIn(app, 'u')
  t.equal(await app.sessions.count(), 2)
})

both('an upgraded request reads its session and never writes it', async (t, setup) => {
  const app = await makeApp(t, setup({
    sessions: { touchIntervalMs: 0 },
    routes (app) {
      app.register(fastifyWebsocket)
      app.register(async (scope) => {
        scope.get('/ws', { websocket: true }, (socket, request) => {
          request.session.fromSocket = true
          const watched = app.sessions.watch(request)!
          socket.on('message', async () => {
            const alive = await Promise.all([app.sessions.isAlive(request), watched.isAlive()])
            socket.send(JSON.stringify({ current: app.sessions.current(request), watched, alive }))
          })
        })
      })
    }
  }))
  const browser = await logIn(app, 'u', { n: 1 })
  const socket = await app.injectWS('/ws', { headers: { cookie: browser.header() } })
  const ask = async () => {
    const answer = new Promise<string>((resolve) => socket.once('message', (data) => resolve(String(data))))
    socket.send('?')
    return JSON.parse(await answer)
  }
  const { handle } = (await app.sessions.list('u'))[0]!
  t.same(await ask(), { current: { userId: 'u', handle }, watched: { userId: 'u', handle, realm: '' }, alive: [true, true] })
  t.same((await browser.get('/me')).json().fields, { n: 1 })
  await app.sessions.logoutAll('u')
  t.match(await ask(), { alive: [false, false] })
  socket.terminate()
  t.notOk((await browser.get('/me')).json().userId)
})

both('decryptSession gives any object, and a real request, a session that works as any other, and keeps nothing of what is invalid', async (t, setup) => {
  const app = await makeApp(t, setup({
    routes (app) {
      app.post('/by-header', (request, reply) => {
        app.decryptSession(String(request.headers['x-token']), request, (err?: Error) => {
          if (err !== undefined) return reply.send(err)
          request.session.seen = Number(request.session.seen ?? 0) + 1
          reply.send({ ...app.sessions.current(request), seen: request.session.seen })
        })
      })
    }
  }))
  const browser = await logIn(app, 'u', { a: 1 })
  const token = decodeURIComponent(browser.cookie!)
  const load = async (token: string, options: object = {}) => {
    const fake = {} as FastifyRequest
    await new Promise<void>((resolve, reject) => app.decryptSession(token, fake, options, (err?: Error) => err ? reject(err) : resolve()))
    return fake
  }
  const detached = await load(token)
  t.equal(app.sessions.current(detached)?.userId, 'u')
  await browser.post('/set', { a: 2, b: 2 })
  detached.session.c = 3
  await detached.session.save()
  t.same((await browser.get('/me')).json().fields, { a: 2, b: 2, c: 3 }, 'what others wrote stays')
  for (const seen of [1, 2]) {
    const response = await app.inject({ method: 'POST', url: '/by-header', headers: { 'x-token': token } })
    t.match(response.json(), { userId: 'u', seen })
  }
  t.equal((await browser.get('/me')).json().fields.seen, 2)
  const before = await app.sessions.count()
  const invalid = await Promise.all(Array.from({ length: 20 }, (_, index) => load(`x${index}.y`, { maxAge: 5000 })))
  t.equal(await app.sessions.count(), before)
  for (const { session } of invalid) {
    t.same(fieldsOf(session), {})
    t.ok(cookieOf(session).maxAge! <= 5000)
  }
  invalid[0]!.session.n = 1
  await invalid[0]!.session.save()
  t.equal((await load(invalid[0]!.session.encryptedSessionId)).session.n, 1, 'a new session once it is saved')
})

both('session.destroy ends the session, and decryptSession reads one without a request of its own', async (t, setup) => {
  const app = await makeApp(t, setup({ routes: (app) => { app.post('/destroy', async (request) => request.session.destroy().then(() => 'ok')) } }))
  const browser = await logIn(app, 'u', { n: 1 })
  const cookie = decodeURIComponent(browser.cookie!)
  const load = async () => {
    const fake = {} as FastifyRequest
    await new Promise<void>((resolve, reject) => app.decryptSession(cookie, fake, (err?: Error) => err ? reject(err) : resolve()))
    return fake.session
  }
  const session = await load()
  t.equal(session.n, 1)
  session.m = 2
  await session.save()
  t.same((await browser.get('/me')).json().fields, { n: 1, m: 2 })
  t.equal((await browser.post('/destroy')).statusCode, 200)
  t.equal(browser.cookies.size, 0)
  session.m = 3
  await session.save()
  t.notOk((await load()).n, 'a detached session does not bring it back')
  t.same(await app.sessions.list('u'), [])
})

t.test('options that are wrong are errors that name the option and never show the secret', async (t) => {
  const wrong: Array<[object, RegExp]> = [
    [{ secret: undefined }, /secret/], [{ secret: 'short' }, /secret/], [{ secret: [] }, /secret/], [{ secret: ['short'] }, /secret/],
    [{ unknown: 1 }, /unknown/], [{ idleTimeoutMs: 0 }, /idleTimeoutMs/], [{ idleTimeoutMs: '5' }, /idleTimeoutMs/], [{ absoluteTimeoutMs: -1 }, /absoluteTimeoutMs/],
    [{ onUnavailable: 'panic' }, /onUnavailable/], [{ touchIntervalMs: -1 }, /touchIntervalMs/], [{ maxBytes: 1 }, /maxBytes/], [{ cookieName: 'a b' }, /cookieName/],
    [{ cookie: { secure: 'maybe' } }, /cookie\.secure/], [{ cookie: { httpOnly: false } }, /cookie\.httpOnly/], [{ cookie: { path: 'x' } }, /cookie\.path/], [{ cookie: { path: '/caf\u00e9' } }, /cookie\.path.*percent-encoded/],
    [{ encryption: { keys: [] } }, /encryption\.keys/], [{ encryption: { keys: ['short'] } }, /encryption\.keys/], [{ encryption: { keys: [Buffer.alloc(32)], x: 1 } }, /encryption\.x/], [{ backup: {} }, /backup/]
  ]
  for (const [sessions, named] of wrong) await t.rejects(makeApp(t, { sessions }), { code: 'FST_ERR_REDIS_SESSIONS_INVALID_OPTION', message: named })
  const message = await makeApp(t, { sessions: { secret: 'tooshortsecret' } }).then(() => '', (err: Error) => err.message)
  t.match(message, /secret/)
  t.notMatch(message, /tooshort/)
})

t.test('SESSION_TTL of the environment is the default idle timeout in seconds', async (t) => {
  t.teardown(() => { delete process.env.SESSION_TTL })
  process.env.SESSION_TTL = '120'
  const app = await makeApp(t)
  const { cookies } = await app.inject({ method: 'POST', url: '/login', payload: { user: 'u' } })
  t.ok(Math.abs(Number((cookies[0] as { expires?: Date }).expires) - Date.now() - 120_000) < 5000)
  process.env.SESSION_TTL = 'soon'
  await t.rejects(makeApp(t), { message: /SESSION_TTL/ })
})

t.test('an application that registered @fastify/cookie itself, with another hook, keeps it', async (t) => {
  const { default: Fastify } = await import('fastify')
  const { default: cookie } = await import('@fastify/cookie')
  const { default: link } = await import('@jpulse/redis-link')
  const { default: sessions } = await import('../src/index.ts')
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(cookie, { hook: 'preHandler' })
  await app.register(link)
  await app.register(sessions, { secret: SECRET })
  app.get('/n', async ({ session }) => { session.n = Number(session.n ?? 0) + 1; return session.n })
  const browser = new Browser(app)
  await browser.get('/n')
  t.equal((await browser.get('/n')).body, '2')
})
