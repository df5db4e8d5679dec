import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { killAll, start } from './children.js'
import { quantile, round, until } from './numbers.js'
import { startServers } from './servers.js'

/** Processes with sockets, and as many of clients: each of them may have so many files open. */
const WORKERS = 8

/** As many sessions and sockets as the plan's largest site has, or as the machine carries. @param {{ isShort: boolean, say: (line: string) => void }} options */
export async function measureCarry ({ isShort, say }) {
  return { sessions: await sessions(isShort ? 5000 : 1_000_000, say), sockets: await sockets(isShort ? 1600 : 100_000, say) }
}

/** @param {number} wanted @param {(line: string) => void} say */
async function sessions (wanted, say) {
  say(`${wanted} sessions`)
  const dir = mkdtempSync(join(tmpdir(), 'jpulse-bench-'))
  const servers = await startServers('single', dir)
  try {
    const before = await servers.look()
    const child = await start('sessions.js', { redis: servers.options })
    const begin = performance.now()
    await child.call('make', wanted)
    const seconds = (performance.now() - begin) / 1000
    const after = await servers.look()
    const times = await child.call('read', 2000)
    const count = await child.call('count')
    await child.stop()
    return { count: wanted, madePerSecond: round(wanted / seconds), redisMib: round((after.memory - before.memory) / 2 ** 20), bytesEach: Math.round((after.memory - before.memory) / wanted), keys: after.keys, readP50: round(quantile(times, 0.5)), readP99: round(quantile(times, 0.99)), countMs: round(count) }
  } finally {
    await killAll()
    await servers.stop()
    rmSync(dir, { recursive: true, force: true })
  }
}

/** @param {number} wanted @param {(line: string) => void} say */
async function sockets (wanted, say) {
  say(`${wanted} sockets on ${WORKERS} workers`)
  const dir = mkdtempSync(join(tmpdir(), 'jpulse-bench-'))
  const servers = await startServers('single', dir)
  try {
    const workers = await Promise.all(Array.from({ length: WORKERS }, (_, number) => start('sockets.js', { redis: servers.options, number })))
    const clients = await Promise.all(workers.map(() => start('socket-clients.js', {})))
    const ports = await Promise.all(workers.map(({ call }) => call('port')))
    const all = async (/** @type {string} */ name, /** @type {any[]} */ ...args) => (await Promise.all(workers.map(({ call }) => call(name, ...args)))).reduce((sum, one) => sum + one, 0)
    // What a process needs once is not a socket's.
    await Promise.all(clients.map(({ call }, index) => call('open', ports[index], Math.min(200, wanted / WORKERS / 2))))
    const [few, resident, redis] = [await all('sockets'), await all('resident'), await servers.look()]
    const opened = performance.now()
    await Promise.all(clients.map(({ call }, index) => call('open', ports[index], wanted / WORKERS - few / WORKERS)))
    const openSeconds = (performance.now() - opened) / 1000
    const count = await all('sockets')
    const [more, redisAfter] = [await all('resident'), await servers.look()]
    const seconds = wanted > 10_000 ? 35 : 3
    const idle = await all('cpu')
    // One interval of pings and a little more.
    await sleep(seconds * 1000)
    const idleCpu = (await all('cpu') - idle) / seconds
    const cpu = await all('cpu')
    const rounds = 5
    const times = []
    for (let round = 0; round < rounds; round++) {
      await Promise.all(clients.map(({ call }) => call('forget')))
      const begin = performance.now()
      await workers[0]?.call('broadcast')
      await until(async () => (await Promise.all(clients.map(({ call }) => call('heard')))).reduce((sum, one) => sum + one, 0) >= count, 'a message to reach all sockets', 60_000)
      times.push(performance.now() - begin)
    }
    const deliveryUs = (await all('cpu') - cpu) / rounds / count
    return {
      wanted,
      count,
      workers: WORKERS,
      openedPerSecond: round((count - few) / openSeconds),
      bytesEach: Math.max(0, Math.round((more - resident) / (count - few))),
      redisBytesEach: Math.round((redisAfter.memory - redis.memory) / (count - few)),
      idleUsEachPerSecond: round(idleCpu / count),
      deliveryUs: round(deliveryUs),
      toAllMs: round(quantile(times, 0.5))
    }
  } finally {
    await killAll()
    await servers.stop()
    rmSync(dir, { recursive: true, force: true })
  }
}
