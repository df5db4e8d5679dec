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
  /** Another one for each that is made, so that one of the name of a former one has nothing of its history. */
  id: Type.Optional(Type.String({ pattern: '^[\\w-]{1,64}$' })),
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

/** Open, so that a worker of one release serves what another one wrote, in which there may be more. */
const List = Type.Object({ endpoints: Type.Array(Type.Object(EndpointShape.properties), { maxItems: MOST }) })

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

export function optionsOf ({ id, audience, sending, history, presence }: Endpoint): NamespaceOptions {
  return {
    limits: LIMITS,
    ...(audience === 'admins' && { authorize: onlyAdmins }),
    ...(sending && { relay: ['broadcast'] }),
    ...(history && { history: { id } }),
    presence
  }
}

const FIELDS = Object.keys(EndpointShape.properties) as Array<keyof Endpoint>

export const same = (one: Endpoint, other: Endpoint | undefined): boolean => other !== undefined && FIELDS.every((field) => one[field] === other[field])
