import { execFileSync, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
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

/** `hello`: what each client sends first. `pid`: of the process, where it is another. @typedef {{ port: number, paths: string[], hello?: string[], pid?: number, publish: (data: object) => unknown, publishAll?: (all: object[]) => unknown }} Running */

const NAMESPACES = ['bench0', 'bench1', 'bench2']

/** @returns {Promise<Running>} */
async function ours () {
  const app = Fastify()
  app.register(redisLink, { url, siteId: site })
  app.register(clusterBroadcast, { pmId: String(process.pid) })
  app.register(wsNamespaces)
  await app.ready()
  const history = variant.endsWith('history') ? { maxLength: 2000 } : false
  const names = variant.includes('3') ? NAMESPACES : NAMESPACES.slice(0, 1)
  const spaces = names.map((name) => app.wsNamespaces.create(name, { public: true, history, authorize: () => ({ userId: null }) }))
  let turn = 0
  const isShared = variant.endsWith('on a socket')
  await app.listen({ port: 0, host: HOST })
  return {
    port: portOf(app.server),
    paths: isShared ? ['/api/1/ws'] : names.map((name) => `/api/1/ws/${name}`),
    hello: isShared ? names.map((namespace, index) => JSON.stringify({ type: 'open', id: index + 1, path: namespace })) : [],
    publish: (data) => spaces[turn++ % spaces.length]?.broadcast('n', data)
  }
}

/** @returns {Promise<Running>} */
async function socketIo () {
  const server = createServer()
  const [pub, sub] = [new Redis(url), new Redis(url)]
  const io = new Server(server, { adapter: createAdapter(pub, sub, { key: site }), transports: ['websocket'] })
  await listening(server)
  return { port: portOf(server), paths: ['/socket.io/?EIO=4&transport=websocket'], publish: (data) => io.emit('n', data) }
}

/** @returns {Promise<Running>} */
async function plain () {
  const server = createServer()
  const sockets = new WebSocketServer({ server, perMessageDeflate: false })
  const [pub, sub] = [new Redis(url), new Redis(url)]
  await sub.subscribe(site)
  sub.on('message', (_channel, text) => { for (const socket of sockets.clients) socket.send(text) })
  await listening(server)
  return { port: portOf(server), paths: ['/'], publish: (data) => pub.publish(site, JSON.stringify({ type: 'n', data })) }
}

/** A node of Centrifugo with its Redis engine. @returns {Promise<Running>} */
async function centrifugo () {
  const probe = createServer()
  await listening(probe)
  const port = portOf(probe)
  await new Promise((resolve) => probe.close(resolve))
  const child = spawn(String(process.env.CENTRIFUGO), [], {
    stdio: 'ignore',
    env: {
      CENTRIFUGO_HTTP_SERVER_ADDRESS: HOST,
      CENTRIFUGO_HTTP_SERVER_PORT: String(port),
      CENTRIFUGO_HTTP_API_KEY: site,
      CENTRIFUGO_ENGINE_TYPE: 'redis',
      CENTRIFUGO_ENGINE_REDIS_ADDRESS: url,
      CENTRIFUGO_ENGINE_REDIS_PREFIX: site,
      CENTRIFUGO_CLIENT_INSECURE: 'true',
      CENTRIFUGO_LOG_LEVEL: 'none'
    }
  })
  process.on('exit', () => child.kill())
  const post = (/** @type {string} */ method, /** @type {object} */ body) => fetch(`http://${HOST}:${port}/api/${method}`, { method: 'POST', headers: { 'x-api-key': site, 'content-type': 'application/json' }, body: JSON.stringify(body) })
  for (let tries = 0; tries < 200 && !await post('info', {}).then(({ ok }) => ok, () => false); tries++) await sleep(50)
  const publishAll = (/** @type {object[]} */ all) => post('batch', { commands: all.map((data) => ({ publish: { channel: 'bench', data } })) })
  return {
    port,
    paths: ['/connection/websocket'],
    hello: ['{"id":1,"connect":{}}', '{"id":2,"subscribe":{"channel":"bench"}}'],
    pid: /** @type {number} */ (child.pid),
    publish: (data) => publishAll([data]),
    publishAll
  }
}

/** @param {import('node:http').Server} server @returns {Promise<void>} */
const listening = (server) => new Promise((resolve) => server.listen(0, HOST, resolve))
/** @param {import('node:net').Server} server */
const portOf = (server) => /** @type {import('node:net').AddressInfo} */ (server.address()).port

const running = await (variant.startsWith('ours') ? ours() : variant === 'Socket.IO' ? socketIo() : variant === 'Centrifugo' ? centrifugo() : plain())
const PAD = 'x'.repeat(60)
/** Of the clock of /proc, a second. */
const TICKS = running.pid === undefined ? NaN : Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }))

/** @type {Record<string, (...args: any[]) => any>} */
const calls = {
  where: () => ({ port: running.port, paths: running.paths, hello: running.hello ?? [] }),
  /** So many messages in one turn. @param {number} count */
  burst: (count) => {
    const all = Array.from({ length: count }, () => ({ t: performance.timeOrigin + performance.now(), pad: PAD }))
    if (running.publishAll === undefined) for (const data of all) running.publish(data)
    else running.publishAll(all)
  },
  usage: () => running.pid === undefined ? process.cpuUsage() : usageOf(running.pid),
  // Without what V8 keeps of the heap for what comes next: it grows in steps of some MiB when many connect at once, and not each time, which
  // made 7 MiB per 1000 clients of 4. Of several looks the least, because nothing makes it less than it is.
  memory: async () => {
    let least = Infinity
    for (let turn = 0; turn < 10; turn++) {
      await sleep(50)
      globalThis.gc?.()
      const { rss, heapTotal, heapUsed } = process.memoryUsage()
      least = Math.min(least, rss - (heapTotal - heapUsed))
    }
    return running.pid === undefined ? least : 1024 * Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${running.pid}/status`, 'utf8'))?.[1])
  }
}

/** Microseconds of another process. @param {number} pid */
function usageOf (pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  const [user, system] = [11, 12].map((field) => Number(fields[field]) * 1e6 / TICKS)
  return { user, system }
}

process.on('message', async (/** @type {any} */ { id, call, args }) => process.send?.({ id, value: await calls[call]?.(...args) }))
process.on('disconnect', () => process.exit(0))
process.send?.('ready')
