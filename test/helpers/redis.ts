import { join } from 'node:path'
import { Redis } from 'ioredis'
import { redisBinary } from '../../scripts/servers/binaries.js'
import { startRedis, type RedisProcess } from '../../scripts/servers/redis.js'
import { temporaryFolder, type Scope } from './scope.ts'
import { waitFor } from './wait-for.ts'

export interface TestRedis {
  port: number
  url: string
  /** Pid of the present server. */
  readonly pid: number
  /** SIGKILL: nothing is flushed, nobody is told. */
  kill (): Promise<void>
  /** SIGSTOP: connections stay open and silent. */
  freeze (): void
  /** SIGCONT. */
  thaw (): void
  /** Starts it again on its port and folder; with `empty` its data are dropped first. */
  restart (options?: { empty?: boolean }): Promise<void>
  /** A connection of the test's own, closed at its end. */
  connect (): Redis
}

export interface RedisServerOptions {
  /** Further arguments of redis-server. @default append-only file with fsync always, so that a kill loses nothing */
  args?: string[]
}

const PERSISTENT = ['--appendonly', 'yes', '--appendfsync', 'always']

/** Prints only where a binary has to be installed first. */
const say = (line: string) => { process.stderr.write(`· ${line}\n`) }

/** A redis-server of the test's own, for faults; it ends with the test, also where the test crashes. */
export async function redisServer (t: Scope, { args = PERSISTENT }: RedisServerOptions = {}): Promise<TestRedis> {
  const binary = redisBinary(say)
  const dir = temporaryFolder(t)
  let life = 0
  let server = await startRedis({ binary, dir: join(dir, '0'), args })
  const { port, url } = server
  const folder = () => join(dir, String(life))
  t.teardown(() => server.process.stop('SIGKILL'))
  return {
    port,
    url,
    get pid () { return server.process.pid },
    kill: () => server.process.stop('SIGKILL'),
    freeze: () => server.process.kill('SIGSTOP'),
    thaw: () => server.process.kill('SIGCONT'),
    async restart ({ empty = false } = {}) {
      await server.process.stop('SIGKILL')
      if (empty) life++
      server = await startRedis({ binary, dir: folder(), port, args })
    },
    connect: () => connect(t, port)
  }
}

/** A plain connection to a server on loopback, closed at the end of the test. */
export function connect (t: Scope, port: number): Redis {
  const client = new Redis({ port, host: '127.0.0.1', commandTimeout: 5000 })
  client.on('error', () => {})
  t.teardown(() => client.disconnect())
  return client
}

/** The Redis that all tests share (`REDIS_URL`); who uses it takes a key prefix of its own. */
export function sharedRedis (): string {
  const url = process.env.REDIS_URL
  if (url === undefined) throw new Error('REDIS_URL is not set: run the test through `npm test -- FILE`')
  return url
}

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
  const binary = redisBinary(say)
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
  const binary = redisBinary(say)
  const dir = temporaryFolder(t)
  const { writeFileSync, mkdirSync } = await import('node:fs')
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
  await waitFor(async () => ((await connectOnce(first.port))), { what: 'the replica to be in sync' })
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

  async function connectOnce (port: number): Promise<boolean> {
    const client = new Redis({ port, host: '127.0.0.1' })
    try {
      const role = await client.call('ROLE') as [string, number, unknown[]]
      return role[2].length === 1
    } finally {
      client.disconnect()
    }
  }
}
