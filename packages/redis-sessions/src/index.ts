// So that `request.session` is typed for who imports this package.
/// <reference types="@fastify/session" preserve="true" />
import fastifyCookie from '@fastify/cookie'
import fastifySession from '@fastify/session'
import type {} from '@jpulse/redis-link'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { announcer } from './announce.ts'
import { Bridge } from './request/bridge.ts'
import { cipherCodec, plainCodec } from './vault/cipher.ts'
import { Cookies } from './request/cookies.ts'
import { addHooks } from './request/hooks.ts'
import { makeStore } from './make-store.ts'
import { resolveOptions, type FastifyRedisSessionsOptions } from './options.ts'
import type { Context } from './request/request-session.ts'
import { Sessions } from './sessions.ts'
import { cookieSigner } from './request/signer.ts'
import { Vault } from './vault/vault.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** Logs users in and out, and knows their sessions. */
    sessions: Sessions
  }
}

const plugin = async (fastify: FastifyInstance, options: FastifyRedisSessionsOptions): Promise<void> => {
  const resolved = resolveOptions(options)
  const log = fastify.log.child({ plugin: '@jpulse/redis-sessions' })
  const { encryption, cookie, cookieName, idleTimeoutMs } = resolved
  const codec = encryption === undefined ? plainCodec : cipherCodec(encryption.keys, encryption.acceptPlain)
  const store = makeStore(fastify, resolved, log)
  const context: Context = {
    vault: new Vault(store, codec, resolved.maxBytes, log),
    cookies: new Cookies(resolved),
    options: resolved,
    log,
    announce: announcer(fastify, () => sessions, log)
  }
  const sessions = new Sessions(context)
  const bridge = new Bridge(context)
  fastify.decorate('sessions', sessions)
  fastify.addHook('onClose', () => store.close())

  if (!fastify.hasPlugin('@fastify/cookie')) await fastify.register(fastifyCookie)
  await addHooks(fastify, bridge, context, async () => {
    await fastify.register(fastifySession, {
      secret: cookieSigner(resolved.secrets),
      store: bridge,
      idGenerator: bridge.generateId,
      cookieName,
      cookie: { ...cookie, httpOnly: true, maxAge: idleTimeoutMs },
      rolling: false,
      saveUninitialized: false
    })
  })
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
export type { Fields } from './vault/fields.ts'
export type { StoredSession } from './stores/header.ts'
export type { SessionRef } from './stores/ids.ts'
export { mongoBackup, type MongoBackupCollection, type MongoBackupOptions } from './backup/mongo-backup.ts'
export type { FastifyRedisSessionsOptions, SessionCookieOptions } from './options.ts'
export type { EndedSessions, EndReason, SessionInfo, Sessions, SessionsEvents, WatchedSession } from './sessions.ts'
export type { EndAllOptions, EndedAll, Lifetimes, ListedSession, Origin, ReplaceResult, SessionStore } from './stores/store.ts'
