/* global location */
import { downChecks, checksOf, readiness, severity } from './health.js'
import { el, fill, format, keyed } from './dom.js'
import { card, namespacesTable, table } from './tables.js'
import { byId, drawSection, drawTiles, linkTo } from './page.js'

/** The page of all instances: what is not on that of one, too. */
export function drawCluster ({ statistics, servers }, perSecond) {
  drawTiles(tilesOf(statistics, perSecond))
  const down = downChecks(servers.flatMap(({ instances }) => instances))
  drawSection('checks', down.length, () => [el('div', 'box', ...down)])
  drawServers(servers, byId('instance-filter').value.trim().toLowerCase())
  drawSection('websockets', statistics.webSocketNamespaces.length, () => [namespacesTable(statistics.webSocketNamespaces)])
  const own = { ...statistics.counters, ...statistics.gauges }
  const components = Object.entries({ ...statistics.components, ...(Object.keys(own).length > 0 ? { 'own metrics': own } : {}) })
  drawSection('components', components.length, () => components.map(([name, fields]) => card(name, fields)))
}

/** What everybody should know. */
export function problem ({ duplicateInstanceIds, skippedReports, erroredProcesses }) {
  return [
    erroredProcesses > 0 && `${erroredProcesses} ${erroredProcesses === 1 ? 'process has' : 'processes have'} failed under PM2.`,
    duplicateInstanceIds.length > 0 && `Several instances are named ${duplicateInstanceIds.join(', ')}.`,
    skippedReports > 0 && `${skippedReports} reports could not be read.`
  ].filter(Boolean).join(' ')
}

function tilesOf (statistics, perSecond) {
  const { components, requests, latency } = statistics
  return [
    ['Servers', format(statistics.totalServers)],
    ['Instances', format(statistics.totalInstances)],
    ['Running', `${format(statistics.runningProcesses)} of ${format(statistics.totalProcesses)}`],
    ['Requests/s', perSecond === null ? '–' : format(perSecond)],
    ['Requests', format(requests.total)],
    ['Active', format(requests.active)],
    ['Server errors', format(requests.errors)],
    ['p95, ms', format(latency.p95)],
    ...(statistics.totalWebSocketNamespaces > 0 ? [['WebSockets', format(statistics.totalWebSocketConnections)]] : []),
    ...(components.sessions ? [['Sessions', format(components.sessions.active)]] : []),
    ...(components.cache ? [['Cache hits', `${format(100 * components.cache.hitRate)} %`]] : [])
  ]
}

function drawServers (servers, wanted) {
  const isWanted = (serverId) => (instance) => [serverId, instance.instanceId, readiness(instance), checksOf(instance), instance.version ?? ''].some((text) => text.toLowerCase().includes(wanted))
  const shown = servers.map((server) => ({ ...server, instances: server.instances.filter(isWanted(server.serverId)) })).filter(({ instances }) => instances.length > 0)
  fill(byId('servers'), ...shown.length > 0 ? shown.map(serverBox) : [el('div', 'box', el('div', 'empty', 'No such instance.'))])
}

function serverBox (server) {
  const { serverId, serverName, platform, arch, nodeVersion, cpus, loadAverage, freeMemory, totalMemory, mongodb } = server
  const head = el('div', 'head', el('strong', '', serverId), el('span', 'muted small', [
    serverName, `${platform} ${arch}`, `Node ${nodeVersion}`, `${cpus} CPUs`, `load ${loadAverage.join(' ')}`,
    `${format(freeMemory)} of ${format(totalMemory)} MiB free`, mongodb.status === 'disabled' ? null : `MongoDB ${mongodb.version ?? ''} ${mongodb.status}`
  ].filter(Boolean).join(' · ')))
  const rows = server.instances.map((instance) => {
    const delay = instance.eventLoop.maxOfMinute ?? instance.eventLoop.delay.max
    const { rss } = instance.processInfo.memoryUsage
    return {
      key: instance.bootId,
      cells: [
        opener(instance), readiness(instance), checksOf(instance), instance.pid, instance.version ?? '–', instance.uptimeFormatted, `${format(instance.cpu)} %`, `${format(rss / 2 ** 20)} MiB`,
        `${format(delay)} ms`, format(instance.requests.total), format(instance.requests.errors), `${format(instance.latency.p95)} ms`, format(instance.websockets.localConnections), instance.restarts
      ],
      values: [
        instance.instanceId, severity(instance), checksOf(instance), instance.pid, instance.version ?? '', instance.uptime, instance.cpu, rss,
        delay, instance.requests.total, instance.requests.errors, instance.latency.p95, instance.websockets.localConnections, instance.restarts
      ]
    }
  })
  const columns = ['Instance', 'Status', 'Checks', 'Pid', 'Version', 'Uptime', 'CPU', 'Memory', 'Loop max', 'Requests', 'Errors', 'p95', 'Sockets', 'Restarts']
  const scroll = el('div', 'scroll', table('instances', columns, rows, [1, 1]))
  scroll.tabIndex = 0
  scroll.setAttribute('role', 'region')
  scroll.setAttribute('aria-label', `Instances of ${serverId}`)
  return keyed(serverId, el('div', 'box', head, scroll))
}

function opener ({ instanceId, bootId }) {
  const link = el('a', '', instanceId)
  link.href = linkTo(bootId, location.hash)
  return link
}
