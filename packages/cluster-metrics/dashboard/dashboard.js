/* global document, fetch, setTimeout */
import { chart, el, format } from './charts.js'

const PAUSE_MS = 2000
const HISTORY_EVERY = 3
const MINUTES = 60
const { api } = document.body.dataset
const byId = (id) => document.getElementById(id)

let round = 0
let shown = null

async function ask (path) {
  const response = await fetch(api + path, { headers: { accept: 'application/json' } })
  if (!response.ok) throw new Error(response.status === 401 || response.status === 403 ? 'You are not logged in any more.' : `The server answered ${response.status}.`)
  return (await response.json()).data
}

/** Asks and draws, one round after the other; a hidden page asks nothing. */
async function update () {
  try {
    if (!document.hidden) {
      const slow = round++ % HISTORY_EVERY === 0
      const [data, history, recent] = await Promise.all([
        ask('/metrics'), slow ? ask(`/metrics/history?minutes=${MINUTES}`) : null, slow ? ask('/metrics/errors/recent?count=100') : null])
      drawState(data)
      if (history !== null) drawHistory(history)
      if (recent !== null) drawErrors(recent.errors)
    }
  } catch (err) {
    notice(`${err.message} Showing what was known before; trying again.`)
    setChip('no answer', 'bad')
  }
  setTimeout(update, PAUSE_MS)
}

function drawState (data) {
  const { statistics, servers } = data
  const perSecond = rate(data)
  notice(data.degraded ? 'Only the instance that answers is known: Redis is away or not configured.' : problem(statistics))
  setChip(data.degraded ? 'degraded' : data.status, data.degraded ? 'warn' : 'ok')
  byId('updated').textContent = `updated ${new Date(data.timestamp).toLocaleTimeString()}`
  drawTiles(statistics, perSecond)
  byId('servers').replaceChildren(...servers.map(serverBox))
  byId('routes').replaceChildren(routesTable(statistics.routes))
  drawSection('websockets', statistics.webSocketNamespaces.length, () => [namespacesTable(statistics.webSocketNamespaces)])
  const own = { ...statistics.counters, ...statistics.gauges }
  const components = Object.entries({ ...statistics.components, ...(Object.keys(own).length > 0 ? { 'own metrics': own } : {}) })
  drawSection('components', components.length, () => components.map(([name, fields]) => componentCard(name, fields)))
}

function problem ({ duplicateInstanceIds, skippedReports, erroredProcesses }) {
  return [
    erroredProcesses > 0 && `${erroredProcesses} ${erroredProcesses === 1 ? 'process has' : 'processes have'} failed under PM2.`,
    duplicateInstanceIds.length > 0 && `Several instances are named ${duplicateInstanceIds.join(', ')}.`,
    skippedReports > 0 && `${skippedReports} reports could not be read.`
  ].filter(Boolean).join(' ')
}

/** Requests per second since the last answer; null where instances came or went. */
function rate ({ timestamp, servers, statistics }) {
  const now = { at: Date.parse(timestamp), total: statistics.requests.total, who: servers.flatMap(({ instances }) => instances.map(({ bootId }) => bootId)).sort().join() }
  const before = shown
  shown = now
  return before !== null && before.who === now.who && now.at > before.at ? Math.max(0, now.total - before.total) / (now.at - before.at) * 1000 : null
}

