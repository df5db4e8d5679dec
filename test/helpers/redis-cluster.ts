import { join } from 'node:path'
import type { Redis } from 'ioredis'
import { startRedis, type RedisProcess } from '../../scripts/servers/redis.js'
import { connect, serverBinary } from './redis-server.ts'
import { temporaryFolder, type Scope } from './scope.ts'
import { waitFor } from './wait-for.ts'

export interface TestCluster {
  nodes: Array<{ host: string, port: number }>
  /** The process that serves a port. */
  node (port: number): RedisProcess['process']
  /** Port of the primary of a key's slot. */
  primaryOf (key: string): Promise<number>
  /** Ports of the present primaries. */
  primaries (): Promise<number[]>
}

/** A Redis Cluster of three primaries with a replica each. */
export async function redisCluster (t: Scope): Promise<TestCluster> {
  const binary = serverBinary()
  const dir = temporaryFolder(t)
  const servers = await Promise.all(Array.from({ length: 6 }, (_, index) => startRedis({
    binary,
    dir: join(dir, String(index)),
    args: ['--cluster-enabled', 'yes', '--cluster-config-file', 'nodes.conf', '--cluster-node-timeout', '1500',
      '--cluster-replica-validity-factor', '0', '--repl-diskless-sync-delay', '0', '--appendonly', 'no']
  })))
  t.teardown(() => Promise.all(servers.map((server) => server.process.stop('SIGKILL'))))
  const clients = servers.map((server) => connect(t, server.port))
  const [first] = servers
  await Promise.all(clients.map((client, index) => client.call('CLUSTER', 'SET-CONFIG-EPOCH', String(index + 1))))
  await Promise.all(clients.slice(0, 3).map((client, index) => client.call('CLUSTER', 'ADDSLOTSRANGE', String(FIRST_SLOT[index]), String(FIRST_SLOT[index + 1]! - 1))))
  await Promise.all(clients.slice(1).map((client) => client.call('CLUSTER', 'MEET', '127.0.0.1', String(first!.port))))
  const ids = await Promise.all(clients.slice(0, 3).map((client) => client.call('CLUSTER', 'MYID') as Promise<string>))
  await Promise.all(clients.slice(3).map((client, index) => waitFor(() => client.call('CLUSTER', 'REPLICATE', ids[index]!), { what: 'a replica to know its primary' })))
  await Promise.all(clients.map((client) => waitFor(() => isComplete(client), { what: 'the cluster to be complete', timeoutMs: 20_000 })))
  const alive = () => clients.find((client, index) => servers[index]!.process.alive() && client.status === 'ready')!
  return {
    nodes: servers.map(({ port }) => ({ host: '127.0.0.1', port })),
    node: (port) => servers.find((server) => server.port === port)!.process,
    async primaryOf (key) {
      const slot = await alive().call('CLUSTER', 'KEYSLOT', key) as number
      const ranges = await alive().call('CLUSTER', 'SLOTS') as Array<[number, number, [string, number]]>
      return ranges.find(([from, to]) => slot >= from && slot <= to)![2][1]
    },
    async primaries () {
      const ranges = await alive().call('CLUSTER', 'SLOTS') as Array<[number, number, [string, number]]>
      return [...new Set(ranges.map(([,, [, port]]) => port))]
    }
  }
}

const FIRST_SLOT = [0, 5461, 10923, 16384]

async function isComplete (client: Redis): Promise<boolean> {
  const info = await client.call('CLUSTER', 'INFO') as string
  const nodes = await client.call('CLUSTER', 'NODES') as string
  if (!/cluster_state:ok/.test(info) || !/cluster_known_nodes:6/.test(info)) return false
  if (nodes.match(/ slave /g)?.length !== 3 && nodes.match(/slave/g)?.length !== 3) return false
  const role = await client.call('ROLE') as unknown[]
  return role[0] === 'master' ? (role[2] as unknown[]).length === 1 : role[3] === 'connected'
}
