import { checkState } from './health.js'
import { fill, format } from './dom.js'
import { byId, drawSection, drawTiles } from './page.js'
import { card } from './tables.js'

/** The page of one instance: its figures, checks and components. */
export function drawInstance ({ instance, server }, perSecond) {
  const { instanceId, bootId, pid, processInfo, eventLoop, memory, health, components, deployment, database, release, version, environment, ageMs, restarts, pm2ProcessName, requests, latency, websockets } = instance
  drawTiles([
    ['Uptime', instance.uptimeFormatted],
    ['Requests/s', perSecond === null ? '–' : format(perSecond)],
    ['Requests', format(requests.total)],
    ['Active', format(requests.active)],
    ['Server errors', format(requests.errors)],
    ['p95, ms', format(latency.p95)],
    ['CPU', `${format(instance.cpu)} %`],
    ['Memory, MiB', format(processInfo.memoryUsage.rss / 2 ** 20)],
    ...(websockets.namespaces.length > 0 ? [['WebSockets', format(websockets.localConnections)]] : [])
  ])
  byId('facts-section').hidden = false
  fill(byId('facts'),
    card('checks', Object.fromEntries(Object.entries(health?.checks ?? {}).map(([name, check]) => [name, checkState(check)]))),
    card('process', { 'instance id': instanceId, 'boot id': bootId, pid: String(pid), 'parent pid': String(processInfo.ppid), ...(pm2ProcessName === null ? {} : { 'PM2 name': pm2ProcessName, restarts }), version: version ?? '–', release: release ?? '–', environment, port: String(deployment.config.port ?? '–'), database: database.status, 'reported, s ago': Math.round(ageMs / 1000) }),
    card('runtime', { server: `${server.serverId} (${server.serverName})`, node: server.nodeVersion, CPUs: server.cpus, 'heap, MiB': `${format(memory.used)} of ${format(memory.total)}`, 'external, MiB': processInfo.memoryUsage.external / 2 ** 20, 'loop busy, %': 100 * eventLoop.utilization, 'loop p50, ms': eventLoop.delay.p50, 'loop p99, ms': eventLoop.delay.p99, 'loop max, ms': eventLoop.maxOfMinute ?? eventLoop.delay.max }),
    ...Object.entries(components).map(([name, fields]) => card(name, fields)))
  for (const name of ['checks', 'websockets', 'components']) drawSection(name, 0, () => [])
}
