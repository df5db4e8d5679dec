import { createVerifier } from 'fast-jwt'
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { DEVELOPMENT_SECRET, loadConfig } from '../src/config.ts'

const MONGODB_URI = 'mongodb://127.0.0.1:27017'

t.test('defaults, and what makes no sense', async (t) => {
  t.match(loadConfig({ MONGODB_URI }), { environment: 'development', port: 3001, host: '127.0.0.1', siteId: 'rerum', publicUrl: 'http://127.0.0.1:3001', readonly: false, blockTtlMs: 10_000, jwtSecret: DEVELOPMENT_SECRET })
  t.equal(loadConfig({ MONGODB_URI, PUBLIC_URL: 'https://store.example.org/' }).publicUrl, 'https://store.example.org')
  t.match(loadConfig({ MONGODB_URI, REDIS_HOST: 'cache', REDIS_PASSWORD: 'x', REDIS_TLS: 'true', CACHE_TTL: '300000' }), { redis: { mode: 'single', single: { host: 'cache', port: 6379 }, password: 'x', tls: true }, cacheTtlMs: 300_000 })
  t.throws(() => loadConfig({}), { code: 'FST_ERR_SITE_CONFIG', message: /MONGODB_URI/ })
  t.throws(() => loadConfig({ MONGODB_URI, NODE_ENV: 'production' }), /JWT_SECRET/)
  t.throws(() => loadConfig({ MONGODB_URI, JWT_SECRET: 'short' }), /JWT_SECRET/)
  t.throws(() => loadConfig({ MONGODB_URI, PUBLIC_URL: 'store' }), /PUBLIC_URL/)
  t.throws(() => loadConfig({ MONGODB_URI, HOST: '0.0.0.0' }), /JWT_SECRET must be set where others can reach the store/)
  t.equal(loadConfig({ MONGODB_URI, HOST: '0.0.0.0', JWT_SECRET: 's'.repeat(32) }).jwtSecret.length, 32)
  t.throws(() => loadConfig({ MONGODB_URI, READONLY: 'maybe' }), /READONLY/)
  t.throws(() => loadConfig({ MONGODB_URI, CACHE_TTL: '300' }), /CACHE_TTL/, 'seconds are not taken for milliseconds')
})

t.test('npm run token makes a token that the store takes', async (t) => {
  const { JWT_SECRET: _secret, ...env } = process.env
  const token = execFileSync(process.execPath, [fileURLToPath(new URL('../dist/token.js', import.meta.url)), 'https://example.org/me', 'admin'], { encoding: 'utf8', env }).trim()
  t.match(createVerifier({ key: DEVELOPMENT_SECRET, algorithms: ['HS256'] })(token), { sub: 'https://example.org/me', role: 'admin', exp: Number })
})
