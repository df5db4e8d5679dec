import fastifyCookie, { Signer } from '@fastify/cookie'
import redisLink from '@jpulse/redis-link'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { readFile } from 'node:fs/promises'
import t, { type Test } from 'tap'
import redisSessions, { type LoginOptions } from '../src/index.ts'
import { Browser, cookieOf, fieldsOf, makeApp, SECRET, type Setup } from './support/app.ts'

// What @fastify/session documents, one by one: docs/fastify-session.md names each of these, or says why it is not there.

type Handler = (request: FastifyRequest, reply: FastifyReply) => unknown

/** An application with these handlers; their names are their paths. */
async function serve (t: Test, handlers: Record<string, Handler>, { sessions, fastify }: Setup = {}): Promise<FastifyInstance> {
  return makeApp(t, {
    sessions: { touchIntervalMs: 0, ...sessions },
    ...(fastify === undefined ? {} : { fastify }),
    routes (app) { for (const [name, handler] of Object.entries(handlers)) app.get(`/${name}`, async (request, reply) => handler(request, reply)) }
  })
}

const cookieIn = ({ headers }: { headers: Record<string, unknown> }) => String(headers['set-cookie'] ?? '')
const https = { fastify: { trustProxy: true } }
const proxied = { 'x-forwarded-proto': 'https' }
const write: Handler = ({ session }) => { session.n = 1; return 'x' }
const withCallback = (call: (callback: (err?: unknown) => void) => unknown) => new Promise((resolve) => { call((err) => resolve(err ?? null)) })

