/* global document, fetch, location, setTimeout */
import { chart } from './charts.js'
import { el, fill, format, keyed } from './dom.js'

const PAUSE_MS = 2000
const HISTORY_EVERY = 3
const { api } = document.body.dataset
const byId = (id) => document.getElementById(id)

let round = 0
let shown = null
/** What was drawn last, to draw it anew when somebody sorts or filters. */
let state = null
let errors = []
const opened = new Set()
const orders = new Map()
const minutes = () => Number(byId('range').value)

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
        ask('/metrics'), slow ? ask(`/metrics/history?minutes=${minutes()}`) : null, slow ? ask('/metrics/errors/recent?count=100') : null])
      if (recent !== null) errors = recent.errors
      drawState(data)
      if (history !== null) drawHistory(history)
      if (recent !== null) drawErrors()
    }
  } catch (err) {
    notice(`${err.message} Showing what was known before; trying again.`)
    setChip('no answer', 'bad')
  }
  setTimeout(update, PAUSE_MS)
}

function drawState (data) {
  state = data
  const { statistics, servers } = data
  drawTiles(statistics, rate(data))
  notice(data.degraded ? 'Only the instance that answers is known: Redis is away or not configured.' : problem(statistics))
  const status = data.degraded && data.status === 'ok' ? 'degraded' : data.status
  setChip(status, { ok: 'ok', degraded: 'warn', error: 'bad' }[status])
  byId('updated').textContent = `updated ${new Date(data.timestamp).toLocaleTimeString()}`
  drawChecks(servers.flatMap(({ instances }) => instances))
  drawTables()
  drawSection('websockets', statistics.webSocketNamespaces.length, () => [namespacesTable(statistics.webSocketNamespaces)])
  const own = { ...statistics.counters, ...statistics.gauges }
  const components = Object.entries({ ...statistics.components, ...(Object.keys(own).length > 0 ? { 'own metrics': own } : {}) })
  drawSection('components', components.length, () => components.map(([name, fields]) => card(name, fields)))
}

/** What can be sorted and filtered, also between two answers. */
function drawTables () {
  const { servers, statistics } = state
  fill(byId('servers'), ...servers.map(serverBox))
  fill(byId('routes'), routesTable(statistics.routes))
}

function drawChecks (instances) {
  const down = instances.flatMap(({ instanceId, bootId, health }) => Object.entries(health?.checks ?? {})
    .filter(([, { status }]) => !['up', 'disabled'].includes(status))
    .map(([check, { status, critical }]) => keyed(`${bootId} ${check}`, el('div', 'error', el('div', 'message', `${critical ? '■' : '▲'} ${check} is ${status} on ${instanceId}`),
      el('div', 'muted small', critical ? 'The instance is not ready.' : 'The instance is degraded.')))))
  drawSection('checks', down.length, () => [el('div', 'box', ...down)])
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
  fill(byId('tiles'), ...tiles.map(([label, value]) => el('div', 'tile', el('span', 'value', value), el('span', 'label', label))))
}

function serverBox (server) {
  const { serverId, serverName, platform, arch, nodeVersion, cpus, loadAverage, freeMemory, totalMemory, mongodb } = server
  const head = el('div', 'head', el('strong', '', serverId), el('span', 'muted small', [
    serverName, `${platform} ${arch}`, `Node ${nodeVersion}`, `${cpus} CPUs`, `load ${loadAverage.join(' ')}`,
    `${format(freeMemory)} of ${format(totalMemory)} MiB free`, mongodb.status === 'disabled' ? null : `MongoDB ${mongodb.version ?? ''} ${mongodb.status}`
  ].filter(Boolean).join(' · ')))
  const rows = server.instances.map((instance) => ({
    key: instance.bootId,
    cells: [
      opener(instance), readiness(instance), instance.pid, instance.version ?? '–', instance.uptimeFormatted, `${format(instance.cpu)} %`,
      `${format(instance.processInfo.memoryUsage.rss / 2 ** 20)} MiB`, `${format(instance.eventLoop.maxOfMinute ?? instance.eventLoop.delay.max)} ms`, format(instance.requests.total),
      format(instance.requests.active), `${format(instance.latency.p95)} ms`, format(instance.websockets.localConnections), instance.restarts
    ],
    values: [
      instance.instanceId, readiness(instance), instance.pid, instance.version ?? '', instance.uptime, instance.cpu, instance.processInfo.memoryUsage.rss,
      instance.eventLoop.maxOfMinute ?? instance.eventLoop.delay.max, instance.requests.total, instance.requests.active, instance.latency.p95, instance.websockets.localConnections, instance.restarts
    ]
  }))
  const columns = ['Instance', 'Status', 'Pid', 'Version', 'Uptime', 'CPU', 'Memory', 'Loop max', 'Requests', 'Active', 'p95', 'Sockets', 'Restarts']
  const details = server.instances.filter(({ bootId }) => opened.has(bootId)).map(detailsOf)
  return keyed(serverId, el('div', 'box', head, el('div', 'scroll', table('instances', columns, rows, [0, 1])), ...details))
}

