import fastifyWebsocket from '@fastify/websocket'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { sharedRedis, uniqueName, waitFor } from '../../../test/helpers/index.ts'
import type { LoginOptions, SessionsEvents, WatchedSession } from '../src/index.ts'
import { InFlight, type InFlightRequest } from '../src/request/in-flight.ts'
import { Browser, Gates, makeApp, type Setup } from './support/app.ts'

// Most of them wait for a timeout. Those that set a clock or the environment run alone.
t.jobs = 8

function both (name: string, run: (t: Test, setup: (more?: Setup) => Setup) => Promise<void>): void {
  t.test(`${name} (memory)`, (t) => run(t, (more = {}) => more))
  t.test(`${name} (Redis)`, (t) => {
    const siteId = uniqueName()
    return run(t, (more = {}) => ({ ...more, redis: { url: sharedRedis(), siteId } }))
  })
}

const withLogin = (more: Setup = {}): Setup => ({
  ...more,
  routes (app) {
    more.routes?.(app)
    app.post('/login-with', async (request) => app.sessions.login(request, 'u', {}, request.body as LoginOptions).then(() => 'in'))
  }
})

both('a login has lifetimes of its own, which hold through writes and renewals', async (t, setup) => {
  const app = await makeApp(t, withLogin(setup({ sessions: { idleTimeoutMs: 60_000, touchIntervalMs: 0 } })))
  const [short, long, ends] = [new Browser(app), new Browser(app), new Browser(app)]
  const maxAge = async (browser: Browser) => /Max-Age=(\d+)/.exec(String((await browser.post('/set', { n: 1 })).headers['set-cookie']))?.[1]
  await long.post('/login-with', { idleTimeoutMs: 30 * 24 * 3600_000, absoluteTimeoutMs: 90 * 24 * 3600_000 })
  t.equal(await maxAge(long), String(30 * 24 * 3600))
  // Looked at before anything else: these two live for a moment.
  await short.post('/login-with', { idleTimeoutMs: 2000 })
  t.equal(await maxAge(short), '2')
  await ends.post('/login-with', { absoluteTimeoutMs: 3000 })
  // Rounded up, and Redis' clock is known to some milliseconds.
  t.ok(Number(await maxAge(ends)) <= 4)
  const headers = [short, ends].map((browser) => ({ cookie: browser.header() }))
  t.match(String((await long.get('/me')).headers['set-cookie']), /Max-Age=2592000;/, 'a renewal')
  await waitFor(async () => (await app.sessions.list('u')).length === 1, { what: 'the short ones to end', everyMs: 300 })
  for (const header of headers) t.notOk((await app.inject({ url: '/me', headers: header })).json().userId)
  t.equal((await long.get('/me')).json().userId, 'u')
  for (const wrong of [{ idleTimeoutMs: 1 }, { absoluteTimeoutMs: 500 * 24 * 3600_000 }, { remember: 'yes' }, { unknown: 1 }]) {
    t.equal((await new Browser(app).post('/login-with', wrong)).json().code, 'FST_ERR_REDIS_SESSIONS_INVALID_OPTION')
  }
})

both('a login that is not to be remembered has a cookie that goes with the browser, at every renewal', async (t, setup) => {
  const app = await makeApp(t, withLogin(setup({ sessions: { touchIntervalMs: 0 } })))
  const browser = new Browser(app)
  for (const response of [await browser.post('/login-with', { remember: false }), await browser.get('/me'), await browser.post('/set', { n: 1 }), await browser.get('/me')]) {
    t.match(String(response.headers['set-cookie']), /^sessionId=[^;]+; Path/)
    t.notMatch(String(response.headers['set-cookie']), /Expires|Max-Age/)
  }
  t.equal((await browser.get('/me')).json().userId, 'u')
})

both('of more sessions of a user than there may be, those that were seen longest ago end', async (t, setup) => {
  const app = await makeApp(t, setup({ sessions: { maxSessionsPerUser: 2, touchIntervalMs: 0 } }))
  const ended: unknown[] = []
  app.sessions.on('ended', ({ reason, handles }) => { ended.push([reason, handles.length]) })
  const browsers: Browser[] = []
  for (let index = 0; index < 4; index++) {
    const browser = new Browser(app)
    await browser.post('/login', { user: 'u' })
    browsers.push(browser)
    await sleep(5)
    // The first is seen again and again.
    await browsers[0]!.get('/me')
    await sleep(5)
  }
  const users = await Promise.all(browsers.map(async (browser) => (await browser.get('/me')).json().userId))
  t.same(users, ['u', undefined, undefined, 'u'])
  t.same(ended, [['limit', 1], ['limit', 1]])
})

