import formbody from '@fastify/formbody'
import { TypeBoxValidatorCompiler } from '@fastify/type-provider-typebox'
import clusterBroadcast from '@jpulse/cluster-broadcast'
import clusterMetrics from '@jpulse/cluster-metrics'
import configCache from '@jpulse/config-cache'
import cursorPagination from '@jpulse/cursor-pagination'
import redisLink from '@jpulse/redis-link'
import redisSessions from '@jpulse/redis-sessions'
import wsNamespaces from '@jpulse/ws-namespaces'
import Fastify, { type FastifyInstance } from 'fastify'
import { drain, largeBodies, mongo, worker } from 'server-kit'
import api from './api/routes.ts'
import acts from './audit/acts.ts'
import audit from './audit/listen.ts'
import accounts from './auth/accounts.ts'
import sameSite from './auth/same-site.ts'
import { mayScrape } from './auth/scraper.ts'
import { isAdmin, mayConfigure } from './auth/viewer.ts'
import type { SiteConfig } from './config.ts'
import { configSource } from './config-source.ts'
import documents from './documents.ts'
import endpoints from './live/endpoints.ts'
import live from './live/namespaces.ts'
import notices from './live/notices.ts'
import adminGate from './pages/admin-gate.ts'
import { dashboardFrame } from './pages/page.ts'
import pages from './pages/routes.ts'
import assets from './plugins/assets.ts'
import basePath from './plugins/base-path.ts'
import errors from './plugins/errors.ts'
import headers from './plugins/headers.ts'
import openApi from './plugins/open-api.ts'
import { serverOptions } from './server-options.ts'
import templates, { COLLECTION as TEMPLATES } from './templates.ts'

/** The site, composed. It does not listen yet. */
export async function buildApp (config: SiteConfig): Promise<FastifyInstance> {
  const { environment, identity, mongoUri, redis, secrets, siteId } = config
  const app = Fastify(serverOptions(config))
  app.setValidatorCompiler(TypeBoxValidatorCompiler)

  await app.register(worker, { identity })
  await app.register(drain)
  await app.register(largeBodies)
  // Before what refuses requests by a hook, whose answers are to have them.
  await app.register(headers)
  await app.register(errors)
  await app.register(basePath, { base: config.basePath })
  await app.register(openApi, { base: config.basePath })
  await app.register(formbody)

  // Closed in the reverse order: sockets, metrics and membership, then Redis, then MongoDB. Sessions come before what asks them, and `acts` before the routes that it watches.
  if (mongoUri !== undefined) await app.register(mongo, { url: mongoUri, database: siteId })
  await app.register(redisLink, { siteId, env: environment, ...redis })
  await app.register(redisSessions, { secret: secrets, idleTimeoutMs: config.sessionTtlMs, cookie: { path: config.basePath || '/' } })
  await app.register(sameSite, { secrets })
  await app.register(adminGate)
  await app.register(acts)
  await app.register(clusterBroadcast, { serverId: identity.serverId, pmId: identity.pmId, authorize: isAdmin })
  await app.register(clusterMetrics, { authorize: mayScrape(config.metricsToken), isDraining: () => app.drain.active, environment, dashboardFrame })
  await app.register(wsNamespaces, { authorize: isAdmin, aliases: ['/ws'] })
  await app.register(configCache, { source: configSource(app), authorize: mayConfigure, collections: ['config', 'features', 'doctypes', TEMPLATES], enabled: config.cacheEnabled, ttlMs: config.cacheTtlMs })
  await app.register(cursorPagination, { secret: secrets })
  app.drain.first(() => app.wsNamespaces.drain())

  await app.register(documents)
  await app.register(audit)
  await app.register(accounts, { passwordCost: config.passwordCost })
  await app.register(templates, { watch: environment === 'development' })
  await app.register(live)
  await app.register(endpoints)
  await app.register(notices)
  await app.register(assets)
  await app.register(pages)
  await app.register(api, { prefix: '/api/1' })
  return app
}