/** Words and a shape: colour alone says nothing to some. */
function readiness ({ status, health }) {
  if (status !== 'online') return `○ ${status}`
  return { ok: '● ready', degraded: '▲ degraded', error: '■ not ready' }[health?.status] ?? '● online'
}

function opener ({ instanceId, bootId }) {
  const button = el('button', 'plain', instanceId)
  button.type = 'button'
  button.dataset.open = bootId
  button.setAttribute('aria-expanded', String(opened.has(bootId)))
  return button
}

/** What is known of one instance alone. */
function detailsOf ({ instanceId, bootId, processInfo, eventLoop, memory, health, components, deployment, database, release, environment, ageMs }) {
  const own = errors.filter((error) => error.instanceId === instanceId)
  return keyed(`details ${bootId}`, el('div', 'details', el('h3', '', instanceId), el('div', 'cards',
    card('process', { boot: bootId, 'parent pid': processInfo.ppid, environment, release: release ?? '–', port: deployment.config.port ?? '–', database: database.status, 'reported, s ago': Math.round(ageMs / 1000), 'heap, MiB': `${format(memory.used)} of ${format(memory.total)}`, 'loop busy, %': format(100 * eventLoop.utilization), 'loop p99, ms': eventLoop.delay.p99 }),
    card('checks', Object.fromEntries(Object.entries(health?.checks ?? {}).map(([name, { status, critical }]) => [name, `${status === 'up' ? '●' : status === 'disabled' ? '○' : critical ? '■' : '▲'} ${status}${critical ? ', critical' : ''}`]))),
    ...Object.entries(components).map(([name, fields]) => card(name, fields)),
    card('errors', own.length === 0 ? { none: 'in the last hundred' } : Object.fromEntries(own.slice(0, 5).map(({ fingerprint, message, route, count }) => [`${route} ${fingerprint.slice(0, 4)}`, `${count}× ${message}`]))))))
}

function routesTable (routes) {
  const wanted = byId('route-filter').value.trim().toLowerCase()
  const rows = routes.filter(({ method, route }) => `${method} ${route}`.toLowerCase().includes(wanted)).map(({ method, route, requests, errors, p50, p95, p99 }) => ({
    key: `${method} ${route}`,
    cells: [`${method} ${route}`, format(requests), format(errors), format(p50), format(p95), format(p99)],
    values: [`${method} ${route}`, requests, errors, p50, p95, p99]
  }))
  return rows.length === 0 ? el('div', 'empty', wanted === '' ? 'No requests yet.' : 'No such route.') : table('routes', ['Route', 'Requests', 'Errors', 'p50, ms', 'p95, ms', 'p99, ms'], rows, [1, -1])
}

function namespacesTable (namespaces) {
  const rows = namespaces.map((one) => ({
    key: one.path,
    cells: [one.path, format(one.totalConnections), format(one.totalMessages), one.instanceCount, one.serverCount, one.lastActivity === null ? 'never' : new Date(one.lastActivity).toLocaleTimeString()],
    values: [one.path, one.totalConnections, one.totalMessages, one.instanceCount, one.serverCount, one.lastActivity ?? '']
  }))
  return table('namespaces', ['Namespace', 'Connections', 'Messages', 'Instances', 'Servers', 'Last activity'], rows, [0, 1])
}

function card (name, fields) {
  const list = el('dl')
  for (const [field, value] of Object.entries(fields)) {
    const text = typeof value === 'number' ? format(value) : typeof value === 'object' ? JSON.stringify(value) : String(value)
    list.append(el('dt', '', field), el('dd', '', text))
  }
  return keyed(`card ${name}`, el('div', 'card', el('h3', '', name), list))
}

