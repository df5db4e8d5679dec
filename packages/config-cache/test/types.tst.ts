import Fastify from 'fastify'
import { expect, test } from 'tstyche'
import { configCache, memorySource, type CacheMode, type CacheStats, type ConfigCache, type ConfigSource, type FastifyConfigCacheOptions } from '@jpulse/config-cache'

const app = Fastify()

test('the decorator and its values', () => {
  expect(app.configCache).type.toBe<ConfigCache>()
  expect(app.configCache.get('a')).type.toBe<Promise<unknown>>()
  expect(app.configCache.get<{ n: number }>('a')).type.toBe<Promise<{ n: number } | null>>()
  expect(app.configCache.getOrLoad('a', {}, async () => 1)).type.toBe<Promise<number>>()
  expect(app.configCache.getOrLoad('a', { ttlMs: (value) => value.n }, async () => ({ n: 1 }))).type.toBe<Promise<{ n: number }>>()
  expect(app.configCache.invalidate).type.toBeCallableWith('a')
  expect(app.configCache.write({ tags: ['a'] }, async () => 'done')).type.toBe<Promise<string>>()
  expect(app.configCache.isFeatureEnabled('a')).type.toBe<Promise<boolean>>()
  expect(app.configCache.mode).type.toBe<CacheMode>()
  expect(app.configCache.stats()).type.toBe<CacheStats>()
  expect(memorySource()).type.toBe<ConfigSource>()
})

test('options of the plugin and of routes', () => {
  expect(app.register).type.toBeCallableWith(configCache, { whenUnreachable: 'source-fence' } as const)
  expect<FastifyConfigCacheOptions>().type.not.toBeAssignableFrom({ whenUnreachable: 'hope' })
  app.get('/a', { config: { cache: { tags: ['x'], scope: (request) => request.ip } } }, async () => 'a')
  app.post('/a', { config: { invalidates: async () => ['x'] } }, async () => 'a')
})