t.test('of sessions beyond a limit that was lowered those that ended are told of, also where the end of one failed', async (t) => {
  const redis = { url: sharedRedis(), siteId: uniqueName() }
  const [before, app] = [await makeApp(t, { redis }), await makeApp(t, { redis, sessions: { maxSessionsPerUser: 2 } })]
  for (let index = 0; index < 4; index++) await new Browser(before).post('/login', { user: 'u' })
  const known = (await app.sessions.list('u')).map(({ handle }) => handle)
  const told: string[] = []
  app.sessions.on('ended', ({ handles, reason }) => { told.push(...handles.map((handle) => `${reason} ${handle}`)) })
  const { remove } = app.sessions.store
  app.sessions.store.remove = async (ref) => {
    app.sessions.store.remove = remove
    throw new Error('away')
  }
  t.equal((await new Browser(app).post('/login', { user: 'u' })).statusCode, 200, 'a warning')
  const alive = new Set((await app.sessions.list('u')).map(({ handle }) => handle))
  t.equal(alive.size, 3)
  t.same(told.sort(), known.filter((handle) => !alive.has(handle)).map((handle) => `limit ${handle}`).sort())
})

both('of parallel logins beyond the limit the last ones stay, and they do not end each other', async (t, setup) => {
  for (const maxSessionsPerUser of [1, 2]) {
    const app = await makeApp(t, setup({ sessions: { maxSessionsPerUser } }))
    for (let round = 0; round < 10; round++) {
      const browsers = Array.from({ length: 4 }, () => new Browser(app))
      await Promise.all(browsers.map((browser) => browser.post('/login', { user: 'u' })))
      const users = await Promise.all(browsers.map(async (browser) => (await browser.get('/me')).json().userId))
      t.equal(users.filter((user) => user === 'u').length, maxSessionsPerUser)
    }
  }
})

t.test('a login with a short idle timeout of its own is kept by a request that takes longer, and by a socket', async (t) => {
  const own = 1500
  const app = await makeApp(t, withLogin({
    // Both are far longer than that session lives.
    sessions: { idleTimeoutMs: 3600_000, touchIntervalMs: 60_000 },
    routes (app) {
      app.get('/slow', async (request) => {
        await sleep(own + 300)
        request.session.n = 1
      })
      app.get('/watched', async (request) => {
        const watched = app.sessions.watch(request)!
        for (const end = Date.now() + own + 300; Date.now() < end;) {
          await sleep(50)
          await watched.touch()
        }
        return watched.isAlive()
      })
    }
  }))
  await Promise.all(['/slow', '/watched'].map(async (url) => {
    const browser = new Browser(app)
    await browser.post('/login-with', { idleTimeoutMs: own })
    const headers = { cookie: browser.header() }
    const { body } = await app.inject({ url, headers })
    if (url === '/watched') t.equal(body, 'true')
    else t.match((await app.inject({ url: '/me', headers })).json(), { userId: 'u', fields: { n: 1 } })
  }))
})

t.test('a touch that failed, or found nobody in an outage, is told again, and one that is asked already is not', { buffered: false }, async (t) => {
  const { now } = performance
  t.teardown(() => { performance.now = now })
  const app = await makeApp(t, { sessions: { touchIntervalMs: 60_000 }, routes: (app) => { app.get('/watch', async (request) => { watched = app.sessions.watch(request)! }) } })
  let watched!: WatchedSession
  const browser = new Browser(app)
  await browser.post('/login', { user: 'u' })
  await browser.get('/watch')
  const { store } = app.sessions
  const gates = new Gates()
  let asked = 0
  const answers = (answer: () => Promise<boolean>) => { store.touch = () => { asked++; return answer() } }
  const after = (ms: number) => { performance.now = () => now.call(performance) + ms }
  answers(async () => { throw new Error('away') })
  t.equal(await watched.touch(), true, 'the request was noted')
  after(61_000)
  await t.rejects(watched.touch())
  await t.rejects(watched.touch())
  t.equal(asked, 2, 'what failed is asked again')
  answers(async () => { await gates.pass('store'); return false })
  const [first, second] = [watched.touch(), watched.touch()]
  gates.open('store')
  t.same(await Promise.all([first, second]), [false, false])
  t.equal(asked, 3, 'one question at a time')
  t.equal(await watched.touch(), false)
  t.equal(asked, 3)
  answers(async () => true)
  after(63_000)
  t.equal(await watched.touch(), true, 'Redis is back, and has it')
  after(122_000)
  t.equal(await watched.touch(), true)
  t.equal(asked, 4, 'told once per interval')
})

