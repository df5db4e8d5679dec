import { readdirSync } from 'node:fs'
import { join, relative } from 'node:path'

/**
 * @typedef {object} Plan
 * @property {string[]} files in this order
 * @property {ReadonlySet<string>} alone of these one at a time
 * @property {ReadonlySet<string>} waits of these one more than `jobs`
 * @property {number} jobs how many files run side by side
 */

/** Each of these runs four PM2 workers, a browser or both: two at a time would only wait for each other. */
export const ALONE = [
  'examples/rerum-store/test/faults.test.ts',
  'test/start.test.ts',
  'examples/jpulse-site/test/reload.test.ts',
  'examples/jpulse-site/test/e2e.test.ts',
  'examples/jpulse-site/test/browser.test.ts',
  'examples/rerum-store/test/race.test.ts',
  'packages/cluster-metrics/test/pm2.test.ts',
  'packages/redis-sessions/test/pm2.test.ts'
]

/** Others that take longest: begun early, so that nothing waits for the last one at the end. */
export const LONG = [
  'packages/config-cache/test/faults.test.ts',
  'packages/config-cache/test/race.test.ts',
  'test/mixed-release/mixed-release.test.ts',
  'packages/config-cache/test/topologies.test.ts',
  'examples/rerum-store/test/matrix.test.ts',
  'packages/cluster-broadcast/test/broadcast-cluster.test.ts'
]

/** Those that wait for leases and timeouts for 20 s and more, and need less than a quarter of a core meanwhile. */
export const WAITS = [
  'examples/rerum-store/test/event-loop.test.ts',
  'packages/cluster-broadcast/test/broadcast-sentinel.test.ts',
  'packages/redis-link/test/refusals.test.ts',
  'examples/rerum-store/test/api.test.ts',
  'packages/config-cache/test/writes.test.ts',
  'packages/redis-sessions/test/conformance.test.ts',
  'packages/config-cache/test/api.test.ts',
  'packages/cluster-broadcast/test/faults.test.ts',
  'examples/jpulse-site/test/faults.test.ts',
  'packages/redis-link/test/cluster-commands.test.ts',
  'packages/redis-sessions/test/with-copies/sessions.test.ts',
  'packages/redis-link/test/link-sentinel.test.ts',
  'packages/redis-link/test/link-cluster.test.ts',
  'packages/redis-sessions/test/outage.test.ts',
  'test/helpers.test.ts',
  'packages/redis-sessions/test/with-copies/handlers.test.ts',
  'examples/rerum-store/test/interrupted.test.ts',
  'examples/rerum-store/test/tags.test.ts',
  'packages/redis-sessions/test/with-copies/logins.test.ts'
]

/**
 * All tests: one of those that fill the machine, two of the others, and one that only waits. Together they take all of two cores: more
 * at a time would only wait for each other.
 *
 * @param {string} root @returns {Plan}
 */
export function planOf (root) {
  const folders = ['packages', 'examples'].flatMap((group) => readdirSync(join(root, group)).map((name) => join(root, group, name, 'test')))
  const files = [...folders, join(root, 'test')].flatMap((folder) => testsBelow(folder)).map((file) => relative(root, file))
  const first = [...ALONE, ...LONG, ...WAITS].filter((file) => files.includes(file))
  return { files: [...first, ...files.filter((file) => !first.includes(file)).sort()], alone: new Set(ALONE), waits: new Set(WAITS), jobs: 3 }
}

/** @param {string} folder @returns {string[]} */
function testsBelow (folder) {
  try {
    return readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.test.ts')).map((name) => join(folder, name))
  } catch {
    // Not every folder has tests.
    return []
  }
}
