import autocannon from 'autocannon'
import { fork } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

// What copies of sessions (`localReads`) cost where sessions change: a login, a change and a logout beside 3 and 15 other
// instances, none of which has a copy, or every one; traffic of one session per connection of which a part changes it; and memory. All beside the same without copies.

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 300)
const SECONDS = Number(process.env.BENCH_SECONDS ?? 3)
const SESSIONS = 10_000
const KINDS = ['Redis', 'copies']

/** @param {string} kind @param {string} site @param {number} instances */
async function start (kind, site, instances) {
  const child = fork(fileURLToPath(new URL('copies-server.js', import.meta.url)), [site, String(instances), kind], { execArgv: ['--expose-gc'] })
  await once(child, 'message')
  return {
    /** @param {string} ask @param {unknown} [value] @returns {Promise<any>} */
    async call (ask, value) {
      const answer = once(child, 'message')
      child.send({ ask, value })
      return (await answer)[0]
    },
    async stop () {
      const ended = once(child, 'exit')
      child.disconnect()
      await ended
    }
  }
}

const STEPS = /** @type {const} */ (['login', 'change', 'logout'])

/** Milliseconds of a login, a change and a logout, one after the other. @param {Awaited<ReturnType<typeof start>>} writer @param {Awaited<ReturnType<typeof start>> | null} readers who have a copy before each change */
async function write (writer, readers, rounds = ROUNDS) {
  /** @type {Record<string, number[]>} */
  const times = { login: [], change: [], logout: [] }
  for (let round = 0; round < rounds; round++) {
    let cookie = ''
    for (const name of STEPS) {
      if (name !== 'login') await readers?.call('read', cookie)
      const done = await writer.call(name, name === 'login' ? `u${round}` : cookie)
      cookie = done.cookie ?? cookie
      times[name]?.push(done.ms)
    }
  }
  return times
}

/** @param {number[]} times */
function summary (times) {
  const sorted = times.toSorted((a, b) => a - b)
  const at = (/** @type {number} */ part) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? NaN
  return `${at(0.5).toFixed(2)} / ${at(0.99).toFixed(2)}`
}

console.log('instances   kind                       login p50/p99   change p50/p99   logout p50/p99, ms')
for (const others of [3, 15]) {
  for (const [kind, what, isShared] of /** @type {const} */ ([['Redis', 'Redis', false], ['copies', 'copies, here only', false], ['copies', 'copies, everywhere', true]])) {
    const site = randomUUID()
    const [writer, rest] = await Promise.all([start(kind, site, 1), start(kind, site, others)])
    await write(writer, isShared ? rest : null, 30)
    const times = await write(writer, isShared ? rest : null)
    console.log([String(others + 1).padStart(9), what.padEnd(24), ...STEPS.map((name) => summary(times[name] ?? []).padStart(15))].join('  '))
    await Promise.all([writer.stop(), rest.stop()])
  }
}

console.log(`\nof 100 requests change   kind     requests/s, ${SECONDS} s on 20 connections, 4 instances`)
for (const share of [0, 1, 10, 100]) {
  for (const kind of KINDS) {
    const site = randomUUID()
    const [server, rest] = await Promise.all([start(kind, site, 1), start(kind, site, 3)])
    const url = await server.call('address')
    /** @type {string[]} */
    const cookies = []
    for (let n = 0; n < 20; n++) cookies.push(await server.call('cookie'))
    let next = 0
    const result = await autocannon({
      url,
      connections: 20,
      duration: SECONDS,
      setupClient (client) {
        const cookie = cookies[next++ % 20]
        client.setRequests(Array.from({ length: 100 }, (_, n) => ({ path: n < share ? '/change' : '/read', headers: { cookie } })))
      }
    })
    if (result.non2xx > 0) throw new Error(`${result.non2xx} wrong answers`)
    console.log([String(share).padStart(22), kind.padEnd(8), (result.requests.total / result.duration).toFixed(0).padStart(10)].join('   '))
    await Promise.all([server.stop(), rest.stop()])
  }
}

const { call, stop } = await start('copies', randomUUID(), 1)
console.log(`\n${((await call('memory', SESSIONS)) / 2 ** 20).toFixed(1)} MiB for ${SESSIONS} copies`)
await stop()