/** A table that is sorted by a click on the head of a column, or by the keyboard: `initial` is a column and 1 or -1. */
function table (name, columns, rows, initial) {
  const [by, direction] = orders.get(name) ?? initial
  const head = el('tr', '', ...columns.map((column, index) => {
    const button = el('button', 'plain', column, index === by ? (direction === 1 ? ' ↑' : ' ↓') : '')
    button.type = 'button'
    Object.assign(button.dataset, { sort: name, column: index })
    const th = el('th', '', button)
    th.scope = 'col'
    if (index === by) th.setAttribute('aria-sort', direction === 1 ? 'ascending' : 'descending')
    return th
  }))
  const compare = (a, b) => typeof a === 'number' && typeof b === 'number' ? a - b : String(a) < String(b) ? -1 : 1
  const body = rows.toSorted((a, b) => direction * compare(a.values[by], b.values[by])).map(({ key, cells }) => keyed(key, el('tr', '', ...cells.map((cell, index) => {
    const td = el('td', '', cell)
    td.dataset.label = columns[index]
    return td
  }))))
  return el('table', 'stack', el('thead', '', head), el('tbody', '', ...body))
}

function drawSection (name, count, draw) {
  byId(`${name}-section`).hidden = count === 0
  fill(byId(name), ...count === 0 ? [] : draw())
}

function drawHistory ({ points }) {
  const draw = (id, series) => byId(id).replaceChildren(...chart(points, series, minutes()))
  draw('chart-requests', [{ field: 'requestsPerSecond', label: 'all instances', color: 'blue' }])
  draw('chart-latency', [{ field: 'p99', label: 'p99', color: 'amber' }, { field: 'p95', label: 'p95', color: 'teal' }, { field: 'p50', label: 'p50', color: 'blue' }])
  draw('chart-errors', [{ field: 'errorsPerSecond', label: 'all instances', color: 'red' }])
  draw('chart-memory', [{ field: 'memory', label: 'all instances', color: 'teal' }])
  document.body.dataset.points = String(points.length)
}

function drawErrors () {
  const kinds = group(errors)
  const entries = [...kinds.values()].map((same) => {
    const [{ code, message, method, route, statusCode, timestamp }] = same
    const times = same.reduce((sum, { count }) => sum + count, 0)
    const where = [...new Set(same.map(({ instanceId }) => instanceId))].sort().join(' ')
    return keyed(same[0].fingerprint, el('div', 'error', el('div', 'message', message),
      el('div', 'muted small', [`${statusCode} ${code}`, `${method} ${route}`, `${times}×`, `last ${new Date(timestamp).toLocaleString()}`, where].join(' · '))))
  })
  fill(byId('errors'), el('div', 'box', ...(entries.length === 0 ? [el('div', 'empty', 'None.')] : entries)))
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
  const shape = { ok: '●', warn: '▲', bad: '■' }[kind]
  fill(chip, el('span', 'shape', shape), text)
  chip.className = `chip ${kind}`
}

/** The page's own state is in its address, so that a link leads to the same view. */
function readAddress () {
  const wanted = new URLSearchParams(location.hash.slice(1)).get('minutes')
  if (wanted !== null && [...byId('range').options].every(({ value }) => value !== wanted)) {
    const option = el('option', '', `${Number(wanted) || 60} minutes`)
    option.value = String(Math.min(1440, Math.max(1, Math.round(Number(wanted)) || 60)))
    byId('range').append(option)
    byId('range').value = option.value
  } else {
    byId('range').value = wanted ?? '60'
  }
}

readAddress()
byId('range').addEventListener('change', async () => {
  location.hash = `minutes=${minutes()}`
  drawHistory(await ask(`/metrics/history?minutes=${minutes()}`))
})
byId('route-filter').addEventListener('input', () => { if (state !== null) drawTables() })
document.addEventListener('click', ({ target }) => {
  const button = target.closest('button')
  const { open, sort, column } = button?.dataset ?? {}
  if (open !== undefined) {
    if (!opened.delete(open)) opened.add(open)
  } else if (sort !== undefined) {
    const [by, direction] = orders.get(sort) ?? []
    orders.set(sort, [Number(column), by === Number(column) ? -direction : Number(column) === 0 ? 1 : -1])
  } else {
    return
  }
  drawState(state)
})

update()
