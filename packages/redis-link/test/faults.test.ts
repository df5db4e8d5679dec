import type { Redis } from 'ioredis'
import t from 'tap'
import { redisServer, waitFor } from '../../../test/helpers/index.ts'
import { build } from './build.ts'

t.test('a listener of the link that throws is logged, and Redis stays up', async (t) => {
  const redis = await redisServer(t)
  const { app, complaints, changes } = await build(t, { url: redis.url, probeIntervalMs: 20 })
  const link = app.redisLink
  const heard: string[] = []
  for (const event of ['up', 'down', 'change'] as const) {
    link.on(event, () => { throw new Error('as asked') })
    link.on(event, ({ state }) => { heard.push(`${event} ${state}`) })
  }
  await redis.kill()
  await waitFor(() => link.state === 'down')
  await redis.restart()
  await waitFor(() => link.isUp)
  // The probes that follow must not tell the next outage.
  const probes = t.capture(link.client as Redis, 'info', (link.client as Redis).info)
  let seen = 0
  await waitFor(() => (seen += probes().length) >= 12)
  t.ok(link.isUp)
  t.same(changes.map(({ state }) => state), ['down', 'up'])
  t.same(heard, ['down down', 'change down', 'up up', 'change up'], 'the other listeners hear')
  t.equal(complaints.filter((line) => line === 'a listener of the link to Redis failed').length, 4)
})
