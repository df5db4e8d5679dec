import { answerFailure, answers, guard, ok, prepareScope, type Authorize } from '@jpulse/plugin-kit'
import type { FastifyError, FastifyInstance, FastifyRequest } from 'fastify'
import { Type, type Static } from 'typebox'
import type { AppCluster } from '../app-cluster.ts'
import { FST_ERR_CLUSTER_BROADCAST_FORBIDDEN, FST_ERR_CLUSTER_BROADCAST_INVALID_DATA, FST_ERR_CLUSTER_BROADCAST_MESSAGE_TOO_LARGE, FST_ERR_CLUSTER_BROADCAST_UNAUTHORIZED } from '../errors.ts'

// The name is a wildcard because Fastify ends parameters at maxParamLength, which is 100 and the application's to set.
const BroadcastParams = Type.Object({ '*': Type.String({ description: 'Name of the channel, URL-encoded' }) })
const BroadcastBody = Type.Object({ data: Type.Optional(Type.Unknown({ description: 'Any JSON' })) })
const Published = Type.Object({
  id: Type.String(),
  channel: Type.String(),
  instanceId: Type.String(),
  timestamp: Type.Integer({ description: 'Milliseconds since 1970' }),
  delivered: Type.Enum(['cluster', 'local'])
})

const Mode = Type.Enum(['cluster', 'local'])
const Status = Type.Object({
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
  subscriptions: Type.Array(Type.Object({ pattern: Type.String(), handlers: Type.Integer() })),
  ignored: Type.Integer({ description: 'Messages that are malformed or of a later release' })
})

const PLUGIN = 'FST_ERR_CLUSTER_BROADCAST'
const refusals = { Unauthorized: FST_ERR_CLUSTER_BROADCAST_UNAUTHORIZED, Forbidden: FST_ERR_CLUSTER_BROADCAST_FORBIDDEN }

/** Registers the routes, which only those may use whom `authorize` lets in. */
export async function routes (scope: FastifyInstance, cluster: AppCluster, authorize: Authorize, maxMessageBytes: number): Promise<void> {
  prepareScope(scope, PLUGIN)
  scope.addHook('onRequest', guard(authorize, refusals))

  scope.post<{ Params: Static<typeof BroadcastParams>, Body: Static<typeof BroadcastBody> }>('/broadcast/*', {
    // Room for what JSON may write longer than it is: white space and escapes.
    bodyLimit: 2 * maxMessageBytes + 1024,
    schema: { params: BroadcastParams, body: BroadcastBody, response: answers(Published) },
    errorHandler: (err, request, reply) => answerFailure(named(err, request, maxMessageBytes), request, reply, PLUGIN)
  }, async ({ params, body }) => {
    const channel = params['*']
    if (!('data' in body)) throw new FST_ERR_CLUSTER_BROADCAST_INVALID_DATA('there are none')
    const { id, timestamp, delivered } = await cluster.broadcast.publish(channel, body.data)
    return ok({ id, channel, instanceId: cluster.instanceId, timestamp, delivered })
  })

  scope.get('/status', { schema: { response: answers(Status) } }, async () => ok(cluster.status()))
}

/** What Fastify finds wrong with a body is said in the words of `publish`. One that is sent in chunks has no length, and is read up to its limit. */
function named (err: FastifyError, { headers, routeOptions }: FastifyRequest, limit: number): Error {
  if (err.code === 'FST_ERR_CTP_BODY_TOO_LARGE') return new FST_ERR_CLUSTER_BROADCAST_MESSAGE_TOO_LARGE(Number(headers['content-length'] ?? routeOptions.bodyLimit + 1), limit)
  return BODY.has(err.code) ? new FST_ERR_CLUSTER_BROADCAST_INVALID_DATA(err.message) : err
}

const BODY = new Set(['FST_ERR_VALIDATION', 'FST_ERR_CTP_EMPTY_JSON_BODY', 'FST_ERR_CTP_INVALID_JSON_BODY'])
