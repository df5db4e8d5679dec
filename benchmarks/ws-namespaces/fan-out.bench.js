import { fork } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

// Fan-out of messages from one of two processes on Redis to 1000 clients, half on each: bursts and single messages; and what
// an idle connection costs. Against Socket.IO 4 with its Redis adapter, and ws with ioredis by hand. The ratios that count,
// to Socket.IO: bursts >= 2x the deliveries per second and <= 0.35x the CPU per delivery, singles <= 0.6x of user CPU, p99 no
// worse; and <= 13 MB per 1000 idle connections.

const VARIANTS = ['ours', 'ours, history', 'Socket.IO', 'ws by hand']
const CLIENTS = Number(process.env.BENCH_CLIENTS ?? 1000)
const BURSTS = Number(process.env.BENCH_BURSTS ?? 10)
const BURST = 20
const IDLE = Number(process.env.BENCH_IDLE ?? 4000)
const SINGLES = Number(process.env.BENCH_SINGLES ?? 100)
const LONGEST_MS = 60_000

/** @typedef {{ call: (name: string, ...args: any[]) => Promise<any>, stop: () => void }} Peer */

/** @param {string} script @param {string[]} args @returns {Promise<Peer>} */
async function start (script, ...args) {
  const child = fork(fileURLToPath(new URL(script, import.meta.url)), args, { execArgv: ['--expose-gc'], env: { ...process.env, NODE_ENV: 'production' } })
  await once(child, 'message')
  let last = 0
  return {
    call: (name, ...args) => new Promise((resolve) => {
      const id = ++last
      const answer = (/** @type {any} */ message) => {
        if (message.id !== id) return
        child.off('message', answer)
        resolve(message.value)
      }
      child.on('message', answer)
      child.send({ id, call: name, args })
    }),
    stop: () => { child.disconnect() }
  }
}

/** @param {Peer[]} servers */
const usage = async (servers) => (await Promise.all(servers.map(({ call }) => call('usage')))).reduce((sum, { user, system }) => ({ user: sum.user + user, total: sum.total + user + system }), { user: 0, total: 0 })

/** @param {Peer[]} servers @param {Peer} clients @param {number} rounds @param {number} size @param {number} pauseMs */
async function measure (servers, clients, rounds, size, pauseMs) {
  await clients.call('reset')
  const before = await usage(servers)
  const begin = performance.now()
  const wanted = rounds * size * CLIENTS
  for (let round = 1; round <= rounds; round++) {
    await servers[0]?.call('burst', size)
    if (pauseMs > 0) await sleep(pauseMs)
    while (await clients.call('received') < round * size * CLIENTS && performance.now() - begin < LONGEST_MS) await sleep(2)
  }
  const seconds = (performance.now() - begin) / 1000
  const after = await usage(servers)
  const got = await clients.call('received')
  if (got < wanted) throw new Error(`only ${got} of ${wanted} deliveries within ${LONGEST_MS} ms`)
  return { rate: got / seconds, user: (after.user - before.user) / got, total: (after.total - before.total) / got, p99: await clients.call('p99') }
}

/** @param {string} variant */
async function run (variant) {
  const site = `bench-${randomUUID().slice(0, 8)}`
  const servers = [await start('server.js', variant, site), await start('server.js', variant, site)]
  const clients = await start('clients.js')
  try {
    await sleep(1500)
    const where = await Promise.all(servers.map(({ call }) => call('where')))
    await clients.call('connect', where, CLIENTS)
    // Many connections more, so that what a process needs once is not counted.
    const memory = async () => (await Promise.all(servers.map(({ call }) => call('memory')))).reduce((sum, bytes) => sum + bytes, 0) / IDLE * 1000 / 2 ** 20
    const before = await memory()
    await clients.call('connect', where, IDLE)
    const idle = await memory() - before
    await clients.call('disconnect')
    await sleep(1000)
    await clients.call('connect', where, CLIENTS)
    await measure(servers, clients, 3, BURST, 0)
    const bursts = await measure(servers, clients, BURSTS, BURST, 0)
    const singles = await measure(servers, clients, SINGLES, 1, 10)
    return { variant, idle, bursts, singles }
  } finally {
    await clients.call('disconnect')
    for (const { stop } of [clients, ...servers]) stop()
  }
}

const results = []
for (const variant of VARIANTS) results.push(await run(variant))
const peer = results.find(({ variant }) => variant === 'Socket.IO')
for (const kind of /** @type {const} */ (['bursts', 'singles'])) {
  console.log(`\n${kind}: ${CLIENTS} clients on 2 processes, ${kind === 'bursts' ? `${BURSTS} bursts of ${BURST}` : `${SINGLES} single messages`}; in brackets the ratio to Socket.IO`)
  console.table(results.map(({ variant, ...result }) => {
    const { rate, user, total, p99 } = result[kind]
    const to = /** @type {NonNullable<typeof peer>} */ (peer)[kind]
    const cell = (/** @type {number} */ value, /** @type {number} */ other, digits = 2) => `${value.toFixed(digits)} (${(value / other).toFixed(2)}x)`
    return { variant, 'deliveries/s': cell(rate, to.rate, 0), 'CPU us each': cell(total, to.total), 'user CPU us each': cell(user, to.user), 'p99 ms': cell(p99, to.p99, 1) }
  }))
}
console.log('\nidle: resident MiB per 1000 connections, after a collection')
console.table(results.map(({ variant, idle }) => ({ variant, MiB: idle.toFixed(1) })))
process.exit(0)
