import { readFileSync } from 'node:fs'
import { redisSessions } from '@jpulse/redis-sessions'
import t from 'tap'
import { browser } from '../../../test/helpers/browser.ts'
import { waitFor } from '../../../test/helpers/index.ts'
import { build } from './support/build.ts'

const DIST = new URL('../dist/', import.meta.url)
const PAGE = `<!doctype html><title>client</title><link rel="icon" href="data:,"><script type="module">
import { connect } from '/client.js'
globalThis.heard = []
globalThis.statuses = []
globalThis.client = connect('/api/1/ws/chat', { maxDelayMs: 200, onStatus: (status) => statuses.push(status) })
client.on('n', (data) => heard.push(data))
client.on('question', (data) => data * 2)
</script>`

t.test('the client in a browser: two tabs hear, come back with what they missed, answer, and give up when the session ends', async (t) => {
  const { app, port } = await build(t, {
    options: { drainMs: 0 },
    before: (app) => {
      app.register(redisSessions, { secret: 'a secret of at least thirty-two characters' })
      app.get('/', (_request, reply) => reply.type('text/html').send(PAGE))
      app.get('/login', async (request) => app.sessions.login(request, 'ann').then(() => 'in'))
      app.get<{ Params: { file: string } }>('/:file(^client[a-z-]*\\.js$)', (request, reply) => reply.type('text/javascript').send(readFileSync(new URL(request.params.file, DIST))))
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