t.test('a request with a short-lived session is looked at more often, and the others are not once it is over', { buffered: false }, async (t) => {
  const { setInterval } = globalThis
  t.teardown(() => { globalThis.setInterval = setInterval })
  const asked: unknown[] = []
  globalThis.setInterval = ((run: () => void, ms: number) => {
    asked.push(ms)
    return setInterval(run, ms)
  }) as typeof setInterval
  const inFlight = new InFlight(3600_000)
  t.teardown(() => inFlight.stop())
  let kept = 0
  const state = (): InFlightRequest => ({ position: -1, everyMs: Infinity, reply: null, request: { raw: { destroyed: false, socket: { destroyed: false } } }, look: () => {}, keepAlive: async () => { kept++ } })
  const [short, long] = [state(), state()]
  inFlight.add(long)
  inFlight.add(short, 100)
  await waitFor(() => kept >= 4, { what: 'two sweeps' })
  t.same(asked, [1000, 25])
  inFlight.delete(short)
  await waitFor(() => asked.length === 3, { what: 'the pace of before' })
  t.equal(asked[2], 1000)
})

both('a session by a header: no cookie comes or leaves', async (t, setup) => {
  for (const header of ['authorization', 'X-Session']) {
    const app = await makeApp(t, setup({ sessions: { header, name: header.toLowerCase() }, routes: (app) => { app.post('/token', async (request) => app.sessions.login(request, 'u').then(() => app.sessions.token(request))) } }))
    const login = await app.inject({ method: 'POST', url: '/token' })
    t.notOk(login.headers['set-cookie'])
    const value = header === 'authorization' ? `Bearer ${login.body}` : login.body
    const headers = { [header.toLowerCase()]: value }
    t.equal((await app.inject({ url: '/me', headers })).json().userId, 'u')
    t.notOk((await app.inject({ url: '/me', headers: { cookie: `sessionId=${login.body}` } })).json().userId)
    for (const wrong of ['', 'Bearer', 'Basic dTp1', `${login.body}x`]) t.equal((await app.inject({ url: '/me', headers: { [header.toLowerCase()]: wrong } })).json().userId, undefined)
    const out = await app.inject({ method: 'POST', url: '/logout', headers })
    t.notOk(out.headers['set-cookie'])
    t.notOk((await app.inject({ url: '/me', headers })).json().userId)
  }
})

both('a route may have no session, or not count as activity', async (t, setup) => {
  const app = await makeApp(t, setup({
    sessions: { idleTimeoutMs: 1500, touchIntervalMs: 0 },
    routes (app) {
      app.get('/none', { config: { session: false } }, async (request) => ({ current: app.sessions.current(request), session: Object.keys(request.session) }))
      app.get('/none/write', { config: { session: false } }, async (request) => { request.session.n = 1 })
      app.get('/none/login', { config: { session: false } }, async (request) => app.sessions.login(request, 'u'))
      app.get('/poll', { config: { session: { activity: false } } }, async (request) => app.sessions.current(request) ?? {})
      app.get('/poll-and-write', { config: { session: { activity: false } } }, async (request) => {
        request.session.n = Number(request.session.n ?? 0) + 1
        return app.sessions.current(request) ?? {}
      })
    }
  }))
  const browser = new Browser(app)
  await browser.post('/login', { user: 'u' })
  const headers = { cookie: browser.header() }
  const none = await app.inject({ url: '/none', headers })
  t.same(none.json(), { current: null, session: [] })
  t.notOk(none.headers['set-cookie'])
  for (const url of ['/none/write', '/none/login']) t.equal((await app.inject({ url, headers })).json().code, 'FST_ERR_REDIS_SESSIONS_NO_SESSION')
  const first = await app.inject({ url: '/poll', headers })
  t.equal(first.json().userId, 'u')
  t.notOk(first.headers['set-cookie'])
  const writes = await app.inject({ method: 'POST', url: '/login', payload: { user: 'w' } })
  const told: string[] = []
  const polls = [['/poll', headers.cookie], ['/poll-and-write', String(writes.headers['set-cookie']).split(';')[0]!]] as const
  await Promise.all(polls.map(([url, cookie]) => waitFor(async () => {
    const response = await app.inject({ url, headers: { cookie } })
    told.push(String(response.headers['set-cookie']))
    return response.json().userId === undefined
  }, { what: `the idle timeout of who only asks for ${url}`, timeoutMs: 8000, everyMs: 100 })))
  t.ok(told.some((cookie) => /Max-Age=1;/.test(cookie)), 'the cookie says what is left')
})

