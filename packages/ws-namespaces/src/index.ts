import fastifyWebsocket from '@fastify/websocket'
import type { Member } from '@jpulse/cluster-broadcast'
import type {} from '@jpulse/redis-link'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { Drain } from './admission/drain.ts'
import { Gate } from './admission/gate.ts'
import { Heartbeat } from './admission/heartbeat.ts'
import type { MultiplexParts } from './admission/multiplex.ts'
import { WatchedSessions, type Ended, type Moved } from './admission/sessions.ts'
import { resolveOptions, type FastifyWsNamespacesOptions } from './options.ts'
import { Decorator, type WsNamespaces } from './api/ws-namespaces.ts'
import { Cluster } from './cluster/cluster.ts'
import { Requests } from './cluster/requests.ts'
import { UserSlots, type UserSlotsContext } from './cluster/user-slots.ts'
import { Carriers } from './delivery/carriers.ts'
import { Hubs } from './namespace/hubs.ts'
import { Expiries } from './namespace/authorization.ts'
import { Dispatcher } from './namespace/dispatcher.ts'
import { Once } from './namespace/once.ts'
import { Stalls } from './namespace/stalls.ts'
import { Presences, tokenOf } from './presence/presences.ts'
import { MemoryReceipts } from './recovery/memory-receipts.ts'
import { ONCE_MS } from './recovery/receipts.ts'
import { RedisReceipts } from './recovery/redis-receipts.ts'
import { MemoryRecords, RedisRecords } from './recovery/records.ts'
import { onlineOfLongNames, routes } from './http/routes.ts'
import { closeRefusedUpgrades, multiplexRoute, passOnOtherUpgrades, refuseUpgradesOfPages, upgradeRoute } from './admission/upgrade.ts'
import type { QueuedSocket } from './delivery/queued-socket.ts'
import { Listener } from './delivery/listener.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** WebSocket namespaces. */
    wsNamespaces: WsNamespaces
  }
}

