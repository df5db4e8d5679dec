import { FST_ERR_CLUSTER_BROADCAST_INVALID_CHANNEL, FST_ERR_CLUSTER_BROADCAST_RESERVED_CHANNEL } from '../errors.ts'

const SEGMENT = '[A-Za-z0-9._@%-]{1,100}'
const NAME = new RegExp(`^${SEGMENT}(?::${SEGMENT}){0,15}$`)
const PATTERN = new RegExp(`^(?:${SEGMENT}:){0,15}\\*$`)
const GRAMMAR = '1 to 16 segments joined with ":", each of 1 to 100 characters A-Z a-z 0-9 . _ - @ %'

/** First segments that belong to the plugins of the suite. */
const RESERVED = ['jp', 'ws', 'cache', 'session', 'metrics', 'cluster'] as const

/** A first segment that an application may not use. */
export type ReservedPrefix = typeof RESERVED[number]

const reserved = new Set<string>(RESERVED)

/** The first segment of a name. */
function firstSegment (name: string): string {
  const end = name.indexOf(':')
  return end === -1 ? name : name.slice(0, end)
}

/** Whether a name belongs to a plugin of the suite. */
export function isReserved (name: string): boolean {
  return reserved.has(firstSegment(name))
}

/**
 * Checks the name of a channel.
 *
 * @param owner the reserved prefix of an internal handle, null for the application
 * @throws FST_ERR_CLUSTER_BROADCAST_INVALID_CHANNEL, FST_ERR_CLUSTER_BROADCAST_RESERVED_CHANNEL
 */
export function checkChannel (name: unknown, owner: ReservedPrefix | null): asserts name is string {
  if (typeof name !== 'string' || !NAME.test(name)) throw new FST_ERR_CLUSTER_BROADCAST_INVALID_CHANNEL(GRAMMAR)
  checkOwner(name, owner)
}

/** As `checkChannel`, for what may be subscribed to: a name, or a pattern that ends in `*`. */
export function checkPattern (pattern: unknown, owner: ReservedPrefix | null): asserts pattern is string {
  if (typeof pattern !== 'string' || !(NAME.test(pattern) || PATTERN.test(pattern))) {
    throw new FST_ERR_CLUSTER_BROADCAST_INVALID_CHANNEL(`${GRAMMAR}; the last segment of a pattern may be "*"`)
  }
  checkOwner(pattern, owner)
}

function checkOwner (name: string, owner: ReservedPrefix | null): void {
  const first = firstSegment(name)
  if (owner === null ? !reserved.has(first) : first === owner) return
  throw new FST_ERR_CLUSTER_BROADCAST_RESERVED_CHANNEL(owner === null
    ? `names that begin with "${first}" belong to a plugin of the suite`
    : `this handle is for names that begin with "${owner}"`)
}

/** Whether `name` lies under one of the prefixes, each of whole segments. */
export function isUnder (name: string, prefixes: readonly string[]): boolean {
  return prefixes.some((prefix) => name.startsWith(prefix) && (name.length === prefix.length || name[prefix.length] === ':'))
}
