import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { Type, type Static } from 'typebox'
import type { AppCluster } from './app-cluster.ts'
import type { ResolvedOptions } from './options.ts'

const Failure = Type.Object({
  success: Type.Literal(false),
  error: Type.String(),
  code: Type.String(),
  statusCode: Type.Integer()
})
const failures = { '4xx': Failure, '5xx': Failure }
const ok = (data: ReturnType<typeof Type.Object>) => Type.Object({ success: Type.Literal(true), data })

// The name is a wildcard because Fastify ends parameters at maxParamLength, which is 100 and the application's to set.
const BroadcastParams = Type.Object({ '*': Type.String({ description: 'Name of the channel, URL-encoded' }) })
const BroadcastBody = Type.Object({ data: Type.Unknown({ description: 'Any JSON' }) })
const Published = ok(Type.Object({
  id: Type.String(),
  channel: Type.String(),
  instanceId: Type.String(),
  timestamp: Type.Integer({ description: 'Milliseconds since 1970' }),
  delivered: Type.Enum(['cluster', 'local'])
}))

const Mode = Type.Enum(['cluster', 'local'])
const Status = ok(Type.Object({
  instanceId: Type.String(),
  serverId: Type.String(),
  bootId: Type.String(),
  mode: Mode,
  redis: Type.Enum(['disabled', 'connecting', 'up', 'down']),
  members: Type.Array(Type.Object({
    instanceId: Type.String(),
    serverId: Type.String(),
    bootId: Type.String(),
    pid: Type.Integer(),
    startedAt: Type.Integer({ description: 'Milliseconds since 1970' }),
    lastSeenMs: Type.Integer({ description: 'Milliseconds since its last renewal' })
  })),
  duplicates: Type.Array(Type.String()),
  subscriptions: Type.Array(Type.Object({ pattern: Type.String(), handlers: Type.Integer() }))
}))

/** Codes of the routes, for errors that have a name of their own. */
const CODES: Record<string, string> = {
  FST_ERR_CLUSTER_BROADCAST_INVALID_CHANNEL: 'INVALID_CHANNEL',
  FST_ERR_CLUSTER_BROADCAST_RESERVED_CHANNEL: 'RESERVED_CHANNEL',
  FST_ERR_CLUSTER_BROADCAST_INVALID_DATA: 'INVALID_DATA',
  FST_ERR_CLUSTER_BROADCAST_MESSAGE_TOO_LARGE: 'MESSAGE_TOO_LARGE',
  FST_ERR_CTP_BODY_TOO_LARGE: 'MESSAGE_TOO_LARGE',
  FST_ERR_VALIDATION: 'INVALID_DATA',
  FST_ERR_CTP_EMPTY_JSON_BODY: 'INVALID_DATA',
  FST_ERR_CTP_INVALID_JSON_BODY: 'INVALID_DATA'
}

/** Registers the routes, which only those may use whom `authorize` lets in. */
export async function routes (fastify: FastifyInstance, cluster: AppCluster, authorize: NonNullable<ResolvedOptions['authorize']>, maxMessageBytes: number): Promise<void> {
  fastify.setErrorHandler(fail)
  fastify.addHook('onRequest', async (request: FastifyRequest, reply: FastifyReply) => {
    if (await authorize(request) === true) return
    await reply.code(401).send(failure('Only who is authorized may use this', 'UNAUTHORIZED', 401))
  })

  fastify.post<{ Params: Static<typeof BroadcastParams>, Body: Static<typeof BroadcastBody> }>('/broadcast/*', {
    // Room for what JSON may write longer than it is: white space and escapes.
    bodyLimit: 2 * maxMessageBytes + 1024,
    schema: { params: BroadcastParams, body: BroadcastBody, response: { 200: Published, ...failures } }
  }, async (request) => {
    const channel = request.params['*']
    const { id, timestamp, delivered } = await cluster.broadcast.publish(channel, request.body.data)
    return { success: true, data: { id, channel, instanceId: cluster.instanceId, timestamp, delivered } }
  })

  fastify.get('/status', { schema: { response: { 200: Status, ...failures } } }, async () => ({ success: true, data: cluster.status() }))
}

async function fail (error: FastifyError, request: FastifyRequest, reply: FastifyReply): Promise<void> {
  const statusCode = error.statusCode ?? 500
  if (statusCode >= 500) {
    request.log.error({ err: error }, 'a request to the cluster failed')
    await reply.code(statusCode).send(failure('Internal Server Error', 'INTERNAL_ERROR', statusCode))
    return
  }
  await reply.code(statusCode).send(failure(error.message, CODES[error.code] ?? error.code ?? 'REFUSED', statusCode))
}

function failure (error: string, code: string, statusCode: number): Static<typeof Failure> {
  return { success: false, error, code, statusCode }
}
