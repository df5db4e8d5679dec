import type { Feature } from '../feature.ts'
import { broadcast } from './broadcast.ts'
import { cache } from './cache.ts'
import { metrics } from './metrics.ts'
import { pagination } from './pagination.ts'
import { sessions } from './sessions.ts'
import { websockets } from './websockets.ts'

/** In the order of their registration. */
export const FEATURES: readonly Feature[] = [sessions, broadcast, metrics, websockets, cache, pagination]

/** What is chosen, with what it needs, in the order of registration. */
export function chosen (names: readonly string[]): Feature[] {
  const wanted = new Set(names.flatMap((name) => [name, ...FEATURES.find((feature) => feature.name === name)?.needs ?? []]))
  return FEATURES.filter(({ name }) => wanted.has(name))
}
