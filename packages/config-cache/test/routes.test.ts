import { createHash } from 'node:crypto'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import t, { type Test } from 'tap'
import { Readable } from 'node:stream'
import Fastify, { type FastifyInstance, type FastifyRequest, type RouteHandlerMethod } from 'fastify'
import { redisLink } from '@jpulse/redis-link'
import { sharedRedis, uniqueName, waitFor } from '../../../test/helpers/index.ts'
import { configCache, memorySource, type FastifyConfigCacheOptions } from '../src/index.ts'
import { isUnchanged } from '../src/routes/conditions.ts'
import { Paths } from '../src/routes/paths.ts'
import { lifeOf } from '../src/routes/rules.ts'

t.setTimeout(200_000)

async function build (t: Test, options: FastifyConfigCacheOptions & { siteId?: string, url?: string, logger?: object } = {}, routes: (app: FastifyInstance) => void = () => {}): Promise<FastifyInstance> {
  const { siteId = uniqueName(), url, logger, ...given } = options
  const app = Fastify({ logger: logger ?? false })
  t.teardown(() => app.close())
  await app.register(redisLink, { url, siteId, commandTimeoutMs: 10_000 })
  await app.register(configCache, { blockTtlMs: 500, ...given })
  routes(app)
  await app.ready()
  return app
}

async function buildTwo (t: Test, routes: (app: FastifyInstance) => void): Promise<[FastifyInstance, FastifyInstance]> {
  const options = { siteId: uniqueName(), url: sharedRedis(), source: memorySource() }
  const apps: [FastifyInstance, FastifyInstance] = [await build(t, options, routes), await build(t, options, routes)]
  for (const app of apps) await waitFor(() => app.configCache.mode === 'coherent', { timeoutMs: 20_000 })
  return apps
}

const cached = (app: FastifyInstance, method: 'GET' | 'POST', url: string, payload?: object, headers = {}) =>
  app.inject({ method, url, headers, ...(payload === undefined ? {} : { payload }) })

t.test('a cached route runs its handler once for equal requests, whatever the order of their properties', async (t) => {
  let runs = 0
  const app = await build(t, {}, (app) => {
    app.get('/list', { config: { cache: { tags: ['list'] } } }, async (request) => ({ runs: ++runs, query: request.query }))
    app.post('/query', { config: { cache: {} } }, async (request) => ({ runs: ++runs, body: request.body }))
  })
  const first = await cached(app, 'GET', '/list?a=1&b=2')
  t.match(first.headers, { 'x-cache': 'MISS', 'cache-control': 'no-cache', etag: /^"[\w-]+"$/ })
  const second = await cached(app, 'GET', '/list?b=2&a=1')
  t.match(second.headers, { 'x-cache': 'HIT', etag: first.headers.etag, 'content-type': first.headers['content-type'] })
  t.equal(second.body, first.body)
  t.equal((await cached(app, 'GET', '/list?a=1&b=3')).headers['x-cache'], 'MISS')
  t.equal((await cached(app, 'POST', '/query', { x: { a: 1, b: [1, 2] } })).headers['x-cache'], 'MISS')
  t.equal((await cached(app, 'POST', '/query', { x: { b: [1, 2], a: 1 } })).headers['x-cache'], 'HIT')
  t.equal((await cached(app, 'POST', '/query', { x: { b: [2, 1], a: 1 } })).headers['x-cache'], 'MISS')
  t.equal(runs, 4)
})

t.test('how old a response is does not depend on the clock of the instance that made it, nor on the own', { buffered: false }, async (t) => {
  const { now } = Date
  t.teardown(() => { Date.now = now })
  const [maker, reader] = await buildTwo(t, (app) => { app.get('/a', { config: { cache: {} } }, async (_request, reply) => reply.header('cache-control', 'public, max-age=7200').send('x')) })
  const alone = await build(t, {}, (app) => { app.get('/a', { config: { cache: {} } }, async () => 'x') })
  for (const [first, second] of [[maker, reader], [alone, alone]] as const) {
    t.equal((await cached(first, 'GET', '/a')).headers['x-cache'], 'MISS')
    await waitFor(async () => (await cached(second, 'GET', '/a')).headers['x-cache'] === 'HIT')
    Date.now = () => now() + 3600_000
    const { headers } = await cached(second, 'GET', '/a')
    Date.now = now
    t.equal(headers['x-cache'], 'HIT')
    t.ok(Number(headers.age) < 60, `${String(headers.age)} s`)
  }
})

t.test('requests that differ in what JSON does not tell share nothing', async (t) => {
  const parsers: Record<string, (text: string) => unknown> = {
    map: (text) => new Map([['a', text]]),
    set: (text) => new Set([text]),
    query: (text) => new URLSearchParams({ a: text }),
    stream: (text) => Readable.from([text]),
    opaque: (text) => new Blob([text]),
    number: (text) => ({ a: BigInt(text.at(-1)!) }),
    circle: (text) => { const circle: object = { text, get self () { return circle } }; return circle },
    instance: (text) => new (class { a = text })(),
    bytes: (text) => Buffer.from(text)
  }
  const app = await build(t, {}, (app) => {
    for (const [name, parse] of Object.entries(parsers)) app.addContentTypeParser(`application/x-${name}`, { parseAs: 'string' }, (_request, text, done) => done(null, parse(String(text))))
    app.post('/a', { config: { cache: {} } }, async (request) => ({ is: request.headers['x-is'] }))
  })
  for (const name of Object.keys(parsers)) {
    const ask = (text: string) => app.inject({ method: 'POST', url: '/a', headers: { 'content-type': `application/x-${name}`, 'x-is': text }, payload: text })
    const expected = ['stream', 'opaque', 'number', 'circle'].includes(name) ? 'BYPASS' : 'HIT'
    for (const text of [`${name} 1`, `${name} 2`]) t.match(await ask(text), { statusCode: 200, body: JSON.stringify({ is: text }) }, name)
    t.equal((await ask(`${name} 1`)).headers['x-cache'], expected, name)
  }
})

t.test('a request that knows the ETag gets 304, from a hit and from a miss', async (t) => {
  const app = await build(t, {}, (app) => { app.get('/a', { config: { cache: {} } }, async () => ({ a: 1 })) })
  const { headers } = await cached(app, 'GET', '/a')
  const known = { 'if-none-match': String(headers.etag) }
  t.match(await cached(app, 'GET', '/a', undefined, known), { statusCode: 304, body: '' })
  await app.configCache.clear()
  t.match(await cached(app, 'GET', '/a', undefined, known), { statusCode: 304, body: '', headers: { 'x-cache': 'MISS' } })
  t.match(await cached(app, 'GET', '/a'), { statusCode: 200, json: Function, body: '{"a":1}', headers: { 'x-cache': 'HIT' } })
})

