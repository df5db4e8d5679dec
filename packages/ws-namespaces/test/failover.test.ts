import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { redisCluster, redisServer, tcpProxy, uniqueName, waitFor } from '../../../test/helpers/index.ts'
import { connect, gotBy, has, range, resume, type Client } from './support/client.ts'
import { servers } from './support/processes.ts'

const PATH = '/api/1/ws/chat'
/** Clients that come back, wherever, as soon as they lost their connection, until told to stop. */
function population (t: Test, ports: () => number[], users: readonly string[]): { lives: Map<string, Client[]>, recovered: boolean[], stop (): void } {
  const lives = new Map<string, Client[]>()
  const recovered: boolean[] = []
  const ended = new AbortController()
  for (const user of users) {
    const own: Client[] = []
    lives.set(user, own)
    const live = async (): Promise<void> => {
      let before: Client | null = null
      let last: Client | null = null
      while (!ended.signal.aborted) {
        const port = ports()[Math.floor(Math.random() * ports().length)]!
        const client: Client = await (before === null ? connect(t, port, PATH, { user }) : resume(t, port, PATH, before, user))
        if (client.connected !== null) {
          if (before !== null) recovered.push(client.connected.recovered)
          own.push(client)
          before = last = client
          await waitFor(() => ended.signal.aborted || client.closed, { timeoutMs: 110_000 })
        } else await sleep(50)
      }
      last?.ws.terminate()
    }
    live().catch((err: unknown) => { if (!ended.signal.aborted) throw err })
  }
  t.teardown(() => ended.abort())
  return { lives, recovered, stop: () => ended.abort() }
}

t.test('worker killed, connections reset, Redis killed and started again under load: every message once, in order', async (t) => {
  const redis = await redisServer(t)
  const siteId = uniqueName('ws')
  const proxy = await tcpProxy(t, redis.port)
  const setup = { siteId, namespaces: { chat: { history: { maxLength: 10_000, maxAgeMs: 300_000 }, limits: { maxBufferedBytes: 64 * 1024 * 1024 } } }, options: { publishWaitMs: 60_000 } }
  const [publisher, other] = await servers(t, redis.url, 2, { ...setup })
  const [victim] = await servers(t, `redis://127.0.0.1:${proxy.port}`, 1, { ...setup, first: 2, expected: 3 })
  const ports = new Set([publisher!.port, other!.port, victim!.port])
  const users = range(1, 12).map((n) => `u${n}`)
  const { lives, recovered, stop } = population(t, () => [...ports], users)
  await waitFor(() => [...lives.values()].every((own) => own.length > 0), { what: 'all to be connected', timeoutMs: 60_000 })

  const streaming = Promise.all([publisher!.call<string[]>('stream', 'chat', 1, 1000, 4), other!.call<string[]>('stream', 'chat', 10_001, 11_000, 4)])
  const reached = (n: number) => waitFor(() => gotBy(lives.get('u1')!).length >= n, { what: `message ${n}`, timeoutMs: 60_000 })
  await reached(100)
  proxy.reset()
  for (const own of lives.values()) if (Math.random() < 0.5) own.at(-1)!.ws.terminate()
  await reached(300)
  victim!.kill('SIGKILL')
  ports.delete(victim!.port)
  await reached(600)
  await redis.kill()
  for (const own of lives.values()) if (Math.random() < 0.5) own.at(-1)!.ws.terminate()
  await redis.restart()
  t.ok((await streaming).flat().every((delivered) => delivered === 'cluster'))
  t.ok(recovered.every(Boolean), `${recovered.length} recovered`)
  for (const [user, own] of lives) {
    const got = await has(own, 2000)
    t.same(got.filter((n) => n <= 1000), range(1, 1000), `${user}: one publisher's`)
    t.same(got.filter((n) => n > 1000), range(10_001, 11_000), `${user}: the other's`)
  }
  const orders = new Set([...lives.values()].map((own) => String(gotBy(own))))
  t.equal(orders.size, 1, 'all in one order')
  t.ok(recovered.length >= 6 && recovered.every(Boolean), `${recovered.length} recovered`)
  stop()
})

t.test('on a Redis Cluster: delivery, recovery over a failover of the log\'s primary, presence', async (t) => {
  const cluster = await redisCluster(t)
  const siteId = uniqueName('ws')
  const nodes = cluster.nodes.map(({ port }) => ({ host: '127.0.0.1', port }))
  const two = await servers(t, '', 2, { siteId, link: { url: undefined, cluster: { nodes } }, namespaces: { chat: { history: { maxLength: 5000, maxAgeMs: 300_000 }, presence: true }, live: {} }, options: { publishWaitMs: 60_000 } })
  const [a, b] = two as [typeof two[0], typeof two[0]]
  const [ann, bob, live] = await Promise.all([connect(t, a.port, PATH, { user: 'ann' }), connect(t, b.port, PATH, { user: 'bob' }), connect(t, b.port, '/api/1/ws/live', { user: 'bob' })])
  await a.call('publish', 'live', 'user', 'bob', 1)
  t.same(await has([live!], 1), [1])
  await a.call('stream', 'chat', 1, 50, 0)
  t.same([await has([ann!], 50), await has([bob!], 50)], [range(1, 50), range(1, 50)])
  bob!.ws.terminate()
  await ann!.wait('presence:leave')
  const primary = await cluster.primaryOf(`${siteId}:test:ws:log:{chat}`)
  await primary.kill()
  const streaming = b.call<string[]>('stream', 'chat', 51, 100, 1)
  t.ok((await streaming).every((delivered) => delivered === 'cluster'), 'published over the failover')
  const back = await resume(t, a.port, PATH, bob!, 'bob')
  t.equal(back.connected.recovered, true)
  t.same(await has([back], 50), range(51, 100))
  t.same(await has([ann!], 100), range(1, 100))
})
