import redisLink from '@jpulse/redis-link'
import Fastify, { type FastifyInstance, type FastifyReply } from 'fastify'
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http'
import { connect } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import t from 'tap'
import { mayBeShared, privateControl } from '../src/request/caching.ts'
import redisSessions from '../src/index.ts'
import { Browser, makeApp, SECRET } from './support/app.ts'

const headersOf = (headers: Record<string, string>) => ({ get: (name: string) => headers[name], names: () => Object.keys(headers) })

t.test('which replies others may keep', async (t) => {
  const future = new Date(Date.now() + 60_000).toUTCString()
  const cases: Array<[Record<string, string>, boolean]> = [
    [{}, false],
    [{ 'cache-control': 'public' }, true],
    [{ 'cache-control': 'Public, Max-Age=0' }, true],
    [{ 'cache-control': 'max-age=60' }, true],
    [{ 'cache-control': 's-maxage=0' }, true],
    [{ 'cache-control': 'max-age=0, must-revalidate' }, false],
    [{ 'cache-control': 'no-cache' }, false],
    [{ 'cache-control': 'private, max-age=60' }, false],
    [{ 'cache-control': 'public, no-store' }, false],
    [{ 'cache-control': 'private="x-mine", max-age=60' }, true],
    [{ 'cache-control': 'no-cache="set-cookie, public", private' }, false],
    [{ 'cache-control': 'x="public"' }, false],
    [{ expires: future }, true],
    [{ expires: '0' }, false],
    [{ 'cache-control': 'private', expires: future }, false],
    [{ 'cache-control': 'no-store', 'cdn-cache-control': 'max-age=60' }, true],
    [{ 'cache-control': 'private', 'cloudflare-cdn-cache-control': 'public' }, true],
    [{ 'surrogate-control': 'no-store' }, false],
    [{ 'surrogate-control': 'max-age=60' }, true],
    [{ 'x-accel-expires': '60' }, true],
    [{ 'x-accel-expires': '0' }, false]
  ]
  for (const [headers, expected] of cases) t.equal(mayBeShared(headersOf(headers)), expected, JSON.stringify(headers))
})

t.test('what a reply says that only its visitor may keep', async (t) => {
  t.equal(privateControl(undefined), 'private')
  t.equal(privateControl('public, max-age=60'), 'private, max-age=60')
  t.equal(privateControl('s-maxage=60, no-cache="a, b", immutable'), 'private, no-cache="a, b", immutable')
  for (const control of ['private, max-age=60', 'no-store']) t.equal(privateControl(control), control)
  t.equal(privateControl('private="x"'), 'private')
})

/** Each writes the same header at another place. */
const WRITERS: Record<string, (reply: FastifyReply, control: string) => unknown> = {
  header: (reply, control) => reply.header('cache-control', control).send('x'),
  raw: (reply, control) => {
    reply.raw.setHeader('Cache-Control', control)
    reply.raw.setHeader('Set-Cookie', 'theme=dark')
    return reply.send('x')
  },
  stream: (reply, control) => reply.header('cache-control', control).send(Readable.from(['x'])),
  response: (reply, control) => reply.send(new Response('x', { headers: { 'cache-control': control, 'set-cookie': 'theme=dark' } })),
  hook: (reply, control) => reply.header('x-later', control).send('x'),
  cdn: (reply, control) => reply.headers({ 'cache-control': 'no-cache', 'cdn-cache-control': control }).send('x'),
  none: (reply) => reply.send('x')
}

async function serve (t: Parameters<typeof makeApp>[0], sessions: object = {}): Promise<FastifyInstance> {
  return makeApp(t, {
    sessions: { touchIntervalMs: 0, ...sessions },
    routes (app) {
      app.register(async (scope) => {
        scope.addHook('onSend', async (_request, reply) => {
          const later = reply.getHeader('x-later')
          if (later !== undefined) reply.removeHeader('x-later').header('cache-control', later)
        })
        for (const [name, write] of Object.entries(WRITERS)) {
          scope.get(`/read/${name}`, (_request, reply) => write(reply, 'public, max-age=60'))
          scope.get(`/change/${name}`, (request, reply) => {
            request.session.n = Number(request.session.n ?? 0) + 1
            return write(reply, 'public, max-age=60')
          })
          scope.get(`/out/${name}`, async (request, reply) => {
            await app.sessions.logout(request)
            return write(reply, 'public, max-age=60')
          })
        }
      })
    }
  })
}

