import { isOneOfSeveral } from '@jpulse/plugin-kit'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { AppCluster } from './app-cluster.ts'
import { resolveOptions, type FastifyClusterBroadcastOptions } from './options.ts'
import { routes } from './http/routes.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The cluster: its members, and messages between them. */
    appCluster: AppCluster
  }
}

const plugin = async (fastify: FastifyInstance, options: FastifyClusterBroadcastOptions): Promise<void> => {
  const resolved = resolveOptions(options)
  const log = fastify.log.child({ plugin: '@jpulse/cluster-broadcast' })
  if (fastify.redisLink.state === 'disabled' && resolved.cluster === undefined && isOneOfSeveral()) {
    log.warn('Redis is not configured, and this process is one of several: each is a cluster of its own, hears its own messages only, leads, and runs every once and schedule. Set REDIS_URL, or the option url of @jpulse/redis-link')
  }
  const cluster = new AppCluster(fastify.redisLink, resolved, log)
  fastify.decorate('appCluster', cluster)
  // Not preClose: other plugins, which close before this one, still publish while they close.
  fastify.addHook('onClose', () => cluster.close())
  await cluster.open()
  const { authorize, maxMessageBytes, routePrefix } = resolved
  if (authorize === undefined) log.info('without the option authorize there are no HTTP routes')
  else await fastify.register((scope) => routes(scope, cluster, authorize, maxMessageBytes), { prefix: routePrefix })
}

/**
 * Makes the processes of an application a cluster: who is in it, and messages between them that survive reconnects and
 * restarts of Redis. Decorates Fastify with `appCluster`. Without Redis the process is its own cluster.
 */
export const clusterBroadcast = fp(plugin, {
  name: '@jpulse/cluster-broadcast',
  fastify: '5.x',
  dependencies: ['@jpulse/redis-link']
})

export default clusterBroadcast

export * from './errors.ts'
export type { AppCluster, ClusterStatus } from './app-cluster.ts'
export type { Leader, LeaderEvents, LeaderOptions } from './leader/leader.ts'
export { bytesLine, joinLines, readLine, splitLines } from './log/lines.ts'
export type { Ack, EpochLog, EpochLogOptions, FollowerSink, FrameHead, Line, LogFormat, LogFrame, Pace, Place, Reading } from './log/epoch-log.ts'
export type { Member } from './membership/members.ts'
export type { AskReply, AskResult } from './messages/asks.ts'
export type { AskOptions, Broadcast, InternalAskOptions, InternalBroadcast, PublishResult, Unsubscribe } from './messages/broadcast.ts'
export type { ClusterEvents } from './messages/messenger.ts'
export type { ReservedPrefix } from './messages/names.ts'
export type { BroadcastMessage, Handler, SubscribeOptions } from './messages/subscriptions.ts'
export type { ClusterMode, Gap } from './messages/transport.ts'
export type { OnceResult } from './once/once.ts'
export type { FastifyClusterBroadcastOptions } from './options.ts'
export type { MissedTicks, Schedule, ScheduleEvents, ScheduleOptions } from './schedule/schedule.ts'
