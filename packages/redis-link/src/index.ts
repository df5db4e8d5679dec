import fastifyRedis from '@fastify/redis'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { RedisLink } from './link.ts'
import { warnOfSharedSite } from './shared-site.ts'
import { clientOption, resolveOptions, type FastifyRedisLinkOptions, type RedisClient } from './options.ts'
import { checkPermissions } from './permissions.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** The process' link to Redis. */
    redisLink: RedisLink
  }
}

const plugin = async (fastify: FastifyInstance, options: FastifyRedisLinkOptions): Promise<void> => {
  const resolved = resolveOptions(withApplicationClient(fastify, options))
  const log = fastify.log.child({ plugin: '@jpulse/redis-link' })
  const link = new RedisLink(resolved, log)
  fastify.decorate('redisLink', link)
  closeLast(fastify, link)
  if (options.siteId === undefined && link.client !== null) warnOfSharedSite(link, log)
  const hasPrefix = resolved.client !== undefined && Boolean(clientOption(resolved.client, 'keyPrefix'))
  if (hasPrefix) {
    log.warn('the client has a keyPrefix, which ioredis puts before keys and not before channels and patterns: applications that differ by it alone hear each other. Leave it out and use the option siteId')
  }
  // When all plugins are registered.
  if (link.client !== null && !hasPrefix) fastify.addHook('onReady', async () => { checkPermissions(fastify, link, log) })
  await link.open()
  if (link.client !== null && !fastify.hasDecorator('redis')) await provideFastifyRedis(fastify, link.client)
}

/**
 * Closes the link when everything else is closed. Fastify runs onClose hooks from the last to the first, and those that an
 * application adds beside its `register` calls are added before any plugin is loaded: they would find the link closed.
 */
function closeLast (fastify: FastifyInstance, link: RedisLink): void {
  let owner = fastify
  while (!Object.hasOwn(owner, 'close')) owner = Object.getPrototypeOf(owner)
  const close = owner.close.bind(owner) as () => Promise<undefined>
  const closeAll = async (): Promise<undefined> => {
    await close().finally(() => link.close())
  }
  owner.close = ((listener?: (err?: unknown) => void) => {
    const closed = closeAll()
    if (listener === undefined) return closed
    closed.then(() => listener(), listener)
  }) as FastifyInstance['close']
}

/** Takes the client of an application that registered @fastify/redis itself and names no other. */
function withApplicationClient (fastify: FastifyInstance, options: FastifyRedisLinkOptions): FastifyRedisLinkOptions {
  const { mode, url, single, cluster, sentinel, client } = options
  if ([mode, url, single, cluster, sentinel, client].some((option) => option !== undefined)) return options
  const registered: unknown = fastify.hasDecorator('redis') ? fastify.redis : undefined
  // Not spread, which would lose what options inherit.
  return isClient(registered) ? Object.assign(Object.create(options) as FastifyRedisLinkOptions, { client: registered }) : options
}

/** With namespaces, `fastify.redis` is a plain object of clients. */
function isClient (value: unknown): value is RedisClient {
  return typeof (value as RedisClient | undefined)?.duplicate === 'function'
}

/**
 * Gives `fastify.redis` to those who know @fastify/redis. That plugin waits for the client to be ready and fails the boot
 * where it is not, so while Redis is away the same client is decorated under the same plugin name.
 */
async function provideFastifyRedis (fastify: FastifyInstance, client: RedisClient): Promise<void> {
  if (client.status === 'ready') await fastify.register(fastifyRedis, { client })
  else await fastify.register(fp(async (instance) => { instance.decorate('redis', client as FastifyInstance['redis']) }, { name: '@fastify/redis' }))
}

/**
 * Links a Fastify application to Redis, and decorates it with `fastify.redisLink` and, where Redis is configured,
 * `fastify.redis`. Boots within `connectTimeoutMs` whether Redis is there or not.
 */
export const redisLink = fp(plugin, {
  name: '@jpulse/redis-link',
  fastify: '5.x'
})

export default redisLink

export type { RedisClock } from './connection/clock.ts'
export type { RedisChange, RedisLinkEvents, RedisState } from './connection/connection.ts'
export type { Outages, Stop } from './connection/outages.ts'
export type { ChannelMessage } from './connection/publish-near.ts'
export type { SubscriberEvents } from './connection/receiver.ts'
export type { Listener, Subscriber, Unsubscribe } from './connection/subscriber.ts'
export * from './errors.ts'
export type { Kv, KvMode, KvPlace, KvStats } from './kv/kv.ts'
export type { RedisLink } from './link.ts'
export { giveBack } from './lock/give-back.ts'
export type { Lock } from './lock/locks.ts'
export type { UsingOptions, UsingWork } from './lock/using.ts'
export type { FastifyRedisLinkOptions, PasswordSource, RedisClient, RedisMode, RedisNode } from './options.ts'
export type { RateLimitOptions, RateLimitResult } from './rate-limit.ts'
export { CLOCK_LUA, LEASE_LUA } from './script/lua.ts'
export { release as giveBackScript } from './script/scripts.ts'
export { defineScript, reply } from './script/script.ts'
export type { CallScript, Run, Script, ScriptParameters, ScriptReply, ScriptValue, ScriptValues } from './script/script.ts'
