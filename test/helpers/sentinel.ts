import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Redis } from 'ioredis'
import { startRedis } from '../../scripts/servers/redis.js'
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
  /** Waits until all Sentinels name one primary, no failover is under way, and the other server is its replica. */
  settled (): Promise<void>
}

const NAME = 'primary'

/** A primary and a replica, whose data survive a kill, under three Sentinels. */
export async function sentinel (t: Scope): Promise<TestSentinel> {
  const args = [...PERSISTENT, '--repl-diskless-sync-delay', '0']
  const first = await redisServer(t, { args })
  const second = await redisServer(t, { args: [...args, '--replicaof', '127.0.0.1', String(first.port)] })
  const nodes = [first, second]
  const watchers = await Promise.all([0, 1, 2].map(() => startWatcher(t, first.port)))
  const clients = watchers.map((port) => connect(t, port))
  const settled = async () => {
    await waitFor(async () => {
      const ports = await Promise.all(clients.map(async (client) => await knowsAll(client) && await primaryPort(client)))
      const [primary, replica] = ports[0] === first.port ? [first, second] : [second, first]
      return ports.every((port) => port === primary.port) && await isPair(primary, replica)
    }, { what: 'the Sentinels to agree on a primary with its replica', timeoutMs: 40_000 })
  }
  await settled()
  return {
    settled,
    name: NAME,
    sentinels: watchers.map((port) => ({ host: '127.0.0.1', port })),
    nodes,
    async primary () {
      const port = await primaryPort(clients[0]!)
      return nodes.find((node) => node.port === port)!
    }
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
    ''
  ].join('\n'))
  const watcher = await startRedis({ binary: serverBinary(), dir, config, args: ['--sentinel'] })
  t.teardown(() => watcher.process.stop('SIGKILL'))
  return watcher.port
}

async function knowsAll (client: Redis): Promise<boolean> {
  const fields = await client.call('SENTINEL', 'MASTER', NAME) as string[]
  const value = (field: string) => fields[fields.indexOf(field) + 1]
  return value('num-other-sentinels') === '2' && value('num-slaves') === '1' && value('flags') === 'master'
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
