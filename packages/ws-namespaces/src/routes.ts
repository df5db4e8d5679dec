import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { Type, type Static } from 'typebox'
import type { ResolvedOptions } from './options.ts'
import type { Registry } from './registry.ts'
import { fail } from './upgrade.ts'
import type { WsNamespaces } from './ws-namespaces.ts'

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

/** Registers the routes, which only those may use whom `authorize` lets in. */
export async function routes (scope: FastifyInstance, namespaces: WsNamespaces, registry: Registry, authorize: NonNullable<ResolvedOptions['authorize']>): Promise<void> {
  scope.setErrorHandler(fail)
  scope.addHook('onRequest', async (request: FastifyRequest, reply: FastifyReply) => {
    if (await authorize(request) === true) return
    await reply.code(401).send({ success: false, error: 'Only who is authorized may use this', code: 'UNAUTHORIZED', statusCode: 401 })
  })

  scope.post<{ Params: Static<typeof InNamespace>, Body: Static<typeof Message> }>('/:namespace/broadcast', {
    schema: { params: InNamespace, body: Message, response: { 200: Sent, ...failures } }
  }, async ({ params, body }) => ({ success: true, data: await namespaces.must(params.namespace).broadcast(body.type, body.data) }))

  scope.post<{ Params: Static<typeof OfUser>, Body: Static<typeof Message> }>('/:namespace/user/:userId', {
    schema: { params: OfUser, body: Message, response: { 200: Sent, ...failures } }
  }, async ({ params, body }) => ({ success: true, data: await namespaces.must(params.namespace).toUser(params.userId, body.type, body.data) }))

  scope.get<{ Params: Static<typeof OfUser> }>('/:namespace/user/:userId/online', {
    schema: { params: OfUser, response: { 200: Online, ...failures } }
  }, async ({ params }) => ({ success: true, data: await namespaces.must(params.namespace).online(params.userId) }))

  scope.get('/stats', { schema: { response: { 200: Stats, ...failures } } }, async () => ({ success: true, data: await registry.cluster.stats() }))
}