t.test('only successful responses without a cookie are kept, a guard runs before the cache, and scopes do not mix', async (t) => {
  let runs = 0
  const app = await build(t, {}, (app) => {
    app.get('/bad', { config: { cache: {} } }, async (_request, reply) => reply.code(404).send({ runs: ++runs }))
    app.get('/throws', { config: { cache: {} } }, async () => { throw new Error(`${++runs}`) })
    app.get('/cookie', { config: { cache: {} } }, async (_request, reply) => reply.header('set-cookie', 'a=b').send({ runs: ++runs }))
    app.get('/guarded', {
      config: { cache: {} },
      preHandler: async (request: FastifyRequest, reply) => request.headers.user === 'ann' ? undefined : reply.code(401).send({})
    }, async () => ({ secret: true }))
    app.get('/mine', { config: { cache: { scope: (request) => String(request.headers.user) } } }, async (request) => ({ user: request.headers.user }))
  })
  for (const url of ['/bad', '/throws', '/cookie']) {
    const before = runs
    await cached(app, 'GET', url)
    await cached(app, 'GET', url)
    t.equal(runs, before + 2, url)
  }
  t.equal((await cached(app, 'GET', '/guarded', undefined, { user: 'ann' })).statusCode, 200)
  t.equal((await cached(app, 'GET', '/guarded', undefined, { user: 'bob' })).statusCode, 401)
  for (const user of ['ann', 'bob', 'ann']) t.strictSame((await cached(app, 'GET', '/mine', undefined, { user })).json(), { user })
})

t.test('the second instance hits what the first one answered, and an invalidating route empties both before it replies', async (t) => {
  let value = 0
  let runs = 0
  const [one, other] = await buildTwo(t, (app) => {
    app.get('/analytics', { config: { cache: { tags: ['analytics'] } } }, async () => { runs++; return { value } })
    app.post('/returns', { config: { invalidates: ['analytics'] } }, async () => ({ value: ++value }))
    app.post('/sends', { config: { invalidates: () => ['analytics'] } }, async (_request, reply) => reply.send({ value: ++value }))
    app.post('/calls-back', { config: { invalidates: ['analytics'] } }, (_request, reply) => { setTimeout(() => reply.send({ value: ++value }), 5) })
    app.post('/fails', { config: { invalidates: ['analytics'] } }, async () => { value++; throw Object.assign(new Error('no'), { statusCode: 409 }) })
    app.post('/empty', { config: { invalidates: ['analytics'] } }, async (_request, reply) => { value++; reply.code(204) })
  })
  await cached(one, 'GET', '/analytics')
  await waitFor(async () => (await cached(one, 'GET', '/analytics')).headers['x-cache'] === 'HIT')
  const before = runs
  t.match(await cached(other, 'GET', '/analytics'), { headers: { 'x-cache': 'HIT' }, body: '{"value":0}' })
  t.equal(runs, before)
  for (const url of ['/returns', '/sends', '/calls-back', '/fails', '/empty', '/returns']) {
    const answer = await cached(one, 'POST', url)
    t.equal(answer.statusCode, url === '/fails' ? 409 : url === '/empty' ? 204 : 200, url)
    t.strictSame((await cached(other, 'GET', '/analytics')).json(), { value }, url)
    t.strictSame((await cached(one, 'GET', '/analytics')).json(), { value }, url)
  }
})

t.test('an invalidating route works alike without Redis', async (t) => {
  let value = 0
  const app = await build(t, {}, (app) => {
    app.get('/analytics', { config: { cache: { tags: ['analytics'] } } }, async () => ({ value }))
    app.post('/returns', { config: { invalidates: ['analytics'] } }, async () => ({ value: ++value }))
    app.post('/sends', { config: { invalidates: ['analytics'] } }, (_request, reply) => { reply.send({ value: ++value }) })
    app.post('/hijacks', { config: { invalidates: ['analytics'] } }, (_request, reply) => {
      value++
      reply.hijack()
      reply.raw.end('mine')
      return reply
    })
  })
  for (const url of ['/returns', '/sends', '/hijacks', '/returns']) {
    t.strictSame((await cached(app, 'GET', '/analytics')).json(), { value })
    t.equal((await cached(app, 'POST', url)).statusCode, 200, url)
    t.strictSame((await cached(app, 'GET', '/analytics')).json(), { value }, url)
  }
  t.equal(app.configCache.stats().blocks, 0)
})

t.test('without a cache to trust a route says BYPASS and answers', async (t) => {
  const app = await build(t, { enabled: false }, (app) => { app.get('/a', { config: { cache: {} } }, async () => ({ a: 1 })) })
  for (let i = 0; i < 2; i++) t.match(await cached(app, 'GET', '/a'), { statusCode: 200, headers: { 'x-cache': 'BYPASS' } })
})

t.test('1000 requests at concurrency 100: more than 80% are hits', async (t) => {
  const [one, other] = await buildTwo(t, (app) => {
    app.get('/item/:id', { config: { cache: {} } }, async (request) => {
      await new Promise((resolve) => setTimeout(resolve, 5))
      return request.params
    })
  })
  const both = () => one.configCache.mode === 'coherent' && other.configCache.mode === 'coherent'
  let best = 0
  // Each round asks for what nobody asked for before. One in which a busy machine let a lease lapse says nothing.
  for (let round = 0; round < 10 && best <= 800; round++) {
    await waitFor(both, { timeoutMs: 60_000 })
    let hits = 0
    let sent = 0
    const client = async () => {
      while (sent < 1000) {
        const id = sent++ % 50
        const { headers } = await cached(sent % 2 === 0 ? one : other, 'GET', `/item/${round}-${id}`)
        if (headers['x-cache'] === 'HIT') hits++
      }
    }
    await Promise.all(Array.from({ length: 100 }, client))
    t.comment(`${hits} hits`)
    best = Math.max(best, hits)
  }
  t.ok(best > 800, `${best} hits`)
})

