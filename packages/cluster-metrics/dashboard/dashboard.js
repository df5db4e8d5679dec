/* global document, fetch, location, setTimeout, window */
import { chart } from './charts.js'
import { drawCluster, problem } from './cluster.js'
import { el, fill, keyed } from './dom.js'
import { readiness } from './health.js'
import { drawInstance } from './instance.js'
import { byId, linkTo, notice, readAddress, setStatus } from './page.js'
import { routeOrders, routesTable, sort } from './tables.js'

const PAUSE_MS = 2000
const HISTORY_EVERY = 3
// Its own part of the page, of which an application may have more.
const root = byId('cluster-dashboard')
const { api } = root.dataset

const CHARTS = {
  'chart-requests': [{ field: 'requestsPerSecond', label: 'requests', color: 'blue' }],
  'chart-latency': [{ field: 'p99', label: 'p99', color: 'amber' }, { field: 'p95', label: 'p95', color: 'teal' }, { field: 'p50', label: 'p50', color: 'blue' }],
  'chart-errors': [{ field: 'errorsPerSecond', label: 'errors', color: 'red' }],
  'chart-loop': [{ field: 'eventLoopDelay', label: 'delay', color: 'amber' }],
  'chart-cpu': [{ field: 'cpu', label: 'cpu', color: 'blue' }],
  'chart-memory': [{ field: 'memory', label: 'memory', color: 'teal' }]
}

let view = readAddress(location.hash)
let round = 0
/** What was drawn last, to draw it anew when somebody sorts or filters. */
let state = null
/** For the requests per second: totals at the last answer, and of whom. */
let before = null
let errors = []

class Gone extends Error {}

async function ask (path) {
  const response = await fetch(api + path, { headers: { accept: 'application/json' } })
  if (response.status === 404) throw new Gone('This instance is gone.')
  if (!response.ok) throw new Error(response.status === 401 || response.status === 403 ? 'You are not logged in any more.' : `The server answered ${response.status}.`)
  return (await response.json()).data
}

/** Asks and draws, one round after the other; a hidden page asks nothing. */
async function update () {
  if (!document.hidden) await look()
  setTimeout(update, PAUSE_MS)
}

async function look () {
  const asked = view
  const slow = round++ % HISTORY_EVERY === 0
  try {
    const one = encodeURIComponent(asked.instance)
    const [data, history, recent] = await Promise.all([
      ask(asked.instance === '' ? '/metrics' : `/metrics/instances/${one}`),
      slow ? ask(`/metrics/history?minutes=${asked.minutes}${asked.instance === '' ? '' : `&instance=${one}`}`) : null,
      slow ? ask('/metrics/errors/recent?count=100') : null])
    // Somebody has gone to another page meanwhile.
    if (asked !== view) return
    if (recent !== null) errors = recent.errors
    draw(data)
    if (history !== null) drawHistory(history)
    if (recent !== null) drawErrors()
  } catch (err) {
    if (asked !== view) return
    notice(err instanceof Gone ? `${err.message} What is shown was its last.` : `${err.message} Showing what was known before; trying again.`)
    setStatus(err instanceof Gone ? 'gone' : 'no answer', 'bad', titleOf())
  }
}

const titleOf = () => view.instance === '' ? 'Cluster' : state?.instance?.instanceId ?? 'Instance'

function draw (data) {
  state = data
  root.dataset.drawn = ''
  const isOne = view.instance !== ''
  byId('facts-section').hidden = !isOne
  byId('servers-section').hidden = isOne
  if (isOne) drawInstance(data, rate(Date.now() - data.instance.ageMs, data.instance.requests.total, data.instance.bootId))
  else drawCluster(data, rate(Date.parse(data.timestamp), data.statistics.requests.total, data.servers.flatMap(({ instances }) => instances.map(({ bootId }) => bootId)).sort().join()))
  fill(byId('title'), titleOf())
  notice(data.degraded ? 'Only the instance that answers is known: Redis is away or not configured.' : isOne ? '' : problem(data.statistics))
  if (isOne) {
    const [, ...words] = readiness(data.instance).split(' ')
    setStatus(words.join(' '), { ok: 'ok', degraded: 'warn', error: 'bad' }[data.instance.health?.status ?? 'ok'], titleOf())
  } else {
    const status = data.degraded && data.status === 'ok' ? 'degraded' : data.status
    setStatus(status, { ok: 'ok', degraded: 'warn', error: 'bad' }[status], titleOf())
  }
  fill(byId('updated'), `updated ${new Date(data.timestamp ?? Date.now()).toLocaleTimeString()}`)
  drawRoutes()
}

