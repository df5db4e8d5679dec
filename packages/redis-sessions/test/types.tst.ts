import Fastify, { type FastifyRequest } from 'fastify'
import type { MongoClient } from 'mongodb'
import { expect, test } from 'tstyche'
import redisSessionsDefault, { mongoBackup, redisSessions, type EndedSessions, type FastifyRedisSessionsOptions, type SessionBackup, type SessionEvent, type SessionInfo, type SessionsStats, type SessionStore } from '../src/index.ts'

declare module 'fastify' {
  interface Session { cart?: number[] }
}

const app = Fastify()
declare const request: FastifyRequest
declare const mongo: MongoClient

test('the plugin takes its options and no others', () => {
  expect(app.register).type.toBeCallableWith(redisSessions, { secret: ['a', 'b'], idleTimeoutMs: 1000 })
  expect(app.register).type.toBeCallableWith(redisSessionsDefault, { secret: 'a' })
  expect(app.register).type.toBeCallableWith(redisSessions, { secret: process.env.SESSION_SECRET })
  expect<FastifyRedisSessionsOptions>().type.not.toBeAssignableFrom<{ idleTimeoutMs: number }>()
  expect<FastifyRedisSessionsOptions>().type.not.toBeAssignableFrom<{ secret: string, onUnavailable: 'panic' }>()
  expect<FastifyRedisSessionsOptions>().type.not.toBeAssignableFrom<{ secret: string, cookie: { secure: 'maybe' } }>()
})

test('the decorator is typed', () => {
  expect(app.sessions.login(request, 'u', { cart: [1] })).type.toBe<Promise<void>>()
  expect(app.sessions.login(request, 'u', {}, { remember: false, idleTimeoutMs: 1000, absoluteTimeoutMs: 2000 })).type.toBe<Promise<void>>()
  expect(app.sessions.login).type.not.toBeCallableWith(request, 7)
  expect(app.sessions.current(request)).type.toBe<{ userId: string, handle: string } | null>()
  expect(app.sessions.list('u')).type.toBe<Promise<SessionInfo[]>>()
  expect(app.sessions.logoutAll('u')).type.toBe<Promise<number>>()
  expect(app.sessions.mode).type.toBe<'redis' | 'memory' | 'hybrid'>()
  expect(app.sessions.store).type.toBe<SessionStore>()
  expect(app.sessions.stats()).type.toBe<SessionsStats>()
  app.sessions.on('login', (event) => { expect(event).type.toBe<SessionEvent>() })
  app.sessions.on('ended', (ended) => { expect(ended).type.toBe<EndedSessions>() })
})

test('fields of a login are those that the application declares', () => {
  expect(app.sessions.login).type.not.toBeCallableWith(request, 'u', { undeclared: 1 })
  expect(app.sessions.login).type.not.toBeCallableWith(request, 'u', { cart: 'a' })
  expect(app.sessions.login).type.not.toBeCallableWith(request, 'u', {}, { forget: true })
})

test('an application of HTTP/2, or with TLS, takes the plugin and its requests', () => {
  const h2 = Fastify({ http2: true })
  const tls = Fastify({ https: {} })
  expect(h2.register).type.toBeCallableWith(redisSessions, { secret: 'a' })
  expect(tls.register).type.toBeCallableWith(redisSessions, { secret: 'a' })
  h2.get('/', async (request) => {
    await h2.sessions.login(request, 'u', { cart: [] })
    return h2.sessions.current(request)
  })
  tls.get('/', async (request) => tls.sessions.logout(request))
})

test('a route says what it is to sessions', () => {
  app.get('/none', { config: { session: false } }, async () => 'x')
  app.get('/poll', { config: { session: { activity: false } } }, async () => 'x')
})

test('a collection of the driver is a backup', () => {
  expect(mongoBackup(mongo.db().collection('sessions'), { intervalMs: 1000 })).type.toBe<SessionBackup>()
})