const BEHAVIOURS: Record<string, (t: Test) => Promise<void>> = {
  'request.session, its sessionId, encryptedSessionId and cookie, and request.sessionStore are there at every request': async (t) => {
    const app = await serve(t, { x: ({ session, sessionStore }) => [typeof session.sessionId, session.encryptedSessionId.startsWith(`${session.sessionId}.`), typeof session.cookie, typeof sessionStore.get] })
    t.same((await app.inject('/x')).json(), ['string', true, 'object', 'function'])
  },
  'the cookie holds the id and its signature, and has the path, HttpOnly and, on https, Secure': async (t) => {
    const app = await serve(t, { x: write }, https)
    t.match(cookieIn(await app.inject({ url: '/x', headers: proxied })), /^__Host-sessionId=[\w-]{32}\.[\w+/%-]{43,57}; .*Path=\/; .*HttpOnly; Secure/)
    t.match(cookieIn(await app.inject('/x')), /^sessionId=[\w-]{32}\.[\w+/%-]{43,57}; .*Path=\/; .*HttpOnly; SameSite=Lax$/)
    t.type((await app.inject('/x')).headers['set-cookie'], 'string', 'one cookie is one header')
  },
  'a name of the cookie, a domain, a path, SameSite and Partitioned are what the options say': async (t) => {
    const cookie = { domain: 'localhost', path: '/x', sameSite: 'strict', partitioned: true } as const
    const app = await serve(t, { x: write, y: (request) => fieldsOf(request.session) }, { ...https, sessions: { cookieName: 'another', cookie } })
    const sent = cookieIn(await app.inject({ url: '/x', headers: proxied }))
    for (const part of [/^another=/, /Domain=localhost/, /Path=\/x/, /SameSite=Strict/, /Partitioned/]) t.match(sent, part)
    const outside = await app.inject({ url: '/y', headers: proxied })
    t.same([outside.statusCode, outside.json(), outside.headers['set-cookie']], [200, {}, undefined], 'outside of the path')
  },
  'with secure no cookie is sent by http, with auto SameSite=None becomes Lax there': async (t) => {
    const strict = await serve(t, { x: write }, { sessions: { cookie: { secure: true } } })
    t.equal(cookieIn(await strict.inject('/x')), '')
    const auto = await serve(t, { x: write }, { ...https, sessions: { cookie: { sameSite: 'none' } } })
    t.match(cookieIn(await auto.inject('/x')), /SameSite=Lax/)
    t.match(cookieIn(await auto.inject({ url: '/x', headers: proxied })), /Secure; SameSite=None/)
    t.equal(cookieIn(await strict.inject({ url: '/x', headers: proxied })), '', 'a proxy that is not trusted')
  },
  'session.options() overrides the attributes of the cookie within a route, and maxAge counts before expires': async (t) => {
    const app = await serve(t, {
      plain: (request, reply) => { request.session.options({ secure: false, httpOnly: false }); return write(request, reply) },
      secure: (request, reply) => { request.session.options({ secure: true }); return write(request, reply) },
      age: (request, reply) => { request.session.options({ maxAge: 42_000, expires: new Date(0) }); return write(request, reply) },
      strict: (request, reply) => { request.session.options({ sameSite: 'strict' }); return write(request, reply) }
    }, { sessions: { cookie: { hostPrefix: 'read' } } })
    t.notMatch(cookieIn(await app.inject('/plain')), /Secure|HttpOnly/)
    t.equal(cookieIn(await app.inject('/secure')), '')
    t.match(cookieIn(await app.inject('/age')), /Max-Age=42;/)
    t.match(cookieIn(await app.inject('/strict')), /Max-Age=86400;.*SameSite=Strict/, 'the rest stays')
  },
  'session.cookie has expires, maxAge and originalMaxAge, and what is set on it is sent, also where nothing else changed': async (t) => {
    const app = await serve(t, {
      read: ({ session }) => [cookieOf(session).originalMaxAge, Number(cookieOf(session).expires) > Date.now(), cookieOf(session).maxAge! > 0],
      age: ({ session }) => { cookieOf(session).maxAge = 5000; return cookieOf(session).originalMaxAge },
      expires: ({ session }) => { cookieOf(session).expires = new Date(Date.now() + 9000); return 'x' },
      browser: ({ session }) => { cookieOf(session).expires = null; return 'x' }
    }, { sessions: { touchIntervalMs: 60_000 } })
    const browser = new Browser(app)
    t.same((await browser.get('/read')).json(), [86_400_000, true, true])
    await browser.post('/login', { user: 'u' })
    t.equal(cookieIn(await browser.get('/me')), '')
    t.match(cookieIn(await browser.get('/age')), /Max-Age=5;/)
    t.match(cookieIn(await browser.get('/expires')), /Max-Age=9;/)
    t.notMatch(cookieIn(await browser.get('/browser')), /Expires|Max-Age/)
  },
  'fields are kept from request to request, by property and by get and set': async (t) => {
    const app = await serve(t, { x: ({ session }) => { session.set('foo', 'bar'); session.deep = { a: [1] }; return session.get('foo') } })
    const browser = new Browser(app)
    t.equal((await browser.get('/x')).body, 'bar')
    t.same((await browser.get('/me')).json().fields, { foo: 'bar', deep: { a: [1] } })
  },
  'of several secrets the first signs and all verify, and a cookie with an old signature gets a new one': async (t) => {
    const app = await serve(t, {}, { sessions: { secret: [SECRET, `old ${SECRET}`], touchIntervalMs: 60_000 } })
    const browser = new Browser(app)
    await browser.post('/login', { user: 'u' })
    const own = decodeURIComponent(browser.cookie!)
    const old = encodeURIComponent(new Signer(`old ${SECRET}`).sign(own.split('.')[0]!))
    const response = await app.inject({ url: '/me', headers: { cookie: `sessionId=${old}` } })
    t.equal(response.json().userId, 'u')
    t.equal(response.cookies[0]?.value, own)
  },
  'a cookie that is unknown, expired, badly signed or no token at all is a new session': async (t) => {
    const app = await serve(t, { x: write })
    const browser = new Browser(app)
    await browser.get('/x')
    const known = decodeURIComponent(browser.cookie!)
    for (const value of [`${known.slice(0, -1)}${known.endsWith('A') ? 'E' : 'A'}`, known.replace('.', ''), 'a'.repeat(32), '', '%', 'x'.repeat(5000), `${'b'.repeat(32)}.${known.split('.')[1]}`]) {
      const response = await app.inject({ url: '/x', headers: { cookie: `sessionId=${value}` } })
      t.equal(response.statusCode, 200, value.slice(0, 50))
      t.match(cookieIn(response), /^sessionId=[\w-]{32}\./)
      t.notOk(cookieIn(response).includes(known.split('.')[0]!), 'another id')
    }
  },
  'a request that fails before its handler gets no cookie': async (t) => {
    const app = await serve(t, {})
    const response = await app.inject({ method: 'POST', url: '/set', headers: { 'content-type': 'application/json' } })
    t.equal(response.statusCode, 400)
    t.equal(cookieIn(response), '')
  },
  'regenerate gives another id, with the fields that are named, by callback and by promise': async (t) => {
    const app = await serve(t, {
      callback: async ({ session }) => { session.a = 1; session.b = 2; return withCallback((done) => session.regenerate(['a'], done)) },
      only: async ({ session }) => withCallback((done) => session.regenerate(done)),
      promise: async ({ session }) => { await session.regenerate(['a', 'cookie', 'sessionId', 'missing']); return 'x' }
    })
    const browser = new Browser(app)
    t.equal((await browser.get('/callback')).body, 'null')
    const first = browser.cookie
    t.same((await browser.get('/me')).json().fields, { a: 1 })
    await browser.get('/promise')
    t.not(browser.cookie, first)
    t.same((await browser.get('/me')).json().fields, { a: 1 }, 'what every session has is not carried over')
    await browser.get('/only')
    t.same((await browser.get('/me')).json().fields, {})
  },
  'destroy ends the session and leaves request.session null, by callback and by promise': async (t) => {
    const app = await serve(t, {
      callback: async (request) => [await withCallback((done) => request.session.destroy(done)), request.session],
      promise: async (request) => { await request.session.destroy(); return [null, request.session] },
      fresh: async (request) => { await request.session.destroy(); return 'x' }
    })
    for (const path of ['/callback', '/promise']) {
      const browser = new Browser(app)
      await browser.post('/set', { n: 1 })
      t.same((await browser.get(path)).json(), [null, null])
      t.equal(browser.cookies.size, 0)
      t.equal(await app.sessions.count(), 0)
    }
    t.equal((await app.inject('/fresh')).statusCode, 200, 'one that was never stored')
  },
  'reload brings back what is stored, save stores what there is, by callback and by promise': async (t) => {
    const app = await serve(t, {
      reload: async (request) => { request.session.n = 5; const err = await new Promise((resolve) => { request.session.reload(resolve) }); return [err === null, request.session.n ?? null] },
      save: async (request) => { request.session.n = 6; const err = await withCallback((done) => request.session.save(done)); await request.session.reload(); return [err, request.session.n] }
    })
    t.same((await app.inject('/reload')).json(), [true, null])
    t.same((await app.inject('/save')).json(), [null, 6])
  },
  'touch moves the expiry, and isModified and isSaved tell what they say': async (t) => {
    const app = await serve(t, {
      x: async ({ session }) => {
        const told = [session.isModified(), session.isSaved()]
        session.n = 1
        told.push(session.isModified(), session.isSaved())
        await session.save()
        return [...told, session.isModified(), session.isSaved()]
      },
      touch: async ({ session }) => {
        const before = Number(cookieOf(session).expires)
        await new Promise((resolve) => setTimeout(resolve, 5))
        session.touch()
        await session.save()
        return Number(cookieOf(session).expires) > before
      }
    })
    t.same((await app.inject('/x')).json(), [false, false, true, false, false, true])
    const browser = new Browser(app)
    await browser.get('/x')
    t.equal((await browser.get('/touch')).body, 'true')
  },
  'an error of the store reaches the callback, the promise or the reply': async (t) => {
    const app = await serve(t, {
      caught: async ({ session }) => { session.n = 1; return [await session.save()!.then(() => 'saved', (err: { statusCode: number }) => err.statusCode), Boolean(await withCallback((done) => session.save(done)))] },
      thrown: write
    })
    app.sessions.store.create = async () => { throw Object.assign(new Error('no can do'), { statusCode: 503 }) }
    const caught = await app.inject('/caught')
    t.equal(caught.statusCode, 503, 'and nothing was stored, so the request fails')
    t.equal((await app.inject('/thrown')).statusCode, 503)
  },
  'request.sessionStore gets, sets and destroys by id': async (t) => {
    const app = await serve(t, {
      x: async ({ session, sessionStore }) => {
        session.n = 1
        await session.save()
        const id = session.sessionId
        await withCallback((done) => sessionStore.set(id, { m: 2 } as never, done))
        const stored = await new Promise((resolve) => { sessionStore.get(id, (_err, found) => resolve(found)) })
        await withCallback((done) => sessionStore.destroy(id, done))
        const after = await new Promise((resolve) => { sessionStore.get(id, (_err, found) => resolve(found ?? null)) })
        return [stored, after]
      }
    })
    t.same((await app.inject('/x')).json(), [{ n: 1, m: 2 }, null])
  },
  'decryptSession gives any object the session of a token, with attributes of its cookie': async (t) => {
    const app = await serve(t, {})
    const browser = new Browser(app)
    await browser.post('/set', { n: 1 })
    const token = app.parseCookie(browser.header()).sessionId!
    const [plain, aged] = [{}, {}] as Array<{ session?: FastifyRequest['session'] }>
    await withCallback((done) => app.decryptSession(token, plain!, done as never))
    await withCallback((done) => app.decryptSession(token, aged!, { maxAge: 86_400 } as never, done as never))
    t.same([fieldsOf(plain!.session!), fieldsOf(aged!.session!)], [{ n: 1 }, { n: 1 }])
    t.ok(Math.abs(cookieOf(aged!.session!).maxAge! - 86_400) < 1000)
  },
  'a session is renewed at every response, or as often as touchIntervalMs says': async (t) => {
    for (const [touchIntervalMs, isSent] of [[0, true], [60_000, false]] as const) {
      const app = await serve(t, {}, { sessions: { touchIntervalMs } })
      const browser = new Browser(app)
      await browser.post('/set', { n: 1 })
      t.equal(cookieIn(await browser.get('/me')) !== '', isSent)
    }
  },
  'a visitor who wrote nothing gets no cookie, and nothing is stored': async (t) => {
    const app = await serve(t, {})
    t.equal(cookieIn(await app.inject('/me')), '')
    t.equal(await app.sessions.count(), 0)
  },
  'it is found as @fastify/session by plugins that ask for it': async (t) => {
    const app = await serve(t, {})
    t.ok(app.hasPlugin('@fastify/session'))
    t.ok(app.hasRequestDecorator('session'))
    t.type(app.decryptSession, 'function')
  }
}

