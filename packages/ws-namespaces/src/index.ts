import fastifyWebsocket from '@fastify/websocket'
import type {} from '@jpulse/cluster-broadcast'
import type {} from '@jpulse/redis-link'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { Heartbeat } from './admission/heartbeat.ts'
import { resolveOptions, type FastifyWsNamespacesOptions } from './options.ts'
import { Registry } from './namespace/registry.ts'
import { onlineOfLongNames, routes } from './http/routes.ts'
import { endRefused, upgradeRoute } from './admission/upgrade.ts'
import { WsNamespaces } from './namespace/ws-namespaces.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** WebSocket namespaces. */
    wsNamespaces: WsNamespaces
  }
}

const plugin = async (fastify: FastifyInstance, options: FastifyWsNamespacesOptions): Promise<void> => {
  const resolved = resolveOptions(options)
  const log = fastify.log.child({ plugin: '@jpulse/ws-namespaces' })
  const registry = new Registry(fastify.redisLink, fastify.appCluster, resolved, log)
  const namespaces = new WsNamespaces(registry)
  fastify.decorate('wsNamespaces', namespaces)
  if (!fastify.hasPlugin('@fastify/websocket')) {
    await fastify.register(fastifyWebsocket, {
      options: { maxPayload: resolved.maxPayloadBytes },
      // Its own closes without a code, and one client that does not answer holds it for 30 s.
      preClose: (done: () => void) => done()
    })
  }
  endRefused(fastify)
  const heartbeat = new Heartbeat(registry)
  fastify.addHook('preClose', () => registry.drain.start())
  fastify.addHook('onClose', async () => {
    heartbeat.stop()
    await registry.close()
  })
  await registry.open()
  const { authorize, routePrefix, aliases } = resolved
  const plain = authorize === undefined ? null : onlineOfLongNames(namespaces, authorize)
  await fastify.register((scope) => upgradeRoute(scope, registry, fastify, plain), { prefix: routePrefix })
  for (const prefix of aliases) await fastify.register((scope) => upgradeRoute(scope, registry, fastify, null), { prefix })
  if (authorize === undefined) log.info('without the option authorize there are no HTTP routes')
  else await fastify.register((scope) => routes(scope, namespaces, registry, authorize), { prefix: routePrefix })
}

/**
 * Isolated WebSocket namespaces with authorisation before the upgrade, rooms, users, presence and recovery, across the
 * processes of an application. Decorates Fastify with `wsNamespaces`. Without Redis it works within the process.
 */
export const wsNamespaces = fp(plugin, {
  name: '@jpulse/ws-namespaces',
  fastify: '5.x',
  dependencies: ['@jpulse/redis-link', '@jpulse/cluster-broadcast']
})

export default wsNamespaces

export * from './errors.ts'
export type { AsyncApi } from './http/async-api.ts'
export type { ClusterStats, NamespaceStats } from './cluster/cluster.ts'
export type { ErrorCode } from './codes.ts'
export type { Connection, SendOptions } from './namespace/connection.ts'
export type { Identity, Incoming, MessageOf, NamespaceOptions, Reply } from './namespace/definition.ts'
export type { Drops, LocalStats } from './namespace/hub.ts'
export type { Params } from './namespace/names.ts'
export type { Namespace, PublishOptions, PublishResult, RequestOptions } from './namespace/namespace.ts'
export type { FastifyWsNamespacesOptions, Limits } from './options.ts'
export type { Present } from './presence/presence.ts'
export type { WsNamespaces } from './namespace/ws-namespaces.ts'
