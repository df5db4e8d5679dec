/* global document */
import { el, fill } from './dom.js'

export const byId = (id) => document.getElementById(id)

const SHAPES = { ok: '●', warn: '▲', bad: '■' }

export function drawTiles (tiles) {
  fill(byId('tiles'), ...tiles.map(([label, value]) => el('div', 'tile', el('span', 'value', value), el('span', 'label', label))))
}

export function drawSection (name, count, draw) {
  byId(`${name}-section`).hidden = count === 0
  fill(byId(name), ...count === 0 ? [] : draw())
}

export function notice (text) {
  if (byId('notice').textContent !== (text || '')) byId('notice').textContent = text || ''
  byId('notice').hidden = !text
}

/** The status, in words and by a shape, on the page and in its title. */
export function setStatus (text, kind, title) {
  const chip = byId('status')
  fill(chip, el('span', 'shape', SHAPES[kind]), text)
  chip.className = `chip ${kind}`
  document.title = `${SHAPES[kind]} ${title}`
}

/** The page's state is in its address, so that a link leads to the same view, and the browser's way back works. */
export function readAddress (hash) {
  const parameters = new URLSearchParams(hash.slice(1))
  const minutes = Math.min(1440, Math.max(1, Math.round(Number(parameters.get('minutes'))) || 60))
  return { minutes, instance: parameters.get('instance') ?? '' }
}

/** Address of the page of an instance, or of all of them where the boot id is '', with the range that is shown. */
export function linkTo (instance, hash, minutes = readAddress(hash).minutes) {
  return `#${new URLSearchParams({ minutes: String(minutes), ...(instance === '' ? {} : { instance }) })}`
}
