import { join } from 'node:path'
import { Redis } from 'ioredis'
import { redisBinary } from '../../scripts/servers/binaries.js'
import { startRedis } from '../../scripts/servers/redis.js'
import { until } from './numbers.js'

/** @typedef {{ at: number, commands: number, bytes: number, cpu: number, memory: number, keys: number }} Look since the start of the servers: milliseconds, calls with those in scripts, bytes sent, seconds of CPU; and bytes and keys now */
/** @typedef {{ options: object, port: number, look: () => Promise<Look>, ping: () => Promise<unknown>, stop: () => Promise<void> }} Servers */

const ARGS = ['--maxclients', '8000', '--appendonly', 'no']
const PRIMARIES = 3

/**
 * Servers of the benchmark's own, without persistence: `single`, or `cluster` of three primaries.
 *
 * @param {'single' | 'cluster'} topology @param {string} dir @returns {Promise<Servers>}
 */
export async function startServers (topology, dir) {
  const binary = redisBinary(console.error)
  const nodes = await Promise.all(Array.from({ length: topology === 'single' ? 1 : PRIMARIES }, (_, index) => startRedis({
    binary, dir: join(dir, String(index)), args: topology === 'single' ? ARGS : [...ARGS, '--cluster-enabled', 'yes', '--cluster-config-file', 'nodes.conf']
  })))
  const clients = nodes.map(({ port }) => new Redis(port, '127.0.0.1'))
  if (topology === 'cluster') await form(clients, nodes.map(({ port }) => port))
  return {
    options: topology === 'single' ? { url: nodes[0]?.url } : { cluster: { nodes: nodes.map(({ port }) => ({ host: '127.0.0.1', port })) } },
    port: nodes[0]?.port ?? 0,
    look: async () => (await Promise.all(clients.map(lookAt))).reduce((sum, one) => ({
      at: one.at, commands: sum.commands + one.commands, bytes: sum.bytes + one.bytes, cpu: sum.cpu + one.cpu, memory: sum.memory + one.memory, keys: sum.keys + one.keys
    })),
    ping: () => Promise.all(clients.map((client) => client.ping())),
    stop: async () => {
      for (const client of clients) client.disconnect()
      await Promise.all(nodes.map(({ process }) => process.stop('SIGKILL')))
    }
  }
}

/** @param {Redis[]} clients @param {number[]} ports */
async function form (clients, ports) {
  const first = (/** @type {number} */ index) => Math.ceil(16384 * index / PRIMARIES)
  await Promise.all(clients.map(async (client, index) => {
    await client.call('CLUSTER', 'SET-CONFIG-EPOCH', String(index + 1))
    await client.call('CLUSTER', 'ADDSLOTS', ...Array.from({ length: first(index + 1) - first(index) }, (_, slot) => String(first(index) + slot)))
    await client.call('CLUSTER', 'MEET', '127.0.0.1', String(ports[0]))
  }))
  const isComplete = async (/** @type {Redis} */ client) => /cluster_state:ok[^]*cluster_known_nodes:3/.test(String(await client.call('CLUSTER', 'INFO')))
  await until(async () => (await Promise.all(clients.map(isComplete))).every(Boolean), 'the Redis Cluster', 20_000)
}

/** @param {Redis} client @returns {Promise<Look>} */
async function lookAt (client) {
  const at = performance.now()
  const text = (await Promise.all(['commandstats', 'stats', 'cpu', 'memory'].map((section) => client.info(section)))).join('\n')
  const number = (/** @type {string} */ name) => Number(new RegExp(`^${name}:([\\d.]+)`, 'm').exec(text)?.[1] ?? 0)
  return {
    at,
    commands: [...text.matchAll(/^cmdstat_[\w|]+:calls=(\d+)/gm)].reduce((sum, [, calls]) => sum + Number(calls), 0),
    bytes: number('total_net_output_bytes'),
    cpu: number('used_cpu_user') + number('used_cpu_sys'),
    memory: number('used_memory'),
    keys: await client.dbsize()
  }
}

/**
 * What a second costs Redis.
 *
 * @param {Look} begin @param {Look} end
 */
export function perSecond (begin, end) {
  const seconds = (end.at - begin.at) / 1000
  return { seconds, commands: (end.commands - begin.commands) / seconds, bytes: (end.bytes - begin.bytes) / seconds, core: (end.cpu - begin.cpu) / seconds }
}
