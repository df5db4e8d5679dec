import { pathToFileURL } from 'node:url'
import Fastify from 'fastify'
import { Redis } from 'ioredis'

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

/** @param {string} kind one of `peers`, or `off@` and `on@` with the folder of another checkout @param {string} url @returns {Promise<Peer>} */
export function makePeer (kind, url) {
  const [name = '', folder] = kind.split('@')
  return folder === undefined ? /** @type {NonNullable<typeof peers[string]>} */ (peers[name])(url) : ours(url, name === 'off' ? false : {}, folder)
}

/** @param {string} url @param {false | {}} replay @param {string} [folder] of a checkout @returns {Promise<Peer>} */
async function ours (url, replay, folder) {
  /** @param {string} name @returns {Promise<any>} */
  const load = (name) => import(folder === undefined ? `@jpulse/${name}` : pathToFileURL(`${folder}/packages/${name}/dist/index.js`).href)
  const [{ redisLink }, { clusterBroadcast }] = [await load('redis-link'), await load('cluster-broadcast')]
  const app = Fastify()
  app.register(redisLink, { url, siteId: 'bench', env: `${replay === false ? 'off' : 'on'}${folder === undefined ? '' : '-before'}` })
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
