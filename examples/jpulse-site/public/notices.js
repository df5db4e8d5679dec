// Sends a notice to all processes and shows which of them have heard it.
const form = document.querySelector('[data-notice]')
const answer = document.querySelector('[data-answer]')
const heard = document.querySelector('[data-heard]')

form.addEventListener('submit', async (event) => {
  event.preventDefault()
  const text = form.elements.text.value
  const response = await fetch(new URL('../api/1/notices', import.meta.url), { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ text }) })
  const { success, data, error } = await response.json()
  answer.textContent = success ? `Heard by ${data.instances.join(', ')}` : error
  if (!success) return
  const line = document.createElement('li')
  line.textContent = text
  heard.prepend(line)
  form.reset()
})
