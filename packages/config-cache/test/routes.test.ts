import t, { type Test } from 'tap'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import { redisLink } from '@jpulse/redis-link'
import { sharedRedis, uniqueName, waitFor } from '../../../test/helpers/index.ts'
import { configCache, memorySource, type FastifyConfigCacheOptions } from '../src/index.ts'

t.setTimeout(200_000)

async function build (t: Test, options: FastifyConfigCacheOptions & { siteId?: string, url?: string } = {}, routes: (app: FastifyInstance) => void = () => {}): Promise<FastifyInstance> {
  const { siteId = uniqueName(), url, ...given } = options
  const app = Fastify()
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

t.test('without authorize only the health route exists', async (t) => {
  const app = await build(t)
  t.equal((await app.inject('/api/1/cache/health')).statusCode, 200)
  for (const url of ['/config/config/a', '/features/a', '/cache/stats']) t.equal((await app.inject(`/api/1${url}`)).statusCode, 404)
})