for (const [behaviour, run] of Object.entries(BEHAVIOURS)) t.test(behaviour, run)

t.test('request.sessionStore stores nothing that a session refuses, and the fault of a callback ends no process', async (t) => {
  const app = await serve(t, {
    set: async ({ session, sessionStore }) => {
      session.n = 1
      await session.save()
      const failed = [{ save: 1 }, { deep: [new Map([[1, 2]])] }].map((fields) => withCallback((done) => sessionStore.set(session.sessionId, fields as never, done)))
      return (await Promise.all(failed)).map((err) => (err as { code?: string } | null)?.code)
    },
    faulty: async ({ session, sessionStore }) => {
      const fault = () => { throw new Error('a fault of the application') }
      sessionStore.get(session.sessionId, fault)
      sessionStore.set(session.sessionId, { m: 1 } as never, fault)
      return withCallback((done) => sessionStore.destroy('none', () => { setImmediate(done); fault() }))
    }
  })
  const browser = new Browser(app)
  t.same((await browser.get('/set')).json(), ['FST_ERR_REDIS_SESSIONS_RESERVED_FIELD', 'FST_ERR_REDIS_SESSIONS_NOT_SERIALIZABLE'])
  t.same((await browser.get('/me')).json().fields, { n: 1 })
  t.equal((await browser.get('/faulty')).body, 'null')
  t.same((await browser.get('/me')).json().fields, { n: 1, m: 1 })
})