both('what happens to sessions is told: created, login, renewed, refused, ended', async (t, setup) => {
  const app = await makeApp(t, setup({ sessions: { touchIntervalMs: 0 } }))
  const seen: unknown[] = []
  for (const name of ['created', 'login', 'renewed', 'refused', 'ended'] as const) {
    app.sessions.on(name, ((event: SessionsEvents[typeof name][0]) => { seen.push([name, 'reason' in event ? event.reason : event.userId]) }) as never)
  }
  const browser = new Browser(app, { 'user-agent': 'Phone/1' })
  await browser.post('/set', { n: 1 })
  await browser.post('/login', { user: 'u' })
  const headers = { cookie: browser.header() }
  await browser.get('/me')
  await browser.post('/logout')
  await app.inject({ url: '/me', headers })
  await app.inject({ url: '/me', headers: { cookie: `${headers.cookie}x` } })
  t.same(seen, [['created', null], ['login', 'u'], ['renewed', 'u'], ['ended', 'logout'], ['refused', 'unknown'], ['refused', 'signature']])
})

both('a session of a user that times out is told of once, at the next request with its cookie or at the next login of the user, and one that was ended is not', async (t, setup) => {
  const idleTimeoutMs = 1000
  const apps = await Promise.all([0, 1].map(() => makeApp(t, setup({ sessions: { idleTimeoutMs } }))))
  const app = apps[0]!
  // Without Redis each process has sessions of its own.
  const another = setup().redis === undefined ? app : apps[1]!
  const expired: Array<SessionsEvents['expired'][0]> = []
  for (const each of new Set([app, another])) each.sessions.on('expired', (event) => { expired.push(event) })
  const began = Date.now()
  const [asks, loggedOut, all, silent] = await Promise.all(['asks', 'out', 'all', 'asks'].map(async (user) => {
    const browser = new Browser(app, { 'user-agent': 'Phone/1' })
    const { handle } = (await browser.post('/login', { user })).json()
    return { browser, handle, headers: { cookie: browser.header() } }
  })) as [{ browser: Browser, handle: string, headers: { cookie: string } }, ...Array<{ browser: Browser, handle: string, headers: { cookie: string } }>]
  await loggedOut!.browser.post('/logout')
  await app.sessions.logoutAll('all')
  await waitFor(async () => (await app.sessions.list('asks')).length === 0, { what: 'the idle timeout' })
  for (const { headers } of [asks, loggedOut!, all!]) {
    const answers = await Promise.all([app, another, app].map((each) => each.inject({ url: '/me', headers })))
    t.notOk(answers.some((answer) => answer.json().userId))
  }
  await waitFor(() => expired.length > 0)
  await waitFor(async () => {
    // Redis' score of the other one may lie a moment behind.
    await new Browser(another).post('/login', { user: 'asks' })
    return expired.length >= 2
  }, { everyMs: 200 })
  t.same(expired.map(({ userId, ip, userAgent }) => [userId, ip, userAgent]), Array(2).fill(['asks', '127.0.0.1', 'Phone/1']))
  t.same(new Set(expired.map(({ handle }) => handle)), new Set([asks.handle, silent!.handle]))
  for (const { expiredAt } of expired) t.ok(expiredAt >= began + idleTimeoutMs - 100 && expiredAt <= Date.now() + 100, `${expiredAt - began} ms`)
})

