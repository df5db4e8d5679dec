import fastifyCsrf from '@fastify/csrf-protection'
import fastifyFlash from '@fastify/flash'
import fastifyHttpProxy from '@fastify/http-proxy'
import fastifyMultipart from '@fastify/multipart'
import fastifyOauth2, { type OAuth2Namespace } from '@fastify/oauth2'
import fastifyPassport from '@fastify/passport'
import fastifyStatic from '@fastify/static'
import fastifyWebsocket from '@fastify/websocket'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { sharedRedis, uniqueName, waitFor } from '../../../test/helpers/index.ts'
import { Browser, makeApp, type Setup } from './support/app.ts'

// The plugins that applications have beside their sessions, as their READMEs show them.

const { Authenticator, Strategy } = fastifyPassport

declare module 'fastify' {
  interface PassportUser { id: string }
}

const serve = (t: Test, routes: Setup['routes'], sessions: object = {}) =>
  makeApp(t, { redis: { url: sharedRedis(), siteId: uniqueName() }, sessions: { touchIntervalMs: 0, ...sessions }, ...(routes === undefined ? {} : { routes }) })

const listen = (app: FastifyInstance) => app.listen({ port: 0, host: '127.0.0.1' })

/** Accepts who says a name. */
class ByName extends Strategy {
  constructor () {
    super('name')
  }

  override authenticate (request: FastifyRequest): void {
    const { name } = request.body as { name?: string }
    if (name === undefined) this.fail('no name', 401)
    else this.success({ id: name })
  }
}

function addPassport (app: FastifyInstance, known = new Set(['ada', 'bob'])): InstanceType<typeof Authenticator> {
  const passport = new Authenticator({ clearSessionIgnoreFields: ['returnTo'] })
  app.register(passport.initialize())
  app.register(passport.secureSession())
  passport.use(new ByName())
  passport.registerUserSerializer(async (user: { id: string }) => user.id)
  passport.registerUserDeserializer(async (id: string) => known.has(id) ? { id } : null)
  return passport
}

t.test('passport: a login has a new id and keeps what it is told to; its logout ends it', async (t) => {
  const known = new Set(['ada', 'bob'])
  const app = await serve(t, (app) => {
    const passport = addPassport(app, known)
    app.register(async (scope) => {
      scope.post('/in', { preValidation: passport.authenticate('name', { successReturnToOrRedirect: '/', failureRedirect: '/failed', failureFlash: 'Who are you?', authInfo: false }) }, async () => {})
      scope.post('/in/keep', { preValidation: passport.authenticate('name', { authInfo: false, keepSessionInfo: true }) }, async ({ user }) => user)
      scope.get('/guarded', {
        preValidation: async (request, reply) => {
          if (request.isAuthenticated()) return
          request.session.set('returnTo', request.url)
          return reply.redirect('/')
        }
      }, async ({ user }) => user)
      scope.get('/', async ({ user }) => user ?? {})
      scope.get('/failed', async (_request, reply) => reply.flash('error'))
      scope.get('/none', { config: { session: false } }, async ({ user }) => user ?? {})
      scope.post('/out', async (request) => request.logOut())
    })
  })
  const browser = new Browser(app)
  await browser.post('/set', { cart: 1 })
  t.equal((await browser.get('/guarded')).statusCode, 302)
  const before = browser.header()
  const login = await browser.post('/in', { name: 'ada' })
  t.same([login.statusCode, login.headers.location], [302, '/guarded'], 'back where the visitor was')
  t.not(browser.header(), before, 'a new id')
  t.same((await app.inject({ url: '/', headers: { cookie: before } })).json(), {}, 'the old one is dead')
  t.same((await browser.get('/guarded')).json(), { id: 'ada' })
  t.notOk((await browser.get('/me')).json().fields.cart)
  t.same((await browser.get('/none')).json(), {}, 'a route without a session has no user, and is no error')

  await browser.post('/set', { cart: 2 })
  t.same((await browser.post('/in/keep', { name: 'bob' })).json(), { id: 'bob' })
  t.match((await browser.get('/me')).json().fields, { cart: 2, passport: 'bob' }, 'keepSessionInfo')
  const last = browser.header()
  t.equal((await browser.post('/out')).statusCode, 200)
  t.same((await browser.get('/')).json(), {})
  t.same((await app.inject({ url: '/', headers: { cookie: last } })).json(), {})

  const stranger = new Browser(app)
  t.equal((await stranger.post('/in', {})).headers.location, '/failed')
  t.same((await stranger.get('/failed')).json(), ['Who are you?'])
  await stranger.post('/in', { name: 'ada' })
  known.delete('ada')
  t.same((await stranger.get('/')).json(), {}, 'a user who was deleted')
})