t.test('the HTTP routes do what they say, for whom authorize lets in', async (t) => {
  const app = await build(t, { authorize: (request) => request.headers.role === 'admin' })
  const call = (method: 'GET' | 'PUT' | 'DELETE' | 'POST', url: string, payload?: object, role = 'admin') =>
    app.inject({ method, url: `/api/1${url}`, headers: { role }, ...(payload === undefined ? {} : { payload }) })
  t.match((await call('GET', '/config/config/app:name')).json(), { success: false, code: 'FST_ERR_CONFIG_CACHE_NOT_FOUND', statusCode: 404 })
  t.match((await call('PUT', '/config/config/app:name', { value: { a: [1] } })).json(), { success: true, data: { collection: 'config', key: 'app:name', value: { a: [1] } } })
  t.strictSame((await call('GET', '/config/config/app:name')).json().data.value, { a: [1] })
  t.match((await call('DELETE', '/config/config/app:name')).json(), { success: true, data: { removed: true } })
  t.match((await call('GET', '/config/users/1')).json(), { code: 'FST_ERR_CONFIG_CACHE_UNKNOWN_COLLECTION', statusCode: 404 })
  t.match((await call('PUT', '/config/config/a', { nope: 1 })).json(), { success: false, statusCode: 400 })
  t.strictSame((await call('GET', '/features/ui')).json().data, { name: 'ui', enabled: false, feature: null })
  t.equal((await call('PUT', '/features/ui', { enabled: true, share: 0.5 })).statusCode, 200)
  t.strictSame((await call('GET', '/features/ui')).json().data, { name: 'ui', enabled: true, feature: { enabled: true, share: 0.5 } })
  t.match((await call('PUT', '/features/ui', { enabled: 'x' })).json(), { success: false, statusCode: 400 })
  t.match((await call('GET', '/cache/stats')).json(), { success: true, data: { mode: 'local', writes: 3, hitRate: Number, entries: Number } })
  t.match((await call('POST', '/cache/clear')).json(), { success: true, data: { cleared: true } })
  for (const [method, url] of [['GET', '/config/config/a'], ['GET', '/features/ui'], ['GET', '/cache/stats'], ['POST', '/cache/clear']] as const) {
    t.match((await call(method, url, undefined, 'visitor')).json(), { success: false, code: 'FST_ERR_CONFIG_CACHE_UNAUTHORIZED', statusCode: 401 })
  }
  t.match((await call('GET', '/cache/health', undefined, 'visitor')).json(), { success: true, data: { status: 'ok', mode: 'local' } })
})

t.test('the HTTP routes let nobody overwrite what he has not seen', async (t) => {
  const app = await build(t, { authorize: () => true })
  const call = (method: 'GET' | 'PUT' | 'DELETE', url: string, headers: Record<string, string> = {}, payload?: object) =>
    app.inject({ method, url: `/api/1${url}`, headers, ...(payload === undefined ? {} : { payload }) })
  const conflict = { success: false, code: 'FST_ERR_CONFIG_CACHE_VERSION_CONFLICT', statusCode: 412 }
  for (const [url, first, second] of [['/config/config/a', { value: 1 }, { value: [2] }], ['/features/ui', { enabled: true }, { enabled: false, share: 1 }]] as const) {
    const created = await call('PUT', url, { 'if-none-match': '*' }, first)
    t.equal(created.statusCode, 200)
    t.match((await call('PUT', url, { 'if-none-match': '*' }, second)).json(), conflict)
    const seen = await call('GET', url)
    const etag = String(seen.headers.etag)
    t.equal(created.headers.etag, etag)
    t.equal(seen.headers['cache-control'], 'private, no-cache')
    t.equal((await call('GET', url, { 'if-none-match': `"x", W/${etag}` })).statusCode, 304)
    t.equal((await call('GET', url, { 'if-none-match': '"x"' })).statusCode, 200)
    t.match((await call('PUT', url, { 'if-match': `W/${etag}` }, second)).json(), { ...conflict, error: /entity tag that begins with W/ }, 'a weak one is never equal')
    const changed = await call('PUT', url, { 'if-match': `"x", ${etag}` }, second)
    t.equal(changed.statusCode, 200)
    t.not(changed.headers.etag, etag)
    t.match((await call('PUT', url, { 'if-match': etag }, first)).json(), conflict)
    t.match((await call('PUT', url, { 'if-match': '"*"' }, first)).json(), conflict)
    t.equal((await call('PUT', url, { 'if-match': '*' }, first)).statusCode, 200, 'who says so overwrites')
    t.equal((await call('PUT', url, {}, second)).statusCode, 200)
    for (const headers of [{ 'if-match': 'x' }, { 'if-none-match': '"x"' }, { 'if-match': '*', 'if-none-match': '*' }] as Array<Record<string, string>>) {
      t.match((await call('PUT', url, headers, first)).json(), { code: 'FST_ERR_CONFIG_CACHE_INVALID_CONDITION', statusCode: 400 })
    }
  }
  t.match((await call('DELETE', '/config/config/a', { 'if-match': '"x"' })).json(), conflict)
  t.match(await call('GET', '/config/config/nowhere'), { statusCode: 404, headers: { 'cache-control': 'no-store' } })
  t.equal((await call('DELETE', '/config/config/a', { 'if-match': '*' })).statusCode, 200)
  t.match((await call('PUT', '/config/config/a', { 'if-match': '*' }, { value: 1 })).json(), conflict, 'there is none')

  const strict = await build(t, { authorize: () => true, requireIfMatch: true })
  const put = (headers: Record<string, string>) => strict.inject({ method: 'PUT', url: '/api/1/features/ui', headers, payload: { enabled: true } })
  t.match((await put({})).json(), { code: 'FST_ERR_CONFIG_CACHE_PRECONDITION_REQUIRED', statusCode: 428 })
  t.equal((await put({ 'if-none-match': '*' })).statusCode, 200)
  t.equal((await put({ 'if-match': '*' })).statusCode, 200)
  t.equal((await strict.inject({ method: 'DELETE', url: '/api/1/config/config/a' })).statusCode, 428)
})

t.test('without authorize only the health route exists', async (t) => {
  const app = await build(t)
  t.equal((await app.inject('/api/1/cache/health')).statusCode, 200)
  for (const url of ['/config/config/a', '/features/a', '/cache/stats']) t.equal((await app.inject(`/api/1${url}`)).statusCode, 404)
})

