import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { killAll, start } from './children.js'
import { round, until } from './numbers.js'
import { ROOM } from './rooms.js'
import { perSecond, startServers } from './servers.js'

const WORKERS = 8
/** Messages of a worker, one in so many milliseconds: 250 a second of all. */
const EVERY_MS = 32
/** What a process needs once is not a socket's: so many are there before it is measured. Whole rooms. */
const FIRST = WORKERS * ROOM * 10

/**
 * Sockets of users, as carry.js has them of nobody: each of another user, in a room of 20 that is on every worker. What it takes
 * to open them, to have them, and to say something to a room.
 *
 * @param {{ isShort: boolean, say: (line: string) => void }} options
 */
export async function measurePeople ({ isShort, say }) {
  const wanted = FIRST + (isShort ? FIRST : 100_000 - FIRST)
  say(`${wanted} sockets of users on ${WORKERS} workers`)
  const dir = mkdtempSync(join(tmpdir(), 'jpulse-bench-'))
  const servers = await startServers('single', dir)
  try {
    const workers = await Promise.all(Array.from({ length: WORKERS }, (_, number) => start('sockets.js', { redis: servers.options, number })))
    const clients = await Promise.all(workers.map(() => start('socket-clients.js', {})))
    const ports = await Promise.all(workers.map(({ call }) => call('port')))
    const all = async (/** @type {string} */ name) => (await Promise.all(workers.map(({ call }) => call(name)))).reduce((sum, one) => sum + one, 0)
    const heard = async () => (await Promise.all(clients.map(({ call }) => call('heard')))).reduce((sum, one) => sum + one, 0)
    const forget = () => Promise.all(clients.map(({ call }) => call('forget')))
    const state = async () => ({ cpu: await all('cpu'), redis: await servers.look() })
    // Each socket hears that it is connected when it is in its room.
    const open = async (/** @type {number} */ from, /** @type {number} */ to) => {
      await forget()
      await Promise.all(clients.map(({ call }, index) => call('open', ports[index], (to - from) / WORKERS, { first: from + index, step: WORKERS })))
      await until(async () => await heard() >= await all('sockets') - from, 'all to be connected', 60_000)
    }
    await open(0, FIRST)
    const resident = await all('resident')
    const before = await state()
    const begin = performance.now()
    await open(FIRST, wanted)
    const openSeconds = (performance.now() - begin) / 1000
    const opened = await state()
    const count = await all('sockets')
    const added = count - FIRST
    const memory = await all('resident') - resident

    const idleSeconds = isShort ? 3 : 35
    const idleBefore = await state()
    await sleep(idleSeconds * 1000)
    const idleAfter = await state()
    const idle = perSecond(idleBefore.redis, idleAfter.redis)
    const idleCpu = (idleAfter.cpu - idleBefore.cpu) / idleSeconds

    const messages = (isShort ? 1 : 10) * 1000 / EVERY_MS
    await forget()
    const said = await state()
    await Promise.all(workers.map(({ call }, index) => call('say', { count: messages, everyMs: EVERY_MS, first: index * ROOM, step: WORKERS * ROOM, users: count })))
    await until(async () => await heard() >= messages * WORKERS * ROOM, 'all messages to come', 60_000)
    const done = await state()
    const seconds = (done.redis.at - said.redis.at) / 1000
    const sent = messages * WORKERS
    return {
      count,
      workers: WORKERS,
      room: ROOM,
      openedPerSecond: round(added / openSeconds),
      openUs: round((opened.cpu - before.cpu) / added),
      openRedisUs: round((opened.redis.cpu - before.redis.cpu) / added * 1e6),
      bytesEach: Math.max(0, Math.round(memory / added)),
      redisBytesEach: Math.max(0, Math.round((opened.redis.memory - before.redis.memory) / added)),
      idleUsEachPerSecond: round(idleCpu / count),
      messagesPerSecond: round(sent / seconds),
      messageRedisUs: round(((done.redis.cpu - said.redis.cpu) - idle.core * seconds) / sent * 1e6),
      messageRedisBytes: round(((done.redis.bytes - said.redis.bytes) - idle.bytes * seconds) / sent),
      deliveryUs: round(((done.cpu - said.cpu) - idleCpu * seconds) / sent / ROOM)
    }
  } finally {
    await killAll()
    await servers.stop()
    rmSync(dir, { recursive: true, force: true })
  }
}
