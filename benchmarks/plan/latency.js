import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import autocannon from 'autocannon'
import { WebSocket } from 'ws'
import { BOUNDS } from './bounds.js'
import { killAll, start } from './children.js'
import { fillDatabase } from './documents.js'
import { clock, quantiles, round, until } from './numbers.js'
import { startServers } from './servers.js'

const WORKERS = 4
const CLIENTS_EACH = 10
/** Of what takes longer, so many times fewer are measured. */
const SLOWER = 5
/** Longest way of a message. */
const LONGEST_MS = 10_000

/** @param {{ isShort: boolean, say: (line: string) => void }} options */
export async function measureLatency ({ isShort, say }) {
  const count = isShort ? 100 : 1000
  const dir = mkdtempSync(join(tmpdir(), 'jpulse-bench-'))
  const servers = await startServers('single', dir)
  const mongo = String(process.env.MONGODB_URI)
  const db = `plan-${randomUUID().slice(0, 8)}`
  const database = await fillDatabase(mongo, db, WORKERS, count / SLOWER)
  try {
    const workers = await Promise.all(Array.from({ length: WORKERS }, (_, number) => start('worker.js', { redis: servers.options, mongo, db, number, count })))
    await until(async () => (await Promise.all(workers.map(({ call }) => call('isReady', WORKERS)))).every(Boolean), 'the workers', 30_000)
    await Promise.all(workers.map(({ call }) => call('fill')))
    /** @type {Record<string, ReturnType<typeof quantiles>>} */
    const rows = {}
    for (const name of Object.keys(BOUNDS)) {
      say(name)
      if (name === 'WebSocket broadcast, in all') {
        rows[name] = quantiles(await broadcasts(await Promise.all(workers.map(({ call }) => call('port'))), count))
        continue
      }
      const timed = (/** @type {number} */ operations) => Promise.all(workers.map(({ call }) => call('time', name, operations, 2, WORKERS)))
      // Values that are read for the first time are so once only, and what the others did has warmed them.
      if (!name.startsWith('config, from')) await timed(count / 10)
      rows[name] = quantiles((await timed(name === 'aggregation' || name === 'config, from MongoDB' ? count / SLOWER : count)).flat())
    }
    say('requests')
    const request = await requests(/** @type {import('./children.js').Child} */ (workers[0]), servers, isShort ? 1 : 5)
    await Promise.all(workers.map(({ stop }) => stop()))
    return { workers: WORKERS, mongo: database.server, rows, request }
  } finally {
    await killAll()
    await servers.stop()
    rmSync(dir, { recursive: true, force: true })
    await database.drop()
  }
}

/**
 * From a client's `send` until the last of all clients of all workers has the message.
 *
 * @param {number[]} ports @param {number} count
 */
async function broadcasts (ports, count) {
  const sockets = await Promise.all(ports.flatMap((port) => Array.from({ length: CLIENTS_EACH }, async () => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/api/1/ws/chat`)
    await once(socket, 'message')
    return socket
  })))
  let heard = 0
  let done = () => {}
  for (const socket of sockets) socket.on('message', (text) => { if (String(text).includes('"said"') && ++heard === sockets.length) done() })
  const times = []
  for (let index = 0; index < count; index++) {
    heard = 0
    const all = new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`only ${heard} of ${sockets.length} clients have the message`)), LONGEST_MS)
      done = () => {
        clearTimeout(timer)
        resolve(undefined)
      }
    })
    const begin = clock()
    sockets[index % sockets.length]?.send(JSON.stringify({ type: 'say', data: { index, text: 'x'.repeat(60) } }))
    await all
    if (index >= count / 10) times.push(clock() - begin)
    await sleep(2)
  }
  for (const socket of sockets) socket.terminate()
  return times
}

/**
 * CPU time of a request that reads its session and one setting: of the worker, and of Redis.
 *
 * @param {import('./children.js').Child} worker @param {import('./servers.js').Servers} servers @param {number} duration seconds
 */
async function requests ({ call }, servers, duration) {
  const url = `http://127.0.0.1:${await call('port')}/page`
  const headers = { cookie: await call('login') }
  await autocannon({ url, headers, connections: 20, duration: 1 })
  const [cpu, begin] = [await call('cpu'), await servers.look()]
  const { requests: { total }, errors, non2xx, duration: seconds } = await autocannon({ url, headers, connections: 20, duration })
  const [after, end] = [await call('cpu'), await servers.look()]
  if (errors + non2xx > 0) throw new Error(`${errors} errors and ${non2xx} wrong answers`)
  return {
    perSecond: round(total / seconds),
    workerUs: round((after.user + after.system - cpu.user - cpu.system) / total),
    redisUs: round((end.cpu - begin.cpu) * 1e6 / total),
    redisBytes: round((end.bytes - begin.bytes) / total)
  }
}
