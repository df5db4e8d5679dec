import type { AddressInfo } from 'node:net'
import Fastify, { type FastifyInstance } from 'fastify'
import { clusterBroadcast } from '@jpulse/cluster-broadcast'
import { redisLink } from '@jpulse/redis-link'
import t from 'tap'
import { sharedRedis, uniqueName, waitFor, type Scope } from '../../../test/helpers/index.ts'
import { wsNamespaces, type Namespace } from '../src/index.ts'
import { byHeader } from './support/build.ts'
import { connect, type Client } from './support/client.ts'

const REALMS = ['shop', 'staff'] as const

interface Worker { port: number, of: (realm: string) => Namespace, scopes: FastifyInstance[] }

/** A process with two registrations, each with a namespace and a pattern of its own. */
async function worker (t: Scope, siteId: string, pmId: string): Promise<Worker> {
  const app = Fastify({ logger: false })
  t.teardown(() => app.close())
  app.register(redisLink, { url: sharedRedis(), siteId, env: 'test' })
  app.register(clusterBroadcast, { serverId: 'test', pmId })
  const scopes: FastifyInstance[] = []
  for (const realm of REALMS) {
    app.register(async (scope) => {
      scopes.push(scope)
      scope.register(wsNamespaces, { routePrefix: `/${realm}/ws`, authorize: async () => true })
      await scope.after()
      for (const name of [realm, `${realm}-rooms/:id`]) scope.wsNamespaces.create(name, { authorize: byHeader, presence: { graceMs: 0 }, history: { maxLength: 100 }, clientRooms: true })
    })
  }
  await app.listen({ port: 0, host: '127.0.0.1' })
  const of = (name: string): Namespace => scopes.map((scope) => scope.wsNamespaces.get(name)).find((found) => found !== null)!
  return { port: (app.server.address() as AddressInfo).port, of, scopes }
}

t.test('with two registrations each answers for its own namespaces, on all workers', async (t) => {
  const siteId = uniqueName('two')
  const [a, b] = await Promise.all(['0', '1'].map((pmId) => worker(t, siteId, pmId))) as [Worker, Worker]
  for (const [realm, name] of [['shop', 'shop'], ['staff', 'staff'], ['shop', 'shop-rooms/7'], ['staff', 'staff-rooms/7']] as const) {
    const path = `/${realm}/ws/${name}`
    const open = (worker: Worker, user: string): Promise<Client> => connect(t, worker.port, path, { user })
    const [here, there, other] = await Promise.all([open(a, 'ann'), open(b, 'ann'), open(b, 'bob')]) as [Client, Client, Client]
    for (const { ws } of [here, there, other]) {
      ws.on('message', (data) => {
        const { type, id } = JSON.parse(String(data)) as { type: string, id?: string }
        if (type === 'question') ws.send(JSON.stringify({ type: 'reply', replyTo: id, data: name }))
      })
    }
    // The definition belongs to one registration; whoever asks is on the other worker.
    const far = a.of(name)
    t.same((await far.connections('ann')).map(({ instance }) => instance).sort(), ['test:0', 'test:1'], name)
    await waitFor(async () => (await far.presence()).length === 2, { what: 'both users', timeoutMs: 20_000 })
    t.same((await far.presence()).map(({ userId, instances }) => [userId, instances.toSorted()]).sort(), [['ann', ['test:0', 'test:1']], ['bob', ['test:1']]])
    t.equal(await far.request('bob', 'question', 1, { timeoutMs: 20_000 }), name)
    const answers: unknown[] = []
    for await (const { userId, data } of far.requestEach({ userId: 'ann' }, 'question', 1, { timeoutMs: 20_000 })) answers.push([userId, data])
    t.same(answers, [['ann', name], ['ann', name]])
    t.equal(await far.joinUser('ann', 'r'), 2)
    t.same((await far.presence('r')).map(({ userId }) => userId), ['ann'])
    await far.toRoom('r', 'in the room', 1)
    await Promise.all([here, there].map((client) => client.wait('in the room')))
    t.equal(await far.leaveUser('ann', 'r'), 2)
    await far.toRoom('r', 'in the room', 2)
    await far.broadcast('to all', 3)
    await Promise.all([here, there, other].map((client) => client.wait('to all')))
    t.same([here, there, other].map((client) => client.of('in the room')), [[1], [1], []])
    t.equal(await far.disconnect('ann', 4403, 'out'), 2)
    t.same(await Promise.all([here.end(), there.end()]), [{ code: 4403, reason: 'out' }, { code: 4403, reason: 'out' }])
    t.equal(other.closed, null)
    await other.wait('presence:leave')
    t.same((await far.presence()).map(({ userId }) => userId), ['bob'])
    other.ws.terminate()
  }
  for (const [index, realm] of REALMS.entries()) {
    for (const { scopes } of [a, b]) {
      const other = REALMS[1 - index]!
      t.equal(scopes[index]!.wsNamespaces.get(other), null, 'of the other registration')
      t.throws(() => scopes[index]!.wsNamespaces.create(other), { code: 'FST_ERR_WS_NAMESPACES_EXISTS' })
      t.same(Object.keys(scopes[index]!.wsNamespaces.local()).filter((name) => !name.startsWith(realm)), [])
    }
  }
})