t.test('passport with sessions.login: a user of both, who is logged out everywhere', async (t) => {
  const app = await serve(t, (app) => {
    const passport = addPassport(app)
    app.register(async (scope) => {
      scope.post('/in', { preValidation: passport.authenticate('name', { session: false, authInfo: false }) }, async (request) => {
        const { id } = request.user!
        await app.sessions.login(request, id, { passport: id })
        return { id }
      })
      scope.get('/', async (request) => ({ ...request.user, known: app.sessions.current(request)?.userId }))
    })
  })
  const browser = new Browser(app)
  t.same((await browser.post('/in', { name: 'ada' })).json(), { id: 'ada' })
  t.same((await browser.get('/')).json(), { id: 'ada', known: 'ada' })
  t.equal((await app.sessions.list('ada')).length, 1)
  await app.sessions.logoutAll('ada')
  t.same((await browser.get('/')).json(), {})
})

t.test('csrf-protection: a token holds for its session, and not for the next login', async (t) => {
  const app = await serve(t, (app) => {
    app.register(fastifyCsrf, { sessionPlugin: '@fastify/session', getUserInfo: (request) => app.sessions.current(request)?.userId ?? 'guest' })
    app.register(async (scope) => {
      scope.get('/token', async (request, reply) => ({ token: reply.generateCsrf({ userInfo: app.sessions.current(request)?.userId ?? 'guest' }) }))
      scope.post('/pay', { preHandler: scope.csrfProtection }, async () => 'paid')
      scope.post('/none', { preHandler: scope.csrfProtection, config: { session: false } }, async () => 'paid')
    })
  })
  const browser = new Browser(app)
  const other = new Browser(app)
  const { token } = (await browser.get('/token')).json()
  t.equal((await browser.post('/pay', { _csrf: token })).body, 'paid')
  await other.get('/token')
  for (const [visitor, payload] of [[browser, {}], [browser, { _csrf: `${token}x` }], [other, { _csrf: token }], [new Browser(app), { _csrf: token }]] as const) {
    t.equal((await visitor.post('/pay', payload)).statusCode, 403)
  }
  t.equal((await browser.post('/none', { _csrf: token })).statusCode, 403)
  await browser.post('/login', { user: 'u' })
  t.equal((await browser.post('/pay', { _csrf: token })).json().code, 'FST_CSRF_MISSING_SECRET')
  const own = (await browser.get('/token')).json().token
  t.equal((await browser.post('/pay', { _csrf: own })).body, 'paid')
})

t.test('flash: a message crosses a redirect, once', async (t) => {
  const app = await serve(t, (app) => {
    app.register(fastifyFlash)
    app.register(async (scope) => {
      scope.post('/form', async (request, reply) => {
        request.flash('warning', ['name required', 'address required'])
        request.flash('info', 'Hello %s', 'Ada')
        return reply.redirect('/form')
      })
      scope.get('/form', async (_request, reply) => ({ warning: reply.flash('warning'), rest: reply.flash() }))
    })
  })
  for (const user of [undefined, 'u']) {
    const browser = new Browser(app)
    if (user !== undefined) await browser.post('/login', { user })
    t.equal((await browser.post('/form')).statusCode, 302)
    t.same((await browser.get('/form')).json(), { warning: ['name required', 'address required'], rest: { info: ['Hello Ada'] } })
    t.same((await browser.get('/form')).json(), { warning: [], rest: {} })
  }
})

/** Sends who asks back with a code, and gives a token for it. */
async function oauth2Provider (t: Test): Promise<string> {
  const provider = Fastify()
  t.teardown(() => provider.close())
  provider.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' }, (_request, body, done) => { done(null, body) })
  provider.get('/authorize', async ({ query }, reply) => {
    const { redirect_uri: back, state } = query as Record<string, string>
    return reply.redirect(`${back}?code=the-code&state=${state}`)
  })
  provider.post('/token', async ({ body }) => String(body).includes('code=the-code') ? { access_token: 'token of ada', token_type: 'bearer' } : {})
  return listen(provider)
}

