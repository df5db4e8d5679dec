import { answers, guard, ok, prepareScope, type Authorize } from '@jpulse/plugin-kit'
import type { FastifyInstance } from 'fastify'
import { Type, type Static } from 'typebox'
import { pathOf, type PlainRoute } from '../admission/upgrade.ts'
import type { Decorator } from '../api/ws-namespaces.ts'
import type { Cluster } from '../cluster/cluster.ts'
import { FST_ERR_WS_NAMESPACES_FORBIDDEN, FST_ERR_WS_NAMESPACES_UNAUTHORIZED } from '../errors.ts'

const Namespace = Type.String({ description: 'Name of the namespace, URL-encoded once: rooms%2F7' })
const User = Type.String({ minLength: 1, maxLength: 512 })
const Message = Type.Object({ type: Type.String({ minLength: 1, maxLength: 256 }), data: Type.Optional(Type.Unknown({ description: 'Any JSON' })) })
const Sent = Type.Object({ delivered: Type.Enum(['cluster', 'local']) })
const Online = Type.Object({ online: Type.Boolean(), instances: Type.Array(Type.String()) })
const Stats = Type.Record(Type.String(), Type.Object({
  users: Type.Integer(),
  connections: Type.Integer(),
  messages: Type.Integer(),
  rooms: Type.Integer(),
  instances: Type.Integer(),
  drops: Type.Object({ oversize: Type.Integer(), rateLimit: Type.Integer(), invalid: Type.Integer(), slow: Type.Integer() }),
  status: Type.Enum(['green', 'yellow', 'red']),
  lastActivity: Type.Union([Type.Integer({ description: 'Milliseconds since 1970' }), Type.Null()])
}))

const InNamespace = Type.Object({ namespace: Namespace })
const OfUser = Type.Object({ namespace: Namespace, userId: User })
const LongNames = Type.Object({ '*': Type.String({ description: 'As above, for names of more than 100 characters' }) })

const refusals = { Unauthorized: FST_ERR_WS_NAMESPACES_UNAUTHORIZED, Forbidden: FST_ERR_WS_NAMESPACES_FORBIDDEN }

/** Registers the routes, which only those may use whom `authorize` lets in. */
export async function routes (scope: FastifyInstance, namespaces: Decorator, cluster: Cluster, authorize: Authorize): Promise<void> {
  const broadcast = async (namespace: string, { type, data }: Static<typeof Message>) => ok(await namespaces.must(namespace).broadcast(type, data))
  const toUser = async (namespace: string, userId: string, { type, data }: Static<typeof Message>) => ok(await namespaces.must(namespace).toUser(userId, type, data))
  prepareScope(scope, 'FST_ERR_WS_NAMESPACES')
  scope.addHook('onRequest', guard(authorize, refusals))

  scope.post<{ Params: Static<typeof InNamespace>, Body: Static<typeof Message> }>('/:namespace/broadcast', {
    schema: { params: InNamespace, body: Message, response: answers(Sent) }
  }, async ({ params, body }) => broadcast(params.namespace, body))

  scope.post<{ Params: Static<typeof OfUser>, Body: Static<typeof Message> }>('/:namespace/user/:userId', {
    schema: { params: OfUser, body: Message, response: answers(Sent) }
  }, async ({ params, body }) => toUser(params.namespace, params.userId, body))

  scope.get<{ Params: Static<typeof OfUser> }>('/:namespace/user/:userId/online', {
    schema: { params: OfUser, response: answers(Online) }
  }, async ({ params }) => online(namespaces, params.namespace, params.userId))

  scope.post<{ Body: Static<typeof Message> }>('/*', {
    schema: { params: LongNames, body: Message, response: answers(Sent) }
  }, async (request, reply) => {
    const target = readTarget(pathOf(request))
    if (target === null || target.what === 'online') return reply.callNotFound()
    return target.userId === null ? broadcast(target.namespace, request.body) : toUser(target.namespace, target.userId, request.body)
  })

  scope.get('/stats', { schema: { response: answers(Stats) } }, async () => ok(await cluster.stats()))
}

/** Who is online, for names that fit no parameter: such a GET reaches the route of the upgrade. */
export function onlineOfLongNames (namespaces: Decorator, authorize: Authorize): PlainRoute {
  const check = guard(authorize, refusals)
  return (path) => {
    const target = readTarget(path)
    if (target?.what !== 'online') return null
    return async (request, reply) => {
      await check(request)
      await reply.send(await online(namespaces, target.namespace, target.userId!))
    }
  }
}

async function online (namespaces: Decorator, namespace: string, userId: string): Promise<object> {
  return ok(await namespaces.must(namespace).online(userId))
}

/** What a path of the HTTP routes means. */
interface Target {
  readonly namespace: string
  readonly userId: string | null
  readonly what: 'broadcast' | 'user' | 'online'
}

/**
 * Reads an encoded path as the routes would: a name of more than maxParamLength characters, which is 100 and the
 * application's to set, fits no parameter. Null where it is none of theirs.
 */
function readTarget (path: string): Target | null {
  const segments = decodeAll(path.split('/'))
  const [namespace = '', kind, userId = '', end] = segments
  if (segments.includes('')) return null
  if (segments.length === 2 && kind === 'broadcast') return { namespace, userId: null, what: 'broadcast' }
  if (kind !== 'user') return null
  if (segments.length === 3) return { namespace, userId, what: 'user' }
  return segments.length === 4 && end === 'online' ? { namespace, userId, what: 'online' } : null
}

function decodeAll (segments: readonly string[]): string[] {
  try {
    return segments.map(decodeURIComponent)
  } catch {
    return []
  }
}
