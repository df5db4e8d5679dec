import redisLink from '@jpulse/redis-link'
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import { sharedRedis, uniqueName } from '../../../test/helpers/index.ts'
import { unlisted } from '../../../test/mixed-release/wire-page.ts'
import redisSessions, { type EndedSessions, type FastifyRedisSessionsOptions } from '../src/index.ts'
import { Browser, makeApp, SECRET } from './support/app.ts'

type Scopes = Record<string, Partial<FastifyRedisSessionsOptions>>

/** One application with a registration per scope, each below the path of its name. */
async function serve (t: Parameters<typeof makeApp>[0], scopes: Scopes, redis: object = {}): Promise<{ app: FastifyInstance, scopes: Record<string, FastifyInstance> }> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(redisLink, { siteId: uniqueName(), ...redis })
  const made: Record<string, FastifyInstance> = {}
  for (const [path, options] of Object.entries(scopes)) {
    app.register(async (scope) => {
      made[path] = scope
      await scope.register(redisSessions, { secret: SECRET, cookie: { path: `/${path}` }, ...options })
      scope.get(`/${path}/in`, async (request) => scope.sessions.login(request, 'u', { in: path }).then(() => scope.sessions.current(request)))
      scope.get(`/${path}/me`, async (request) => ({ ...scope.sessions.current(request), in: request.session.in }))
    })
  }
  await app.ready()
  return { app, scopes: made }
}

t.test('a session of one realm is nothing to another, with one secret', async (t) => {
  for (const redis of [{}, { url: sharedRedis() }]) {
    const { app, scopes } = await serve(t, { shop: {}, admin: { name: 'admin' }, other: { name: 'other' } }, redis)
    const cookies: Record<string, string> = {}
    for (const path of Object.keys(scopes)) cookies[path] = String((await app.inject(`/${path}/in`)).headers['set-cookie']).split(';')[0]!
    for (const [from, cookie] of Object.entries(cookies)) {
      for (const to of Object.keys(scopes)) {
        const { userId, in: where } = (await app.inject({ url: `/${to}/me`, headers: { cookie } })).json()
        t.same([userId, where], from === to ? ['u', from] : [undefined, undefined], `${from} at ${to}`)
      }
    }
    if ('url' in redis) {
      const site = app.redisLink.key('').slice(0, -1)
      const [, keys] = await app.redisLink.run((client) => client.call('SCAN', '0', 'MATCH', `${site}:*`, 'COUNT', '1000000')) as [string, string[]]
      t.ok(keys.some((key) => key.includes('@admin:')))
      t.same(unlisted(site, keys, []), [], 'the keys stand in docs/wire.md')
    }
    const ended: EndedSessions[] = []
    scopes.admin!.sessions.on('ended', (event) => { ended.push(event) })
    scopes.shop!.sessions.on('ended', (event) => { ended.push(event) })
    for (const { sessions } of Object.values(scopes)) {
      t.equal((await sessions.list('u')).length, 1)
      t.equal(await sessions.count(), 1)
    }
    t.equal(await scopes.admin!.sessions.logoutAll('u'), 1)
    t.equal((await app.inject({ url: '/shop/me', headers: { cookie: cookies.shop } })).json().userId, 'u')
    t.equal((await app.inject({ url: '/other/me', headers: { cookie: cookies.other } })).json().userId, 'u')
    t.match(ended, [{ userId: 'u', realm: 'admin', reason: 'logout-all' }], 'and listeners learn of which')
    await scopes.shop!.sessions.logoutAll('u')
    t.notOk('realm' in ended[1]!)
  }
})

t.test('registrations that could not be told apart are an error that names the option', async (t) => {
  const wrong: Scopes[] = [{ a: {}, b: {} }, { a: { name: 'x' }, b: { name: 'x' } }, { a: {}, b: { secret: 'another secret of more than thirty-two characters' } }]
  for (const scopes of wrong) await t.rejects(serve(t, scopes), { code: 'FST_ERR_REDIS_SESSIONS_INVALID_OPTION', message: /name/ })
  for (const name of ['', 'a b', 'a:b', '*', '{x}', 'x'.repeat(33)]) await t.rejects(makeApp(t, { sessions: { name } }), { message: /option name must be/ })
  const twice = Fastify()
  t.teardown(() => twice.close())
  await twice.register(redisLink)
  await twice.register(redisSessions, { secret: SECRET, name: 'a' })
  await t.rejects(Promise.resolve(twice.register(redisSessions, { secret: SECRET, name: 'b' })), { message: /scope/ })
})

t.test('two applications of one process may both go without a name', async (t) => {
  const redis = { url: sharedRedis(), siteId: uniqueName() }
  const [one, two] = [await makeApp(t, { redis }), await makeApp(t, { redis })]
  const browser = new Browser(one)
  await browser.post('/login', { user: 'u' })
  t.equal((await browser.get('/me', two)).json().userId, 'u')
})