t.test('oauth2: the state is in the session of the browser that began, and the callback logs in', async (t) => {
  const tokenHost = await oauth2Provider(t)
  const app = await serve(t, (app) => {
    app.register(fastifyOauth2, {
      name: 'provider',
      credentials: { client: { id: 'id', secret: 'secret' }, auth: { tokenHost, tokenPath: '/token', authorizeHost: tokenHost, authorizePath: '/authorize' } },
      startRedirectPath: '/in',
      callbackUri: 'http://app.example/in/back',
      generateStateFunction: (request: FastifyRequest) => {
        request.session.state = uniqueName()
        return request.session.state as string
      },
      checkStateFunction (request: FastifyRequest, callback?: (err?: Error) => void) {
        const { state } = request.session
        delete request.session.state
        callback?.(state !== undefined && (request.query as { state?: string }).state === state ? undefined : new Error('Invalid state'))
        return true
      }
    })
    app.get('/in/back', async (request) => {
      const { token } = await (app as unknown as { provider: OAuth2Namespace }).provider.getAccessTokenFromAuthorizationCodeFlow(request)
      await app.sessions.login(request, token.access_token.replace('token of ', ''))
      return app.sessions.current(request)?.userId
    })
  })
  const browser = new Browser(app)
  const begun = await browser.get('/in')
  t.equal(begun.statusCode, 302)
  const sent = await fetch(String(begun.headers.location), { redirect: 'manual' })
  const back = new URL(sent.headers.get('location')!)
  const path = `${back.pathname}${back.search}`
  const forged = new Browser(app)
  await forged.get('/in')
  t.equal((await forged.get(path)).statusCode, 500, 'the state of another browser')
  const before = browser.header()
  t.equal((await browser.get(path)).body, 'ada')
  t.not(browser.header(), before)
  t.equal((await browser.get('/me')).json().userId, 'ada')
  t.equal((await browser.get(path)).statusCode, 500, 'a state is used once')
})

t.test('static: a file makes no session, carries no cookie, and reads none where its routes have none', async (t) => {
  const root = await mkdtemp(join(tmpdir(), 'sessions-static-'))
  t.teardown(() => rm(root, { recursive: true }))
  await writeFile(join(root, 'a.txt'), 'a file')
  let reads = 0
  const app = await serve(t, (app) => {
    app.register(fastifyStatic, { root, prefix: '/plain/', maxAge: 60_000 })
    app.register(async (scope) => {
      scope.addHook('onRoute', (route) => { route.config = { ...route.config, session: false } })
      scope.register(fastifyStatic, { root, prefix: '/files/', decorateReply: false })
    })
  })
  const { read } = app.sessions.store
  app.sessions.store.read = async function (ref) {
    reads++
    return await read.call(this, ref)
  }
  const browser = new Browser(app)
  for (const prefix of ['plain', 'files']) t.notOk((await browser.get(`/${prefix}/a.txt`)).headers['set-cookie'])
  t.equal(await app.sessions.count(), 0)
  await browser.post('/login', { user: 'u' })
  for (const [prefix, expected] of [['plain', 1], ['files', 0]] as const) {
    reads = 0
    const file = await browser.get(`/${prefix}/a.txt`)
    t.same([file.statusCode, file.body, file.headers['set-cookie']], [200, 'a file', undefined], prefix)
    t.match(String(file.headers['cache-control']), /^public/, 'as the plugin says')
    t.equal(reads, expected)
  }
  t.ok((await browser.get('/me')).headers['set-cookie'], 'the renewal is with the next page')
})

