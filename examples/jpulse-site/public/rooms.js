import { open } from './connect.js'

// One room at a time; the server makes it with its first visitor and forgets it after the last.
const [enter, say] = [document.querySelector('[data-room-form]'), document.querySelector('[data-say-form]')]
const [said, shown] = [document.querySelector('[data-said]'), document.querySelector('[data-room-status]')]
const KEPT = 50
let connection = null

enter.addEventListener('submit', (event) => {
  event.preventDefault()
  const room = enter.elements.room.value.trim()
  if (room === '') return
  connection?.close()
  said.replaceChildren()
  connection = open(`rooms/${encodeURIComponent(room)}`)
  connection.on('connected', () => { shown.textContent = `You are in ${room}.` })
  connection.on('said', ({ text }, { ctx }) => line(`${ctx?.userId ?? '?'}: ${text}`))
  connection.on('presence:join', ({ userId }) => line(`${userId} came`))
  connection.on('presence:leave', ({ userId }) => line(`${userId} left`))
  say.hidden = false
})

say.addEventListener('submit', async (event) => {
  event.preventDefault()
  try {
    await connection.request('say', { text: say.elements.text.value })
    say.reset()
  } catch (err) { shown.textContent = err.message }
})

function line (text) {
  const item = document.createElement('li')
  item.textContent = text
  said.append(item)
  while (said.childElementCount > KEPT) said.firstElementChild.remove()
}
