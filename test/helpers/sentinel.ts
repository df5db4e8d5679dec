import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Redis } from 'ioredis'
import { ADMIN, hasPrintedAcl, startRedis } from '../../scripts/servers/redis.js'
import { connect, PERSISTENT, redisServer, serverBinary, type TestRedis } from './redis-server.ts'
import { temporaryFolder, type Scope } from './scope.ts'
import { waitFor } from './wait-for.ts'

export interface TestSentinel {
  /** Name of the watched primary. */
  name: string
  sentinels: Array<{ host: string, port: number }>
  /** The data servers: first primary and first replica. */
  nodes: TestRedis[]
  /** The present primary, as a Sentinel says. */
  primary (): Promise<TestRedis>
  /** Starts both servers again after a kill of both: the primary first, then the other as its replica. */
  restart (): Promise<void>
  /** Waits until all Sentinels name one primary, no failover is under way, and the other server is its replica. */
  settled (): Promise<void>
}

const NAME = 'primary'

/** A primary and a replica, whose data survive a kill, under three Sentinels. */
export async function sentinel (t: Scope): Promise<TestSentinel> {
  const args = [...PERSISTENT, '--repl-diskless-sync-delay', '0']
  const replicaOf = ({ port }: TestRedis) => [...args, '--replicaof', '127.0.0.1', String(port)]
  const first = await redisServer(t, { args })
  const second = await redisServer(t, { args: replicaOf(first) })
  const nodes = [first, second]
  const watchers = await Promise.all([0, 1, 2].map(() => startWatcher(t, first.port)))
  const clients = watchers.map((port) => connect(t, port, {}))
  const settled = async () => {
    await waitFor(async () => {
      const ports = await Promise.all(clients.map(async (client) => await knowsAll(client) && await primaryPort(client)))
      const [primary, replica] = ports[0] === first.port ? [first, second] : [second, first]
      return ports.every((port) => port === primary.port) && await isPair(primary, replica)
    }, { what: 'the Sentinels to agree on a primary with its replica', timeoutMs: 40_000 })
  }
  const primary = async () => {
    const port = await primaryPort(clients[0]!)
    return nodes.find((node) => node.port === port)!
  }
  await settled()
  return {
    settled,
    primary,
    async restart () {
      const leader = await primary()
      await leader.restart({ args })
      // Started together, the other one could be promoted as well, and for seconds there would be two primaries.
      await Promise.all(clients.map((client) => waitFor(async () => (await stateOf(client)).get('flags') === 'master', { what: 'the Sentinels to see the primary', timeoutMs: 40_000 })))
      const other = nodes.find((node) => node !== leader)!
      await other.restart({ args: replicaOf(leader) })
      await settled()
    },
    name: NAME,
    sentinels: watchers.map((port) => ({ host: '127.0.0.1', port })),
    nodes
  }
}

async function startWatcher (t: Scope, primaryPort: number): Promise<number> {
  const dir = join(temporaryFolder(t), 'sentinel')
  mkdirSync(dir)
  const config = join(dir, 'sentinel.conf')
  writeFileSync(config, [
    `sentinel monitor ${NAME} 127.0.0.1 ${primaryPort} 2`,
    `sentinel down-after-milliseconds ${NAME} 1000`,
    `sentinel failover-timeout ${NAME} 5000`,
    `sentinel parallel-syncs ${NAME} 1`,
    ...(hasPrintedAcl() ? [`sentinel auth-user ${NAME} ${ADMIN.username}`, `sentinel auth-pass ${NAME} ${ADMIN.password}`] : []),
    ''
  ].join('\n'))
  const watcher = await startRedis({ binary: serverBinary(), dir, config, args: ['--sentinel'] })
  t.teardown(() => watcher.process.stop('SIGKILL'))
  return watcher.port
}

async function knowsAll (client: Redis): Promise<boolean> {
  const state = await stateOf(client)
  return state.get('num-other-sentinels') === '2' && state.get('num-slaves') === '1' && state.get('flags') === 'master'
}

/** What a Sentinel says of the primary; the flags are more than `master` while it is down or being replaced. */
async function stateOf (client: Redis): Promise<Map<string, string>> {
  const fields = await client.call('SENTINEL', 'MASTER', NAME) as string[]
  return new Map(fields.flatMap((field, index) => index % 2 === 0 ? [[field, fields[index + 1]!]] : []))
}

async function primaryPort (client: Redis): Promise<number> {
  const [, port] = await client.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', NAME) as [string, string]
  return Number(port)
}

async function isPair (primary: TestRedis, replica: TestRedis): Promise<boolean> {
  const [role, , replicas] = await primary.client.call('ROLE') as [string, number, unknown[]]
  const [other, , port, state] = await replica.client.call('ROLE') as [string, string, number, string]
  return role === 'master' && replicas.length === 1 && other === 'slave' && port === primary.port && state === 'connected'
}
