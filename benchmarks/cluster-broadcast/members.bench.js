// What idle members cost Redis: many in few processes, and what a second of nothing asks of the server. Cost per member
// must not grow with their number. PACKAGES names another checkout's folder of packages, to compare with; BOOT_SECONDS is the
// longest wait until all are members.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import { redisBinary } from '../../scripts/servers/binaries.js'
import { startRedis } from '../../scripts/servers/redis.js'

const COUNTS = (process.env.MEMBERS ?? '4,16,64,160,400').split(',').map(Number)
const SECONDS = Number(process.env.SECONDS ?? 10)
/** `link`, `broadcast` (and the link), `all` with config-cache and cluster-metrics; `shared` and `own`: each publishes once a second where nobody listens, to the log that all share or to one of its own. */
const KINDS = (process.env.KINDS ?? 'broadcast').split(',')
const PROCESSES = 4
const SETTLE_MS = 5000

const dir = mkdtempSync(join(tmpdir(), 'jpulse-bench-'))
try {
  for (const kind of KINDS) {
    console.log(`${kind}, ${SECONDS} s\nmembers  sent/s each  with scripts/s each  KiB/s  KiB/s each  % of a core  µs/s each`)
    for (const count of COUNTS) console.log(row(count, await measure(kind, count)))
  }
} finally {
  rmSync(dir, { recursive: true, force: true })
}

/** @typedef {{ sent: number, commands: number, bytes: number, cpu: number, isComplete: boolean }} Cost per second; whether all knew all */

/** @param {string} kind @param {number} count @returns {Promise<Cost>} */
async function measure (kind, count) {
  const redis = await startRedis({ binary: redisBinary(console.error), dir: join(dir, `${kind}-${count}`), args: ['--maxclients', '4000'] })
  const client = new Redis(redis.port, '127.0.0.1')
  const processes = Math.min(PROCESSES, count)
  const children = Array.from({ length: processes }, (_, index) => fork(fileURLToPath(new URL('./idle.js', import.meta.url)),
    [kind, redis.url, String(Math.floor(count / processes) + (index < count % processes ? 1 : 0)), String(count)]))
  try {
    await Promise.all(children.map(message))
    await sleep(SETTLE_MS)
    const [begin, before] = [await look(client), await ask(children)]
    await sleep(SECONDS * 1000)
    const [end, after] = [await look(client), await ask(children)]
    // On a busy machine it takes longer than it should.
    const per = (/** @type {number} */ difference) => difference / (end.at - begin.at) * 1000
    return {
      sent: per(after.sent - before.sent),
      commands: per(end.commands - begin.commands),
      bytes: per(end.bytes - begin.bytes),
      cpu: per(end.cpu - begin.cpu),
      isComplete: before.isComplete && after.isComplete
    }
  } finally {
    for (const child of children) child.kill('SIGKILL')
    client.disconnect()
    await redis.process.stop('SIGKILL')
  }
}

/** @param {Redis} client @returns {Promise<{ at: number, commands: number, bytes: number, cpu: number }>} */
async function look (client) {
  const at = performance.now()
  const [commands, stats, cpu] = await Promise.all(['commandstats', 'stats', 'cpu'].map((section) => client.info(section)))
  const calls = [...(commands ?? '').matchAll(/^cmdstat_([\w|]+):calls=(\d+)/gm)]
  const number = (/** @type {string} */ text, /** @type {string} */ name) => Number(new RegExp(`^${name}:([\\d.]+)`, 'm').exec(text)?.[1])
  return {
    at,
    commands: calls.reduce((sum, [, , count]) => sum + Number(count), 0),
    bytes: number(stats ?? '', 'total_net_output_bytes'),
    cpu: number(cpu ?? '', 'used_cpu_user') + number(cpu ?? '', 'used_cpu_sys')
  }
}

/** @param {import('node:child_process').ChildProcess} child @returns {Promise<unknown>} rejects where it ends instead */
function message (child) {
  return Promise.race([once(child, 'message').then(([said]) => said), once(child, 'exit').then(([code]) => { throw new Error(`a process of members ended with ${code}`) })])
}

/** @param {import('node:child_process').ChildProcess[]} children @returns {Promise<{ sent: number, isComplete: boolean }>} */
async function ask (children) {
  const answers = await Promise.all(children.map(async (child) => {
    child.send('count')
    return /** @type {{ sent: number, isComplete: boolean }} */ (await message(child))
  }))
  return { sent: answers.reduce((sum, { sent }) => sum + sent, 0), isComplete: answers.every(({ isComplete }) => isComplete) }
}

/** @param {number} count @param {Cost} cost */
function row (count, { sent, commands, bytes, cpu, isComplete }) {
  const cells = [sent / count, commands / count, bytes / 1024, bytes / 1024 / count, cpu * 100, cpu * 1e6 / count]
  return `${String(count).padStart(7)} ${cells.map((value, index) => value.toFixed(index === 5 ? 0 : 2).padStart([12, 19, 6, 11, 12, 10][index] ?? 0)).join(' ')}${isComplete ? '' : '  (not all were members at one moment)'}`
}
