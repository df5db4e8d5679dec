import type { Namespace } from '../formats/index.ts'

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
