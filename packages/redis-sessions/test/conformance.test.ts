import configCache from '@jpulse/config-cache'
import redisLink, { type FastifyRedisLinkOptions, type RedisLink } from '@jpulse/redis-link'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { mongo, redisCluster, sharedRedis, uniqueName, waitFor } from '../../../test/helpers/index.ts'
import { BackedStore } from '../src/backup/backed-store.ts'
import { BackupJob } from '../src/backup/backup-job.ts'
import { storeConformance } from '../src/conformance.ts'
import { FallbackStore } from '../src/stores/fallback-store.ts'
import { Copies } from '../src/stores/redis/copies.ts'
import { Keys } from '../src/stores/redis/keys.ts'
import { LocalRedisStore, type CoherentCache } from '../src/stores/redis/local-redis-store.ts'
import { MemoryStore } from '../src/stores/memory-store.ts'
import { mongoBackup } from '../src/backup/mongo-backup.ts'
import { RedisStore } from '../src/stores/redis/redis-store.ts'
import type { Lifetimes, SessionStore } from '../src/stores/store.ts'

type Make = (lifetimes: Lifetimes) => SessionStore

async function link (t: Test, options: FastifyRedisLinkOptions): Promise<{ link: RedisLink, keys: Keys, log: ReturnType<typeof Fastify>['log'] }> {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(redisLink, { siteId: uniqueName(), ...options })
  return { link: app.redisLink, keys: new Keys((...parts) => app.redisLink.key(...parts)), log: app.log }
}

const stores: Record<string, (t: Test) => Promise<Make>> = {
  MemoryStore: async () => (lifetimes) => new MemoryStore(lifetimes),
  'RedisStore on one server': async (t) => {
    const { link: redis, keys } = await link(t, { url: sharedRedis() })
    return (lifetimes) => new RedisStore(redis, keys, lifetimes)
  },
  'RedisStore on a Cluster': async (t) => {
    const { link: redis, keys } = await link(t, { mode: 'cluster', cluster: { nodes: (await redisCluster(t)).nodes.map(({ port }) => ({ port })) } })
    return (lifetimes) => new RedisStore(redis, keys, lifetimes)
  },
  'copies of what is on one server': async (t) => (await copies(t, { url: sharedRedis() })).make,
  'copies of what is on a Cluster': async (t) => (await copies(t, { mode: 'cluster', cluster: { nodes: (await redisCluster(t)).nodes.map(({ port }) => ({ port })) } })).make,
  'FallbackStore with Redis': async (t) => {
    const { link: redis, keys, log } = await link(t, { url: sharedRedis() })
    return (lifetimes) => new FallbackStore(new RedisStore(redis, keys, lifetimes), redis, lifetimes, log)
  },
  'FallbackStore without Redis': async (t) => {
    const { link: redis, keys, log } = await link(t, { url: 'redis://127.0.0.1:1', connectTimeoutMs: 0 })
    return (lifetimes) => new FallbackStore(new RedisStore(redis, keys, lifetimes), redis, lifetimes, log)
  },
  'BackedStore of copies': async (t) => {
    const { db } = await mongo(t)
    const { make, link: redis, keys, log } = await copies(t, { url: sharedRedis() })
    return (lifetimes) => {
      const backup = mongoBackup(db.collection(uniqueName('s')), { intervalMs: 500 })
      const primary = make(lifetimes, 60_000)
      const job = new BackupJob(redis, keys, primary, backup, log)
      return new BackedStore(primary, backup, job, lifetimes, log, () => job.close())
    }
  },
  BackedStore: async (t) => {
    const { db } = await mongo(t)
    const { link: redis, keys, log } = await link(t, { url: sharedRedis() })
    return (lifetimes) => {
      const backup = mongoBackup(db.collection(uniqueName('s')), { intervalMs: 500 })
      const primary = new RedisStore(redis, keys, lifetimes, 60_000)
      const job = new BackupJob(redis, keys, primary, backup, log)
      return new BackedStore(primary, backup, job, lifetimes, log, () => job.close())
    }
  }
}

async function copies (t: Test, options: FastifyRedisLinkOptions) {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(redisLink, { siteId: uniqueName(), ...options })
  await app.register(configCache, { blockTtlMs: 500 })
  await waitFor(() => app.configCache.mode === 'coherent')
  const keys = new Keys((...parts) => app.redisLink.key(...parts))
  const make = (lifetimes: Lifetimes, tombstoneMs = 0) => new LocalRedisStore(app.configCache as unknown as CoherentCache, new Copies('', true), app.redisLink, keys, lifetimes, tombstoneMs)
  return { make, link: app.redisLink, keys, log: app.log }
}

for (const [name, prepare] of Object.entries(stores)) {
  t.test(name, async (t) => {
    const make = await prepare(t)
    // What the others made would be counted, also as long as it has not ended by time.
    const makeAlone = await prepare(t)
    await Promise.all(storeConformance.map(async ({ name, lifetimes, run }) => {
      const store = (name.startsWith('count') ? makeAlone : make)(lifetimes)
      await t.resolves(run(store), name)
      await store.close()
    }))
  })
}

t.test('a store that writes whatever happened meanwhile does not conform', async (t) => {
  class Naive extends MemoryStore {
    override async replace (...[ref, , payload]: Parameters<MemoryStore['replace']>) {
      await this.remove(ref)
      return { outcome: 'saved' as const, stored: (await this.create(ref, payload))! }
    }
  }
  const broken: string[] = []
  await Promise.all(storeConformance.map(({ name, lifetimes, run }) => run(new Naive(lifetimes)).catch(() => broken.push(name))))
  t.ok(broken.includes('nothing brings back what was removed'))
  t.ok(broken.includes('of parallel replaces of one version one wins'))
})
