import type { FastifyInstance } from 'fastify'
import { fit, MOST_NAMESPACES, type InstanceFacts, type Namespace } from '../formats/index.ts'

export type LocalSockets = Omit<InstanceFacts['websockets'], 'uptime'>

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