t.test('how long a response may be kept by a cache for many', async (t) => {
  const rows: Array<[headers: Record<string, unknown>, life: number, request?: Record<string, unknown>, isScoped?: boolean]> = [
    [{}, Infinity],
    [{ 'cache-control': 'public' }, Infinity],
    [{ 'cache-control': 'max-age=60' }, 60_000],
    [{ 'cache-control': 'max-age=60, s-maxage=5' }, 5000],
    [{ 'cache-control': 'S-MaxAge="7"' }, 7000],
    [{ 'cache-control': 'max-age=60', age: '20' }, 40_000],
    [{ 'cache-control': 'max-age=10', age: '20' }, 0],
    [{ 'cache-control': 'max-age=0' }, 0],
    [{ 'cache-control': 'max-age=soon' }, 0],
    [{ 'cache-control': 'max-age=1, max-age=100' }, 1000],
    [{ 'cache-control': 'private' }, 0],
    [{ 'cache-control': 'max-age=60, private="x-user"' }, 0],
    [{ 'cache-control': ['max-age=60', 'No-Store'] }, 0],
    [{ 'cache-control': 'no-cache' }, 0],
    [{ 'cache-control': 'extension="no-store, private"' }, Infinity],
    [{ expires: '0' }, 0],
    [{ expires: 'Thu, 01 Jan 1970 00:00:00 GMT' }, 0],
    [{ expires: 'Thu, 01 Jan 1970 00:00:00 GMT', 'cache-control': 'max-age=60' }, 60_000],
    [{ vary: '*' }, 0],
    [{ vary: 'accept, *' }, 0],
    [{ vary: 'accept' }, Infinity],
    [{ 'set-cookie': 'a=b' }, 0],
    [{ 'content-range': 'bytes 0-1/2' }, 0],
    [{}, 0, { 'cache-control': 'no-store' }],
    [{}, Infinity, { 'cache-control': 'max-age=0' }],
    [{}, 0, { authorization: 'Bearer x' }],
    [{}, Infinity, { authorization: 'Bearer x' }, true],
    [{ 'cache-control': 'public' }, Infinity, { authorization: 'Bearer x' }],
    [{ 'cache-control': 'must-revalidate' }, Infinity, { authorization: 'Bearer x' }],
    [{ 'cache-control': 's-maxage=9' }, 9000, { authorization: 'Bearer x' }]
  ]
  for (const [headers, life, requestHeaders = {}, isScoped = false] of rows) {
    t.equal(lifeOf({ statusCode: 200, headers, requestHeaders, isScoped }), life, JSON.stringify([headers, requestHeaders]))
  }
  const matches: Array<[request: object, headers: object, is: boolean, method?: string]> = [
    [{ 'if-none-match': '"a"' }, { etag: '"a"' }, true],
    [{ 'if-none-match': 'W/"x", "a,b" , W/"c"' }, { etag: '"a,b"' }, true],
    [{ 'if-none-match': 'W/"a"' }, { etag: '"a"' }, true],
    [{ 'if-none-match': '"a"' }, { etag: 'W/"a"' }, true],
    [{ 'if-none-match': '*' }, { etag: '"a"' }, true],
    [{ 'if-none-match': '"b"' }, { etag: '"a"' }, false],
    [{ 'if-none-match': '"a"' }, { etag: '"a"' }, false, 'POST'],
    [{ 'if-modified-since': 'Thu, 01 Jan 2026 00:00:00 GMT' }, { 'last-modified': 'Thu, 01 Jan 2026 00:00:00 GMT' }, true],
    [{ 'if-modified-since': 'Thu, 01 Jan 2026 00:00:00 GMT' }, { 'last-modified': 'Fri, 02 Jan 2026 00:00:00 GMT' }, false],
    [{ 'if-none-match': '"b"', 'if-modified-since': 'Thu, 01 Jan 2026 00:00:00 GMT' }, { etag: '"a"', 'last-modified': 'Thu, 01 Jan 2026 00:00:00 GMT' }, false]
  ]
  for (const [request, headers, is, method = 'GET'] of matches) t.equal(isUnchanged(method, request as never, headers as never), is, JSON.stringify([request, headers]))
})

t.test('what a response says of itself is obeyed', async (t) => {
  const says: Record<string, Record<string, string>> = {
    private: { 'cache-control': 'private, max-age=60' },
    'no-store': { 'cache-control': 'no-store' },
    'no-cache': { 'cache-control': 'no-cache' },
    'vary-all': { vary: '*' },
    cookie: { 'set-cookie': 'a=b' },
    expired: { expires: '0' }
  }
  let runs = 0
  const app = await build(t, {}, (app) => {
    for (const [name, headers] of Object.entries(says)) app.get(`/${name}`, { config: { cache: {} } }, async (_request, reply) => { reply.headers(headers); return { runs: ++runs } })
    app.get('/part', { config: { cache: {} } }, async (request, reply) => reply.code(request.headers.range === undefined ? 200 : 206).send(`${++runs}`))
    app.get('/fails', { config: { cache: {} } }, async (_request, reply) => reply.code(503).send(`${++runs}`))
    app.get('/bearer', { config: { cache: {} } }, async (request) => ({ for: request.headers.authorization ?? 'all' }))
    app.get('/language', { config: { cache: {} } }, async (request, reply) => { reply.header('vary', 'Accept-Language'); return { runs: ++runs, language: request.headers['accept-language'] } })
    app.get('/short', { config: { cache: {} } }, async (_request, reply) => { reply.header('cache-control', 'max-age=1'); return { runs: ++runs } })
    app.get('/declared', { config: { cache: { vary: 'X-Tenant' } } }, async (request) => ({ tenant: request.headers['x-tenant'] }))
    app.get('/when', { config: { cache: { when: (reply) => reply.statusCode === 404 } } }, async (_request, reply) => reply.code(404).send({ runs: ++runs }))
  })
  const get = (url: string, headers = {}) => cached(app, 'GET', url, undefined, headers)
  for (const [name, headers] of Object.entries(says)) {
    const [one, two] = [await get(`/${name}`), await get(`/${name}`)]
    t.not(one.body, two.body, name)
    t.match(two.headers, headers, 'and it is left as it is')
  }
  t.equal((await get('/fails')).statusCode, 503)
  t.match((await get('/fails')).headers, { 'x-cache': 'MISS' })
  await get('/part')
  t.match(await get('/part', { range: 'bytes=0-0' }), { statusCode: 206, headers: { 'x-cache': 'BYPASS' } })
  t.match(await get('/part'), { statusCode: 200, headers: { 'x-cache': 'HIT' } })
  t.strictSame((await get('/bearer', { authorization: 'ann' })).json(), { for: 'ann' })
  t.strictSame((await get('/bearer', { authorization: 'bob' })).json(), { for: 'bob' })
  t.strictSame((await get('/bearer')).json(), { for: 'all' })
  t.strictSame((await get('/bearer', { authorization: 'ann' })).json(), { for: 'ann' }, 'nor is it answered with what all may see')
  for (const language of ['de', 'fr', 'de', 'fr', 'de', 'fr']) t.match((await get('/language', { 'accept-language': language })).json(), { language })
  const before = runs
  for (const language of ['de', 'fr']) t.match((await get('/language', { 'accept-language': language })).headers, { 'x-cache': 'HIT', vary: /accept-language/i })
  t.equal(runs, before)
  for (const tenant of ['a', 'b', 'a']) t.strictSame((await get('/declared', { 'x-tenant': tenant })).json(), { tenant })
  t.equal((await get('/when')).body, (await get('/when')).body)
  const short = await get('/short')
  t.match(await get('/short'), { body: short.body, headers: { 'cache-control': 'max-age=1', age: /^\d$/ } })
  await waitFor(async () => (await get('/short')).body !== short.body, { what: 'max-age to be over' })
})