t.test('each attribute that is set on session.cookie is sent, also where nothing else changed', async (t) => {
  const attributes = { domain: 'example.com', path: '/x', sameSite: 'strict', httpOnly: false, partitioned: true }
  const app = await serve(t, {
    x: (request) => {
      const name = (request.query as { name: keyof typeof attributes }).name
      Object.assign(cookieOf(request.session), { [name]: attributes[name] })
      return name
    }
  }, { sessions: { touchIntervalMs: 60_000 } })
  const browser = new Browser(app)
  await browser.post('/set', { n: 1 })
  const headers = { cookie: browser.header() }
  for (const name of Object.keys(attributes)) t.match(cookieIn(await app.inject({ url: `/x?name=${name}`, headers })), /^sessionId=/, name)
  t.equal(cookieIn(await app.inject({ url: '/x', headers })), '')
})

// https://github.com/fastify/session/issues/69
t.test('what @fastify/cookie was told of the cookies of the application is nothing to the session’s', async (t) => {
  const parseOptions = { signed: true, domain: 'example.com', maxAge: 5, expires: new Date(1e12), partitioned: true, sameSite: 'none', httpOnly: false, path: '/x' } as const
  const app = Fastify({ trustProxy: true })
  t.teardown(() => app.close())
  await app.register(fastifyCookie, { secret: 'of the application', parseOptions })
  await app.register(redisLink)
  await app.register(redisSessions, { secret: SECRET })
  app.get('/in', async (request) => app.sessions.login(request, 'u', {}, { remember: false }))
  app.get('/me', async (request) => app.sessions.current(request)?.userId)
  app.get('/out', async (request) => app.sessions.logout(request))
  const login = await app.inject({ url: '/in', headers: proxied })
  t.match(cookieIn(login), /^__Host-sessionId=[^;]+; Path=\/; HttpOnly; Secure; SameSite=Lax$/)
  const headers = { ...proxied, cookie: cookieIn(login).split(';')[0]! }
  t.equal((await app.inject({ url: '/me', headers })).body, 'u')
  t.notMatch(cookieIn(await app.inject({ url: '/out', headers })), /Domain|Partitioned/)
})

