import type { FastifyInstance } from 'fastify'
import { expect, test } from 'tstyche'
import type { ClusterData, ClusterMetrics, ErrorEntry, FastifyClusterMetricsOptions, HealthEvent, HistoryPoint, Reduce, RequestCount } from '@jpulse/cluster-metrics'

declare const app: FastifyInstance

test('the decorator', async () => {
  expect(app.clusterMetrics).type.toBe<ClusterMetrics>()
  expect(await app.clusterMetrics.aggregate()).type.toBe<ClusterData>()
  expect(app.clusterMetrics.local()).type.toBe<ClusterData>()
  expect((await app.clusterMetrics.requests(5)).requests).type.toBe<RequestCount[]>()
  expect((await app.clusterMetrics.recentErrors(5)).errors).type.toBe<ErrorEntry[]>()
  expect((await app.clusterMetrics.history(5)).points).type.toBe<HistoryPoint[]>()
  expect((await app.clusterMetrics.aggregate()).degraded).type.toBe<boolean>()
})

test('metrics and checks of the application', () => {
  const { clusterMetrics } = app
  clusterMetrics.increment('orders')
  clusterMetrics.increment('orders', 2)
  clusterMetrics.gauge('queue', () => 1, { reduce: 'avg' })
  clusterMetrics.provider('mail', async () => ({ sent: 1 }), { reduce: { sent: 'sum' } })
  clusterMetrics.check('disk', async () => true, { timeoutMs: 100, critical: true })
  expect(clusterMetrics.gauge).type.not.toBeCallableWith('queue', () => 1, { reduce: 'median' })
  expect(clusterMetrics.increment).type.not.toBeCallableWith('orders', '2')
  expect<Reduce>().type.toBe<'sum' | 'avg' | 'max' | 'min' | 'first' | 'count' | 'concat'>()
})

test('events', () => {
  app.clusterMetrics.on('down', (event) => { expect(event).type.toBe<HealthEvent>() })
  expect(app.clusterMetrics.on).type.not.toBeCallableWith('gone', () => {})
})

test('options', () => {
  expect<FastifyClusterMetricsOptions>().type.toBeAssignableFrom({ webhook: { url: 'https://hooks.example/', secret: undefined } })
  expect<FastifyClusterMetricsOptions>().type.toBeAssignableFrom({ webhook: { url: process.env.ALERT_URL, headers: { authorization: process.env.ALERT_TOKEN } } })
  expect<FastifyClusterMetricsOptions>().type.toBeAssignableFrom({ authorize: () => true, reportIntervalMs: 1000, mongo: false as const })
  expect<FastifyClusterMetricsOptions>().type.not.toBeAssignableFrom({ authorize: true })
})
