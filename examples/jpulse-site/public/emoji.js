import { open } from './connect.js'

// Cursors and emoji of everybody on one stage. Positions are shares of it, so that phones and desks agree.
const stage = document.querySelector('[data-stage]')
const last = document.querySelector('[data-emoji-last]')
const connection = open('hello-emoji', document.querySelector('[data-emoji-status]'))
const MOVES_EVERY_MS = 50
const FLIGHT_MS = 1600
const cursors = new Map()
let movedAt = 0

connection.on('move', ({ clientId, x, y }, { ctx }) => place(cursorOf(clientId, ctx?.userId ?? '?'), x, y))
connection.on('emoji', ({ emoji }, { ctx }) => {
  last.textContent = `${ctx?.userId ?? '?'} sent ${emoji}`
  fly(emoji)
})
connection.on('presence:leave', ({ userId }) => {
  for (const [id, cursor] of cursors) {
    if (cursor.dataset.user === userId) {
      cursor.remove()
      cursors.delete(id)
    }
  }
})

stage.addEventListener('pointermove', (event) => {
  if (event.timeStamp - movedAt < MOVES_EVERY_MS) return
  movedAt = event.timeStamp
  const box = stage.getBoundingClientRect()
  const share = (value) => Math.min(1, Math.max(0, value))
  connection.send('move', { x: share((event.clientX - box.left) / box.width), y: share((event.clientY - box.top) / box.height) })
})
for (const button of document.querySelectorAll('[data-emoji]')) {
  button.addEventListener('click', () => connection.send('emoji', { emoji: button.dataset.emoji }))
}

function cursorOf (id, userId) {
  let cursor = cursors.get(id)
  if (cursor === undefined) {
    cursor = document.createElement('span')
    cursor.className = 'cursor'
    cursor.dataset.user = userId
    cursor.textContent = userId
    stage.append(cursor)
    cursors.set(id, cursor)
  }
  return cursor
}

function place (element, x, y) {
  element.style.left = `${x * 100}%`
  element.style.top = `${y * 100}%`
}

function fly (emoji) {
  const element = document.createElement('span')
  element.className = 'flying'
  element.textContent = emoji
  place(element, 0.1 + Math.random() * 0.8, 0.7)
  stage.append(element)
  setTimeout(() => element.remove(), FLIGHT_MS)
}