t.test('the path of the cookie is that of the browser, whatever rewriteUrl makes of it', async (t) => {
  const app = await serve(t, { x: write, y: (request) => fieldsOf(request.session) }, { fastify: { rewriteUrl: ({ url }) => url!.replace(/^\/shop/, '') }, sessions: { cookie: { path: '/shop' } } })
  const cookie = cookieIn(await app.inject('/shop/x')).split(';')[0]!
  t.same((await app.inject({ url: '/shop/y', headers: { cookie } })).json(), { n: 1 })
  t.equal((await app.inject('/x')).json().code, 'FST_ERR_REDIS_SESSIONS_NO_SESSION')
})

t.test('docs/fastify-session.md names each behaviour that is tested here, and nothing that is not', async (t) => {
  const page = await readFile(new URL('../docs/fastify-session.md', import.meta.url), 'utf8')
  const rows = page.split('\n').filter((line) => line.startsWith('| ')).map((line) => line.slice(2, -2).split(' | '))
  const tested = rows.filter(([, here]) => here === 'the same').map(([behaviour]) => behaviour)
  t.same(tested.toSorted(), Object.keys(BEHAVIOURS).toSorted())
  t.ok(rows.filter(([, here]) => here !== 'the same').length > 10)
  t.ok(rows.every((row) => row.length === 2 && row.every((cell) => cell !== '')))
})

