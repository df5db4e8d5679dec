import type {} from '@jpulse/cluster-broadcast'
import type {} from '@jpulse/redis-link'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { ClusterMetrics } from './cluster-metrics.ts'
import { resolveOptions, type FastifyClusterMetricsOptions, type ResolvedOptions } from './options.ts'
import { dashboardRoutes } from './routes/dashboard.ts'
import { sendFailure } from './routes/guard.ts'
import { healthRoutes } from './routes/health.ts'
import { metricsRoutes, revealingRoutes } from './routes/metrics.ts'
import { prometheusRoutes } from './routes/prometheus.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Health and metrics of the cluster. */
    clusterMetrics: ClusterMetrics
  }
}

const plugin = async (fastify: FastifyInstance, given: FastifyClusterMetricsOptions): Promise<void> => {
  const options = resolveOptions(given)
  const log = fastify.log.child({ plugin: '@jpulse/cluster-metrics' })
  const metrics = new ClusterMetrics(fastify, options, log)
  fastify.decorate('clusterMetrics', metrics)
  addHooks(fastify, metrics)
  await fastify.register(async (scope) => {
    scope.setErrorHandler(sendFailure)
    await healthRoutes(scope, metrics, options)
    await scope.register((inner) => metricsRoutes(inner, metrics, options), { prefix: options.routePrefix })
    await addRevealing(scope, metrics, options)
  })
  if (options.authorize === undefined) log.info('without the option authorize there is no dashboard, and no route that reveals something')
}

function addHooks (fastify: FastifyInstance, metrics: ClusterMetrics): void {
  const { local, errors, reporter } = metrics.internals
  fastify.addHook('onRequest', local.recorder.onRequest)
  fastify.addHook('onError', (request, reply, error, done) => {
    errors.add(error, request, error.statusCode ?? (reply.statusCode >= 400 ? reply.statusCode : 500))
    done()
  })
  // Not waited for: the boot does not depend on Redis.
  fastify.addHook('onReady', async () => { reporter.start() })
  fastify.addHook('preClose', async () => { local.drain() })
  fastify.addHook('onClose', async () => {
    await reporter.stop()
    local.close()
  })
}

async function addRevealing (scope: FastifyInstance, metrics: ClusterMetrics, { authorize, routePrefix, prometheusPath, dashboardPath }: ResolvedOptions): Promise<void> {
  if (authorize === undefined) return
  await scope.register((inner) => revealingRoutes(inner, metrics, authorize), { prefix: routePrefix })
  if (prometheusPath !== false) await prometheusRoutes(scope, metrics, prometheusPath, authorize)
  if (dashboardPath !== false) await scope.register((inner) => dashboardRoutes(inner, dashboardPath, routePrefix, authorize))
}

/**
 * Reports this instance to the others and answers for all: health, metrics, Prometheus' text and a dashboard. Decorates
 * Fastify with `clusterMetrics`. Without Redis it answers for this instance.
 */
export const clusterMetrics = fp(plugin, {
  name: '@jpulse/cluster-metrics',
  fastify: '5.x',
  dependencies: ['@jpulse/redis-link', '@jpulse/cluster-broadcast']
})

export default clusterMetrics

export * from './errors.ts'
export type { ClusterData, InstanceMetrics, RequestTotals, RouteTotals, ServerMetrics, Statistics } from './aggregate.ts'
export type { ClusterMetrics, RequestCount, Seen } from './cluster-metrics.ts'
export type { Fields, Provider } from './components.ts'
export type { ErrorEntry } from './error-log.ts'
export type { Check, CheckOptions, CheckResult, Health } from './health.ts'
export type { Percentiles } from './histogram.ts'
export type { HistoryPoint } from './history.ts'
export type { Authorize, FastifyClusterMetricsOptions, MongoHandle } from './options.ts'
export type { Reduce } from './reduce.ts'
export type { NamespaceTotals } from './websockets.ts'
