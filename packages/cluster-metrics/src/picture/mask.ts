import type { ClusterData, InstanceMetrics, ServerMetrics } from './aggregate.ts'

const HIDDEN = '***'

const maskText = <T extends string | null>(text: T): T => (text === null ? null : HIDDEN) as T

/** What anybody may see: the numbers. Names of machines, processes and databases, pids, versions and paths are hidden, with their types kept. */
export function mask (data: ClusterData): ClusterData {
  const { statistics } = data
  return {
    ...data,
    statistics: {
      ...statistics,
      webSocketNamespaces: statistics.webSocketNamespaces.map((namespace) => ({ ...namespace, path: HIDDEN })),
      routes: [],
      components: onlyOurs(statistics.components),
      gauges: {},
      counters: {},
      duplicateInstanceIds: statistics.duplicateInstanceIds.map(() => HIDDEN)
    },
    servers: data.servers.map(maskServer)
  }
}

function maskServer (server: ServerMetrics): ServerMetrics {
  const { mongodb } = server
  return {
    ...server,
    serverName: HIDDEN,
    serverId: HIDDEN,
    nodeVersion: HIDDEN,
    mongodb: { ...mongodb, version: maskText(mongodb.version), host: maskText(mongodb.host) },
    instances: server.instances.map(maskInstance)
  }
}

function maskInstance (instance: InstanceMetrics): InstanceMetrics {
  const { database, deployment, processInfo, websockets } = instance
  return {
    ...instance,
    instanceId: HIDDEN,
    bootId: HIDDEN,
    pid: 0,
    pm2ProcessName: maskText(instance.pm2ProcessName),
    version: maskText(instance.version),
    release: maskText(instance.release),
    database: { ...database, name: maskText(database.name) },
    deployment: { ...deployment, config: { port: deployment.config.port === null ? null : 0, db: maskText(deployment.config.db) } },
    websockets: { ...websockets, namespaces: websockets.namespaces.map((namespace) => ({ ...namespace, path: HIDDEN })) },
    processInfo: { ...processInfo, ppid: 0 },
    components: onlyOurs(instance.components)
  }
}

/** Of the suite's own components the numbers, and the mode; those of the application may say anything. */
function onlyOurs (components: InstanceMetrics['components']): InstanceMetrics['components'] {
  return Object.fromEntries(Object.entries(components).filter(([name]) => name === 'sessions' || name === 'cache').map(([name, fields]) => [name, { ...maskFields(fields), ...('mode' in fields ? { mode: fields.mode } : {}) }]))
}

function maskFields (fields: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, typeof value === 'string' ? HIDDEN : typeof value === 'object' && value !== null ? maskFields(value) : value]))
}
