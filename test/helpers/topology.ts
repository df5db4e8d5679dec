import { redisCluster } from './redis-cluster.ts'
import { redisServer, type TestRedis } from './redis-server.ts'
import type { Scope } from './scope.ts'
import { sentinel } from './sentinel.ts'
import { waitFor } from './wait-for.ts'

/** A way to run Redis, with what may happen to it, so that one suite runs on all of them. */
export interface Topology {
  name: 'single' | 'sentinel' | 'cluster'
  /** Connection options of @jpulse/redis-link. */
  options: { url: string } | { sentinel: { name: string, sentinels: Address[] } } | { cluster: { nodes: Address[] } }
  /** Every server that holds data. */
  nodes: TestRedis[]
  /** The primary that holds a key. */
  primaryOf (key: string): Promise<TestRedis>
  /** SIGKILL to every server that holds data. */
  kill (): Promise<void>
  /** Starts them again with their data, and waits until they serve. */
  restart (): Promise<void>
  freeze (): void
  thaw (): void
  /** Kills the primary that holds a key and waits for its successor. On `single` it is restarted empty instead. */
  failover (key: string): Promise<void>
}

interface Address { host: string, port: number }

const faults = (nodes: TestRedis[]) => ({
  nodes,
  kill: async () => { await Promise.all(nodes.map((node) => node.kill())) },
  freeze: () => nodes.forEach((node) => node.freeze()),
  thaw: () => nodes.forEach((node) => node.thaw())
})

/** The topologies of redis-link, each as a function that starts one for a test. */
export const topologies: Record<Topology['name'], (t: Scope) => Promise<Topology>> = {
  async single (t) {
    const redis = await redisServer(t)
    return {
      ...faults([redis]),
      name: 'single',
      options: { url: redis.url },
      primaryOf: async () => redis,
      restart: () => redis.restart(),
      failover: () => redis.restart({ empty: true })
    }
  },

  async sentinel (t) {
    const watched = await sentinel(t)
    return {
      ...faults(watched.nodes),
      name: 'sentinel',
      options: { sentinel: { name: watched.name, sentinels: watched.sentinels } },
      primaryOf: () => watched.primary(),
      restart: () => watched.restart(),
      async failover () {
        const old = await watched.primary()
        await old.kill()
        await waitFor(async () => {
          const next = await watched.primary()
          return next !== old && await isPrimary(next)
        }, { what: 'the failover', timeoutMs: 30_000 })
      }
    }
  },

  async cluster (t) {
    const cluster = await redisCluster(t)
    return {
      ...faults(cluster.nodes),
      name: 'cluster',
      options: { cluster: { nodes: cluster.nodes.map(({ port }) => ({ host: '127.0.0.1', port })) } },
      primaryOf: (key) => cluster.primaryOf(key),
      async restart () {
        await Promise.all(cluster.nodes.map((node) => node.restart()))
        await cluster.complete()
      },
      async failover (key) {
        const old = await cluster.primaryOf(key)
        await old.kill()
        await waitFor(async () => await cluster.primaryOf(key) !== old, { what: 'the failover', timeoutMs: 30_000 })
        await cluster.complete()
      }
    }
  }
}

async function isPrimary (node: TestRedis): Promise<boolean> {
  return node.alive && (await node.client.call('ROLE') as unknown[])[0] === 'master'
}
