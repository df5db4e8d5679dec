import type { FastifyInstance } from 'fastify'
import { fit, MOST_NAMESPACES } from './limits.ts'
import type { InstanceFacts } from './report.ts'

export type LocalSockets = Omit<InstanceFacts['websockets'], 'uptime'>
type Namespace = LocalSockets['namespaces'][number]

/** What ws-namespaces tells of one namespace in this process. */
interface LocalNamespace {
  path: string
  users: number
  connections: number
  messages: number
  rooms: number
  drops: { oversize: number, rateLimit: number, invalid: number, slow: number }
  /** Milliseconds since 1970. */
  lastActivity: number | null
}

/** A namespace over all instances. `green`: somebody is connected; `yellow`: nobody is. */
export interface NamespaceTotals {
  path: string
  totalConnections: number
  totalMessages: number
  instanceCount: number
  serverCount: number
  status: 'green' | 'yellow'
  lastActivity: string | null
}

/**
 * Namespaces of this process; none without ws-namespaces. A pattern has one for each id that is in use, so there is no
 * bound to them: the totals are over all, and the busiest are listed.
 */
export function localSockets (fastify: FastifyInstance): LocalSockets {
  const plugin = fastify.hasDecorator('wsNamespaces') ? (fastify as unknown as { wsNamespaces: { local (): Record<string, LocalNamespace> } }).wsNamespaces : null
  const namespaces = plugin === null ? [] : Object.values(plugin.local())
  return {
    localConnections: namespaces.reduce((sum, { connections }) => sum + connections, 0),
    localMessages: namespaces.reduce((sum, { messages }) => sum + messages, 0),
    namespaces: busiest(namespaces).map(namespaceOf)
  }
}

function busiest (namespaces: LocalNamespace[]): LocalNamespace[] {
  if (namespaces.length <= MOST_NAMESPACES) return namespaces
  return namespaces.toSorted((a, b) => b.connections - a.connections || b.messages - a.messages).slice(0, MOST_NAMESPACES)
}

function namespaceOf ({ path, users, connections, messages, rooms, drops, lastActivity }: LocalNamespace): Namespace {
  const { oversize, rateLimit, invalid, slow } = drops
  return { path: fit(path), users, connections, messages, rooms, drops: { oversize, rateLimit, invalid, slow }, lastActivity: lastActivity === null ? null : new Date(lastActivity).toISOString() }
}

/** Adds up the namespaces of all instances, by path. */
export function mergeNamespaces (instances: ReadonlyArray<{ serverId: string, namespaces: Namespace[] }>): NamespaceTotals[] {
  const byPath = new Map<string, { totals: NamespaceTotals, servers: Set<string> }>()
  for (const { serverId, namespaces } of instances) {
    for (const { path, connections, messages, lastActivity } of namespaces) {
      const { totals, servers } = byPath.get(path) ?? { totals: emptyNamespace(path), servers: new Set<string>() }
      totals.totalConnections += connections
      totals.totalMessages += messages
      totals.instanceCount++
      totals.serverCount = servers.add(serverId).size
      if (connections > 0) totals.status = 'green'
      // ISO times sort as text.
      if (lastActivity !== null && (totals.lastActivity === null || lastActivity > totals.lastActivity)) totals.lastActivity = lastActivity
      byPath.set(path, { totals, servers })
    }
  }
  return [...byPath.values()].map(({ totals }) => totals).sort((a, b) => a.path < b.path ? -1 : 1)
}

const emptyNamespace = (path: string): NamespaceTotals =>
  ({ path, totalConnections: 0, totalMessages: 0, instanceCount: 0, serverCount: 0, status: 'yellow', lastActivity: null })