t.test('an attribute that no cookie can have is a typed error that names it, and what is at the edge has a meaning', async (t) => {
  let set: (session: FastifyRequest['session']) => unknown = () => {}
  const app = await serve(t, { x: ({ session }) => { session.n = Math.random(); set(session); return 'x' } })
  const wrong: Array<[name: string, values: unknown[]]> = [
    ['maxAge', [Infinity, -Infinity, NaN, '1000', new Date(), 1e300, {}, true, 10n]],
    ['expires', [new Date(NaN), 'tomorrow', Infinity, 1000, {}, true]],
    ['path', ['', 'x', '/a;b', '/a b', '/a\r\nb', '/日本', 7, {}]],
    ['domain', ['', 'a b', 'a;b', 7]],
    ['sameSite', ['', 'always', 7]],
    ['secure', ['true', 1]],
    ['httpOnly', ['yes', 0]],
    ['partitioned', ['yes', 0]]
  ]
  for (const [name, values] of wrong) {
    for (const value of values) {
      for (const [how, assign] of [['a property', (session: FastifyRequest['session']) => Object.assign(cookieOf(session), { [name]: value })], ['options()', (session: FastifyRequest['session']) => session.options({ [name]: value })]] as const) {
        set = assign
        const response = await app.inject('/x')
        t.match(response.json(), { statusCode: 500, code: 'FST_ERR_REDIS_SESSIONS_INVALID_COOKIE' }, `${name} = ${String(value)} by ${how}`)
        t.match(response.json().message, `attribute ${name} `)
      }
    }
  }
  set = (session) => session.options({ priority: 'high' } as never)
  t.equal((await app.inject('/x')).json().code, 'FST_ERR_REDIS_SESSIONS_INVALID_COOKIE', 'an unknown attribute')
  for (const attributes of [null, 7, 'secure', [], new Date()]) {
    set = (session) => session.options(attributes as never)
    t.equal((await app.inject('/x')).json().code, 'FST_ERR_REDIS_SESSIONS_INVALID_COOKIE', JSON.stringify(attributes))
  }
  const fine: Array<[attributes: object, cookie: RegExp]> = [
    [{ maxAge: 0 }, /Max-Age=0;/], [{ maxAge: -5 }, /Max-Age=0;/], [{ maxAge: 1500.5 }, /Max-Age=2;/], [{ maxAge: null }, /^sessionId=[^;]+; Path/],
    [{ expires: null }, /^sessionId=[^;]+; Path/], [{ expires: new Date(0) }, /Max-Age=0;/], [{ sameSite: true }, /SameSite=Strict/], [{ sameSite: 'None', secure: false }, /SameSite=None/], [{ path: undefined, domain: null }, /Path=\//]
  ]
  for (const [attributes, expected] of fine) {
    set = (session) => Object.assign(cookieOf(session), attributes)
    t.match(cookieIn(await app.inject('/x')), expected, JSON.stringify(attributes))
  }
})

t.test('what is put in the place of session.cookie is a typed error that names the cure, and options is one', async (t) => {
  let act: (session: any) => unknown = () => {}
  const app = await serve(t, {
    in: async (request) => { await app.sessions.login(request, 'u'); act(request.session); return 'in' },
    x: ({ session }) => { act(session); return 'x' }
  })
  const browser = new Browser(app)
  await browser.get('/in')
  const places: Record<string, (session: any) => unknown> = {
    deleted: (session) => { delete session.cookie },
    null: (session) => { session.cookie = null },
    number: (session) => { session.cookie = 7 },
    attributes: (session) => { session.cookie = { maxAge: 5000 } }
  }
  for (const [name, put] of Object.entries(places)) {
    const ways = [put, (session: any) => { put(session); session.n = Math.random() }, (session: any) => { put(session); session.touch() }]
    for (const [index, way] of ways.entries()) {
      act = way
      for (const response of [await browser.get('/x'), ...index < 2 ? [await app.inject('/in')] : []]) {
        t.match(response.json(), { statusCode: 500, code: 'FST_ERR_REDIS_SESSIONS_INVALID_COOKIE', message: /session\.cookie .*session\.options/ }, `${name}, ${index}`)
      }
    }
    act = (session) => { put(session); session.options({ sameSite: 'strict' }) }
    t.match(cookieIn(await browser.get('/x')), /SameSite=Strict/, name)
  }
  act = () => {}
  t.equal((await browser.get('/x')).statusCode, 200)
  t.equal((await app.sessions.list('u')).length, 1, 'those whose cookie could not be made ended')
})

t.test('lifetimes of a login that are none are a typed error that names the option', async (t) => {
  let options: unknown
  const app = await serve(t, { in: async (request) => app.sessions.login(request, 'u', {}, options as LoginOptions) })
  for (const name of ['idleTimeoutMs', 'absoluteTimeoutMs', 'remember', 'unknown']) {
    for (const value of [Infinity, NaN, -1, 0.5, '1000', new Date(), {}, null, 1e300]) {
      options = { [name]: value }
      const response = await app.inject('/in')
      t.match(response.json(), { statusCode: 500, code: 'FST_ERR_REDIS_SESSIONS_INVALID_OPTION' }, `${name}: ${String(value)}`)
      t.match(response.json().message, name)
    }
  }
  for (options of [null, 7, 'x', [], new Date()]) t.equal((await app.inject('/in')).json().code, 'FST_ERR_REDIS_SESSIONS_INVALID_OPTION', JSON.stringify(options))
  t.equal(await app.sessions.count(), 0)
  for (options of [undefined, {}, { remember: undefined, idleTimeoutMs: undefined }]) t.equal((await app.inject('/in')).statusCode, 200)
})

t.test('an event that there is not is refused', async (t) => {
  const { sessions } = await makeApp(t, {})
  t.throws(() => sessions.on('logout' as 'ended', () => {}), { code: 'FST_ERR_REDIS_SESSIONS_INVALID_ARGUMENT', statusCode: 400, message: 'The event must be one of created, login, refused, renewed, expired, ended' })
})
