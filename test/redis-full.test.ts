import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { ask, session } from '../examples/jpulse-site/test/web.ts'
import { ROOT } from '../scripts/bootstrap.js'
import { redisServer, site, waitFor } from './helpers/index.ts'

t.setTimeout(180_000)

t.test('docs/runbook.md, "Redis is full": what it says is seen, and its commands end it', async (t) => {
  const redis = await redisServer(t, { args: ['--maxmemory-policy', 'noeviction'] })
  const { address } = await site(t, { workers: 1, env: { REDIS_URL: `redis://127.0.0.1:${redis.port}` } })
  const cookie = await session(address, '/sign-up', 'anna', 'correct horse battery')
  const status = async (path: string) => (await ask(address + path, { cookie })).status
  const signIn = () => ask(`${address}/api/1/auth/login`, { json: { username: 'anna', password: 'correct horse battery' } })

  await redis.client.config('SET', 'maxmemory', '1')
  t.same(await Promise.all(['/health', '/health/redis', '/profile', '/'].map(status)), [200, 200, 200, 200])
  t.match(await signIn(), { status: 503, text: 'the store is away' })

  const text = readFileSync(join(ROOT, 'docs/runbook.md'), 'utf8')
  for (const command of ['redis-cli config set maxmemory 1gb', 'redis-cli config set maxmemory-policy volatile-ttl']) {
    t.ok(text.includes(command), command)
    await redis.client.call(...command.split(' ').slice(1) as [string, ...string[]])
  }
  await waitFor(async () => (await signIn()).status === 200, { what: 'people to sign in again', timeoutMs: 30_000 })
})