const sessionCookie = (headers: Record<string, unknown>) => [headers['set-cookie'] ?? []].flat().find((cookie) => String(cookie).startsWith('sessionId='))

t.test('a reply that others may keep carries no renewed cookie, wherever its headers were written, and a new, changed or ended session makes it private', async (t) => {
  const app = await serve(t)
  for (const name of Object.keys(WRITERS)) {
    const browser = new Browser(app)
    await browser.post('/login', { user: 'u' })
    const read = await browser.get(`/read/${name}`)
    t.equal(read.body, 'x')
    if (name === 'none') {
      t.ok(sessionCookie(read.headers))
      t.equal(read.headers['cache-control'], 'private')
    } else {
      t.notOk(sessionCookie(read.headers), `${name}: a renewal`)
      t.match(String(read.headers[name === 'cdn' ? 'cdn-cache-control' : 'cache-control']), 'public, max-age=60', 'the application\'s header stands')
    }
    for (const visitor of [browser, new Browser(app)]) {
      const changed = await visitor.get(`/change/${name}`)
      t.ok(sessionCookie(changed.headers), `${name}: a new or changed session`)
      t.match(String(changed.headers['cache-control']), /^private/)
      // The cookie is random, and may well have these letters.
      t.notMatch(JSON.stringify({ ...changed.headers, 'set-cookie': undefined }), /public|cdn/)
    }
    const out = await browser.get(`/out/${name}`)
    t.match(sessionCookie(out.headers), /^sessionId=;/)
    t.match(String(out.headers['cache-control']), /^private/)
    if (name === 'raw' || name === 'response') t.ok([out.headers['set-cookie']].flat().includes('theme=dark'), 'the application\'s cookie stays')
  }
})

t.test('a visitor whose every other page is public is told of the renewal by one that is not', async (t) => {
  const app = await serve(t, { idleTimeoutMs: 60_000, touchIntervalMs: 100 })
  const browser = new Browser(app)
  await browser.post('/login', { user: 'u' })
  await new Promise((resolve) => setTimeout(resolve, 150))
  t.notOk(sessionCookie((await browser.get('/read/header')).headers))
  // Right after it: nothing is due but what is postponed.
  t.ok(sessionCookie((await browser.get('/read/none')).headers))
  t.notOk(sessionCookie((await browser.get('/read/none')).headers))
})

t.test('a visit of public pages only counts as activity, also after the store failed once', async (t) => {
  const app = await serve(t, { touchIntervalMs: 60_000 })
  const browser = new Browser(app)
  await browser.post('/login', { user: 'u' })
  const { store } = app.sessions
  const { touch } = store
  let [asked, isAway] = [0, true]
  store.touch = (...args) => {
    asked++
    return isAway ? Promise.reject(new Error('away')) : touch.apply(store, args)
  }
  // Due at each of them.
  const now = store.now!.bind(store)
  store.now = () => now() + 61_000
  for (const away of [true, true, false, false]) {
    isAway = away
    t.equal((await browser.get('/read/header')).statusCode, 200)
  }
  t.equal(asked, 3)
})

