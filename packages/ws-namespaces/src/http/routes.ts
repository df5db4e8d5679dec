import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { Type, type Static } from 'typebox'
import type { ResolvedOptions } from '../options.ts'
import { readTarget } from './target.ts'
import type { Decorator } from '../api/ws-namespaces.ts'
import type { Cluster } from '../cluster/cluster.ts'
import { fail, pathOf, type PlainRoute } from '../admission/upgrade.ts'

const Failure = Type.Object({ success: Type.Literal(false), error: Type.String(), code: Type.String(), statusCode: Type.Integer() })
const failures = { '4xx': Failure, '5xx': Failure }
const ok = (data: ReturnType<typeof Type.Object> | ReturnType<typeof Type.Record>) => Type.Object({ success: Type.Literal(true), data })

const Namespace = Type.String({ description: 'Name of the namespace, URL-encoded once: rooms%2F7' })
const User = Type.String({ minLength: 1, maxLength: 512 })
const Message = Type.Object({ type: Type.String({ minLength: 1, maxLength: 256 }), data: Type.Optional(Type.Unknown({ description: 'Any JSON' })) })
const Sent = ok(Type.Object({ delivered: Type.Enum(['cluster', 'local']) }))
const Online = ok(Type.Object({ online: Type.Boolean(), instances: Type.Array(Type.String()) }))
const Stats = ok(Type.Record(Type.String(), Type.Object({
  users: Type.Integer(),
  connections: Type.Integer(),
  messages: Type.Integer(),
  rooms: Type.Integer(),
  instances: Type.Integer(),
  drops: Type.Object({ oversize: Type.Integer(), rateLimit: Type.Integer(), invalid: Type.Integer(), slow: Type.Integer() }),
  status: Type.Enum(['green', 'yellow', 'red']),
  lastActivity: Type.Union([Type.Integer({ description: 'Milliseconds since 1970' }), Type.Null()])
})))

const InNamespace = Type.Object({ namespace: Namespace })
const OfUser = Type.Object({ namespace: Namespace, userId: User })
const LongNames = Type.Object({ '*': Type.String({ description: 'As above, for names of more than 100 characters' }) })

type Authorize = NonNullable<ResolvedOptions['authorize']>

const guard = (authorize: Authorize) => async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
  if (await authorize(request) === true) return
  await reply.code(401).send({ success: false, error: 'Only who is authorized may use this', code: 'UNAUTHORIZED', statusCode: 401 })
}

/** Registers the routes, which only those may use whom `authorize` lets in. */
export async function routes (scope: FastifyInstance, namespaces: Decorator, cluster: Cluster, authorize: Authorize): Promise<void> {
  const broadcast = async (namespace: string, { type, data }: Static<typeof Message>) => ({ success: true, data: await namespaces.must(namespace).broadcast(type, data) })
  const toUser = async (namespace: string, userId: string, { type, data }: Static<typeof Message>) => ({ success: true, data: await namespaces.must(namespace).toUser(userId, type, data) })
  scope.setErrorHandler(fail)
  scope.addHook('onRequest', guard(authorize))

  scope.post<{ Params: Static<typeof InNamespace>, Body: Static<typeof Message> }>('/:namespace/broadcast', {
    schema: { params: InNamespace, body: Message, response: { 200: Sent, ...failures } }
  }, async ({ params, body }) => broadcast(params.namespace, body))

  scope.post<{ Params: Static<typeof OfUser>, Body: Static<typeof Message> }>('/:namespace/user/:userId', {
    schema: { params: OfUser, body: Message, response: { 200: Sent, ...failures } }
  }, async ({ params, body }) => toUser(params.namespace, params.userId, body))

  scope.get<{ Params: Static<typeof OfUser> }>('/:namespace/user/:userId/online', {
    schema: { params: OfUser, response: { 200: Online, ...failures } }
  }, async ({ params }) => online(namespaces, params.namespace, params.userId))

  scope.post<{ Body: Static<typeof Message> }>('/*', {
    schema: { params: LongNames, body: Message, response: { 200: Sent, ...failures } }
  }, async (request, reply) => {
    const target = readTarget(pathOf(request))
    if (target === null || target.what === 'online') return reply.callNotFound()
    return target.userId === null ? broadcast(target.namespace, request.body) : toUser(target.namespace, target.userId, request.body)
  })

  scope.get('/stats', { schema: { response: { 200: Stats, ...failures } } }, async () => ({ success: true, data: await cluster.stats() }))
}

/** Who is online, for names that fit no parameter: such a GET reaches the route of the upgrade. */
export function onlineOfLongNames (namespaces: Decorator, authorize: Authorize): PlainRoute {
  const check = guard(authorize)
  return (path) => {
    const target = readTarget(path)
    if (target?.what !== 'online') return null
    return async (request, reply) => {
      await check(request, reply)
      if (!reply.sent) await reply.send(await online(namespaces, target.namespace, target.userId!))
    }
  }
}

async function online (namespaces: Decorator, namespace: string, userId: string): Promise<object> {
  return { success: true, data: await namespaces.must(namespace).online(userId) }
}
