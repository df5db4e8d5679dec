// So that `request.session` is typed for who imports this package.
/// <reference types="@fastify/session" preserve="true" />
import fastifyCookie from '@fastify/cookie'
import { LogThrottle } from '@jpulse/plugin-kit'
import type {} from '@jpulse/redis-link'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { FST_ERR_REDIS_SESSIONS_INVALID_OPTION } from './errors.ts'
import { Events } from './events.ts'
import { warnOfIneffective, warnOfRoutes } from './ineffective.ts'
import { makeStore } from './make-store.ts'
import { resolveOptions, type FastifyRedisSessionsOptions, type ResolvedOptions } from './options.ts'
import { Cookies } from './request/cookies.ts'
import { addHooks, decryptSession } from './request/hooks.ts'
import { IdStore } from './request/id-store.ts'
import { InFlight } from './request/in-flight.ts'
import { Recent } from './request/recent.ts'
import type { Shared } from './request/shared.ts'
import { Signer } from './request/signer.ts'
import { Sessions } from './sessions.ts'
import { codecOf } from './record/cipher.ts'
import { SessionRecords } from './record/session-records.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Logs users in and out, and knows their sessions. */
    sessions: Sessions
  }

  interface FastifyContextConfig {
    /** False for a route without sessions; `{ activity: false }` for one whose requests do not count as activity. @default sessions that are kept alive */
    session?: false | { activity?: boolean }
  }
}

/** Names of the registrations of each server. */
const realms = new WeakMap<object, Set<string>>()

const plugin = async (fastify: FastifyInstance, options: FastifyRedisSessionsOptions): Promise<void> => {
  const resolved = resolveOptions(options)
  takeRealm(fastify, resolved.name)
  const log = fastify.log.child({ plugin: '@jpulse/redis-sessions' })
  warnOfIneffective(options, resolved, log)
  fastify.addHook('onRoute', warnOfRoutes(log))
  const store = makeStore(fastify, resolved, log)
  const inFlight = new InFlight(resolved.idleTimeoutMs)
  fastify.addHook('onClose', () => {
    inFlight.stop()
    return store.close()
  })
  const records = new SessionRecords(store, codecOf(resolved.encryption), resolved, log)
  const events = new Events(fastify, resolved.name, log)
  const sessions = new Sessions(records, resolved, events)
  fastify.decorate('sessions', sessions)
  if (!fastify.hasPlugin('@fastify/cookie')) await fastify.register(fastifyCookie)
  await fastify.register(asFastifySession(sharedBy(resolved, { records, events, inFlight, log })))
}

function sharedBy (options: ResolvedOptions, own: Pick<Shared, 'records' | 'events' | 'inFlight' | 'log'>): Shared {
  const { name, secrets, touchIntervalMs } = options
  const signer = new Signer(secrets, name)
  return {
    ...own,
    realm: name,
    signer,
    sign: (id) => signer.sign(id),
    cookies: new Cookies(options, signer, own.log),
    touchIntervalMs,
    postponed: new Recent(touchIntervalMs),
    warnings: new LogThrottle()
  }
}

/** Under the name of the plugin whose interface it has, so that plugins which ask for that one find it. */
function asFastifySession (shared: Shared) {
  return fp(async (fastify: FastifyInstance) => {
    const idStore = new IdStore(shared.records, shared.events, shared.log)
    fastify.decorate('decryptSession', decryptSession(shared) as FastifyInstance['decryptSession'])
    fastify.decorateRequest('sessionStore', { getter: () => idStore as never })
    addHooks(fastify, shared)
  }, { name: '@fastify/session', dependencies: ['@fastify/cookie'] })
}

/** @throws FST_ERR_REDIS_SESSIONS_INVALID_OPTION where a session of one registration would be one of another */
function takeRealm (fastify: FastifyInstance, name: string): void {
  const taken = realms.get(fastify.server) ?? new Set()
  if (fastify.hasDecorator('sessions')) throw new FST_ERR_REDIS_SESSIONS_INVALID_OPTION('name', 'cannot tell registrations of one scope apart, nor one from what is registered above it: register each in a scope of its own, the first one too')
  if (taken.has(name)) {
    throw new FST_ERR_REDIS_SESSIONS_INVALID_OPTION('name', name === ''
      ? 'is missing: with several registrations, each but one needs a name, so that a session of one is none of another'
      : `must be another for each registration, and "${name}" is taken`)
  }
  realms.set(fastify.server, taken.add(name))
}

/**
 * Gives every request a session that loses no update, never comes back after its end, and ends on every instance at once:
 * `request.session` as @fastify/session has it, and `fastify.sessions`.
 */
export const redisSessions = fp(plugin, {
  name: '@jpulse/redis-sessions',
  fastify: '5.x',
  dependencies: ['@jpulse/redis-link']
})

export default redisSessions

export * from './errors.ts'
export type { BackupEnd, BackupEntry, SessionBackup } from './backup/backup.ts'
export type { EndedSessions, EndReason, ExpiredSessionEvent, RefusedSession, SessionEvent, SessionsEvents } from './events.ts'
export type { Fields } from './record/fields.ts'
export type { StoredSession } from './stores/header.ts'
export type { SessionRef } from './stores/ids.ts'
export { mongoBackup, type MongoBackupCollection, type MongoBackupOptions } from './backup/mongo-backup.ts'
export type { FastifyRedisSessionsOptions, LoginOptions, SessionCookieOptions, SessionEncryption } from './options.ts'
export type { AnyRequest, SessionData, SessionInfo, Sessions, SessionsStats } from './sessions.ts'
export type { WatchedSession } from './watched-session.ts'
export type { EndAllOptions, EndedAll, ExpiredSession, Lifetimes, ListedSession, Origin, ReplaceResult, Seen, SessionStore } from './stores/store.ts'