t.test('a route that tells requests apart by a header says so in the Vary of each response, beside what that has', async (t) => {
  const app = await build(t, {}, (app) => {
    app.addHook('onSend', async (request, reply) => { if (request.url.startsWith('/hook')) reply.header('vary', 'Origin') })
    const config = { cache: { vary: ['X-Tenant', 'accept'] } }
    app.get('/plain', { config }, async (request) => ({ tenant: request.headers['x-tenant'] }))
    app.get('/handler', { config }, async (_request, reply) => reply.header('vary', 'Accept-Language').send('text'))
    app.get('/has', { config }, async (_request, reply) => reply.header('vary', ['x-tenant', 'Accept']).send('text'))
    app.get('/all', { config }, async (_request, reply) => reply.header('vary', '*').send('text'))
    app.get('/hook', { config }, async () => 'text')
    app.get('/missing', { config }, async (_request, reply) => reply.code(404).send('none'))
    app.get('/throws', { config }, async () => { throw new Error('no') })
    app.get('/stream', { config }, async () => Readable.from(['text']))
    app.get('/encoded', { config: { cache: {} } }, async (_request, reply) => reply.header('content-encoding', 'br').send(Buffer.from('x')))
  })
  const expected: Record<string, string> = {
    plain: 'X-Tenant, accept',
    handler: 'Accept-Language, X-Tenant, accept',
    has: 'x-tenant, Accept',
    all: '*',
    hook: 'Origin, X-Tenant, accept',
    missing: 'X-Tenant, accept',
    throws: 'X-Tenant, accept',
    stream: 'X-Tenant, accept',
    encoded: 'Accept-Encoding'
  }
  for (const [name, vary] of Object.entries(expected)) {
    const headers = { 'x-tenant': 'a' }
    const answers = [await cached(app, 'GET', `/${name}`, undefined, headers), await cached(app, 'GET', `/${name}`, undefined, headers)]
    answers.push(await app.inject({ method: 'HEAD', url: `/${name}`, headers }), await cached(app, 'GET', `/${name}`, undefined, { ...headers, range: 'bytes=0-0' }))
    const { etag } = answers[1]!.headers
    if (etag !== undefined) {
      const known = await cached(app, 'GET', `/${name}`, undefined, { ...headers, 'if-none-match': etag })
      t.equal(known.statusCode, 304, name)
      answers.push(known)
    }
    t.strictSame(answers.map((one) => [one.headers.vary].flat().join(', ')), answers.map(() => vary), `${name} ${answers.map((one) => one.headers['x-cache']).join()}`)
  }
  for (const vary of ['*', 'X Tenant', ['a', 'b:']]) {
    await t.rejects(build(t, {}, (app) => { app.get('/bad', { config: { cache: { vary } } }, async () => 1) }), { code: 'FST_ERR_CONFIG_CACHE_INVALID_OPTION' })
  }
})

t.test('a when that fails, or answers later, costs the response its place and nobody an answer', async (t) => {
  let runs = 0
  const lines: string[] = []
  const app = await build(t, { logger: { level: 'warn', stream: { write: (line: string) => { lines.push(line) } } } }, (app) => {
    app.get('/throws', { config: { cache: { when: () => { throw new Error(`no ${runs}`) } } } }, async () => ({ runs: ++runs }))
    app.get('/later', { config: { cache: { when: (async () => false) as never } } }, async () => ({ runs: ++runs }))
    app.get('/rejects', { config: { cache: { when: (async () => { throw new Error('no') }) as never } } }, async () => ({ runs: ++runs }))
  })
  for (const url of ['/throws', '/throws', '/later', '/later', '/rejects', '/rejects']) {
    t.match(await cached(app, 'GET', url), { statusCode: 200, body: JSON.stringify({ runs }), headers: { 'x-cache': 'MISS' } }, url)
  }
  t.equal(runs, 6)
  t.match(app.configCache.stats(), { unkept: 6 })
  const told = lines.filter((line) => line.includes('/throws: its when failed'))
  t.equal(told.length, 1, 'whatever its message')
  t.match(JSON.parse(told[0]!), { err: { message: 'no 1', stack: /routes\.test/ } })
})

t.test('a body that is longer than maxValueBytes has the tag that a short one would have, and is neither kept nor turned into JSON', async (t) => {
  const lines: string[] = []
  const long = { '/text': 'ä'.repeat(3_000_000), '/bytes': Buffer.alloc(5_000_000, 'b') }
  const app = await build(t, { logger: { level: 'warn', stream: { write: (line: string) => { lines.push(line) } } } }, (app) => {
    for (const [url, body] of Object.entries(long)) app.get(url, { config: { cache: {} } }, async (_request, reply) => reply.send(body))
  })
  for (const [url, body] of Object.entries(long)) {
    const etag = `"${createHash('sha256').update(body).digest('base64url').slice(0, 27)}"`
    t.match(await cached(app, 'GET', url), { statusCode: 200, headers: { 'x-cache': 'MISS', etag } })
    t.match(await cached(app, 'GET', url, undefined, { 'if-none-match': etag }), { statusCode: 304, headers: { 'x-cache': 'MISS' } })
  }
  t.match(lines.map((line) => JSON.parse(line).reason), [/text: its body is longer than maxValueBytes/, /bytes: its body is longer/])
  t.match(app.configCache.stats(), { unkept: 4, entries: 0 })
})

t.test('a route that asks for caching, and whose responses are never kept for a reason that does not stand in them, says so once', async (t) => {
  const lines: string[] = []
  const app = await build(t, { logger: { level: 'warn', stream: { write: (line: string) => { lines.push(line) } } } }, (app) => {
    const names = Array.from({ length: 9 }, (_, i) => `x-${i}`).join()
    app.addHook('onSend', async (request, reply) => { if (request.url.startsWith('/cookie')) reply.header('set-cookie', 'seen=1') })
    app.get('/varies', { config: { cache: {} } }, async (_request, reply) => { reply.header('vary', names); return 1 })
    app.get('/cookie', { config: { cache: {} } }, async () => 1)
    app.get('/cookie/private', { config: { cache: {} } }, async (_request, reply) => { reply.header('cache-control', 'private'); return 1 })
    app.get('/any', { config: { cache: {} } }, async (_request, reply) => { reply.header('vary', '*'); return 1 })
    app.get('/stream', { config: { cache: {} } }, async () => Readable.from(['x']))
    app.get('/user', { config: { cache: {} } }, async () => 1)
    app.get('/fails', { config: { cache: {} } }, async (_request, reply) => { reply.code(500); return 1 })
  })
  const unkept: unknown[] = []
  const listener = (message: unknown) => { unkept.push(message) }
  subscribe('jpulse:config-cache:unkept', listener)
  t.teardown(() => unsubscribe('jpulse:config-cache:unkept', listener))
  for (const url of ['/varies', '/cookie', '/any', '/stream', '/user', '/cookie/private', '/fails']) {
    for (let i = 0; i < 2; i++) t.match(await cached(app, 'GET', url, undefined, url === '/user' ? { authorization: 'x' } : {}), { headers: { 'x-cache': 'MISS' } }, url)
  }
  const reasons = [/varies: responses of the route vary by more than 8/, /cookie: it sets a cookie/, /any: it varies by everything/, /stream: it is a stream/, /user: its request has Authorization/]
  t.match(lines.map((line) => JSON.parse(line).reason), reasons)
  t.match(unkept, reasons.flatMap((reason) => [{ level: 'process', reason }, { level: 'process', reason }]))
  t.match(app.configCache.stats(), { unkept: 10 })
})

