import t from 'tap'
import { connect as connectRedis, sharedRedis, uniqueName, waitFor } from '../../../test/helpers/index.ts'
import { build, byHeader } from './support/build.ts'
import { connect, has, resume } from './support/client.ts'

const PATH = '/api/1/ws/chat'

for (const [where, link] of [['over two workers', { url: sharedRedis() }], ['without Redis', {}]] as Array<[string, { url?: string }]>) {
  t.test(`a namespace that is made anew with another history has nothing of the one before, ${where}`, async (t) => {
    const siteId = uniqueName('anew')
    const make = (app: Awaited<ReturnType<typeof build>>['app'], id: string) =>
      app.wsNamespaces.create('chat', { authorize: byHeader, history: { id }, onConnect: (conn) => { if (conn.userId === 'member') conn.join('red') } })
    const all = await Promise.all((link.url === undefined ? ['0'] : ['0', '1']).map((pmId) => build(t, { link: { ...link, siteId, env: 'test' }, pmId, setup: (app) => make(app, 'first') })))
    const [a, late = a] = all as [typeof all[0], typeof all[0]?]
    await waitFor(() => all.every(({ app }) => app.appCluster.members().length === all.length), { timeoutMs: 30_000 })
    const publish = ({ app }: typeof a, data: number) => app.wsNamespaces.get('chat')!.broadcast('n', data)

    const ann = await connect(t, a.port, PATH, { user: 'member' })
    await publish(a, 1)
    await has([ann], 1)
    ann.ws.terminate()
    await ann.end()
    await publish(late, 2)

    await a.app.wsNamespaces.get('chat')!.close()
    make(a.app, 'second')
    // A worker that does not know yet goes on with the one before.
    if (late !== a) await publish(late, 3)
    const back = await resume(t, a.port, PATH, ann, 'member')
    t.equal(back.connected.recovered, false)
    await publish(a, 4)
    t.same(await has([back], 1), [4])

    back.ws.terminate()
    await back.end()
    await a.app.wsNamespaces.get('chat')!.toRoom('red', 'n', 5)
    if (late !== a) {
      await late.app.wsNamespaces.get('chat')!.close()
      make(late.app, 'second')
    }
    const again = await resume(t, late.port, PATH, back, 'member')
    t.equal(again.connected.recovered, true, 'its own it has, with the rooms of its clients')
    t.same(await has([again], 1), [5])
    if (late !== a) t.same((await connectRedis(t, Number(new URL(sharedRedis()).port)).keys(`${siteId}:*:ws:state:*`)).sort(), [`${siteId}:test:ws:state:{chat~first}`, `${siteId}:test:ws:state:{chat~second}`])
  })
}

t.test('the id of a history is checked', async (t) => {
  const { app } = await build(t)
  for (const id of ['', 'a b', 'a~b', 'é', 'x'.repeat(65), 1] as string[]) {
    t.throws(() => app.wsNamespaces.create('chat', { history: { id } }), { code: 'FST_ERR_WS_NAMESPACES_INVALID_OPTION' }, String(id))
  }
  app.wsNamespaces.create('chat', { history: { id: 'x'.repeat(64) } })
})