t.test('multipart: what an upload writes to its session, before, while and after it is read, is stored', async (t) => {
  const app = await serve(t, (app) => {
    app.register(fastifyMultipart, { limits: { fileSize: 1000 } })
    app.register(async (scope) => {
      scope.post('/upload', async (request) => {
        request.session.begun = true
        let size = 0
        const names: string[] = []
        for await (const part of request.parts()) {
          names.push(part.fieldname)
          if (part.type !== 'file') continue
          for await (const chunk of part.file) size += (chunk as Buffer).length
        }
        request.session.uploads = [{ size, names }]
        return 'stored'
      })
    })
  })
  const upload = (size: number) => {
    const boundary = 'a-boundary'
    const part = (name: string, more: string, body: string) => `--${boundary}\r\nContent-Disposition: form-data; name="${name}"${more}\r\n\r\n${body}\r\n`
    const payload = `${part('title', '', 'A title')}${part('file', '; filename="a.txt"', 'x'.repeat(size))}--${boundary}--\r\n`
    return { method: 'POST', url: '/upload', payload, headers: { 'content-type': `multipart/form-data; boundary=${boundary}` } } as const
  }
  const browser = new Browser(app)
  const first = await app.inject(upload(500))
  t.equal(first.body, 'stored')
  browser.keep(first)
  t.same((await browser.get('/me')).json().fields, { begun: true, uploads: [{ size: 500, names: ['title', 'file'] }] })
  const { headers, ...rest } = upload(2000)
  t.equal((await app.inject({ ...rest, headers: { ...headers, cookie: browser.header() } })).statusCode, 413, 'a file that is too large')
  t.equal((await browser.get('/me')).json().fields.uploads[0].size, 500)
})

t.test('http-proxy: cookies pass in both directions, a guard before it knows the user, and the session of an upgrade ends as another', async (t) => {
  const upstream = Fastify()
  t.teardown(() => upstream.close())
  await upstream.register(fastifyWebsocket)
  upstream.get('/page', async (request, reply) => reply.header('set-cookie', 'theme=dark').header('x-seen', request.headers.cookie ?? '').send(`page of ${String(request.headers['x-user'])}`))
  upstream.get('/public', async (_request, reply) => reply.header('cache-control', 'public, max-age=60').send('public'))
  upstream.get('/echo', { websocket: true }, (socket) => { socket.on('message', (data) => socket.send(`echo ${String(data)}`)) })
  const address = await listen(upstream)
  const app = await serve(t, (app) => {
    app.register(fastifyHttpProxy, {
      upstream: address,
      prefix: '/up',
      websocket: true,
      preHandler: async (request, reply) => {
        if (app.sessions.current(request) === null) return reply.code(401).send('who are you?')
        request.session.visits = Number(request.session.visits ?? 0) + 1
      },
      replyOptions: { rewriteRequestHeaders: (request, headers) => ({ ...headers, 'x-user': app.sessions.current(request as unknown as FastifyRequest)?.userId ?? 'guest' }) }
    })
  }, { idleTimeoutMs: 1500 })
  const port = new URL(await listen(app)).port
  const browser = new Browser(app)
  t.equal((await browser.get('/up/page')).statusCode, 401)
  await browser.post('/login', { user: 'u' })
  const page = await browser.get('/up/page')
  t.equal(page.body, 'page of u')
  t.match(String(page.headers['x-seen']), /^sessionId=/)
  const cookies = [page.headers['set-cookie']].flat().map(String)
  t.ok(cookies.some((cookie) => cookie.startsWith('theme=dark')) && cookies.some((cookie) => cookie.startsWith('sessionId=')), 'both cookies')
  t.match(String(page.headers['cache-control']), /^private/)
  t.match(String((await browser.get('/up/public')).headers['cache-control']), /^private/, 'a page that changes a session is its visitor\'s')

  const headers = { cookie: browser.header() }
  const refused = new WebSocket(`ws://127.0.0.1:${port}/up/echo`)
  const [, response] = await new Promise<[unknown, { statusCode?: number }]>((resolve) => { refused.once('unexpected-response', (...args) => resolve(args as never)).on('error', () => {}) })
  t.equal(response.statusCode, 401)
  refused.terminate()
  const socket = new WebSocket(`ws://127.0.0.1:${port}/up/echo`, { headers })
  const answer = new Promise((resolve) => { socket.once('message', (data) => resolve(String(data))) })
  socket.once('open', () => socket.send('hello'))
  t.equal(await answer, 'echo hello')
  await waitFor(async () => await app.sessions.count() === 0, { what: 'the idle timeout of who only has an open socket', timeoutMs: 10_000 })
  t.equal(socket.readyState, WebSocket.OPEN)
  socket.terminate()
})
