import type { AddressInfo } from 'node:net'
import { arch, hostname, loadavg, platform } from 'node:os'
import type { FastifyInstance } from 'fastify'
import type { InstanceFacts, ServerFacts } from '../formats/index.ts'
import { machine } from './container.ts'
import type { MongoState } from './mongodb.ts'
import { mib, round, type Runtime } from './runtime.ts'
import type { LocalSockets } from './websockets.ts'

/**
 * What PM2 put into the environment of the process. Only these names are read: the environment also holds the
 * application's secrets.
 */
const pm2 = Object.freeze({
  available: process.env.pm_id !== undefined,
  name: process.env.pm_id === undefined ? null : process.env.name?.slice(0, 100) ?? null,
  id: process.env.pm_id?.slice(0, 20),
  restarts: Number(process.env.restart_time) || 0
})

/** What the application says of itself. */
interface Release {
  version: string | null
  release: string | null
  environment: string
}

export function serverFacts (mongo: MongoState): ServerFacts {
  const { cpus, totalMemory, freeMemory } = machine()
  return {
    serverName: hostname(),
    platform: platform(),
    arch: arch(),
    nodeVersion: process.version,
    cpus,
    loadAverage: loadavg().map((load) => round(load, 2)),
    freeMemory: mib(freeMemory),
    totalMemory: mib(totalMemory),
    mongodb: mongo.server
  }
}

export function instanceFacts (fastify: FastifyInstance, options: Release, runtime: Runtime, mongo: MongoState, sockets: LocalSockets, draining: boolean): InstanceFacts {
  const uptime = Math.round(process.uptime())
  const { cpu, memory, eventLoop, memoryUsage } = runtime
  return {
    pid: process.pid,
    pm2Available: pm2.available,
    pm2ProcessName: pm2.name === null ? null : `${pm2.name}-${pm2.id}`,
    status: draining ? 'stopping' : 'online',
    version: options.version,
    release: options.release,
    environment: options.environment,
    database: { status: mongo.database, name: mongo.name },
    deployment: { mode: options.environment, config: { port: portOf(fastify), db: mongo.name } },
    uptime,
    uptimeFormatted: formatUptime(uptime),
    memory,
    cpu,
    restarts: pm2.restarts,
    eventLoop,
    websockets: { uptime, ...sockets },
    processInfo: { ppid: process.ppid, memoryUsage }
  }
}

function portOf (fastify: FastifyInstance): number | null {
  const address = fastify.server.address() as AddressInfo | string | null
  return typeof address === 'object' && address !== null ? address.port : null
}

/** `1d 3h 25m 45s`, from the first unit that is not 0. */
export function formatUptime (seconds: number): string {
  const parts = [[86_400, 'd'], [3600, 'h'], [60, 'm'], [1, 's']] as const
  const words: string[] = []
  let rest = seconds
  for (const [length, unit] of parts) {
    const count = Math.floor(rest / length)
    rest -= count * length
    if (count > 0 || words.length > 0 || unit === 's') words.push(`${count}${unit}`)
  }
  return words.join(' ')
}
