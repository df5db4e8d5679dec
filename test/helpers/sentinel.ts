import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { startRedis, type RedisProcess } from '../../scripts/servers/redis.js'
import { connect, serverBinary } from './redis-server.ts'
import { temporaryFolder, type Scope } from './scope.ts'
import { waitFor } from './wait-for.ts'

export interface TestSentinel {
  /** Name of the watched primary. */
  name: string
  sentinels: Array<{ host: string, port: number }>
  /** Port of the present primary, as the Sentinels say. */
  primary (): Promise<number>
  /** The process that serves a port. */
  node (port: number): RedisProcess['process']
}

/** A primary, a replica and three Sentinels. */
export async function sentinel (t: Scope): Promise<TestSentinel> {
  const binary = serverBinary()
  const dir = temporaryFolder(t)
  const args = ['--repl-diskless-sync-delay', '0', '--appendonly', 'no']
  const first = await startRedis({ binary, dir: join(dir, 'a'), args })
  const second = await startRedis({ binary, dir: join(dir, 'b'), args: [...args, '--replicaof', '127.0.0.1', String(first.port)] })
  const stop = (server: RedisProcess) => server.process.stop('SIGKILL')
  t.teardown(() => Promise.all([stop(first), stop(second)]))
  const name = 'primary'
  const watchers = await Promise.all(['x', 'y', 'z'].map((letter) => {
    const folder = join(dir, letter)
    mkdirSync(folder, { recursive: true })
    const config = join(folder, 'sentinel.conf')
    writeFileSync(config, [
      `sentinel monitor ${name} 127.0.0.1 ${first.port} 2`,
      `sentinel down-after-milliseconds ${name} 1000`,
      `sentinel failover-timeout ${name} 5000`,
      `sentinel parallel-syncs ${name} 1`, ''
    ].join('\n'))
    return startRedis({ binary, dir: folder, config, args: ['--sentinel'] })
  }))
  t.teardown(() => Promise.all(watchers.map(stop)))
  const clients = watchers.map((watcher) => connect(t, watcher.port))
  await Promise.all(clients.map((client) => waitFor(async () => {
    const fields = await client.call('SENTINEL', 'MASTER', name) as string[]
    const value = (field: string) => fields[fields.indexOf(field) + 1]
    return value('num-other-sentinels') === '2' && value('num-slaves') === '1' && value('flags') === 'master'
  }, { what: 'the Sentinels to know each other and the replica', timeoutMs: 20_000 })))
  const primary = connect(t, first.port)
  await waitFor(async () => (await primary.call('ROLE') as [string, number, unknown[]])[2].length === 1, { what: 'the replica to be in sync' })
  const all = [first, second, ...watchers]
  return {
    name,
    sentinels: watchers.map(({ port }) => ({ host: '127.0.0.1', port })),
    async primary () {
      const [, port] = await clients[0]!.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', name) as [string, string]
      return Number(port)
    },
    node: (port) => all.find((server) => server.port === port)!.process
  }
}
