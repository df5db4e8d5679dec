import Fastify from 'fastify'
import { Redis } from 'ioredis'
import { clusterBroadcast } from '@jpulse/cluster-broadcast'
import { redisLink } from '@jpulse/redis-link'

/**
 * One way to publish and subscribe, as the benchmark needs it.
 *
 * @typedef {object} Peer
 * @property {(channel: string, data: unknown) => Promise<unknown>} publish
 * @property {(channel: string, handler: (data: any) => void) => Promise<unknown>} subscribe
 * @property {() => Promise<unknown>} close
 * @property {import('fastify').FastifyInstance} [app]
 */

/** @type {Record<string, (url: string) => Promise<Peer>>} */
export const peers = {
  /** What an application writes by hand: JSON over PUBLISH, a second connection to subscribe. */
  async ioredis (url) {
    const client = new Redis(url)
    const subscriber = new Redis(url)
    return {
      publish: (channel, data) => client.publish(channel, JSON.stringify(data)),
      async subscribe (channel, handler) {
        await subscriber.subscribe(channel)
        subscriber.on('message', (_channel, message) => handler(JSON.parse(message)))
      },
      close: async () => { client.disconnect(); subscriber.disconnect() }
    }
  },
  off: (url) => ours(url, false),
  on: (url) => ours(url, {})
}

/** @param {string} url @param {false | {}} replay @returns {Promise<Peer>} */
async function ours (url, replay) {
  const app = Fastify()
  app.register(redisLink, { url, siteId: 'bench', env: replay === false ? 'off' : 'on' })
  app.register(clusterBroadcast, { replay, serverId: 'bench', pmId: String(process.pid) })
  await app.ready()
  const { broadcast } = app.appCluster
  return {
    app,
    publish: (channel, data) => broadcast.publish(channel, data),
    subscribe: async (channel, handler) => { await broadcast.subscribe(channel, ({ data }) => handler(data)) },
    close: () => app.close()
  }
}