t.test('headers of the handler are kept, those of hooks are made anew, and hooks see each response once', async (t) => {
  let runs = 0
  let hooks = 0
  const kept = { link: '</a>; rel=next', 'content-disposition': 'attachment', 'x-total-count': '42', location: '/made', 'content-language': 'de' }
  const app = await build(t, {}, (app) => {
    app.addHook('onRequest', async (request, reply) => { reply.header('x-request', String(request.headers['x-id'])) })
    app.addHook('onSend', async (_request, reply, payload) => {
      reply.header('x-hooks', String(++hooks))
      return typeof payload === 'string' && payload !== '' ? `${payload}!` : payload
    })
    app.get('/json', { config: { cache: {} } }, async (_request, reply) => { runs++; reply.headers(kept).code(203); return { a: 1 } })
    app.get('/text', { config: { cache: { headers: ['x-total-count'] } } }, async (_request, reply) => { runs++; return reply.headers(kept).type('text/html').send('<p>') })
    app.get('/bytes', { config: { cache: {} } }, (_request, reply) => { runs++; reply.type('image/png').send(Buffer.from([0, 255, 128])) })
    app.get('/nothing', { config: { cache: {} } }, async (_request, reply) => { runs++; reply.code(204) })
  })
  for (const [url, body] of [['/json', '{"a":1}!'], ['/text', '<p>!'], ['/bytes', Buffer.from([0, 255, 128])], ['/nothing', '']] as const) {
    const miss = await cached(app, 'GET', url, undefined, { 'x-id': 'one' })
    const hit = await cached(app, 'GET', url, undefined, { 'x-id': 'two' })
    t.match([miss.headers, hit.headers], [{ 'x-cache': 'MISS', 'x-request': 'one', 'x-hooks': String(hooks - 1) }, { 'x-cache': 'HIT', 'x-request': 'two', 'x-hooks': String(hooks) }], url)
    for (const answer of [miss, hit]) t.ok(typeof body === 'string' ? answer.body === body : answer.rawPayload.equals(body), url)
    t.equal(hit.statusCode, miss.statusCode)
    const { 'x-hooks': _h, 'x-request': _r, 'x-cache': _c, date: _d, age: _a, ...same } = hit.headers
    t.match(miss.headers, url === '/text' ? { 'x-total-count': '42' } : same, url)
    t.equal(hit.headers.etag, miss.headers.etag)
  }
  t.equal(runs, 4)
  t.notOk((await cached(app, 'GET', '/text')).headers.link)
  const head = await app.inject({ method: 'HEAD', url: '/json' })
  t.match(head, { statusCode: 203, body: '', headers: { 'x-cache': 'HIT', link: kept.link } })
  t.equal(runs, 4, 'HEAD is answered by what GET got')
})

t.test('routes of one path that differ by their constraints share nothing, and neither do hosts', async (t) => {
  const app = await build(t, {}, (app) => {
    app.addConstraintStrategy({
      name: 'shop',
      storage: () => {
        const handlers = new Map<unknown, never>()
        return { get: (id: unknown) => handlers.get(id) ?? null, set: (shop: unknown, handler: never) => { handlers.set((shop as { id: string }).id, handler) } }
      },
      deriveConstraint: (request) => request.headers['x-shop']
    })
    for (const id of ['a', 'b']) app.get('/shop', { constraints: { shop: { id } }, config: { cache: {} } }, async () => ({ id }))
    for (const version of ['1.0.0', '2.0.0']) app.get('/v', { constraints: { version }, config: { cache: {} } }, async () => ({ version }))
    app.get('/host', { constraints: { host: /.*/ }, config: { cache: {} } }, async (request) => ({ host: request.hostname }))
    for (const tenant of ['a.test', 'b.test']) app.get('/tenant', { constraints: { host: tenant }, config: { cache: {} } }, async () => ({ tenant }))
  })
  for (let i = 0; i < 2; i++) {
    for (const id of ['a', 'b']) t.strictSame((await cached(app, 'GET', '/shop', undefined, { 'x-shop': id })).json(), { id })
    for (const version of ['1.0.0', '2.0.0']) t.strictSame((await cached(app, 'GET', '/v', undefined, { 'accept-version': version })).json(), { version })
    for (const host of ['a.test', 'b.test']) {
      t.strictSame((await cached(app, 'GET', '/host', undefined, { host })).json(), { host })
      t.strictSame((await cached(app, 'GET', '/tenant', undefined, { host })).json(), { tenant: host })
    }
  }
})

t.test('routes whose long paths differ at the end share nothing', async (t) => {
  const app = await build(t, {}, (app) => {
    for (const end of ['a', 'b']) app.get(`/${'x'.repeat(400)}/${end}`, { config: { cache: {} } }, async () => end)
  })
  for (const end of ['a', 'b', 'a', 'b']) t.equal((await app.inject(`/${'x'.repeat(400)}/${end}`)).body, end)
})

t.test('guards that a later plugin adds run on a hit', async (t) => {
  const app = await build(t, {}, (app) => {
    app.get('/early', { config: { cache: {} } }, async () => ({ secret: true }))
    app.addHook('preHandler', async (request, reply) => request.headers.user === 'ann' ? undefined : reply.code(401).send({}))
    app.addHook('onRoute', (route) => {
      const { handler } = route
      route.preHandler = async (request, reply) => request.headers.role === 'admin' ? undefined : reply.code(403).send({})
      route.handler = function (request, reply) { return request.headers.blocked === undefined ? handler.call(this, request, reply) : reply.code(410).send({}) }
    })
    app.get('/late', { config: { cache: {} } }, async () => ({ secret: true }))
  })
  for (let i = 0; i < 2; i++) {
    t.equal((await cached(app, 'GET', '/early', undefined, { user: 'ann' })).statusCode, 200)
    t.equal((await cached(app, 'GET', '/late', undefined, { user: 'ann', role: 'admin' })).statusCode, 200)
  }
  t.equal((await cached(app, 'GET', '/early')).statusCode, 401)
  t.equal((await cached(app, 'GET', '/late', undefined, { user: 'ann' })).statusCode, 403)
  t.equal((await cached(app, 'GET', '/late', undefined, { user: 'ann', role: 'admin', blocked: '1' })).statusCode, 410)
})

