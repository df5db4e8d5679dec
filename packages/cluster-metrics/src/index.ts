import type {} from '@jpulse/cluster-broadcast'
import type {} from '@jpulse/redis-link'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import type { ClusterMetrics } from './cluster-metrics.ts'
import { install } from './install.ts'
import type { FastifyClusterMetricsOptions } from './options.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Health and metrics of the cluster. */
    clusterMetrics: ClusterMetrics
  }
  interface FastifyContextConfig {
    /** false: requests of the route are not counted. @default true */
    metrics?: boolean
  }
}

/**
 * Reports this instance to the others and answers for all: health, metrics, Prometheus' text and a dashboard. Decorates
 * Fastify with `clusterMetrics`. Without Redis it answers for this instance.
 */
export const clusterMetrics = fp(async (fastify: FastifyInstance, options: FastifyClusterMetricsOptions): Promise<void> => { await install(fastify, options) }, {
  name: '@jpulse/cluster-metrics',
  fastify: '5.x',
  dependencies: ['@jpulse/redis-link', '@jpulse/cluster-broadcast']
})

export default clusterMetrics

export * from './errors.ts'
export type { Authorize } from '@jpulse/plugin-kit'
export type { HealthEvent, HealthEvents, HealthStatus, WebhookOptions } from './announce/index.ts'
export type { Check, CheckOptions, Fields, GaugeRule, HistogramOptions, MetricLabels, MetricsRegistry, Provider } from './application/index.ts'
export type { ClusterMetrics, RequestCount, Seen } from './cluster-metrics.ts'
export type { AttributeNames, ErrorEntry, Health, Percentiles, Reduce } from './formats/index.ts'
export type { DashboardFrame, FastifyClusterMetricsOptions } from './options.ts'
export type { MongoHandle } from './process/index.ts'
export type { ClusterData, HistoryPoint, InstanceDetails, InstanceMetrics, NamespaceTotals, RequestTotals, RouteTotals, ServerMetrics, Statistics } from './picture/index.ts'