both('who is active on a socket stays logged in', async (t, setup) => {
  const app = await makeApp(t, setup({
    sessions: { idleTimeoutMs: 1500, touchIntervalMs: 50 },
    routes (app) {
      app.register(fastifyWebsocket)
      app.register(async (scope) => {
        scope.get('/watched', { websocket: true }, (socket, request) => {
          const watched = app.sessions.watch(request)!
          socket.on('message', () => { watched.touch().then((alive) => socket.send(String(alive))) })
        })
        scope.get('/session', { websocket: true }, (socket, request) => {
          socket.on('message', () => { request.session.touch(); request.session.save().then(() => socket.send('true')) })
        })
      })
    }
  }))
  const browsers = await Promise.all(['watched', 'session', 'silent'].map(async (path) => {
    const browser = new Browser(app)
    await browser.post('/login', { user: path })
    const headers = { cookie: browser.header() }
    const socket = path === 'silent' ? null : await app.injectWS(`/${path}`, { headers })
    return { headers, socket, path }
  }))
  const end = Date.now() + 3000
  while (Date.now() < end) {
    for (const { socket } of browsers) socket?.send('I am here')
    await sleep(100)
  }
  for (const { headers, path } of browsers) t.equal((await app.inject({ url: '/me', headers })).json().userId, path === 'silent' ? undefined : path)
  await app.sessions.logoutAll('watched')
  const [{ socket }] = browsers as [(typeof browsers)[0]]
  const answer = new Promise((resolve) => socket!.on('message', (data) => { if (String(data) === 'false') resolve('false') }))
  await sleep(60)
  socket!.send('I am here')
  t.equal(await answer, 'false')
  for (const { socket } of browsers) socket?.terminate()
})

t.test('an instance whose clock is wrong logs nobody out, and its cookie says how long it lasts whatever the visitor\'s clock says', { buffered: false }, async (t) => {
  const { now } = Date
  t.teardown(() => { Date.now = now })
  for (const wrongByMs of [-3600_000, 3600_000]) {
    Date.now = () => now() + wrongByMs
    const app = await makeApp(t, { redis: { url: sharedRedis(), siteId: uniqueName() }, sessions: { idleTimeoutMs: 1500, absoluteTimeoutMs: 60_000, touchIntervalMs: 50 } })
    const login = await app.inject({ method: 'POST', url: '/login', payload: { user: 'u' } })
    t.match(String(login.headers['set-cookie']), /Max-Age=2;/)
    const headers = { cookie: String(login.headers['set-cookie']).split(';')[0]! }
    const end = now() + 2500
    while (now() < end) {
      await sleep(200)
      t.equal((await app.inject({ url: '/me', headers })).json().userId, 'u')
    }
    Date.now = now
  }
})

t.test('a clock that is set while the process keeps the sessions ends none of them, and none lives longer', { buffered: false }, async (t) => {
  const { now } = Date
  t.teardown(() => { Date.now = now })
  const app = await makeApp(t, { sessions: { idleTimeoutMs: 600 } })
  const headers = { cookie: String((await app.inject({ method: 'POST', url: '/login', payload: { user: 'u' } })).headers['set-cookie']).split(';')[0]! }
  Date.now = () => now() + 3600_000
  t.equal((await app.inject({ url: '/me', headers })).json().userId, 'u')
  Date.now = () => now() - 3600_000
  t.equal((await app.inject({ url: '/me', headers })).json().userId, 'u')
  await waitFor(async () => (await app.sessions.list('u')).length === 0, { what: 'the idle timeout' })
})

