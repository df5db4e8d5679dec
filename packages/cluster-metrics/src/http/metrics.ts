import { answers, isAuthorized, ok } from '@jpulse/plugin-kit'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { Type, type Static } from 'typebox'
import { MOST_ERRORS, MOST_MINUTES, MOST_REQUEST_MINUTES, type ClusterMetrics } from '../cluster-metrics.ts'
import { FST_ERR_CLUSTER_METRICS_INVALID_QUERY, FST_ERR_CLUSTER_METRICS_UNKNOWN_INSTANCE } from '../errors.ts'
import type { ResolvedOptions } from '../options.ts'
import { mask } from '../picture/index.ts'
import { Errors, HistoryPoints, InstanceDetails, Metrics, RequestCounts, Servers } from './schemas.ts'

/** Lets nobody through but who may see it. */
export type Guard = (request: FastifyRequest) => Promise<void>

// Text, because a validator that turns it into a number lets 1e999 through; `wholeNumber` checks it.
const Number_ = (description: string) => Type.Optional(Type.String({ maxLength: 20, description }))
const Minutes = (initial: number, most: number) => Type.Object({ minutes: Number_(`1 to ${most}, ${initial} without`) })
const BootId = Type.String({ maxLength: 100, description: 'Boot id of an instance' })
const HistoryQuery = Type.Object({ ...Minutes(60, MOST_MINUTES).properties, instance: Type.Optional(BootId) })
const InstanceParams = Type.Object({ bootId: BootId })
const CountQuery = Type.Object({ count: Number_(`1 to ${MOST_ERRORS}, 10 without`) })

/** The plan's document, for anybody with what names or reveals something masked. */
export async function metricsRoutes (fastify: FastifyInstance, metrics: ClusterMetrics, { authorize, checkTimeoutMs }: ResolvedOptions): Promise<void> {
  fastify.get('/metrics', { schema: { response: answers(Metrics) } }, async (request, reply) => {
    reply.header('cache-control', 'no-store')
    const [data, authorized] = await Promise.all([metrics.aggregate(), isAuthorized(authorize, request, checkTimeoutMs)])
    return ok(authorized ? data : mask(data))
  })
}

/** What only some may see. */
export async function revealingRoutes (fastify: FastifyInstance, metrics: ClusterMetrics, may: Guard): Promise<void> {
  fastify.addHook('onRequest', may)
  fastify.addHook('onSend', async (_request, reply) => { reply.header('cache-control', 'no-store') })

  fastify.get('/metrics/servers', { schema: { response: answers(Servers) } }, async () => {
    const { degraded, servers } = await metrics.aggregate()
    return ok({ degraded, servers })
  })

  fastify.get<{ Querystring: Static<ReturnType<typeof Minutes>> }>('/metrics/requests', {
    schema: { querystring: Minutes(5, MOST_REQUEST_MINUTES), response: answers(RequestCounts) }
  }, async ({ query }) => ok(await metrics.requests(wholeNumber('minutes', query.minutes, 5, MOST_REQUEST_MINUTES))))

  fastify.get<{ Querystring: Static<typeof CountQuery> }>('/metrics/errors/recent', {
    schema: { querystring: CountQuery, response: answers(Errors) }
  }, async ({ query }) => ok(await metrics.recentErrors(wholeNumber('count', query.count, 10, MOST_ERRORS))))

  fastify.get<{ Querystring: Static<typeof HistoryQuery> }>('/metrics/history', {
    schema: { querystring: HistoryQuery, response: answers(HistoryPoints) }
  }, async ({ query }) => ok(await metrics.history(wholeNumber('minutes', query.minutes, 60, MOST_MINUTES), query.instance)))

  fastify.get<{ Params: Static<typeof InstanceParams> }>('/metrics/instances/:bootId', {
    schema: { params: InstanceParams, response: answers(InstanceDetails) }
  }, async ({ params }) => {
    const found = await metrics.instance(params.bootId)
    if (found === null) throw new FST_ERR_CLUSTER_METRICS_UNKNOWN_INSTANCE()
    return ok(found)
  })
}

/** @throws FST_ERR_CLUSTER_METRICS_INVALID_QUERY where the text is not a number from 1 to `most` in digits */
function wholeNumber (name: string, text: string | undefined, initial: number, most: number): number {
  if (text === undefined) return initial
  const number = /^\d{1,6}$/.test(text) ? Number(text) : NaN
  if (!(number >= 1 && number <= most)) throw new FST_ERR_CLUSTER_METRICS_INVALID_QUERY(name, `a whole number from 1 to ${most}`)
  return number
}
