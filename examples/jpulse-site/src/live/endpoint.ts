import type { NamespaceOptions } from '@jpulse/ws-namespaces'
import type { FastifyRequest } from 'fastify'
import { Type, type Static } from 'typebox'
import { Value } from 'typebox/value'
import { viewer } from '../auth/viewer.ts'

/** The most that administrators may make. */
export const MOST = 20

const closed = { additionalProperties: false }

/** A WebSocket namespace that an administrator made. */
export const EndpointShape = Type.Object({
  name: Type.String({ pattern: '^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$' }),
  /** Who may connect. */
  audience: Type.Enum(['users', 'admins']),
  /** Whether whoever is connected may send to all, with a message of the type `broadcast`. */
  sending: Type.Boolean(),
  /** Whether a client that comes back gets what it missed. */
  history: Type.Boolean(),
  /** Whether clients hear who comes and goes. */
  presence: Type.Boolean()
}, closed)

export type Endpoint = Static<typeof EndpointShape>

const List = Type.Object({ endpoints: Type.Array(EndpointShape, { maxItems: MOST }) }, closed)

/** The endpoints of the stored document by their names; null where it is none of this kind. */
export function endpointsOf (stored: unknown): Map<string, Endpoint> | null {
  if (stored === null) return new Map()
  if (!Value.Check(List, stored)) return null
  return new Map(stored.endpoints.map((endpoint) => [endpoint.name, endpoint]))
}

/** Bounds for what anybody who is signed in may do to a worker by way of an endpoint. */
const LIMITS = { maxMessageBytes: 8192, messages: 20, maxConnectionsPerUser: 10 }

function onlyAdmins (request: FastifyRequest): { userId: string } | false | null {
  const found = viewer(request.server, request)
  return found === null ? null : found.role === 'admin' && { userId: found.username }
}

export function optionsOf ({ audience, sending, history, presence }: Endpoint): NamespaceOptions {
  return {
    limits: LIMITS,
    ...(audience === 'admins' && { authorize: onlyAdmins }),
    ...(sending && { relay: ['broadcast'] }),
    ...(history && { history: {} }),
    presence
  }
}