t.test('what a route asks for is off, or right, or an error', async (t) => {
  let runs = 0
  const never = false as boolean
  const scopes: Record<string, unknown> = { promise: Promise.resolve('ann'), object: { id: 1 }, nothing: undefined, null: null }
  const app = await build(t, {}, (app) => {
    app.get('/off', { config: { cache: never && { tags: ['a'] }, invalidates: never && ['a'] } }, async () => ({ runs: ++runs }))
    for (const [name, scope] of Object.entries(scopes)) app.get(`/${name}`, { config: { cache: { scope: () => scope as string } } }, async () => ({ runs: ++runs }))
    app.get('/number', { config: { cache: { scope: (request) => Number(request.headers.id) } } }, async (request) => ({ id: request.headers.id }))
    app.get('/one-tag', { config: { cache: { tags: 'orders' } } }, async () => ({ runs: ++runs }))
    app.post('/one-tag', { config: { invalidates: 'orders' } }, async () => ({}))
    app.post('/none', { config: { invalidates: () => [] } }, async () => ({ none: true }))
  })
  t.not((await cached(app, 'GET', '/off')).body, (await cached(app, 'GET', '/off')).body)
  for (const name of Object.keys(scopes)) t.match((await cached(app, 'GET', `/${name}`)).json(), { statusCode: 500, code: 'FST_ERR_CONFIG_CACHE_INVALID_SCOPE' }, name)
  for (const id of ['1', '2', '1']) t.strictSame((await cached(app, 'GET', '/number', undefined, { id })).json(), { id })
  const { body } = await cached(app, 'GET', '/one-tag')
  t.equal((await cached(app, 'GET', '/one-tag')).body, body)
  t.equal((await cached(app, 'POST', '/one-tag')).statusCode, 200)
  t.not((await cached(app, 'GET', '/one-tag')).body, body)
  t.strictSame((await cached(app, 'POST', '/none')).json(), { none: true })
  const bad: Array<[object, RegExp]> = [
    [{ cache: true }, /config.cache of \/x must be false or an object/], [{ cache: { ttl: 5 } }, /config.cache of \/x.ttl is unknown/], [{ cache: { ttlMs: 1.5 } }, /ttlMs/],
    [{ cache: { tags: [''] } }, /tag/i], [{ cache: { scope: 'user' } }, /scope must be a function/], [{ cache: { scope: undefined } }, /scope is undefined: leave it out/], [{ cache: new Map([['scope', () => 'ann']]) }, /must be an object with .*, not a Map/], [{ invalidates: [] }, /config.invalidates/], [{ invalidates: [7] }, /config.invalidates/]
  ]
  for (const [config, message] of bad) await t.rejects(build(t, {}, (app) => { app.get('/x', { config: config as never }, async () => 1) }), { message }, JSON.stringify(config))
})

t.test('requests that are answered with what cannot be kept do not wait for each other', async (t) => {
  let running = 0
  let most = 0
  const slow = async () => {
    most = Math.max(most, ++running)
    await new Promise((resolve) => setTimeout(resolve, 30))
    running--
  }
  const app = await build(t, {}, (app) => {
    app.get('/fails', { config: { cache: {} } }, async (_request, reply) => { await slow(); return reply.code(503).send('away') })
    app.get('/stream', { config: { cache: {} } }, async (_request, reply) => { await slow(); return reply.send(Readable.from(['a', 'b'])) })
    app.get('/private', { config: { cache: {} } }, async (_request, reply) => { await slow(); return reply.header('cache-control', 'private').send('mine') })
    app.get('/long', { config: { cache: {} } }, async (_request, reply) => { await slow(); return reply.send('x'.repeat(2 ** 20)) })
    app.get('/bytes', { config: { cache: {} } }, async (_request, reply) => { await slow(); return reply.send(Buffer.alloc(2 ** 20)) })
  })
  for (const url of ['/fails', '/stream', '/private', '/long', '/bytes']) {
    for (let round = 0; round < 2; round++) {
      most = 0
      await Promise.all(Array.from({ length: 10 }, () => cached(app, 'GET', url)))
      t.equal(most, 10, `${url} ${round}`)
    }
  }
})

t.test('routes beside a registration that nobody awaited are in force', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  let value = 0
  app.register(redisLink, { siteId: uniqueName() })
  app.register(configCache, { blockTtlMs: 500 })
  app.get('/value', { config: { cache: { tags: ['value'] } }, preHandler: async (request, reply) => request.headers.user === 'eve' ? reply.code(403).send({}) : undefined }, async () => ({ value }))
  app.post('/value', { config: { invalidates: ['value'] } }, async () => ({ value: ++value }))
  app.put('/value', async () => ({ value: ++value }))
  app.get('/bad', { config: { cache: { ttl: 1 } as never } }, async () => ({}))
  for (let i = 0; i < 3; i++) {
    t.match(await cached(app, 'GET', '/value'), { headers: { 'x-cache': 'MISS' }, body: `{"value":${i}}` })
    t.match(await cached(app, 'GET', '/value'), { headers: { 'x-cache': 'HIT' }, body: `{"value":${i}}` })
    t.equal((await cached(app, 'GET', '/value', undefined, { user: 'eve' })).statusCode, 403)
    t.equal((await app.inject({ method: i === 1 ? 'PUT' : 'POST', url: '/value' })).statusCode, 200)
  }
  t.match((await cached(app, 'GET', '/bad')).json(), { code: 'FST_ERR_CONFIG_CACHE_INVALID_OPTION' })
})

t.test('the work of an invalidating route ends when its promise ends, and a 5xx that it sends tells no outcome', async (t) => {
  let database = 0
  const pause = (ms = 20) => new Promise((resolve) => setTimeout(resolve, ms))
  const app = await build(t, { blockTtlMs: 60_000 }, (app) => {
    const post = (url: string, handler: RouteHandlerMethod) => app.post(url, { config: { invalidates: ['value'] } }, handler)
    app.get('/value', { config: { cache: { tags: ['value'] } } }, async () => ({ database }))
    post('/sends-first', async (_request, reply) => { reply.send('early'); await pause(); database++ })
    post('/returns-reply', async (_request, reply) => { reply.send('early'); await pause(); database++; return reply })
    post('/awaits-reply', async (_request, reply) => { setTimeout(() => { database++; reply.send('later') }, 10); await reply })
    post('/hijacks', async (_request, reply) => { reply.hijack(); await pause(); database++; reply.raw.end('raw') })
    post('/hijacks-later', (_request, reply) => { setTimeout(() => { reply.hijack(); database++; reply.raw.end('raw') }, 10) })
    post('/fails-after', async (_request, reply) => { reply.send('early'); database++; throw Object.assign(new Error('no'), { statusCode: 409 }) })
    post('/refuses', async (_request, reply) => reply.code(409).send('no'))
    post('/503-sent', async (_request, reply) => reply.code(503).send('try again'))
    post('/503-returned', async (_request, reply) => { reply.code(503); return 'try again' })
    post('/503-raw', (_request, reply) => { reply.hijack(); reply.raw.statusCode = 503; reply.raw.end('try again'); return reply })
  })
  for (const url of ['/sends-first', '/returns-reply', '/awaits-reply', '/hijacks', '/hijacks-later', '/fails-after', '/refuses']) {
    await cached(app, 'GET', '/value')
    const { statusCode } = await cached(app, 'POST', url)
    t.equal(statusCode, ['/fails-after', '/refuses'].includes(url) ? 409 : 200, url)
    t.strictSame((await cached(app, 'GET', '/value')).json(), { database }, url)
    await waitFor(() => app.configCache.stats().blocks === 0, { what: `${url} to be over` })
  }
  for (const [index, url] of ['/503-sent', '/503-returned', '/503-raw'].entries()) {
    t.match(await cached(app, 'POST', url), { statusCode: 503, body: 'try again' }, url)
    t.equal(app.configCache.stats().blocks, index + 1, 'the operation may yet arrive')
  }
})

