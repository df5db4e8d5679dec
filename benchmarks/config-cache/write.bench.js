import { fork } from 'node:child_process'
import { once } from 'node:events'
import { Redis } from 'ioredis'
import { WARM_UP, instance, median, quantile, url } from './setup.js'

// What a coherent write adds to the database's own time, with 1, 4, 16 and 64 members in 1 to 4 processes, against a bare
// PUBLISH that every member answers by a PUBLISH.

const WRITES = 1000
const member = new URL('member.js', import.meta.url)

for (const members of [1, 4, 16, 64]) {
  const siteId = `bench${Date.now()}`
  const processes = Math.min(4, members)
  const children = await Promise.all(Array.from({ length: processes }, async () => {
    const child = fork(member, [siteId, String(members / processes)])
    await once(child, 'message')
    return child
  }))
  const app = await instance(siteId)
  const ask = await answered(siteId, members)
  const bare = []
  const ours = []
  for (let i = -WARM_UP; i < WRITES; i++) {
    const one = await timed(() => ask.once())
    const other = await timed(() => app.configCache.write({ keys: [`k${Math.abs(i % 10)}`] }, async () => {}))
    if (i < 0) continue
    bare.push(one)
    ours.push(other)
  }
  const [one, other] = [median(bare), median(ours)]
  console.log(`${String(members).padStart(2)} members: PUBLISH answered ${one.toFixed(2)} ms, write ${other.toFixed(2)} ms (${(other / one).toFixed(2)}x), p99 ${quantile(ours, 0.99).toFixed(2)} ms`)
  await app.close()
  ask.close()
  for (const child of children) child.kill('SIGKILL')
}
process.exit()

/** @param {() => Promise<unknown>} operation */
async function timed (operation) {
  const start = performance.now()
  await operation()
  return performance.now() - start
}

/** @param {string} siteId @param {number} members */
async function answered (siteId, members) {
  const publisher = new Redis(url)
  const subscriber = new Redis(url)
  await subscriber.subscribe(`${siteId}:answer`)
  let answers = 0
  let done = () => {}
  subscriber.on('message', () => { if (++answers === members) done() })
  return {
    /** @returns {Promise<void>} */
    once: () => new Promise((resolve) => {
      answers = 0
      done = () => resolve()
      publisher.publish(`${siteId}:ask`, 'x')
    }),
    close () {
      publisher.disconnect()
      subscriber.disconnect()
    }
  }
}