t.test('HTTP/2: a login, a read, a reply that is for all and one that is not', async (t) => {
  const app = Fastify({ http2: true })
  t.teardown(() => app.close())
  await app.register(redisLink)
  await app.register(redisSessions, { secret: SECRET, touchIntervalMs: 0 })
  app.get('/login', async (request, reply) => {
    await app.sessions.login(request, 'u')
    reply.header('cache-control', 'public, max-age=60').send('in')
  })
  app.get('/me', async (request) => app.sessions.current(request)?.userId ?? 'nobody')
  app.get('/public', (_request, reply) => { reply.header('cache-control', 'public').send('x') })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const client = connect(`http://127.0.0.1:${(app.server.address() as AddressInfo).port}`)
  t.teardown(() => client.close())
  const get = (path: string, cookie = '') => new Promise<{ body: string, headers: IncomingHttpHeaders }>((resolve, reject) => {
    let headers = {}
    let body = ''
    client.request({ ':path': path, ...(cookie === '' ? {} : { cookie }) }).on('response', (given) => { headers = given })
      .setEncoding('utf8').on('data', (part) => { body += part }).on('end', () => resolve({ headers, body })).on('error', reject)
  })
  const login = await get('/login')
  t.equal(login.body, 'in')
  t.equal(login.headers['cache-control'], 'private, max-age=60')
  const cookie = String(sessionCookie(login.headers)).split(';')[0]!
  t.equal((await get('/me', cookie)).body, 'u')
  t.ok(sessionCookie((await get('/me', cookie)).headers))
  t.notOk(sessionCookie((await get('/public', cookie)).headers))
})

/** So often, not so long: how fast the machine is says nothing of how much is handed out. */
const HANDED_OUT = 10

/** A shared cache as RFC 9111 has it, as far as it goes here: keeps what it may, by URL, and hands it to anybody. */
class SharedCache {
  hits = 0
  readonly #kept = new Map<string, { body: string, headers: IncomingHttpHeaders, left: number }>()
  readonly #port: number

  constructor (port: number) {
    this.#port = port
  }

  async get (url: string, cookie: string): Promise<{ body: string, headers: IncomingHttpHeaders }> {
    const kept = this.#kept.get(url)
    if (kept !== undefined && kept.left-- > 0) {
      this.hits++
      return kept
    }
    const answer = await new Promise<{ body: string, headers: IncomingHttpHeaders }>((resolve, reject) => {
      httpRequest({ port: this.#port, host: '127.0.0.1', path: url, headers: cookie === '' ? {} : { cookie } }, (response) => {
        let body = ''
        response.setEncoding('utf8').on('data', (part: string) => { body += part }).on('end', () => resolve({ body, headers: response.headers })).on('error', reject)
      }).on('error', reject).end()
    })
    const control = answer.headers['cache-control'] ?? ''
    // A page without a word on it is kept for a while, too (RFC 9111, 4.2.2).
    if (!/private|no-store/.test(control)) this.#kept.set(url, { ...answer, left: HANDED_OUT })
    return answer
  }
}

/** Of each of 50 users; `npm run prove:sessions` makes 200 of them. */
const REQUESTS = Number(process.env.SESSION_CACHE_REQUESTS ?? 40)

t.test(`behind a shared cache, of ${50 * REQUESTS} requests of 50 users none gets the cookie of another`, async (t) => {
  const app = await serve(t)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const cache = new SharedCache((app.server.address() as AddressInfo).port)
  const routes = ['/public', '/read/header', '/read/response', '/read/hook', '/read/cdn', '/read/none', '/change/header', '/change/none', '/me']
  const owners = new Map<string, number>()
  let foreign = 0
  await Promise.all(Array.from({ length: 50 }, async (_, user) => {
    const browser = new Browser(app)
    await browser.post('/login', { user: `u${user}` })
    const own = browser.header()
    owners.set(own, user)
    for (let index = 0; index < REQUESTS; index++) {
      const { headers } = await cache.get(`${routes[(user + index * 7) % routes.length]}?${index % 3}`, own)
      const cookie = String(sessionCookie(headers) ?? '').split(';')[0]!
      if (cookie !== '' && decodeURIComponent(cookie) !== decodeURIComponent(own)) foreign++
    }
  }))
  t.equal(owners.size, 50)
  t.equal(foreign, 0)
  t.comment(JSON.stringify({ requests: 50 * REQUESTS, hits: cache.hits, foreign }))
  t.ok(cache.hits > 10, `${cache.hits} answers were those of the cache`)
})