const plugin = async (fastify: FastifyInstance, options: FastifyWsNamespacesOptions): Promise<void> => {
  const resolved = resolveOptions(options)
  const log = fastify.log.child({ plugin: '@jpulse/ws-namespaces' })
  const { redisLink: link, appCluster } = fastify
  const bus = appCluster.internal('ws')
  const listener = new Listener(log)
  const carriers = new Carriers(link, appCluster, resolved.publishWaitMs, listener, log)
  const presences = new Presences(link, appCluster, resolved.presenceLeaseMs, listener, log)
  const slotsContext: UserSlotsContext = {
    link,
    bootId: appCluster.bootId,
    leaseMs: resolved.presenceLeaseMs,
    onReplaced: (...client) => { cluster.replace(...client).catch((err: unknown) => log.debug({ err }, 'an old connection was not cut')) }
  }
  const hubs = new Hubs(fastify.prefix + resolved.routePrefix, {
    maxOutgoingBytes: resolved.maxOutgoingBytes,
    log,
    carrier: (name, { history }, sink) => carriers.make(name, history, sink),
    presence: (name, sink) => presences.make(name, sink),
    userSlots: (name) => link.client === null ? null : new UserSlots(name, slotsContext),
    records: (name, history) => link.client === null ? new MemoryRecords(history.stateMs) : new RedisRecords(link, name, history)
  }, appCluster)
  const requests = new Requests(bus, appCluster.bootId, log)
  const cluster = new Cluster(bus, link, hubs, appCluster.bootId, appCluster)
  const sessions = new WatchedSessions(resolved.sessionActivity)
  const stalls = new Stalls()
  const expiries = new Expiries(() => stalls.look())
  const receipts = link.client === null ? new MemoryReceipts(appCluster.bootId) : new RedisReceipts(link, appCluster.bootId)
  const once = new Once(receipts, (bootId) => bootId === appCluster.bootId || appCluster.members().some((member) => member.bootId === bootId))
  const sockets = new Set<QueuedSocket>()
  const drain = new Drain(sockets, resolved.drainMs)
  const namespaces = new Decorator({ hubs, requests, cluster }, resolved.maxPayloadBytes, () => drain.start())
  fastify.decorate<WsNamespaces>('wsNamespaces', namespaces)
  await bringWebSockets(fastify, resolved.maxPayloadBytes)
  closeRefusedUpgrades(fastify)
  refuseUpgradesOfPages(fastify)
  passOnOtherUpgrades(fastify)
  const heartbeat = new Heartbeat(resolved, sockets, sessions, () => {
    hubs.beat()
    carriers.sweep((name, historyId) => hubs.get(name)?.definition.history?.id === historyId)
  })
  const onLeave = ({ bootId, instanceId }: Member): void => hubs.beat(tokenOf(bootId, instanceId))
  fastify.addHook('preClose', () => drain.start())
  fastify.addHook('onClose', async () => {
    heartbeat.stop()
    // Whose client comes back to another worker is told what was done.
    await receipts.settled(drain.leftMs)
    for (const { stop } of subscriptions) stop()
    cluster.close()
    expiries.stop()
    receipts.close()
    appCluster.off('leave', onLeave)
    const all = [...hubs]
    for (const hub of all) hub.departLingering()
    await Promise.all(all.map(({ presence }) => presence?.beat().catch(() => {})))
    await carriers.settle(all.map(({ carrier }) => carrier))
    hubs.close()
  })
  const subscriptions = [
    () => requests.open(),
    () => cluster.open(),
    () => appCluster.internal('session').subscribe('session:ended', ({ data }) => sessions.onEnded(data as unknown as Ended)),
    () => appCluster.internal('session').subscribe('session:moved', ({ data }) => sessions.onMoved(data as unknown as Moved))
  ].map((subscribe) => listener.listen(subscribe))
  await Promise.all(subscriptions.map(({ ready }) => ready))
  appCluster.on('leave', onLeave)
  const gate = new Gate(fastify, hubs, drain)
  const { pingIntervalMs: everyMs, pongTimeoutMs: timeoutMs, reconnectWindowMs } = resolved
  const welcome = { heartbeat: { everyMs, timeoutMs }, reconnectWindowMs, onceMs: ONCE_MS }
  const multiplex = { maxNamespaces: resolved.maxNamespacesPerSocket, maxBufferedBytes: resolved.maxBufferedBytesPerSocket }
  const dispatcher = new Dispatcher((id, answer, peer) => requests.answered(id, answer, peer), (peer) => sessions.onMessage(peer), once, expiries, stalls)
  const parts: MultiplexParts = { gate, sockets, multiplex, dispatcher, sessions, expiries, stalls, log, welcome }
  const { authorize, routePrefix, aliases, multiplexPath } = resolved
  const plain = authorize === undefined ? null : onlineOfLongNames(namespaces, authorize)
  await fastify.register((scope) => upgradeRoute(scope, parts, plain), { prefix: routePrefix })
  for (const prefix of aliases) await fastify.register((scope) => upgradeRoute(scope, parts, null), { prefix })
  const multiplexPrefixes = multiplexPath === false ? [] : multiplexPath === routePrefix ? [routePrefix, ...aliases] : [multiplexPath]
  for (const prefix of multiplexPrefixes) await fastify.register((scope) => multiplexRoute(scope, parts), { prefix })
  if (authorize === undefined) log.info('without the option authorize there are no HTTP routes')
  else await fastify.register((scope) => routes(scope, namespaces, cluster, authorize), { prefix: routePrefix })
}

async function bringWebSockets (fastify: FastifyInstance, maxPayload: number): Promise<void> {
  if (fastify.hasPlugin('@fastify/websocket')) return
  await fastify.register(fastifyWebsocket, {
    options: { maxPayload },
    // The plugin's own preClose sends no close code, and one client that does not answer delays it by 30 s.
    preClose: (done: () => void) => done()
  })
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
export { bearerOf } from './admission/bearer.ts'
export type { AsyncApi } from './api/async-api.ts'
export type { Namespace, PublishOptions, PublishResult, RequestOptions } from './api/namespace.ts'
export type { WsNamespaces } from './api/ws-namespaces.ts'
export type { Answer } from './cluster/requests.ts'
export type { ClusterStats, ConnectionInfo, NamespaceStats } from './cluster/cluster.ts'
export type { ErrorCode } from './codes.ts'
export { Bytes } from './namespace/bytes.ts'
export type { Connection, Identity, SendOptions } from './namespace/connection.ts'
export type { Incoming, MessageOf, NamespaceOptions, Reply } from './namespace/definition.ts'
export type { LocalStats } from './namespace/hub.ts'
export type { Params } from './namespace/names.ts'
export type { Drops } from './namespace/peer.ts'
export type { FastifyWsNamespacesOptions, Limits } from './options.ts'
export type { Present } from './presence/presence.ts'