function drawTiles (statistics, perSecond) {
  const { components, requests, latency } = statistics
  const tiles = [
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
  byId('tiles').replaceChildren(...tiles.map(([label, value]) => el('div', 'tile', el('span', 'value', value), el('span', 'label', label))))
}

function serverBox (server) {
  const { serverId, serverName, platform, arch, nodeVersion, cpus, loadAverage, freeMemory, totalMemory, mongodb } = server
  const head = el('div', 'head', el('strong', '', serverId), el('span', 'muted small', [
    serverName, `${platform} ${arch}`, `Node ${nodeVersion}`, `${cpus} CPUs`, `load ${loadAverage.join(' ')}`,
    `${format(freeMemory)} of ${format(totalMemory)} MiB free`, mongodb.status === 'disabled' ? null : `MongoDB ${mongodb.version ?? ''} ${mongodb.status}`
  ].filter(Boolean).join(' · ')))
  const rows = server.instances.toSorted((a, b) => a.instanceId < b.instanceId ? -1 : 1).map((instance) => [
    instance.instanceId, instance.status, instance.pid, instance.version ?? '–', instance.uptimeFormatted, `${format(instance.cpu)} %`,
    `${format(instance.processInfo.memoryUsage.rss / 2 ** 20)} MiB`, `${format(instance.eventLoop.delay.p99)} ms`, format(instance.requests.total),
    format(instance.requests.active), `${format(instance.latency.p95)} ms`, format(instance.websockets.localConnections), instance.restarts
  ])
  const columns = ['Instance', 'Status', 'Pid', 'Version', 'Uptime', 'CPU', 'Memory', 'Loop p99', 'Requests', 'Active', 'p95', 'Sockets', 'Restarts']
  return el('div', 'box', head, el('div', 'scroll', table(columns, rows)))
}

function routesTable (routes) {
  const rows = routes.map(({ method, route, requests, errors, p50, p95, p99 }) => [`${method} ${route}`, format(requests), format(errors), format(p50), format(p95), format(p99)])
  return rows.length === 0 ? el('div', 'empty', 'No requests yet.') : table(['Route', 'Requests', 'Errors', 'p50, ms', 'p95, ms', 'p99, ms'], rows)
}

function namespacesTable (namespaces) {
  const rows = namespaces.map((one) => [
    one.path, format(one.totalConnections), format(one.totalMessages), one.instanceCount, one.serverCount, one.lastActivity === null ? 'never' : new Date(one.lastActivity).toLocaleTimeString()])
  return table(['Namespace', 'Connections', 'Messages', 'Instances', 'Servers', 'Last activity'], rows)
}

function componentCard (name, fields) {
  const list = el('dl')
  for (const [field, value] of Object.entries(fields)) {
    const text = typeof value === 'number' ? format(value) : typeof value === 'object' ? JSON.stringify(value) : String(value)
    list.append(el('dt', '', field), el('dd', '', text))
  }
  return el('div', 'card', el('h3', '', name), list)
}

function table (columns, rows) {
  const head = el('tr', '', ...columns.map((column) => el('th', '', column)))
  const body = rows.map((cells) => el('tr', '', ...cells.map((cell, index) => {
    const td = el('td', '', cell)
    td.dataset.label = columns[index]
    return td
  })))
  return el('table', 'stack', el('thead', '', head), el('tbody', '', ...body))
}

function drawSection (name, count, draw) {
  byId(`${name}-section`).hidden = count === 0
  byId(name).replaceChildren(...count === 0 ? [] : draw())
}

function drawHistory ({ points }) {
  const draw = (id, series) => byId(id).replaceChildren(...chart(points, series, MINUTES))
  draw('chart-requests', [{ field: 'requestsPerSecond', label: 'all instances', color: 'blue' }])
  draw('chart-latency', [{ field: 'p99', label: 'p99', color: 'amber' }, { field: 'p95', label: 'p95', color: 'teal' }, { field: 'p50', label: 'p50', color: 'blue' }])
  draw('chart-errors', [{ field: 'errorsPerSecond', label: 'all instances', color: 'red' }])
  draw('chart-memory', [{ field: 'memory', label: 'all instances', color: 'teal' }])
  document.body.dataset.points = String(points.length)
}

function drawErrors (errors) {
  const kinds = group(errors)
  const entries = [...kinds.values()].map((same) => {
    const [{ code, message, method, route, statusCode, timestamp }] = same
    const times = same.reduce((sum, { count }) => sum + count, 0)
    const where = [...new Set(same.map(({ instanceId }) => instanceId))].sort().join(' ')
    return el('div', 'error', el('div', 'message', message),
      el('div', 'muted small', [`${statusCode} ${code}`, `${method} ${route}`, `${times}×`, `last ${new Date(timestamp).toLocaleString()}`, where].join(' · ')))
  })
  byId('errors').replaceChildren(el('div', 'box', ...(entries.length === 0 ? [el('div', 'empty', 'None.')] : entries)))
}

function group (errors) {
  const groups = new Map()
  for (const error of errors) groups.set(error.fingerprint, [...groups.get(error.fingerprint) ?? [], error])
  return groups
}

function notice (text) {
  byId('notice').textContent = text || ''
  byId('notice').hidden = !text
}

function setChip (text, kind) {
  const chip = byId('status')
  chip.textContent = text
  chip.className = `chip ${kind}`
}

update()
