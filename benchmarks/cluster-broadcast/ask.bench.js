// What an `ask` of four members costs, in one run and in turns with a bare round trip and with the least that any
// acknowledged broadcast can do: a PUBLISH over bare ioredis that the same processes answer with a PUBLISH each.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import { redisBinary } from '../../scripts/servers/binaries.js'
import { startRedis } from '../../scripts/servers/redis.js'
import { peers } from './peer.js'

const OTHERS = 3
const WARM = 300
const ROUNDS = 2000

const dir = mkdtempSync(join(tmpdir(), 'jpulse-bench-'))
const redis = await startRedis({ binary: redisBinary(console.error), dir: join(dir, 'redis') })
const children = await Promise.all(Array.from({ length: OTHERS }, async () => {
  const child = fork(fileURLToPath(new URL('./answerer.js', import.meta.url)), [redis.url])
  await once(child, 'message')
  return child
}))
const { app, close } = await /** @type {NonNullable<typeof peers[string]>} */ (peers.on)(redis.url)
const [bare, heard] = [new Redis(redis.url), new Redis(redis.url)]
try {
  await measure()
} finally {
  bare.disconnect()
  heard.disconnect()
  await close()
  for (const child of children) child.kill('SIGKILL')
  await redis.process.stop('SIGKILL')
  rmSync(dir, { recursive: true, force: true })
}

async function measure () {
  let answers = 0
  let all = () => {}
  await heard.subscribe('bare:answers')
  heard.on('message', () => { if (++answers === OTHERS) all() })
  /** @type {Record<string, () => Promise<unknown>>} */
  const ways = {
    'bare round trip (PING)': () => bare.ping(),
    [`bare PUBLISH answered by ${OTHERS}`]: () => new Promise((resolve) => {
      answers = 0
      all = () => resolve(undefined)
      bare.publish('bare:ask', 'x').catch(() => {})
    }),
    [`ask of ${OTHERS + 1} members`]: async () => {
      const result = await app?.appCluster.broadcast.ask('bench:ask', 1)
      if (result?.replies.length !== OTHERS + 1) throw new Error(`${result?.replies.length} of ${OTHERS + 1} members answered`)
    }
  }
  const times = Object.keys(ways).map(() => /** @type {number[]} */ ([]))
  for (let round = -WARM; round < ROUNDS; round++) {
    for (const [index, run] of Object.values(ways).entries()) {
      const begin = performance.now()
      await run()
      if (round >= 0) times[index]?.push(performance.now() - begin)
    }
  }
  const medians = times.map((list) => list.sort((a, b) => a - b)[Math.floor(list.length / 2)] ?? NaN)
  for (const [index, name] of Object.keys(ways).entries()) {
    console.log(`${name.padEnd(32)} p50 ${medians[index]?.toFixed(3)} ms  ${((medians[index] ?? NaN) / (medians[0] ?? NaN)).toFixed(2)}x`)
  }
}
