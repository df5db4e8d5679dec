import { readFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { redisSessions } from '@jpulse/redis-sessions'
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import { browser } from '../../../test/helpers/browser.ts'
import { tcpProxy, waitFor } from '../../../test/helpers/index.ts'
import { build } from './support/build.ts'

const DIST = new URL('../../ws-client/dist/', import.meta.url)
const PAGE = `<!doctype html><title>client</title><link rel="icon" href="data:,"><script type="module">
import { connect } from '/client.js'
globalThis.heard = []
globalThis.statuses = []
globalThis.client = connect(new URLSearchParams(location.search).get('at') ?? '/api/1/ws/chat', { maxDelayMs: 200, onStatus: (status) => statuses.push(status) })
client.on('n', (data) => heard.push(data))
client.on('question', (data) => data * 2)
</script>`

function serveClient (app: FastifyInstance): void {
  app.get('/', (_request, reply) => reply.type('text/html').send(PAGE))
  app.get<{ Params: { file: string } }>('/:file(^(?:[a-z-]+)\\.js$)', (request, reply) => reply.type('text/javascript').send(readFileSync(new URL(request.params.file, DIST))))
}

/** A page of one origin with a namespace of another. */
const pageOf = (origin: string, port: number) => `${origin}/?at=${encodeURIComponent(`http://127.0.0.1:${port}/api/1/ws/chat`)}`

t.test('the client in a browser: two tabs hear, come back with what they missed, answer, and give up when the session ends', async (t) => {
  const { app, port } = await build(t, {
    options: { drainMs: 0 },
    before: (app) => {
      app.register(redisSessions, { secret: 'a secret of at least thirty-two characters' })
      serveClient(app)
      app.get('/login', async (request) => app.sessions.login(request, 'ann').then(() => 'in'))
    },
    setup: ({ wsNamespaces }) => wsNamespaces.create('chat', { history: {}, onMessage: (_conn, { data }, reply) => reply(data) })
  })
  const chat = app.wsNamespaces.get('chat')!
  const visit = await browser(t)
  const { page } = await visit()
  await page.goto(`http://127.0.0.1:${port}/login`)
  const tabs = [page, await page.context().newPage()]
  const ask = <T>(tab: typeof page, script: string) => tab.evaluate(script) as Promise<T>
  for (const tab of tabs) {
    await tab.goto(`http://127.0.0.1:${port}/`)
    await waitFor(() => ask<boolean>(tab, 'client.status === "connected"'), { timeoutMs: 30_000 })
  }
  t.not(await ask(tabs[0]!, 'client.clientId'), await ask(tabs[1]!, 'client.clientId'), 'a name for each tab')
  t.equal(await ask(tabs[0]!, 'client.request("echo", 7)'), 7)
  t.equal(await chat.request('ann', 'question', 21, { timeoutMs: 30_000 }), 42)

  await chat.broadcast('n', 1)
  await chat.disconnect('ann', 1001)
  await chat.broadcast('n', 2)
  for (const tab of tabs) {
    await waitFor(async () => (await ask<number[]>(tab, 'heard')).length === 2, { what: 'the missed message', timeoutMs: 30_000 })
    t.same(await ask(tab, 'heard'), [1, 2])
    t.same(await ask(tab, 'statuses'), ['connected', 'reconnecting', 'connected'])
  }

  await app.sessions.logoutAll('ann')
  for (const tab of tabs) {
    await waitFor(() => ask<boolean>(tab, 'client.status === "auth-required"'), { what: 'the end of the session', timeoutMs: 30_000 })
    t.equal(await ask(tab, 'client.request("echo", 1).catch((err) => err.code)'), 'NOT_CONNECTED')
  }

  // A browser is not told why an upgrade was refused: the client finds out, and does not try for ever.
  await tabs[0]!.goto(`http://127.0.0.1:${port}/`)
  await waitFor(() => ask<boolean>(tabs[0]!, 'client.status === "auth-required"'), { what: 'to find out that nobody is logged in', timeoutMs: 30_000 })
})

t.test('a page of another origin comes back after a restart of the server, and learns when the session ended', async (t) => {
  const pages = Fastify()
  t.teardown(() => pages.close())
  serveClient(pages)
  await pages.listen({ port: 0, host: '127.0.0.1' })
  const origin = `http://127.0.0.1:${(pages.server.address() as AddressInfo).port}`
  let refused = 0
  const { app, port } = await build(t, {
    options: { drainMs: 0 },
    before: (app) => {
      app.register(redisSessions, { secret: 'a secret of at least thirty-two characters' })
      app.get('/login', async (request) => app.sessions.login(request, 'ann').then(() => 'in'))
      app.addHook('onRequest', async (request, reply) => {
        reply.headers({ 'access-control-allow-origin': origin, 'access-control-allow-credentials': 'true' })
        if (request.headers.upgrade !== undefined && refused > 0) {
          refused--
          return reply.code(503).send()
        }
      })
    },
    setup: ({ wsNamespaces }) => wsNamespaces.create('chat', { origins: [origin] })
  })
  const { page } = await (await browser(t))()
  await page.goto(`http://127.0.0.1:${port}/login`)
  await page.goto(pageOf(origin, port))
  const status = () => page.evaluate('client.status') as Promise<string>
  await waitFor(async () => await status() === 'connected', { timeoutMs: 30_000 })
  refused = 3
  await app.wsNamespaces.get('chat')!.disconnect('ann', 1001)
  await waitFor(async () => refused < 3 && ['connected', 'auth-required'].includes(await status()), { timeoutMs: 30_000 })
  t.same(await page.evaluate('statuses'), ['connected', 'reconnecting', 'connected'])

  await app.sessions.logoutAll('ann')
  await page.goto(pageOf(origin, port))
  await waitFor(async () => await status() === 'auth-required', { what: 'to find out that nobody is logged in', timeoutMs: 30_000 })
})

t.test('a page that was frozen while its connection died, and one without a network, are connected again and miss nothing', async (t) => {
  const { app, port } = await build(t, {
    options: { drainMs: 0, pingIntervalMs: 300, pongTimeoutMs: 300, reconnectWindowMs: 100 },
    before: serveClient,
    setup: ({ wsNamespaces }) => wsNamespaces.create('chat', { authorize: () => ({ userId: 'ann' }), history: {} })
  })
  const chat = app.wsNamespaces.get('chat')!
  const proxy = await tcpProxy(t, port)
  const { page } = await (await browser(t))()
  await page.goto(`http://127.0.0.1:${proxy.port}/`)
  const is = (status: string) => waitFor(async () => await page.evaluate('client.status') === status, { what: status, timeoutMs: 30_000 })
  const hears = (...numbers: number[]) => waitFor(async () => (await page.evaluate('heard') as number[]).join() === numbers.join(), { what: numbers.join(), timeoutMs: 30_000 })
  await is('connected')
  const developer = await page.context().newCDPSession(page)
  await developer.send('Page.setWebLifecycleState', { state: 'frozen' })
  await chat.broadcast('n', 1)
  proxy.mute()
  await waitFor(() => chat.local().connections === 0, { what: 'the server to find it dead', timeoutMs: 30_000 })
  await chat.broadcast('n', 2)
  proxy.mend()
  await developer.send('Page.setWebLifecycleState', { state: 'active' })
  await is('connected')
  await hears(1, 2)

  await page.context().setOffline(true)
  await chat.disconnect('ann', 1001)
  await is('reconnecting')
  await chat.broadcast('n', 3)
  await page.context().setOffline(false)
  await is('connected')
  await hears(1, 2, 3)
})
