/* global document */
import { el, fill, format } from './dom.js'

const SVG = 'http://www.w3.org/2000/svg'
const WIDTH = 600
const HEIGHT = 150

function svg (name, attributes, ...children) {
  const element = document.createElementNS(SVG, name)
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value))
  element.append(...children)
  return element
}

const time = (date) => date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })

/** What a chart shows, by its host. */
const drawn = new WeakMap()

/**
 * A line chart over the last minutes that says the values below the pointer, or where the arrow keys are. A deploy is a
 * vertical line. Drawn into what is there, so that it keeps the focus.
 *
 * @param host an element of the page
 * @param points with a timestamp and a number per series
 * @param series { field, label, color }, drawn in this order
 */
export function chart (host, points, series, minutes, stepMs) {
  const end = points.length > 0 ? Date.parse(points.at(-1).timestamp) + stepMs : Date.now()
  const begin = end - minutes * 60_000
  const x = (point) => Math.max(0, (Date.parse(point.timestamp) - begin) / (end - begin) * WIDTH)
  const top = ceiling(Math.max(0, ...points.flatMap((point) => series.map(({ field }) => point[field]))))
  const y = (value) => HEIGHT - 4 - value / top * (HEIGHT - 10)

  const { plot, legend, axis, times } = partsOf(host)
  const at = drawn.get(host)?.at ?? null
  drawn.set(host, { points, series, x, at })
  plot.setAttribute('aria-label', points.length === 0 ? 'no figures yet' : series.map(({ label, field }) => `${label}: ${format(points.at(-1)[field])} now, ${format(Math.max(...points.map((point) => point[field])))} at most`).join('; '))
  plot.replaceChildren(
    ...[0, top / 2, top].map((value) => svg('line', { x1: 0, x2: WIDTH, y1: y(value), y2: y(value), class: 'grid' })),
    ...points.filter(({ deployed }) => deployed.length > 0).map((point) => svg('line', { x1: x(point), x2: x(point), y1: 0, y2: HEIGHT, class: 'deploy' }, svg('title', {}, `◆ ${point.deployed.join(', ')}`))),
    ...points.length === 0 ? [] : series.flatMap((one) => lines(points, one, series.length === 1, x, y, stepMs)))
  fill(axis, el('span', '', format(top)), el('span', '', format(top / 2)), el('span', '', '0'))
  fill(times, el('span', '', time(new Date(begin))), el('span', '', time(new Date(end))))
  say(legend, host)
}

/** A pause in which nobody reported is a gap. */
function lines (points, { field, color }, isAlone, x, y, stepMs) {
  const runs = []
  points.forEach((point, index) => {
    if (index === 0 || Date.parse(point.timestamp) - Date.parse(points[index - 1].timestamp) > 3 * stepMs) runs.push([])
    runs.at(-1).push(point)
  })
  return runs.flatMap((run) => {
    const path = run.map((point, index) => `${index === 0 ? 'M' : 'L'}${x(point).toFixed(1)} ${y(point[field]).toFixed(1)}`).join('')
    const area = `${path}L${x(run.at(-1)).toFixed(1)} ${y(0)}L${x(run[0]).toFixed(1)} ${y(0)}Z`
    return [...isAlone ? [svg('path', { d: area, class: `area fill-${color}` })] : [], svg('path', { d: path, class: `line stroke-${color}` })]
  })
}

/** The elements of a chart, made once. */
function partsOf (host) {
  if (host.firstElementChild === null) {
    const plot = svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img', tabindex: '0' })
    host.append(el('div', 'legend'), el('div', 'plot', el('div', 'axis'), plot, el('div', 'times')))
    listen(host, plot)
  }
  const [legend, { children: [axis, plot, times] }] = host.children
  return { legend, axis, plot, times }
}

function listen (host, plot) {
  const legend = host.firstElementChild
  const point = (at) => {
    const state = drawn.get(host)
    if (state === undefined) return
    state.at = at
    say(legend, host)
  }
  plot.addEventListener('pointermove', (event) => {
    const { points, x } = drawn.get(host)
    const box = plot.getBoundingClientRect()
    const at = (event.clientX - box.left) / box.width * WIDTH
    point(points.toSorted((a, b) => Math.abs(x(a) - at) - Math.abs(x(b) - at))[0]?.timestamp ?? null)
  })
  plot.addEventListener('pointerleave', () => point(null))
  // Read out only while somebody moves along it.
  plot.addEventListener('focus', () => legend.setAttribute('aria-live', 'polite'))
  plot.addEventListener('blur', () => {
    legend.removeAttribute('aria-live')
    point(null)
  })
  plot.addEventListener('keydown', (event) => {
    const { points, at } = drawn.get(host)
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key]
    if (step === undefined || points.length === 0) return
    event.preventDefault()
    const index = points.findIndex(({ timestamp }) => timestamp === at)
    point(points[Math.min(points.length - 1, Math.max(0, (index === -1 ? points.length - 1 : index) + step))].timestamp)
  })
}

/** The values where somebody points, or the last ones. */
function say (legend, host) {
  const { points, series, at } = drawn.get(host)
  const point = points.find(({ timestamp }) => timestamp === at) ?? points.at(-1)
  fill(legend,
    ...series.map(({ field, label, color }) => el('span', '', el('span', `key ${color}`), `${label} ${format(point?.[field])}`)),
    ...(point === undefined ? [] : [el('span', 'muted', time(new Date(point.timestamp)))]),
    ...(point !== undefined && point.deployed.length > 0 ? [el('span', '', `◆ ${point.deployed.join(', ')}`)] : []))
}

/** The next round number. */
function ceiling (value) {
  if (value <= 0) return 1
  const unit = 10 ** Math.floor(Math.log10(value))
  return [1, 2, 2.5, 5, 10].map((step) => step * unit).find((step) => step >= value)
}
