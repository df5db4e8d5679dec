import type { FastifyInstance } from 'fastify'
import type { Reduce } from '../formats/index.ts'
import type { Components, Fields } from './components.ts'
import type { SessionCount } from './session-count.ts'

/** What config-cache's `stats()` has. */
interface CacheStats { l1Hits: number, l2Hits: number, joined: number, loads: number, [name: string]: unknown }

const sums = (...names: string[]): Record<string, Reduce> => Object.fromEntries(names.map((name) => [name, 'sum' as const]))

/**
 * Components for the plugins of the suite that are there. They are looked for at each report, because a plugin may be
 * registered after this one.
 */
export function addBuiltIns (components: Components, fastify: FastifyInstance, sessions: SessionCount): void {
  const decorator = <T>(name: string): T | null => fastify.hasDecorator(name) ? (fastify as unknown as Record<string, T>)[name]! : null

  components.add('sessions', async () => {
    const plugin = decorator<{ mode: string, count (): Promise<number> }>('sessions')
    return plugin === null ? null : { mode: plugin.mode, active: await sessions.read(plugin) }
  }, { mode: 'first', active: 'max' })

  components.add('cache', () => {
    const plugin = decorator<{ stats (): CacheStats }>('configCache')
    return plugin === null ? null : cacheFields(plugin.stats())
  }, { ...sums('reads', 'l1Hits', 'l2Hits', 'joined', 'loads', 'writes', 'refused', 'foreign', 'unconfirmed', 'conflicts', 'unkept', 'unshared', 'stale', 'unknown', 'interruptions', 'entries', 'bytes'), mode: 'first', blocks: 'max' })
}

function cacheFields (stats: CacheStats): Fields {
  const { l1Hits, l2Hits, joined, loads, slowest = null } = stats
  // The cache names a process by its pid and the boot of its machine, which looks like a secret.
  const { instance = '', ...rest } = (slowest ?? {}) as { instance?: string }
  return { ...stats, reads: l1Hits + l2Hits + joined + loads, slowest: slowest === null ? null : { ...rest, instance: instance.replace(/^(\d+)@.*/, 'pid $1') } }
}
