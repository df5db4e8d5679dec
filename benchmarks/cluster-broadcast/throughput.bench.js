// Throughput and latency of cluster-broadcast, replay off and on, against JSON over a bare ioredis PUBLISH and
// SUBSCRIBE: one publisher, four subscriber processes, one Redis, all in one run, in turns. Ratios are what counts.
// BENCH_BEFORE names the folder of another checkout that is built, to compare with.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { redisBinary } from '../../scripts/servers/binaries.js'
import { startRedis } from '../../scripts/servers/redis.js'
import { makePeer } from './peer.js'

const MESSAGES = Number(process.env.MESSAGES ?? 20_000)
const ROUNDS = Number(process.env.ROUNDS ?? 3)
const OUTSTANDING = 256
const PACED = 300
const BEFORE = process.env.BENCH_BEFORE
const KINDS = ['ioredis', 'off', 'on', ...(BEFORE === undefined ? [] : [`off@${BEFORE}`, `on@${BEFORE}`])]

const dir = mkdtempSync(join(tmpdir(), 'jpulse-bench-'))
const redis = await startRedis({ binary: redisBinary(console.error), dir: join(dir, 'redis') })
/** @type {Record<string, Measured[]>} */
const results = {}
try {
  for (let round = 0; round < ROUNDS; round++) for (const kind of KINDS) (results[kind] ??= []).push(await measure(kind))
  report()
} finally {
  await redis.process.stop('SIGKILL')
  rmSync(dir, { recursive: true, force: true })
}

/** @typedef {{ perSecond: number, p50: number, p99: number, ask?: number, ping?: number }} Measured */

/** @param {string} kind @returns {Promise<Measured>} */
async function measure (kind) {
  const subscribers = await Promise.all(Array.from({ length: 4 }, () => subscriber(kind)))
  const peer = await makePeer(kind, redis.url)
  try {
    // What is compiled and collected for the first time is none of a message's cost.
    await flood(peer, subscribers, MESSAGES)
    const begin = performance.now()
    await flood(peer, subscribers, MESSAGES)
    const seconds = (performance.now() - begin) / 1000
    const delays = await paced(peer, subscribers)
    return {
      perSecond: MESSAGES * 4 / seconds,
      p50: percentile(delays, 0.5),
      p99: percentile(delays, 0.99),
      ...(peer.app === undefined ? {} : await asks(peer.app))
    }
  } finally {
    await peer.close()
    for (const one of subscribers) one.child.kill('SIGKILL')
    await sleep(100)
  }
}

/** @param {import('./peer.js').Peer} peer @param {Awaited<ReturnType<typeof subscriber>>[]} subscribers @param {number} messages */
async function flood (peer, subscribers, messages) {
  const heard = await Promise.all(subscribers.map((one) => one.expect(messages)))
  let next = 0
  const text = 'x'.repeat(80)
  await Promise.all(Array.from({ length: OUTSTANDING }, async () => {
    while (next < messages) await peer.publish('bench:flood', { n: next++, text })
  }))
  return Promise.all(heard.map((one) => one.all))
}

/** @param {import('./peer.js').Peer} peer @param {Awaited<ReturnType<typeof subscriber>>[]} subscribers */
async function paced (peer, subscribers) {
  const heard = await Promise.all(subscribers.map((one) => one.expect(PACED)))
  for (let n = 0; n < PACED; n++) {
    await peer.publish('bench:flood', { n, at: Number(process.hrtime.bigint()) / 1e6 })
    await sleep(2)
  }
  return (await Promise.all(heard.map((one) => one.all))).flatMap(({ delays }) => delays)
}

/** An ask of all five members, and a bare round trip, in turns. @param {import('fastify').FastifyInstance} app */
async function asks (app) {
  /** @type {number[]} */
  const ask = []
  /** @type {number[]} */
  const ping = []
  for (let n = 0; n < 300; n++) {
    let begin = performance.now()
    await app.redisLink.client?.ping()
    ping.push(performance.now() - begin)
    begin = performance.now()
    await app.appCluster.broadcast.ask('bench:ask', n)
    ask.push(performance.now() - begin)
  }
  return { ask: percentile(ask, 0.5), ping: percentile(ping, 0.5) }
}

/** @param {string} kind */
async function subscriber (kind) {
  const child = fork(fileURLToPath(new URL('./subscriber.js', import.meta.url)), [kind, redis.url, 'bench:flood'])
  await once(child, 'message')
  const message = async () => /** @type {any} */ ((await once(child, 'message'))[0])
  return {
    child,
    async expect (/** @type {number} */ count) {
      child.send({ expect: count })
      await message()
      return { all: message() }
    }
  }
}

/** @param {number[]} values @param {number} share */
function percentile (values, share) {
  return values.sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))] ?? NaN
}

function report () {
  /** @param {string} kind @param {keyof Measured} field */
  const median = (kind, field) => percentile((results[kind] ?? []).map((one) => one[field] ?? NaN), 0.5)
  const bare = median('ioredis', 'perSecond')
  console.log(`${MESSAGES} messages to 4 subscribers, ${OUTSTANDING} outstanding, median of ${ROUNDS} rounds`)
  for (const kind of KINDS) {
    console.log(`${kind.replace(/@.*/, ', before').padEnd(11)} ${Math.round(median(kind, 'perSecond'))} deliveries/s (${(median(kind, 'perSecond') / bare).toFixed(2)}x), ` +
      `latency p50 ${median(kind, 'p50').toFixed(2)} ms p99 ${median(kind, 'p99').toFixed(2)} ms (p50 ${(median(kind, 'p50') / median('ioredis', 'p50')).toFixed(2)}x)` +
      (kind === 'ioredis' ? '' : `, ask of 5 members p50 ${median(kind, 'ask').toFixed(2)} ms = ${(median(kind, 'ask') / median(kind, 'ping')).toFixed(2)} bare round trips`))
  }
}
