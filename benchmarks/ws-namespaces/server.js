import { createServer } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { clusterBroadcast } from '@jpulse/cluster-broadcast'
import { redisLink } from '@jpulse/redis-link'
import { wsNamespaces } from '@jpulse/ws-namespaces'
import { createAdapter } from '@socket.io/redis-adapter'
import Fastify from 'fastify'
import { Redis } from 'ioredis'
import { Server } from 'socket.io'
import { WebSocketServer } from 'ws'

// One of two server processes of a variant of fan-out.bench.js. Answers { call, args } of its parent.

const [variant = '', site = ''] = process.argv.slice(2)
const url = String(process.env.REDIS_URL)
const HOST = '127.0.0.1'

/** @typedef {{ port: number, path: string, publish: (data: object) => unknown }} Running */

/** @returns {Promise<Running>} */
async function ours () {
  const app = Fastify()
  app.register(redisLink, { url, siteId: site })
  app.register(clusterBroadcast, { pmId: String(process.pid) })
  app.register(wsNamespaces)
  await app.ready()
  const history = variant.endsWith('history') ? { maxLength: 2000 } : false
  const space = app.wsNamespaces.create('bench', { public: true, history, authorize: () => ({ userId: null }) })
  await app.listen({ port: 0, host: HOST })
  return { port: portOf(app.server), path: '/api/1/ws/bench', publish: (data) => space.broadcast('n', data) }
}

/** @returns {Promise<Running>} */
async function socketIo () {
  const server = createServer()
  const [pub, sub] = [new Redis(url), new Redis(url)]
  const io = new Server(server, { adapter: createAdapter(pub, sub, { key: site }), transports: ['websocket'] })
  await listening(server)
  return { port: portOf(server), path: '/socket.io/?EIO=4&transport=websocket', publish: (data) => io.emit('n', data) }
}

/** @returns {Promise<Running>} */
async function plain () {
  const server = createServer()
  const sockets = new WebSocketServer({ server, perMessageDeflate: false })
  const [pub, sub] = [new Redis(url), new Redis(url)]
  await sub.subscribe(site)
  sub.on('message', (_channel, text) => { for (const socket of sockets.clients) socket.send(text) })
  await listening(server)
  return { port: portOf(server), path: '/', publish: (data) => pub.publish(site, JSON.stringify({ type: 'n', data })) }
}

/** @param {import('node:http').Server} server @returns {Promise<void>} */
const listening = (server) => new Promise((resolve) => server.listen(0, HOST, resolve))
/** @param {import('node:net').Server} server */
const portOf = (server) => /** @type {import('node:net').AddressInfo} */ (server.address()).port

const running = await (variant.startsWith('ours') ? ours() : variant === 'Socket.IO' ? socketIo() : plain())
const PAD = 'x'.repeat(60)

/** @type {Record<string, (...args: any[]) => any>} */
const calls = {
  where: () => ({ port: running.port, path: running.path }),
  /** So many messages in one turn. @param {number} count */
  burst: (count) => { for (let n = 0; n < count; n++) running.publish({ t: performance.timeOrigin + performance.now(), pad: PAD }) },
  usage: () => process.cpuUsage(),
  memory: async () => {
    for (let turn = 0; turn < 10; turn++) {
      await sleep(50)
      globalThis.gc?.()
    }
    return process.memoryUsage.rss()
  }
}

process.on('message', async (/** @type {any} */ { id, call, args }) => process.send?.({ id, value: await calls[call]?.(...args) }))
process.on('disconnect', () => process.exit(0))
process.send?.('ready')
