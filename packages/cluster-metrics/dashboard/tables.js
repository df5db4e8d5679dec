import { el, format, keyed } from './dom.js'

/** By what tables are sorted, by their names: a column and 1 or -1. */
const orders = new Map()

/** What people ask of routes most. */
const ROUTE_ORDERS = [['Busiest', 1], ['Failing', 2], ['Slowest', 5]]

/** Sorts a table by a column, the other way round where it was. */
export function sort (name, column, direction) {
  const [by, before] = orders.get(name) ?? []
  orders.set(name, [column, direction ?? (by === column ? -before : column === 0 ? 1 : -1)])
}

/** A table that is sorted by a click on the head of a column, or by the keyboard: `initial` is a column and 1 or -1. */
export function table (name, columns, rows, initial) {
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
  const compare = (a, b) => typeof a === 'number' && typeof b === 'number' ? a - b : String(a) < String(b) ? -1 : String(a) > String(b) ? 1 : 0
  const sorted = rows.toSorted((a, b) => direction * compare(a.values[by], b.values[by]) || compare(a.values[0], b.values[0]))
  const body = sorted.map(({ key, cells }) => keyed(key, el('tr', '', ...cells.map((cell, index) => {
    const td = el('td', '', cell)
    td.dataset.label = columns[index]
    return td
  }))))
  return el('table', 'stack', el('thead', '', head), el('tbody', '', ...body))
}

export function routesTable (routes, wanted) {
  const rows = routes.filter(({ method, route }) => `${method} ${route}`.toLowerCase().includes(wanted)).map(({ method, route, requests, errors, p50, p95, p99 }) => ({
    key: `${method} ${route}`,
    cells: [`${method} ${route}`, format(requests), errors === 0 ? '0' : `▲ ${format(errors)}`, requests === 0 ? '–' : `${format(100 * errors / requests)} %`, format(p50), format(p95), format(p99)],
    values: [`${method} ${route}`, requests, errors, requests === 0 ? 0 : errors / requests, p50, p95, p99]
  }))
  if (rows.length === 0) return el('div', 'empty', wanted === '' ? 'No requests yet.' : 'No such route.')
  return table('routes', ['Route', 'Requests', 'Errors', 'Failed', 'p50, ms', 'p95, ms', 'p99, ms'], rows, [1, -1])
}

/** Buttons for the orders that people ask for most. */
export function routeOrders () {
  const [by, direction] = orders.get('routes') ?? [1, -1]
  return ROUTE_ORDERS.map(([label, column]) => {
    const button = el('button', 'choice', label)
    button.type = 'button'
    Object.assign(button.dataset, { sort: 'routes', column, direction: -1 })
    button.setAttribute('aria-pressed', String(by === column && direction === -1))
    return button
  })
}

export function namespacesTable (namespaces) {
  const rows = namespaces.map((one) => ({
    key: one.path,
    cells: [one.path, format(one.totalConnections), format(one.totalMessages), one.instanceCount, one.serverCount, one.lastActivity === null ? 'never' : new Date(one.lastActivity).toLocaleTimeString()],
    values: [one.path, one.totalConnections, one.totalMessages, one.instanceCount, one.serverCount, one.lastActivity ?? '']
  }))
  return table('namespaces', ['Namespace', 'Connections', 'Messages', 'Instances', 'Servers', 'Last activity'], rows, [0, 1])
}

export function card (name, fields) {
  const list = el('dl')
  for (const [field, value] of Object.entries(fields)) {
    const text = typeof value === 'number' ? format(value) : typeof value === 'object' ? JSON.stringify(value) : String(value)
    list.append(el('div', '', el('dt', '', field), el('dd', '', text)))
  }
  return keyed(`card ${name}`, el('div', 'card', el('h3', '', name), list))
}
