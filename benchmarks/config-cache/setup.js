import Fastify from 'fastify'
import { redisLink } from '@jpulse/redis-link'
import { configCache } from '@jpulse/config-cache'

export const url = process.env.REDIS_URL ?? 'redis://127.0.0.1:6379'

/**
 * @param {string} siteId
 * @param {(app: import('fastify').FastifyInstance) => unknown} routes
 * @param {import('@jpulse/config-cache').FastifyConfigCacheOptions} options
 */
export async function instance (siteId, routes = () => {}, options = {}) {
  const app = Fastify()
  await app.register(redisLink, { url, siteId })
  await app.register(configCache, { blockTtlMs: 500, ...options })
  routes(app)
  await app.ready()
  while (app.configCache.mode !== 'coherent') await new Promise((resolve) => setTimeout(resolve, 20))
  return app
}

/** @param {number[]} values */
export const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1] ?? NaN

/** @param {number[]} values @param {number} part */
export const quantile = (values, part) => [...values].sort((a, b) => a - b)[Math.floor(values.length * part)] ?? NaN

/**
 * Runs contenders in turns, so that whatever else the machine does hits all of them, and prints each one's best turn.
 *
 * @param {Record<string, () => unknown>} contenders each does one operation
 * @param {{ operations: number, turns: number, base: string }} options
 */
export async function compare (contenders, { operations, turns, base }) {
  /** @type {Record<string, number>} */
  const best = {}
  for (let turn = 0; turn < turns; turn++) {
    for (const [name, operation] of Object.entries(contenders)) {
      const start = performance.now()
      for (let i = 0; i < operations; i++) await operation()
      const each = (performance.now() - start) / operations
      if (turn > 0) best[name] = Math.min(best[name] ?? Infinity, each)
      // Lets leases be renewed and messages be read between the turns.
      await new Promise((resolve) => setTimeout(resolve, 30))
    }
  }
  for (const [name, each] of Object.entries(best)) {
    console.log(`${name.padEnd(32)} ${(each * 1000).toFixed(3).padStart(9)} µs   ${(each / /** @type {number} */ (best[base])).toFixed(2)}x`)
  }
}

/** Operations of each contender that are not counted: compilers and sockets have to be warm. */
export const WARM_UP = 1000

/**
 * Runs contenders one operation each in turn, so that a busy machine is the same to all of them, and prints medians.
 *
 * @param {Record<string, () => Promise<unknown>>} contenders
 * @param {number} operations of each
 * @param {string} base
 */
export async function alternate (contenders, operations, base) {
  const times = Object.fromEntries(Object.keys(contenders).map((name) => [name, /** @type {number[]} */ ([])]))
  const all = Object.entries(contenders)
  for (let i = -WARM_UP; i < operations; i++) {
    // Another order each time: who comes after a heavy contender would otherwise always do so.
    for (let turn = 0; turn < all.length; turn++) {
      const [name, operation] = /** @type {[string, () => Promise<unknown>]} */ (all[(turn + i + WARM_UP) % all.length])
      const start = performance.now()
      await operation()
      if (i >= 0) times[name]?.push(performance.now() - start)
    }
  }
  const middle = median(times[base] ?? [])
  for (const [name, each] of Object.entries(times)) console.log(`${name.padEnd(32)} ${median(each).toFixed(3).padStart(9)} ms   ${(median(each) / middle).toFixed(2)}x`)
}
