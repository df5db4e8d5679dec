import Fastify from 'fastify'
import type { Cluster, Redis } from 'ioredis'
import { expect, test } from 'tstyche'
import redisLinkDefault, { defineScript, redisLink, reply, type FastifyRedisLinkOptions, type KvStats, type Lock, type RateLimitResult, type RedisState, type Subscriber } from '../src/index.ts'

const app = Fastify()

test('the plugin takes its options and no others', () => {
  expect(app.register).type.toBeCallableWith(redisLink, { url: 'redis://localhost', siteId: 'shop' })
  expect(app.register).type.toBeCallableWith(redisLinkDefault)
  expect<FastifyRedisLinkOptions>().type.toBeAssignableFrom<{ cluster: { nodes: Array<{ host: string }> } }>()
  expect<FastifyRedisLinkOptions>().type.not.toBeAssignableFrom<{ mode: 'ring' }>()
  expect<FastifyRedisLinkOptions>().type.not.toBeAssignableFrom<{ single: { port: string } }>()
})

test('the decorator is typed', () => {
  expect(app.redisLink.state).type.toBe<RedisState>()
  expect(app.redisLink.client).type.toBe<Redis | Cluster | null>()
  expect(app.redisLink.epoch).type.toBe<string | null>()
  expect(app.redisLink.subscriber()).type.toBe<Subscriber | null>()
  expect(app.redisLink.tryLock('a', 1)).type.toBe<Promise<Lock | null>>()
  expect(app.redisLink.rateLimit('a', 1, 1)).type.toBe<Promise<RateLimitResult>>()
  expect(app.redisLink.run(async (client) => client.get('a'))).type.toBe<Promise<string | null>>()
  app.redisLink.on('up', ({ state, epoch }) => {
    expect(state).type.toBe<RedisState>()
    expect(epoch).type.toBe<string | null>()
  })
  expect(app.redisLink.on).type.not.toBeCallableWith('sideways', () => {})
})

test('a script is held to its declaration', () => {
  const { redisLink: link } = app
  const script = defineScript({ name: 'appTestV1', keys: ['a', 'b'], args: ['n', '...more'], reply: reply<[string, number]>(), lua: '' })
  expect(link.runScript(script, { keys: ['a', 'b'], args: [1, 'x', Buffer.from('y')] })).type.toBe<Promise<[string, number]>>()
  expect(link.runScript).type.not.toBeCallableWith(script, { keys: ['a'], args: [1] })
  expect(link.runScript).type.not.toBeCallableWith(script, { keys: ['a', 'b'], args: [] })
  expect(link.run((_client, call) => call(script, { keys: ['a', 'b'], args: [1] }))).type.toBe<Promise<[string, number]>>()
})

test('kv is typed by its caller', () => {
  expect(app.redisLink.kv.get('a')).type.toBe<Promise<unknown>>()
  expect(app.redisLink.kv.get<{ n: number }>('a')).type.toBe<Promise<{ n: number } | null>>()
  expect(app.redisLink.kv.increment('a')).type.toBe<Promise<number>>()
  expect(app.redisLink.kv.getStats()).type.toBe<Promise<KvStats>>()
  expect(app.redisLink.kv.set).type.not.toBeCallableWith('a')
  expect(app.redisLink.kv.set('a', 1)).type.toBe<Promise<'redis' | 'memory'>>()
})
