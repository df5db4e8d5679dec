import { guard, prepareScope } from '@jpulse/plugin-kit'
import type { FastifyBaseLogger, FastifyInstance } from 'fastify'
import { Announcer, Listeners, Webhook, type ClusterView } from './announce/index.ts'
import { ClusterMetrics, type Parts } from './cluster-metrics.ts'
import { FST_ERR_CLUSTER_METRICS_FORBIDDEN, FST_ERR_CLUSTER_METRICS_UNAUTHORIZED } from './errors.ts'
import { ErrorLog } from './failures/index.ts'
import { dashboardRoutes, healthRoutes, metricsRoutes, prometheusRoutes, revealingRoutes } from './http/index.ts'
import { Local, Reporter } from './instance/index.ts'
import { resolveOptions, type FastifyClusterMetricsOptions, type ResolvedOptions } from './options.ts'
import { leaveOut } from './requests/index.ts'
import { Store } from './store/index.ts'

/** Builds the parts, decorates Fastify, and adds hooks and routes. */
export async function install (fastify: FastifyInstance, given: FastifyClusterMetricsOptions): Promise<Parts> {
  const options = resolveOptions(given)
  const log = fastify.log.child({ plugin: '@jpulse/cluster-metrics' })
  const { redisLink: link, appCluster: { bootId, instanceId } } = fastify
  const store = new Store(link, bootId, options, (series) => { log.warn({ series }, 'the sum of the instances that ended has no room for more series: these are counted as __other__, so use fewer labels') })
  const errors = new ErrorLog(instanceId, options.errorStacks)
  const local = new Local(fastify, options, errors, log)
  const reporter = new Reporter(link, local, store, errors, options, log)
  const parts = { local, store, errors, reporter }
  const metrics = new ClusterMetrics(link, parts, options, log)
  const all = announcers(fastify, metrics, parts, options, log)
  reporter.beforeWrite = async () => { await Promise.all(all.map((announcer) => announcer.handOver())) }
  reporter.onReported = () => { for (const announcer of all) announcer.run() }
  link.on('down', () => { for (const announcer of all) announcer.linkTurned(false) })
  link.on('up', () => { for (const announcer of all) announcer.linkTurned(true) })
  fastify.decorate('clusterMetrics', metrics)
  addHooks(fastify, parts)
  await fastify.register(async (scope) => {
    // What infrastructure and the dashboard ask for is no visitor's request.
    leaveOut(scope)
    prepareScope(scope, 'FST_ERR_CLUSTER_METRICS')
    await healthRoutes(scope, metrics, local.health, options)
    await scope.register((inner) => metricsRoutes(inner, metrics, options), { prefix: options.routePrefix })
    await addRevealing(scope, metrics, options)
  })
  if (given.webhook !== undefined && options.webhook === undefined) log.info('the webhook has no url: it is off')
  if (options.authorize === undefined) log.info('without the option authorize there is no dashboard, and no route that reveals something')
  return parts
}

/** Announces what becomes of instances and checks to listeners and to the webhook. */
function announcers (fastify: FastifyInstance, metrics: ClusterMetrics, { local, store }: Parts, options: ResolvedOptions, log: FastifyBaseLogger): Announcer[] {
  const { redisLink: link, appCluster } = fastify
  const view: ClusterView = {
    reports: async () => (await store.found()).reports.map(({ report }) => report),
    own: () => local.report(),
    left: (bootIds) => store.left(bootIds),
    now: () => store.now(),
    isSpeaker: () => appCluster.members()[0]?.bootId === appCluster.bootId
  }
  const { webhook, environment, version, release } = options
  const recipients = [
    new Listeners(metrics, (err) => { log.error({ err }, 'a listener of clusterMetrics failed') }),
    ...webhook === undefined ? [] : [new Webhook(webhook, { site: link.key().slice(0, -1), environment, version, release }, log)]
  ]
  return recipients.map((recipient) => new Announcer(recipient, link, view, options, log))
}

function addHooks (fastify: FastifyInstance, { local, reporter }: Parts): void {
  fastify.addHook('onRoute', (route) => { local.recorder.onRoute(route) })
  fastify.addHook('onRequest', local.recorder.onRequest)
  fastify.addHook('onError', (request, reply, error, done) => {
    local.recorder.onError(request, reply, error)
    done()
  })
  // Not waited for: the boot does not depend on Redis.
  fastify.addHook('onReady', async () => {
    local.start()
    reporter.start()
  })
  fastify.addHook('preClose', async () => { local.drain() })
  fastify.addHook('onClose', async () => {
    await reporter.stop()
    local.close()
  })
}

async function addRevealing (scope: FastifyInstance, metrics: ClusterMetrics, { authorize, routePrefix, prometheusPath, dashboardPath, dashboardFrame }: ResolvedOptions): Promise<void> {
  if (authorize === undefined) return
  const may = guard(authorize, { Unauthorized: FST_ERR_CLUSTER_METRICS_UNAUTHORIZED, Forbidden: FST_ERR_CLUSTER_METRICS_FORBIDDEN })
  await scope.register((inner) => revealingRoutes(inner, metrics, may), { prefix: routePrefix })
  if (prometheusPath !== false) await prometheusRoutes(scope, metrics, prometheusPath, may)
  if (dashboardPath !== false) await scope.register((inner) => dashboardRoutes(inner, dashboardPath, dashboardFrame, routePrefix, may))
}
