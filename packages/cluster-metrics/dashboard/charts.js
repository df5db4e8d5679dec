/* global document */
import { el, format } from './dom.js'

const SVG = 'http://www.w3.org/2000/svg'
const WIDTH = 600
const HEIGHT = 150

function svg (name, attributes) {
  const element = document.createElementNS(SVG, name)
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value))
  return element
}

const time = (date) => date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })

/**
 * A line chart over the last minutes that says the values below the pointer.
 *
 * @param points with a timestamp and a number per series
 * @param series { field, label, color }, drawn in this order
 */
export function chart (points, series, minutes) {
  const end = points.length > 0 ? Date.parse(points.at(-1).timestamp) : Date.now()
  const begin = end - minutes * 60_000
  const x = (point) => Math.max(0, (Date.parse(point.timestamp) - begin) / (end - begin) * WIDTH)
  const top = ceiling(Math.max(0, ...points.flatMap((point) => series.map(({ field }) => point[field]))))
  const y = (value) => HEIGHT - 4 - value / top * (HEIGHT - 10)

  const plot = svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img' })
  plot.setAttribute('aria-label', series.map(({ label, field }) => `${label}: ${format(points.at(-1)?.[field] ?? 0)}`).join(', '))
  for (const value of [0, top / 2, top]) plot.append(svg('line', { x1: 0, x2: WIDTH, y1: y(value), y2: y(value), class: 'grid' }))
  for (const { field, color } of series) {
    if (points.length === 0) continue
    const path = points.map((point, index) => `${index === 0 ? 'M' : 'L'}${x(point).toFixed(1)} ${y(point[field]).toFixed(1)}`).join('')
    if (series.length === 1) plot.append(svg('path', { d: `${path}L${WIDTH} ${y(0)}L${x(points[0]).toFixed(1)} ${y(0)}Z`, class: `area fill-${color}` }))
    plot.append(svg('path', { d: path, class: `line stroke-${color}` }))
  }
  const legend = el('div', 'legend')
  const say = (point) => legend.replaceChildren(
    ...series.map(({ field, label, color }) => el('span', '', el('span', `key ${color}`), `${label} ${format(point?.[field])}`)),
    ...(point ? [el('span', 'muted', time(new Date(point.timestamp)))] : []))
  say(points.at(-1))
  plot.addEventListener('pointermove', (event) => {
    const box = plot.getBoundingClientRect()
    const at = (event.clientX - box.left) / box.width * WIDTH
    say(points.toSorted((a, b) => Math.abs(x(a) - at) - Math.abs(x(b) - at))[0])
  })
  plot.addEventListener('pointerleave', () => say(points.at(-1)))
  const axis = el('div', 'axis', el('span', '', format(top)), el('span', '', format(top / 2)), el('span', '', '0'))
  const times = el('div', 'times', el('span', '', time(new Date(begin))), el('span', '', time(new Date(end))))
  return [legend, el('div', 'plot', axis, plot, times)]
}

/** The next round number. */
function ceiling (value) {
  if (value <= 0) return 1
  const unit = 10 ** Math.floor(Math.log10(value))
  return [1, 2, 2.5, 5, 10].map((step) => step * unit).find((step) => step >= value)
}
