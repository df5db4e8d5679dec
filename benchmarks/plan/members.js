import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { killAll, start } from './children.js'
import { clock, quantile, quantiles, round, until } from './numbers.js'
import { perSecond, startServers } from './servers.js'

/** @typedef {import('./children.js').Child} Child */
/** @typedef {import('./servers.js').Servers} Servers */
/** @typedef {{ seconds: number, idle: number, messages: number, flood: number, writes: number, aggregations: number, users: number, leaseMs: number }} Sizes */

const PROCESSES = 4
/** Before the next part: what hundreds of members had not done yet would count as that part's, and so would the garbage of a hundred in one process. */
const SETTLE_MS = 2000
/** Milliseconds between two messages, or writes: a queue is not what is measured. @param {number} members */
const paceMs = (members) => Math.max(10, members / 8)
/** Published at once while as many as Redis takes are wanted. */
const OUTSTANDING = 64
/** What the row "under load" has: reads of the cache by each member, messages and coherent writes of all together, in a second. */
export const LOAD = { readsEach: 1, messages: 10, writes: 1 }

/** @type {{ full: Sizes, short: Sizes }} */
const SIZES = {
  full: { seconds: 8, idle: 8, messages: 300, flood: 2000, writes: 200, aggregations: 200, users: 100_000, leaseMs: 20_000 },
  short: { seconds: 2, idle: 2, messages: 50, flood: 200, writes: 30, aggregations: 5, users: 2000, leaseMs: 5000 }
}

/** @param {{ isShort: boolean, say: (line: string) => void, counts?: number[], topologies?: Array<'single' | 'cluster'> }} options */
export async function measureMembers ({ isShort, say, counts = isShort ? [4, 16] : [4, 16, 64, 400], topologies = ['single', 'cluster'] }) {
  const sizes = isShort ? SIZES.short : SIZES.full
  /** @type {any[]} */
  const rows = []
  /** @type {string[]} */
  const failed = []
  for (const topology of topologies) {
    for (const count of counts) {
      // What a machine does not carry is no reason to lose what it did.
      const fail = (/** @type {unknown} */ err) => {
        failed.push(`${count} members, ${topology}: ${String(err)}`)
        say(String(failed.at(-1)))
      }
      await measure(topology, count, sizes, say, (row) => rows.push(row)).catch(fail)
    }
  }
  return { rows, failed, load: LOAD, users: sizes.users, leaseMs: sizes.leaseMs }
}

/** @param {'single' | 'cluster'} topology @param {number} count @param {Sizes} sizes @param {(line: string) => void} say @param {(row: any) => unknown} keep the row, which may grow after that */
async function measure (topology, count, sizes, say, keep) {
  const what = (/** @type {string} */ part) => say(`${count} members, ${topology}: ${part}`)
  const dir = mkdtempSync(join(tmpdir(), 'jpulse-bench-'))
  const servers = await startServers(topology, dir)
  const sizesOf = Array.from({ length: Math.min(PROCESSES, count) }, (_, index) => Math.floor(count / PROCESSES) + (index < count % PROCESSES ? 1 : 0))
  const boot = (/** @type {number} */ here) => start('member.js', { redis: servers.options, here, leaseMs: sizes.leaseMs, presenceLeaseMs: 3 * sizes.leaseMs })
  try {
    const floor = await leastOf(servers, sizesOf, sizes)
    what('boot')
    const children = await Promise.all(sizesOf.map(boot))
    await complete(children, count)
    await settle(children)
    what('idle')
    const idle = await cost(servers, sizes.idle)
    what('load')
    await Promise.all(children.map(({ call }, index) => call('load', index === 0 ? LOAD : { ...LOAD, messages: 0, writes: 0 })))
    const loaded = await cost(servers, sizes.seconds)
    await Promise.all(children.map(({ call }) => call('rest')))
    await settle(children)
    what('messages and writes')
    const broadcast = await broadcasts(children, count, sizes.messages)
    const throughput = await flood(children, count, sizes.flood)
    await settle(children)
    const [writer] = /** @type {[Child]} */ (children)
    await writer.call('write', 20, paceMs(count))
    const before = await servers.look()
    const times = await writer.call('write', sizes.writes, paceMs(count))
    const { core, seconds } = perSecond(before, await servers.look())
    // What all of them keep doing beside it is known.
    const write = { ...quantiles(times), redisMs: round(Math.max(0, core - idle.core) * seconds * 1000 / sizes.writes) }
    await settle(children)
    const aggregate = quantiles((await writer.call('aggregate', sizes.aggregations + 2)).slice(2))
    /** @type {any} */
    const row = { topology, members: count, idle, loaded, broadcast, throughput, write, aggregate, floor }
    keep(row)
    if (topology === 'cluster') return
    what('deploy')
    row.deploy = await replaceAll(servers, children, sizesOf, boot)
    await complete(children, count)
    what('presence')
    row.presence = await users(servers, children, sizes)
    what('loss')
    row.loss = await lose(servers, children, sizesOf, sizes)
  } finally {
    await killAll()
    await servers.stop()
    rmSync(dir, { recursive: true, force: true })
  }
}

