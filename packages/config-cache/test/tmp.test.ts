import t from 'tap'
import Fastify from 'fastify'
import { setTimeout as sleep } from 'node:timers/promises'
import { redisLink } from '@jpulse/redis-link'
import { configCache } from '../src/index.ts'
import { topologies } from '../../../test/helpers/index.ts'
t.test('x', async (t) => {
  const topology = await topologies.sentinel(t)
  const app = Fastify({ logger: { level: 'debug', stream: { write: (s: string) => t.comment(s) } } })
  await app.register(redisLink, { ...topology.options, siteId: 'x' })
  await app.register(configCache, { blockTtlMs: 1500 })
  await app.ready()
  const look = () => t.comment(`${Math.round(performance.now())} ${app.configCache.mode} ${app.redisLink.state} ${app.redisLink.subscriber()!.isUp} ${app.redisLink.epoch?.slice(0, 5)}`)
  for (let i = 0; i < 10; i++) { await sleep(300); look() }
  await topology.failover('x')
  t.comment('failover done')
  for (let i = 0; i < 40; i++) { await sleep(300); look() }
  await app.close()
})
