import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import clusterBroadcast from '@jpulse/cluster-broadcast'
import configCache from '@jpulse/config-cache'
import redisLink from '@jpulse/redis-link'
import wsNamespaces from '@jpulse/ws-namespaces'
import { WebSocket } from 'ws'
import { redisCluster, uniqueName, waitFor } from './helpers/index.ts'

// What is published on one server of a Redis Cluster reaches who listens on another late: its bus holds small messages back. So
// each package listens where its scripts publish.

async function start (t: Test, nodes: Array<{ host: string, port: number }>, siteId: string): Promise<FastifyInstance> {
  const app = Fastify()
  app.register(redisLink, { cluster: { nodes }, siteId, connectTimeoutMs: 10_000 })
  app.register(clusterBroadcast, { channels: { orders: { replay: 'own' } } })
  app.register(configCache, { blockTtlMs: 500 })
  app.register(wsNamespaces)
  t.teardown(() => app.close())
  await app.ready()
  app.wsNamespaces.create('chat', { public: true, history: { maxLength: 100 }, presence: true })
  await app.appCluster.broadcast.subscribe('orders:*', () => {})
  const address = await app.listen({ port: 0, host: '127.0.0.1' })
  const socket = new WebSocket(`${address.replace('http', 'ws')}/api/1/ws/chat`)
  t.teardown(() => { socket.terminate() })
  await new Promise((resolve, reject) => { socket.once('message', resolve).once('error', reject) })
  return app
}

t.test('on a Redis Cluster each channel is listened to on the server on which it is published', async (t) => {
  const cluster = await redisCluster(t)
  const nodes = cluster.nodes.map(({ port }) => ({ host: '127.0.0.1', port }))
  const siteId = uniqueName()
  const apps = await Promise.all([1, 2, 3].map(() => start(t, nodes, siteId)))
  const [{ redisLink: link }] = apps as [FastifyInstance, ...FastifyInstance[]]
  await waitFor(() => apps.every((app) => app.configCache.stats().mode === 'coherent' && app.appCluster.mode === 'cluster'))
  const site = link.key('').slice(0, -1)
  const published: Array<[channels: RegExp, key: string]> = [
    [/:cluster:(bus|membership|reply:|internal:|app:)/, `{${site}}`],
    [/:cluster:log:orders/, `{${site}:orders}`],
    [/:cache:(bus|ack:)/, `{${site}:cache}`],
    [/:ws:chat:/, '{chat}']
  ]
  const look = async () => {
    const [heard, misplaced] = [new Set<number>(), [] as string[]]
    for (const { client, port } of cluster.nodes) {
      for (const channel of await client.call('PUBSUB', 'CHANNELS', `${link.channel('')}*`) as string[]) {
        const at = published.findIndex(([channels]) => channels.test(channel))
        if (at === -1) continue
        heard.add(at)
        if (port !== (await cluster.primaryOf(published[at]![1])).port) misplaced.push(`${channel} at ${port}`)
      }
    }
    return { heard: heard.size, misplaced }
  }
  // Who could not connect at first is elsewhere for half a minute.
  await waitFor(async () => (await look()).misplaced.length === 0, { what: 'all to be where they belong', timeoutMs: 90_000, everyMs: 500 }).catch(() => {})
  t.same(await look(), { heard: published.length, misplaced: [] })
})