t.test('a method that changes something drops what is kept of its path, on every instance, unless its route says that it changes nothing', async (t) => {
  let value = 0
  const [one, other] = await buildTwo(t, (app) => {
    app.put('/item/:id', async () => ({ value: ++value }))
    app.get('/item/:id', { config: { cache: {} } }, async () => ({ value }))
    app.get('/list', { config: { cache: { tags: 'list' } } }, async () => ({ value }))
    app.post('/list', { config: { invalidates: 'other' } }, async (_request, reply) => reply.send({ value: ++value }))
    app.get('/login', { config: { cache: {} } }, async () => ({ value }))
    app.post('/login', { config: { invalidates: false } }, async () => ({ value: ++value }))
    // Routes of one path need not look alike.
    app.put('/item/me', async () => ({ value: ++value }))
    app.patch('/item/:key', async () => ({ value: ++value }))
    app.delete('/item/*', async () => ({ value: ++value }))
    app.post('/items', async () => ({ value: ++value }))
  })
  const warmed = async (url: string) => {
    for (const app of [one, other]) await waitFor(async () => (await cached(app, 'GET', url)).headers['x-cache'] === 'HIT', { what: `${url} to be kept` })
    return (await cached(one, 'GET', url)).json() as { value: number }
  }
  for (const [method, url] of [['PUT', '/item/a'], ['PUT', '/item/me'], ['PATCH', '/item/a'], ['DELETE', '/item/a%2Fc'], ['POST', '/list']] as const) {
    t.strictSame(await warmed('/item/b'), (await cached(one, 'GET', '/item/b')).json())
    await warmed(url)
    t.equal((await one.inject({ method, url })).statusCode, 200, url)
    for (const app of [one, other]) t.strictSame((await cached(app, 'GET', url)).json(), { value }, url)
  }
  t.equal((await cached(other, 'GET', '/item/b')).headers['x-cache'], 'HIT', 'what is kept of other paths stays')
  const { value: old } = await warmed('/login')
  await cached(one, 'POST', '/login')
  t.strictSame((await cached(other, 'GET', '/login')).json(), { value: old })
})

t.test('which paths are one, by what their routes say', async (t) => {
  const paths = new Paths()
  for (const url of ['/item/:id', '/File/:name.:ext', '/day/:date(^(\\d{4})-\\d{2}$)/', '/page/:number?', '/static/*', '/a::b', '/*']) paths.noteCached(url)
  const request = (url: string, params: object = {}) => ({ routeOptions: { url }, params }) as FastifyRequest
  const same: Array<[one: FastifyRequest, other: FastifyRequest]> = [
    [request('/item/:id', { id: 'x' }), request('/item/:key', { key: 'x' })],
    [request('/item/:id', { id: 'x' }), request('/Item/X/')],
    [request('/item/:id', { id: 'x/y' }), request('/item/*', { '*': 'x/y' })],
    [request('/File/:name.:ext', { name: 'a', ext: 'b' }), request('/file/:name', { name: 'a.b' })],
    [request('/day/:date(^(\\d{4})-\\d{2}$)/', { date: '2026-03' }), request('/day/:day', { day: '2026-03' })],
    [request('/page/:number?', {}), request('/page')],
    [request('/page/:number?', { number: '1' }), request('/page/1')],
    [request('/static/*', { '*': 'a/b' }), request('/static/:folder/:name', { folder: 'a', name: 'b' })],
    [request('/static/*', { '*': '' }), request('/static/')],
    [request('/a::b'), request('//a::B/')],
    [request('/*', { '*': 'z' }), request('/*', { '*': 'z' })]
  ]
  for (const [one, other] of same) {
    const name = `${one.routeOptions.url} and ${other.routeOptions.url}`
    t.ok(paths.isCached(other), name)
    t.equal(paths.tagOf(one), paths.tagOf(other), name)
  }
  for (const url of ['/items', '/item', '/item/x/y', '/statics', '/pages', '/a::c', '/z']) t.notOk(paths.isCached(request(url)), url)
  for (const [url, method] of [['/item/:key', 'PUT'], ['/item/me', 'PUT'], ['/item', 'POST'], ['/:any', 'PUT']] as const) paths.noteUndeclared({ url, method } as never)
  t.strictSame(paths.undeclared, ['PUT /item/:key', 'PUT /item/me', 'PUT /:any'])
})

t.test('a response lives as long as it says on every instance, however late one got it from Redis', async (t) => {
  let runs = 0
  const [one, other] = await buildTwo(t, (app) => {
    app.get('/says', { config: { cache: {} } }, async (_request, reply) => { reply.header('cache-control', 'max-age=1'); return { runs: ++runs } })
    app.get('/own', { config: { cache: { ttlMs: 1000 } } }, async () => ({ runs: ++runs }))
  })
  for (const url of ['/says', '/own']) {
    await waitFor(async () => {
      await cached(one, 'GET', url)
      return (await cached(other, 'GET', url)).headers['x-cache'] === 'HIT'
    }, { what: `${url} to come from the other instance` })
    t.ok(await waitFor(async () => (await cached(other, 'GET', url)).headers['x-cache'] === 'MISS', { timeoutMs: 5000, what: `${url} to end` }), url)
  }
})

t.test('a route for which the cache cannot do what it says fails the boot', async (t) => {
  const get = (config: object, method = 'GET') => (app: FastifyInstance) => { app.route({ method, url: '/x', config: config as never, handler: async () => 1 }) }
  const rows: Array<[routes: (app: FastifyInstance) => void, message: RegExp]> = [
    [get({ cache: {} }, 'PUT'), /config.cache of \/x is for GET, HEAD, QUERY and POST, not for PUT/],
    [get({ cache: {}, invalidates: 'a' }), /config.invalidates of \/x stands beside config.cache/],
    [(app) => { app.addHook('onRoute', (route) => { route.config = { ...route.config, cache: { tags: 'late' } } as never }); get({})(app) }, /The route \/x got its config.cache or config.invalidates from an onRoute hook/]
  ]
  for (const [routes, message] of rows) await t.rejects(build(t, {}, routes), { message })
  const logged: string[] = []
  const app = Fastify({ logger: { stream: { write: (line: string) => { logged.push(line) } } } })
  t.teardown(() => app.close())
  await app.register(redisLink, { siteId: uniqueName() })
  await app.register(configCache, { blockTtlMs: 500 })
  app.all('/all', { config: { cache: {} } }, async ({ method }) => method)
  for (let i = 0; i < 2; i++) for (const method of ['GET', 'POST', 'PUT'] as const) t.equal((await app.inject({ method, url: '/all' })).body, method)
  t.match(logged.filter((line) => line.includes('drop what is kept of their path')).map((line) => JSON.parse(line)), [{ level: 40, routes: ['DELETE /all', 'PATCH /all', 'POST /all', 'PUT /all'] }])
})