/** @param {Child[]} children */
async function settle (children) {
  await sleep(SETTLE_MS)
  await Promise.all(children.map(({ call }) => call('collect')))
}

/** What a coherent write cannot be without, on this machine: two messages to all, and an answer of each, by bare connections, of a Cluster all to one primary. @param {Servers} servers @param {number[]} sizesOf @param {Sizes} sizes */
async function leastOf (servers, sizesOf, sizes) {
  const members = sizesOf.reduce((sum, here) => sum + here, 0)
  const children = await Promise.all(sizesOf.map((here) => start('echo.js', { port: servers.port, here, members })))
  try {
    const [first] = /** @type {[Child]} */ (children)
    await first.call('round', 20, paceMs(members))
    return quantiles(await first.call('round', sizes.writes, paceMs(members)))
  } finally {
    await killAll()
  }
}

/** @param {Child[]} children @param {number} count */
async function complete (children, count) {
  const all = async (/** @type {string} */ name) => (await Promise.all(children.map(({ call }) => call(name)))).flat()
  await until(async () => (await all('knows')).every((known) => known === count) && (await all('isCoherent')).every(Boolean), `${count} members that know each other`, 120_000)
}

/** @param {Servers} servers @param {number} seconds */
async function cost (servers, seconds) {
  const begin = await servers.look()
  await sleep(seconds * 1000)
  const { commands, bytes, core } = perSecond(begin, await servers.look())
  return { commands: round(commands), kib: round(bytes / 1024), core: round(core) }
}

/** From the call until the last of all members has the message. @param {Child[]} children @param {number} members @param {number} count */
async function broadcasts (children, members, count) {
  await Promise.all(children.map(({ call }) => call('forget')))
  const from = 1
  /** @type {number[]} */
  const sent = await children[0]?.call('publish', from, count, paceMs(members))
  /** @type {Array<Array<{ at: number, heard: number }>>} */
  let heard = []
  await until(async () => {
    heard = await Promise.all(children.map(({ call }) => call('arrivals', from, count)))
    return sent.every((_, index) => heard.reduce((sum, arrivals) => sum + (arrivals[index]?.heard ?? 0), 0) === members)
  }, 'all messages', 30_000)
  const times = sent.map((at, index) => Math.max(...heard.map((arrivals) => arrivals[index]?.at ?? 0)) - at)
  // The first ones compile what the others run.
  return quantiles(times.slice(Math.floor(count / 10)))
}