/** Requests per second since the last answer; null where instances came or went. */
function rate (at, total, who) {
  const last = before
  if (last?.who === who && at <= last.at) return last.rate
  const perSecond = last?.who === who ? Math.max(0, total - last.total) / (at - last.at) * 1000 : null
  before = { at, total, who, rate: perSecond }
  return perSecond
}

/** What can be sorted and filtered, also between two answers. */
function drawRoutes () {
  fill(byId('route-orders'), ...routeOrders())
  fill(byId('routes'), routesTable(state.routes ?? state.statistics.routes, byId('route-filter').value.trim().toLowerCase()))
}

function drawHistory ({ points, stepMs }) {
  for (const [id, series] of Object.entries(CHARTS)) chart(byId(id), points, series, view.minutes, stepMs)
  const deploys = points.filter(({ deployed }) => deployed.length > 0).map(({ timestamp, deployed }) => `${new Date(timestamp).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })} ${deployed.join(', ')}`)
  byId('deploys').hidden = deploys.length === 0
  fill(byId('deploys'), `◆ Deploys: ${deploys.join(' · ')}`)
  root.dataset.points = String(points.length)
}

function drawErrors () {
  const kinds = new Map()
  for (const error of errors.filter(({ instanceId }) => view.instance === '' || instanceId === state?.instance?.instanceId)) kinds.set(error.fingerprint, [...kinds.get(error.fingerprint) ?? [], error])
  const entries = [...kinds.values()].map((same) => {
    const [{ code, message, method, route, statusCode, timestamp }] = same
    const times = same.reduce((sum, { count }) => sum + count, 0)
    const where = [...new Set(same.map(({ instanceId }) => instanceId))].sort().join(' ')
    return keyed(same[0].fingerprint, el('div', 'error', el('div', 'message', message),
      el('div', 'muted small', [`${statusCode} ${code}`, `${method} ${route}`, `${times}×`, `last ${new Date(timestamp).toLocaleString()}`, where].join(' · '))))
  })
  fill(byId('errors'), el('div', 'box', ...(entries.length === 0 ? [el('div', 'empty', 'None.')] : entries)))
}

function setRange () {
  const range = byId('range')
  if ([...range.options].every(({ value }) => value !== String(view.minutes))) {
    const option = el('option', '', view.minutes === 1 ? '1 minute' : `${view.minutes} minutes`)
    option.value = String(view.minutes)
    range.append(option)
  }
  range.value = String(view.minutes)
  byId('back').hidden = view.instance === ''
  byId('back').firstElementChild.href = linkTo('', location.hash)
}

/** Shows what the address says, at once. */
function go () {
  const { instance } = view
  view = readAddress(location.hash)
  round = 0
  setRange()
  if (instance !== view.instance) {
    before = null
    byId('title').focus()
    window.scrollTo(0, 0)
  }
  look()
}

// Whether the address says what to show; others lead to a part of the page, which an application may have.
const isOwn = () => location.hash === '' || /[#&](minutes|instance)=/.test(location.hash)
window.addEventListener('hashchange', () => { if (isOwn()) go() })
byId('range').addEventListener('change', ({ target }) => { location.hash = linkTo(view.instance, location.hash, Number(target.value)) })
byId('route-filter').addEventListener('input', () => { if (state !== null) drawRoutes() })
byId('instance-filter').addEventListener('input', () => { if (state !== null && view.instance === '') draw(state) })
// Skips to the content without leaving the address, which says what is shown.
document.addEventListener('click', (event) => {
  const skip = event.target.closest('a.skip[href^="#"]')
  const target = skip === null ? null : byId(skip.hash.slice(1))
  if (target === null) return
  event.preventDefault()
  target.tabIndex = -1
  target.focus()
})
root.addEventListener('click', (event) => {
  const { sort: name, column, direction } = event.target.closest('button')?.dataset ?? {}
  if (name === undefined || state === null) return
  sort(name, Number(column), direction === undefined ? undefined : Number(direction))
  draw(state)
})

setRange()
update()
