import { channel } from 'node:diagnostics_channel'
import type { CacheMode } from './stats.ts'

/**
 * What the cache publishes on `node:diagnostics_channel`, by channel. Published in the turn in which it happens; without a
 * subscriber nothing is built.
 */
export interface CacheEvents {
  /** A read was answered from this process, from Redis, or by the load of another read. */
  'jpulse:config-cache:hit': { readonly key: string, readonly level: 'process' | 'redis' | 'flight' }
  /** A read found nothing, and its loader is called. */
  'jpulse:config-cache:miss': { readonly key: string }
  /** A loader ended: after `ms`, with `err` where it failed. */
  'jpulse:config-cache:load': { readonly key: string, readonly ms: number, readonly err?: unknown }
  /**
   * A write reached a step. `blocked`: Redis holds the block; `safe`: nobody serves the old value; `written`: the work is done;
   * `released`: the write resolves. Or it ended without: `refused` before its work, `unconfirmed` after it, each with a reason.
   */
  'jpulse:config-cache:write': { readonly step: 'blocked' | 'safe' | 'written' | 'released', readonly opId: string, readonly tags: readonly string[] }
  | { readonly step: 'refused' | 'unconfirmed', readonly tags: readonly string[], readonly reason: string }
  /** Caching began or ended, or is off for another reason. */
  'jpulse:config-cache:mode': { readonly mode: CacheMode, readonly reason: string | null }
  /** A value was handed out and not kept (`level: 'process'`), or kept here and not taken by Redis. */
  'jpulse:config-cache:unkept': { readonly key: string, readonly level: 'process' | 'redis', readonly reason: string }
  /** A failed or slow read was answered with the last known value, or with the default of a flag. */
  'jpulse:config-cache:stale': { readonly key: string, readonly err: unknown }
}

const made = <Name extends keyof CacheEvents>(name: Name) => channel(name)

export const hits = made('jpulse:config-cache:hit')
export const misses = made('jpulse:config-cache:miss')
export const loads = made('jpulse:config-cache:load')
export const writes = made('jpulse:config-cache:write')
export const modes = made('jpulse:config-cache:mode')
export const unkept = made('jpulse:config-cache:unkept')
export const stale = made('jpulse:config-cache:stale')
