import autocannon from 'autocannon'
import { startServer } from '../server-process.js'

// What metrics cost a trivial route: requests per second, and CPU time of the process per request, against no metrics at
// all. All variants in one run, each in a process of its own, in short turns, so that what else the machine does hits all of
// them; each ratio is that of one turn, and the median of the turns is printed. Wanted: >= 0.9 of no metrics, and more
// than fastify-metrics.

const VARIANTS = ['no metrics', 'link and broadcast', 'cluster-metrics', 'prom-client by hand', 'fastify-metrics']
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 30)
const SECONDS = Number(process.env.BENCH_SECONDS ?? 1)
const CONNECTIONS = 20

/** @typedef {import('../server-process.js').ServerProcess} Server */

const start = (/** @type {string} */ name) => startServer(new URL('server.js', import.meta.url), name)

/** @param {Server} server @param {number} duration */
async function load ({ call }, duration) {
  const url = await call('address')
  const before = await call('cpu')
  const result = await autocannon({ url, connections: CONNECTIONS, duration })
  const after = await call('cpu')
  if (result.non2xx > 0 || result.errors > 0) throw new Error(`${result.non2xx} wrong answers, ${result.errors} errors`)
  const count = result.requests.total
  return { rate: count / result.duration, cpu: (after - before) / count }
}

/** @param {number[]} values @param {number} share */
const quantile = (values, share) => values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))] ?? NaN
/** @param {number[]} values */
const median = (values) => quantile(values, 0.5)

const servers = await Promise.all(VARIANTS.map(start))
for (const server of servers) await load(server, 2)
for (let round = 0; round < ROUNDS; round++) {
  // Another order each time: who comes after a heavy variant would otherwise always do so.
  for (let i = 0; i < servers.length; i++) {
    const server = servers[(i + round) % servers.length]
    if (server === undefined) continue
    const { rate, cpu } = await load(server, SECONDS)
    server.rates.push(rate)
    server.cpu.push(cpu)
  }
}
for (const { stop } of servers) stop()

const base = servers[0]
console.log(`median of ${ROUNDS} turns of ${SECONDS} s, ${CONNECTIONS} connections; ratios within each turn, with the quartiles`)
console.log('variant                requests/s   rate to none               CPU us/request   CPU of none to it')
for (const { name, rates, cpu } of servers) {
  const ratios = rates.map((rate, index) => rate / (base?.rates[index] ?? NaN))
  const ratio = `${median(ratios).toFixed(3)} (${quantile(ratios, 0.25).toFixed(3)} to ${quantile(ratios, 0.75).toFixed(3)})`
  const cpuRatio = median(cpu.map((each, index) => (base?.cpu[index] ?? NaN) / each))
  console.log([name.padEnd(22), median(rates).toFixed(0).padStart(10), ratio.padStart(26), median(cpu).toFixed(1).padStart(16), cpuRatio.toFixed(3).padStart(19)].join(' '))
}
process.exit()
