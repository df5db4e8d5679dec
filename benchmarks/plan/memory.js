import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { killAll, start } from './children.js'
import { round } from './numbers.js'
import { startServers } from './servers.js'

/** What the plan says of each, in bytes, where it says something. @type {Record<string, number | null>} */
const PLANNED = { session: 1024, 'health report': 500, 'health history point': null, 'cached value': 200, 'presence entry': 100, 'history message': null }

/** Only a process with Redis makes reports. */
const NEEDS_REDIS = new Set(['health report', 'health history point'])

/** @typedef {{ kind: string, count: number, redis: number, process: number | null, alone: number | null }} Row bytes of each: in Redis, in the process that made it, and in a process without Redis */

/** @param {{ isShort: boolean, say: (line: string) => void }} options */
export async function measureMemory ({ isShort, say }) {
  /** @type {Row[]} */
  const rows = []
  /** @type {Record<string, number>} */
  const aggregates = {}
  for (const kind of Object.keys(PLANNED)) {
    for (const count of isShort ? [1000, 2000] : [10_000, 100_000]) {
      say(`${count} of ${kind}`)
      const dir = mkdtempSync(join(tmpdir(), 'jpulse-bench-'))
      const servers = await startServers('single', dir)
      try {
        const child = await start('holder.js', { kind, redis: servers.options })
        const before = await servers.look()
        const { each, said } = await child.call('make', count)
        const after = await servers.look()
        await child.kill()
        if (typeof said === 'number') aggregates[count] = round(said)
        rows.push({ kind, count, redis: Math.round((after.memory - before.memory) / count), process: each === null ? null : Math.round(each), alone: NEEDS_REDIS.has(kind) ? null : await alone(kind, count) })
      } finally {
        await killAll()
        await servers.stop()
        rmSync(dir, { recursive: true, force: true })
      }
    }
  }
  return { rows, planned: PLANNED, aggregates }
}

/** @param {string} kind @param {number} count */
async function alone (kind, count) {
  const child = await start('holder.js', { kind, redis: { mode: 'none' } })
  const { each } = await child.call('make', count)
  await child.kill()
  return Math.round(each)
}
