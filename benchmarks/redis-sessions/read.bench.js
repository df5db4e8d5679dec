import autocannon from 'autocannon'
import { startServer } from '../server-process.js'

// Requests per second, and CPU time of the Node process per request, of a route that reads its session, for one logged-in
// browser on 20 connections. All variants in one run, each in a process of its own, in turns, so that what else the
// machine does hits all of them. The ratios that count: ours to @fastify/session with connect-redis, rolling, and to no
// session. `copies` is with `localReads`, `not looked at` a route that has a session, from copies, and does not touch it.

const VARIANTS = ['no session', 'ours, not looked at', 'ours, memory', 'ours, Redis', 'ours, copies', 'peer, fixed', 'peer, rolling']
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 3)
const SECONDS = Number(process.env.BENCH_SECONDS ?? 3)
const CONNECTIONS = 20

/** @typedef {import('../server-process.js').ServerProcess} Server */

const start = (/** @type {string} */ name) => startServer(new URL('server.js', import.meta.url), name)

/** @param {Server} server @param {number} duration */
async function load ({ call, name }, duration) {
  const { url, cookie } = await call('login')
  const before = await call('cpu')
  const result = await autocannon({ url: `${url}/${name === 'ours, not looked at' ? 'look-away' : 'read'}`, connections: CONNECTIONS, duration, headers: cookie ? { cookie } : {} })
  const after = await call('cpu')
  if (result.non2xx > 0 || result.errors > 0) throw new Error(`${result.non2xx} wrong answers, ${result.errors} errors`)
  const count = result.requests.total
  return { rate: count / result.duration, cpu: (after - before) / count }
}

/** @param {number[]} values */
const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN

const servers = await Promise.all(VARIANTS.map(start))
for (const server of servers) await load(server, 1)
for (let round = 0; round < ROUNDS; round++) {
  for (const server of servers) {
    const { rate, cpu } = await load(server, SECONDS)
    server.rates.push(rate)
    server.cpu.push(cpu)
  }
}
for (const { stop } of servers) stop()

const peer = servers.at(-1)
const none = servers[0]
console.log(`median of ${ROUNDS} rounds of ${SECONDS} s, ${CONNECTIONS} connections`)
console.log('variant               requests/s   CPU us/request   rate to peer rolling   CPU of peer rolling to it   rate to no session')
for (const { name, rates, cpu } of servers) {
  const rate = median(rates)
  const each = median(cpu)
  console.log([name.padEnd(20), rate.toFixed(0).padStart(11), each.toFixed(1).padStart(16),
    (rate / median(peer?.rates ?? [])).toFixed(2).padStart(22), (median(peer?.cpu ?? []) / each).toFixed(2).padStart(27), (rate / median(none?.rates ?? [])).toFixed(2).padStart(20)].join(' '))
}
