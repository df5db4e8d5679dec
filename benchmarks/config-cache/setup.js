import Fastify from 'fastify'
import { redisLink } from '@jpulse/redis-link'
import { configCache } from '@jpulse/config-cache'

export const url = process.env.REDIS_URL ?? 'redis://127.0.0.1:6379'

/** @param {string} siteId */
export async function instance (siteId) {
  const app = Fastify()
  await app.register(redisLink, { url, siteId })
  await app.register(configCache, { blockTtlMs: 500 })
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
 * @param {{ operations: number, turns: number, base: string, unit: 'µs' | 'ms' }} options
 */
export async function compare (contenders, { operations, turns, base, unit }) {
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
    const shown = unit === 'µs' ? each * 1000 : each
    console.log(`${name.padEnd(32)} ${shown.toFixed(3).padStart(9)} ${unit}   ${(each / /** @type {number} */ (best[base])).toFixed(2)}x`)
  }
}
