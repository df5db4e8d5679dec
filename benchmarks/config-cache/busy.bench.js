import { fork } from 'node:child_process'
import { once } from 'node:events'
import { instance, median, quantile } from './setup.js'

// What one busy instance costs the writers: 4 members, of which one then computes for 250 of each 275 ms.

const SECONDS = 6
const PAUSE_MS = 5
const member = new URL('member.js', import.meta.url)
const siteId = `bench${Date.now()}`
const children = await Promise.all([1, 2, 3, 4].map(async () => {
  const child = fork(member, [siteId])
  await once(child, 'message')
  return child
}))
const app = await instance(siteId)
await second()
report('calm', await second())
children[0]?.send('busy')
for (let i = 1; i <= SECONDS; i++) report(`busy, second ${i}`, await second())
children[0]?.send('calm')
await second()
report('calm again', await second())
await app.close()
for (const child of children) child.kill('SIGKILL')
process.exit()

/** Writes one after the other for a second, and how long each took. */
async function second () {
  const end = performance.now() + 1000
  const times = []
  for (let i = 0; performance.now() < end; i++) {
    const start = performance.now()
    await app.configCache.write({ keys: [`k${i % 10}`] }, async () => {})
    times.push(performance.now() - start)
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
  }
  return times
}

/** @param {string} when @param {number[]} times */
function report (when, times) {
  const { slowest } = app.configCache.stats()
  const isNamed = slowest !== null && slowest.instance.startsWith(`${children[0]?.pid}@`)
  console.log(`${when.padEnd(16)} ${String(times.length).padStart(4)} writes, median ${median(times).toFixed(1)} ms, p99 ${quantile(times, 0.99).toFixed(1)} ms${isNamed ? `; slowest: the busy one, ${slowest.waitMs} ms` : ''}`)
}
