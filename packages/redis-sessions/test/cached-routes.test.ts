import configCache from '@jpulse/config-cache'
import redisLink from '@jpulse/redis-link'
import Fastify from 'fastify'
import t from 'tap'
import { sharedRedis, uniqueName, waitFor } from '../../../test/helpers/index.ts'
import redisSessions from '../src/index.ts'
import { Browser, SECRET } from './support/app.ts'

t.test('a cached route is kept though each request renews a session: each visitor gets the own cookie, and nobody that of another', async (t) => {
  const siteId = uniqueName()
  let made = 0
  const [one, two] = await Promise.all([1, 2].map(async () => {
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(redisLink, { url: sharedRedis(), siteId })
    await app.register(redisSessions, { secret: SECRET, touchIntervalMs: 0 })
    await app.register(configCache, { blockTtlMs: 500 })
    app.post('/login', async (request) => { await app.sessions.login(request, (request.body as { user: string }).user) })
    app.get('/report', { config: { cache: { tags: 'report' } } }, async () => ({ made: ++made }))
    app.get('/themed', { config: { cache: { tags: 'themed' } } }, async (_request, reply) => {
      reply.setCookie('theme', 'dark')
      return { made: ++made }
    })
    app.get('/begun', { config: { cache: { tags: 'begun' } } }, async (request) => {
      request.session['seen'] = true
      return { made: ++made }
    })
    app.get('/kept-longer', { config: { cache: { tags: 'kept-longer' } } }, async (request) => {
      ;(request.session.cookie as { maxAge: number }).maxAge = 86_400_000
      return { made: ++made }
    })
    app.get('/strict', { config: { cache: { tags: 'strict' } } }, async (request) => {
      request.session.options({ sameSite: 'strict' })
      return { made: ++made }
    })
    app.get('/left', { config: { cache: { tags: 'left' } } }, async (request) => {
      await app.sessions.logout(request)
      return { made: ++made }
    })
    await app.ready()
    await waitFor(() => app.configCache.mode === 'coherent', { what: 'a lease' })
    return app
  }))
  const [ada, bob] = [new Browser(one!), new Browser(two!)]
  await ada.post('/login', { user: 'ada' })
  await bob.post('/login', { user: 'bob' })

  const seen = async (browser: Browser, url: string) => {
    const before = browser.cookie
    const { headers, cookies, json } = await browser.get(url)
    t.same(cookies.filter(({ name }) => name === 'sessionId').map(({ value }) => encodeURIComponent(value)), [before], `${url}: renewed`)
    return [headers['x-cache'], json().made]
  }
  t.same(await seen(ada, '/report'), ['MISS', 1])
  t.same(await seen(bob, '/report'), ['HIT', 1])
  t.same(await seen(ada, '/report'), ['HIT', 1])
  t.notOk('set-cookie' in (await one!.inject('/report')).headers, 'who has no session gets none')

  // What is more than a renewal is not for others.
  for (const url of ['/themed', '/themed', '/kept-longer', '/kept-longer', '/strict', '/strict']) t.same((await seen(ada, url))[0], 'MISS', url)
  for (let n = 0; n < 2; n++) t.match(await new Browser(one!).get('/begun'), { headers: { 'x-cache': 'MISS', 'set-cookie': /^sessionId=/ } })
  t.match(await ada.get('/left'), { headers: { 'x-cache': 'MISS' } })
  t.match(await bob.get('/left'), { headers: { 'x-cache': 'MISS' } })
})