/** @param {Child[]} children @param {number} members @param {number} most */
async function flood (children, members, most) {
  // Deliveries, not messages, are what takes the time.
  const messages = Math.min(most, Math.max(100, Math.floor(40 * most / members)))
  await Promise.all(children.map(({ call }) => call('forget')))
  const begin = clock()
  await children[0]?.call('flood', messages, OUTSTANDING)
  await until(async () => (await Promise.all(children.map(({ call }) => call('heard')))).reduce((sum, heard) => sum + heard, 0) >= messages * members, 'the flood', 60_000)
  const seconds = (clock() - begin) / 1000
  return { messages: round(messages / seconds), deliveries: round(messages * members / seconds) }
}

/** A deploy: process after process, the new one before the old one goes. @param {Servers} servers @param {Child[]} children @param {number[]} sizesOf @param {(here: number) => Promise<Child>} boot */
async function replaceAll (servers, children, sizesOf, boot) {
  const members = sizesOf.reduce((sum, size) => sum + size, 0)
  const begin = await servers.look()
  for (const [index, here] of sizesOf.entries()) {
    const old = children[index]
    children[index] = await boot(here)
    await old?.stop()
  }
  const end = await servers.look()
  const seconds = (end.at - begin.at) / 1000
  return { seconds: round(seconds), commandsEach: round((end.commands - begin.commands) / members), kibEach: round((end.bytes - begin.bytes) / 1024 / members), cpuMsEach: round((end.cpu - begin.cpu) * 1000 / members) }
}

/** @param {Servers} servers @param {Child[]} children @param {Sizes} sizes */
async function users (servers, children, { users, idle }) {
  const each = users / children.length
  const begin = clock()
  await Promise.all(children.map(({ call }, index) => call('users', index * each, each)))
  const joinMs = clock() - begin
  const [asker] = /** @type {[Child]} */ (children)
  await asker.call('listUsers')
  const { ms, users: listed } = await asker.call('listUsers')
  if (listed !== users) throw new Error(`${listed} of ${users} users are there`)
  const online = quantiles(await asker.call('isOnline', users, 200))
  return { users, joinMs: round(joinMs), listMs: round(ms), online, idle: await cost(servers, idle) }
}

/** A process of a quarter of the members is killed. @param {Servers} servers @param {Child[]} children @param {number[]} sizesOf @param {Sizes} sizes */
async function lose (servers, children, sizesOf, { users, leaseMs }) {
  const lost = /** @type {number} */ (sizesOf.at(-1))
  const survivors = children.slice(0, -1)
  const left = sizesOf.slice(0, -1).reduce((sum, size) => sum + size, 0)
  await Promise.all(children.map(({ call }) => call('forget')))
  const before = await servers.look()
  const begin = clock()
  /** How long a plain PING waits: at most what the longest script takes. @type {number[]} */
  const pings = []
  const pinging = setInterval(() => {
    const sent = clock()
    servers.ping().then(() => pings.push(clock() - sent), () => {})
  }, 10)
  await children.at(-1)?.kill()
  const write = quantiles(await survivors[0]?.call('write', 10, 5))
  /** @type {number[]} */
  let seen = []
  await until(async () => (seen = (await Promise.all(survivors.map(({ call }) => call('departures')))).flat()).length >= left * lost, 'the loss to be seen', 3 * leaseMs + 60_000)
  const seenMs = seen.reduce((latest, at) => Math.max(latest, at), 0) - begin
  await until(async () => (await survivors[0]?.call('listUsers')).users === users * survivors.length / children.length, 'the lost users to be gone', 60_000)
  const goneMs = clock() - begin
  clearInterval(pinging)
  const after = await servers.look()
  return {
    lost,
    seenMs: round(seenMs),
    usersGoneMs: round(goneMs),
    cpuMs: round((after.cpu - before.cpu) * 1000),
    seconds: round((after.at - before.at) / 1000),
    longestPingMs: round(Math.max(...pings)),
    pingP99Ms: round(quantile(pings, 0.99)),
    writeP99Ms: write.p99
  }
}
