import { open } from './connect.js'

// On every page of whoever is signed in: hears notices, and leaves the page when the session ends.
const notices = document.querySelector('[data-notices]')
const connection = open('jpulse-ws-status')

connection.on('notice', ({ text, by }) => {
  const line = document.createElement('p')
  line.textContent = `${by}: ${text}`
  notices.append(line)
  while (notices.childElementCount > 3) notices.firstElementChild.remove()
})
