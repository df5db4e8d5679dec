import type { Redis } from 'ioredis'
import { PERSISTENT, redisServer, type TestRedis } from './redis-server.ts'
import type { Scope } from './scope.ts'
import { waitFor } from './wait-for.ts'

export interface TestCluster {
  nodes: TestRedis[]
  /** The node at a port. */
  node (port: number): TestRedis
  /** The primary of a key's slot, as the first node that lives says. */
  primaryOf (key: string): Promise<TestRedis>
  /** The primaries. */
  primaries (): Promise<TestRedis[]>
  /** Waits until every node that lives sees every slot served and every replica in step. */
  complete (): Promise<void>
}

const FIRST_SLOT = [0, 5461, 10923, 16384]

/** A Redis Cluster of three primaries with a replica each. Its data survive a kill. */
export async function redisCluster (t: Scope): Promise<TestCluster> {
  const nodes = await Promise.all(Array.from({ length: 6 }, () => redisServer(t, {
    args: [...PERSISTENT, '--cluster-enabled', 'yes', '--cluster-config-file', 'nodes.conf', '--cluster-node-timeout', '1500',
      '--cluster-replica-validity-factor', '0', '--repl-diskless-sync-delay', '0']
  })))
  const clients = nodes.map((node) => node.connect())
  const living = () => clients.filter((_client, index) => nodes[index]!.alive)
  await form(clients, nodes[0]!.port)
  const complete = async () => {
    await Promise.all(living().map((client) => waitFor(() => isComplete(client, living().length),
      { what: 'the cluster to be complete', timeoutMs: 20_000 })))
  }
  await complete()
  const node = (port: number) => nodes.find((one) => one.port === port)!
  const ranges = async () => await living()[0]!.call('CLUSTER', 'SLOTS') as Array<[number, number, [string, number]]>
  return {
    nodes,
    node,
    complete,
    async primaryOf (key) {
      const slot = await living()[0]!.call('CLUSTER', 'KEYSLOT', key) as number
      return node((await ranges()).find(([from, to]) => slot >= from && slot <= to)![2][1])
    },
    async primaries () {
      return [...new Set((await ranges()).map(([,, [, port]]) => port))].map(node)
    }
  }
}

async function form (clients: Redis[], port: number): Promise<void> {
  const primaries = clients.slice(0, 3)
  await Promise.all(clients.map((client, index) => client.call('CLUSTER', 'SET-CONFIG-EPOCH', String(index + 1))))
  await Promise.all(primaries.map((client, index) => client.call('CLUSTER', 'ADDSLOTS', ...slots(FIRST_SLOT[index]!, FIRST_SLOT[index + 1]!))))
  await Promise.all(clients.slice(1).map((client) => client.call('CLUSTER', 'MEET', '127.0.0.1', String(port))))
  const ids = await Promise.all(primaries.map((client) => client.call('CLUSTER', 'MYID') as Promise<string>))
  await Promise.all(clients.slice(3).map((client, index) => waitFor(() => client.call('CLUSTER', 'REPLICATE', ids[index]!), { what: 'a replica to know its primary' })))
}

const slots = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => String(from + index))

async function isComplete (client: Redis, living: number): Promise<boolean> {
  const info = await client.call('CLUSTER', 'INFO') as string
  if (!info.includes('cluster_state:ok')) return false
  const nodes = (await client.call('CLUSTER', 'NODES') as string).trim().split('\n')
  const present = nodes.filter((line) => !/fail|noaddr|handshake/.test(line.split(' ')[2]!))
  if (present.length !== living) return false
  const role = await client.call('ROLE') as unknown[]
  return role[0] === 'master' || role[3] === 'connected'
}
