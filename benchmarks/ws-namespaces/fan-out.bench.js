import { fork } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

// Fan-out of messages from one of two processes on Redis to 1000 clients, half on each: bursts and single messages; and what
// an idle connection costs. Against Socket.IO 4 with its Redis adapter, ws with ioredis by hand, and Centrifugo where CENTRIFUGO
// names its binary. The ratios that count, to Socket.IO: bursts >= 2x the deliveries per second and <= 0.35x the CPU per
// delivery, singles <= 0.6x of user CPU, p99 no worse; to Centrifugo: >= 1x the deliveries per second; and <= 6 MiB per 1000 idle
// connections. Then clients of three namespaces, each client with one socket and with three.
//
// BENCH_BEFORE: folder of an older checkout, built; its server is measured beside. BENCH_ONLY: variants, separated by |.

/** For a client with three namespaces: on one socket, and on three. */
const SHARED = 'ours, 3 on a socket'
const APART = 'ours, 3 sockets'
const NAMESPACES = 3
const BEFORE = 'before'
const CENTRIFUGO = 'Centrifugo'
const VARIANTS = ['ours', 'ours, history', ...(process.env.BENCH_BEFORE ? [BEFORE, `${BEFORE}, history`] : []), 'Socket.IO', 'ws by hand', ...(process.env.CENTRIFUGO ? [CENTRIFUGO] : []), SHARED, APART]
  .filter((variant) => process.env.BENCH_ONLY === undefined || process.env.BENCH_ONLY.split('|').includes(variant))
const CLIENTS = Number(process.env.BENCH_CLIENTS ?? 1000)
const BURSTS = Number(process.env.BENCH_BURSTS ?? 10)
const BURST = 20
const IDLE = Number(process.env.BENCH_IDLE ?? 4000)
const SINGLES = Number(process.env.BENCH_SINGLES ?? 100)
const LONGEST_MS = 60_000
/** Looks at the memory of idle connections. */
const ROUNDS = 3

/** @typedef {{ call: (name: string, ...args: any[]) => Promise<any>, stop: () => void }} Peer */

/** @param {string} variant */
const serverOf = (variant) => variant.startsWith(BEFORE) ? join(String(process.env.BENCH_BEFORE), 'benchmarks/ws-namespaces/server.js') : fileURLToPath(new URL('server.js', import.meta.url))

/** @param {string} script @param {string[]} args @returns {Promise<Peer>} */
async function start (script, ...args) {
  const child = fork(script, args, { execArgv: ['--expose-gc'], env: { ...process.env, NODE_ENV: 'production' } })
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
  const name = variant.replace(BEFORE, 'ours')
  const servers = [await start(serverOf(variant), name, site), await start(serverOf(variant), name, site)]
  const clients = await start(fileURLToPath(new URL('clients.js', import.meta.url)))
  const sockets = variant === APART ? NAMESPACES : 1
  try {
    await sleep(1500)
    const where = await Promise.all(servers.map(({ call }) => call('where')))
    const memory = async () => (await Promise.all(servers.map(({ call }) => call('memory')))).reduce((sum, bytes) => sum + bytes, 0) / IDLE * 1000 / 2 ** 20
    // What a process does not give back makes it more, and nothing less: so of several rounds the least, without connections that matter and with.
    let [before, after] = [Infinity, Infinity]
    for (let round = 0; round < ROUNDS; round++) {
      await clients.call('connect', where, CLIENTS * sockets)
      before = Math.min(before, await memory())
      // Many connections more, so that what a process needs once is not counted.
      await clients.call('connect', where, IDLE * sockets)
      after = Math.min(after, await memory())
      await clients.call('disconnect')
      await sleep(1000)
    }
    const idle = after - before
    await clients.call('connect', where, CLIENTS * sockets)
    await measure(servers, clients, 3, BURST, 0)
    const bursts = await measure(servers, clients, BURSTS, BURST, 0)
    const singles = await measure(servers, clients, SINGLES, 1, 10)
    return { variant, idle, bursts, singles }
  } finally {
    await clients.call('disconnect')
    for (const { stop } of [clients, ...servers]) stop()
  }
}

/** @type {Awaited<ReturnType<typeof run>>[]} */
const results = []
for (const variant of VARIANTS) results.push(await run(variant))
const peer = results.find(({ variant }) => variant === 'Socket.IO') ?? results[0]
for (const kind of /** @type {const} */ (['bursts', 'singles'])) {
  console.log(`\n${kind}: ${CLIENTS} clients on 2 processes, ${kind === 'bursts' ? `${BURSTS} bursts of ${BURST}` : `${SINGLES} single messages`}; in brackets the ratio to Socket.IO`)
  console.table(results.map(({ variant, ...result }) => {
    const { rate, user, total, p99 } = result[kind]
    const to = /** @type {NonNullable<typeof peer>} */ (peer)[kind]
    const cell = (/** @type {number} */ value, /** @type {number} */ other, digits = 2) => `${value.toFixed(digits)} (${(value / other).toFixed(2)}x)`
    return { variant, 'deliveries/s': cell(rate, to.rate, 0), 'CPU us each': cell(total, to.total), 'user CPU us each': cell(user, to.user), 'p99 ms': cell(p99, to.p99, 1) }
  }))
}
console.log('\nidle: resident MiB per 1000 clients, after a collection')
console.table(results.map(({ variant, idle }) => ({ variant, MiB: idle.toFixed(1) })))
process.exit(0)
