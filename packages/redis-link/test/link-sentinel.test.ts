import type { Redis } from 'ioredis'
import t from 'tap'
import { topologies, waitFor } from '../../../test/helpers/index.ts'
import { build } from './build.ts'
import { linkSuite } from './link-suite.ts'

t.test('sentinel', (t) => linkSuite(t, topologies.sentinel))

t.test('a failover that is announced while the client asks the Sentinels who is primary: the link comes back', async (t) => {
  const topology = await topologies.sentinel(t)
  const { app } = await build(t, { ...topology.options, connectTimeoutMs: 10_000 })
  const link = app.redisLink
  t.ok(link.isUp)
  const client = link.client as Redis
  for (let time = 0; time < 2; time++) {
    // As ioredis does at an announcement, which cannot be had at will in these milliseconds.
    client.once('connecting', () => { (client as unknown as { connector: { disconnect (): void } }).connector.disconnect() })
    const ended = new Promise<void>((resolve) => { client.once('end', resolve) })
    client.disconnect(true)
    await ended
    await waitFor(() => link.isUp, { timeoutMs: 20_000, what: 'the link to come back' })
    t.equal(await link.kv.increment('n'), time + 1)
  }
})