t.test('each misconfiguration is one warning that names the cure', { buffered: false }, async (t) => {
  const serve = async (setup: Setup) => {
    const lines: string[] = []
    const app = await makeApp(t, { ...setup, fastify: { ...setup.fastify, logger: { level: 'warn', stream: { write: (line: string) => { lines.push(line) } } } } })
    return { app, warned: (text: RegExp) => lines.filter((line) => text.test(line)).length }
  }
  const login = { method: 'POST', url: '/login', payload: { user: 'u' } } as const
  const secure = await serve({ sessions: { cookie: { secure: true } } })
  for (let index = 0; index < 3; index++) await secure.app.inject(login)
  t.equal(secure.warned(/no cookie was sent.*trustProxy/), 1)

  const auto = await serve({})
  await auto.app.inject(login)
  t.equal(auto.warned(/trustProxy/), 0)
  for (const headers of [{ 'x-forwarded-proto': 'https' }, { forwarded: 'for=192.0.2.1;proto=https' }]) await auto.app.inject({ ...login, headers })
  t.equal(auto.warned(/without Secure.*trustProxy/), 1)

  for (const cookieName of ['__Host-sid', '__Secure-sid']) {
    const prefixed = await serve({ sessions: { cookieName } })
    await prefixed.app.inject({ ...login, headers: { 'x-forwarded-proto': 'https' } })
    for (let index = 0; index < 2; index++) await prefixed.app.inject(login)
    t.equal(prefixed.warned(new RegExp(`refuse a cookie named ${cookieName} without Secure, and the request came by http.*leave out the prefix`)), 1)
    const trusted = await serve({ sessions: { cookieName }, fastify: { trustProxy: true } })
    await trusted.app.inject({ ...login, headers: { 'x-forwarded-proto': 'https' } })
    t.equal(trusted.warned(/./), 0)
  }

  const ineffective: Array<[sessions: object, text: RegExp]> = [
    [{ idleTimeoutMs: 60_000, absoluteTimeoutMs: 50_000 }, /end after absoluteTimeoutMs \(50000\)/],
    [{ idleTimeoutMs: 60_000, touchIntervalMs: 30_000 }, /touchIntervalMs is cut to 29999/],
    [{ cookie: { sameSite: 'none', secure: false } }, /sent as \\"lax\\".*https/],
    [{ cookie: { partitioned: true, secure: false } }, /partitioned has no effect.*https/],
    [{ cookie: { hostPrefix: 'read', path: '/app' } }, /hostPrefix \\"read\\" has no effect.*formerCookieNames/],
    [{ cookieName: '__Secure-sid', cookie: { secure: false } }, /refuse a cookie named __Secure-sid without Secure/],
    [{ cookieName: '__Host-sid', cookie: { domain: 'example.org' } }, /refuse a cookie named __Host-sid with a domain/],
    [{ cookieName: '__host-sid', cookie: { path: '/app' } }, /refuse a cookie named __host-sid with a domain/],
    [{ header: 'authorization', cookieName: 'sid', cookie: {} }, /cookieName, cookie have no effect beside header/]
  ]
  for (const [sessions, text] of ineffective) t.equal((await serve({ sessions })).warned(text), 1, String(text))
  const sound: object[] = [{}, { absoluteTimeoutMs: 8 * 3600_000 }, { touchIntervalMs: 0 }, { idleTimeoutMs: 60_000, touchIntervalMs: 29_999 }, { cookie: { sameSite: 'none', partitioned: true, hostPrefix: 'read' } }, { header: 'authorization' }, { cookieName: '__Host-sid' }]
  for (const sessions of sound) t.equal((await serve({ sessions })).warned(/./), 0, JSON.stringify(sessions))
  const redis = { url: sharedRedis() }
  for (const [localReads, enabled, warnings] of [[true, false, 1], [true, true, 0], ['prepare', false, 0]] as const) {
    const { app, warned } = await serve({ redis, cache: { enabled }, sessions: { localReads } })
    const browser = new Browser(app)
    await browser.post('/login', { user: 'u' })
    t.equal((await browser.get('/me')).json().userId, 'u')
    t.equal(warned(/localReads has no effect.*enabled/), warnings, `${localReads}, ${enabled}`)
  }
  await t.rejects(makeApp(t, { sessions: { encryption: { keys: [Buffer.alloc(32)], writePlain: true, acceptPlain: false } } }), { message: /encryption.acceptPlain/ })

  const routes = await serve({
    routes (app) {
      for (const [index, session] of [false, true, {}, { activity: false }, { activity: true }, { activ: false }, 'false', { activity: 'no' }].entries()) {
        app.get(`/route/${index}`, { config: { session: session as false } }, async () => 'x')
      }
    }
  })
  t.equal(routes.warned(/config.session of a route/), 3)

  const away = await serve({ sessions: { touchIntervalMs: 0 } })
  const browser = new Browser(away.app)
  await browser.post('/login', { user: 'u' })
  away.app.sessions.store.touch = async () => { throw new Error('refused') }
  for (let index = 0; index < 3; index++) t.equal((await browser.get('/me')).json().userId, 'u')
  t.equal(away.warned(/noted as seen.*logged out/), 1)

  t.teardown(() => { delete process.env.NODE_APP_INSTANCE })
  process.env.NODE_APP_INSTANCE = '1'
  t.equal((await serve({})).warned(/one of several.*REDIS_URL/), 1)
  t.equal((await serve({ redis: { url: sharedRedis() } })).warned(/REDIS_URL/), 0)
  delete process.env.NODE_APP_INSTANCE
  t.equal((await serve({})).warned(/one of several/), 0)
})
