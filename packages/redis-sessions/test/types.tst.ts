import Fastify, { type FastifyRequest } from 'fastify'
import type { MongoClient } from 'mongodb'
import { expect, test } from 'tstyche'
import redisSessionsDefault, { mongoBackup, redisSessions, type EndedSessions, type FastifyRedisSessionsOptions, type SessionBackup, type SessionInfo, type SessionStore } from '../src/index.ts'

const app = Fastify()
declare const request: FastifyRequest
declare const mongo: MongoClient

test('the plugin takes its options and no others', () => {
  expect(app.register).type.toBeCallableWith(redisSessions, { secret: ['a', 'b'], idleTimeoutMs: 1000 })
  expect(app.register).type.toBeCallableWith(redisSessionsDefault, { secret: 'a' })
  expect<FastifyRedisSessionsOptions>().type.not.toBeAssignableFrom<{ idleTimeoutMs: number }>()
  expect<FastifyRedisSessionsOptions>().type.not.toBeAssignableFrom<{ secret: string, onUnavailable: 'panic' }>()
  expect<FastifyRedisSessionsOptions>().type.not.toBeAssignableFrom<{ secret: string, cookie: { secure: 'maybe' } }>()
})

test('the decorator is typed', () => {
  expect(app.sessions.login(request, 'u', { any: 1 })).type.toBe<Promise<void>>()
  expect(app.sessions.login).type.not.toBeCallableWith(request, 7)
  expect(app.sessions.current(request)).type.toBe<{ userId: string, handle: string } | null>()
  expect(app.sessions.list('u')).type.toBe<Promise<SessionInfo[]>>()
  expect(app.sessions.logoutAll('u')).type.toBe<Promise<number>>()
  expect(app.sessions.mode).type.toBe<'redis' | 'memory' | 'hybrid'>()
  expect(app.sessions.store).type.toBe<SessionStore>()
  app.sessions.on('ended', (ended) => { expect(ended).type.toBe<EndedSessions>() })
})

test('a collection of the driver is a backup', () => {
  expect(mongoBackup(mongo.db().collection('sessions'), { intervalMs: 1000 })).type.toBe<SessionBackup>()
})
