import { open } from './connect.js'

// A list that everybody edits at once. What comes is text and stays text.
const list = document.querySelector('[data-todos]')
const form = document.querySelector('[data-todo-form]')
const shown = document.querySelector('[data-todo-status]')
const connection = open('hello-todo', shown)
let loaded = Promise.resolve()

connection.on('put', put)
connection.on('removed', ({ id }) => find(id)?.remove())
// Beyond the history nobody can replay what was missed: then the list is loaded anew.
connection.on('connected', ({ recovered }) => { if (!recovered) load() })

form.addEventListener('submit', async (event) => {
  event.preventDefault()
  const { text } = form.elements
  try {
    await connection.request('add', { text: text.value.trim() })
    text.value = ''
  } catch (err) { tell(err) }
})

function load () {
  loaded = loaded.then(() => connection.request('list', {})).then((todos) => {
    list.replaceChildren()
    todos.forEach(put)
  }, tell)
}

function put (todo) {
  const row = find(todo.id) ?? make(todo)
  row.querySelector('input').checked = todo.done
  row.classList.toggle('done', todo.done)
}

function make ({ id, text, by }) {
  const row = document.createElement('li')
  row.dataset.id = id
  const label = document.createElement('label')
  const box = document.createElement('input')
  box.type = 'checkbox'
  box.addEventListener('change', () => connection.request('toggle', { id, done: box.checked }).catch(tell))
  const words = document.createElement('span')
  words.textContent = text
  label.append(box, words)
  const author = document.createElement('span')
  author.className = 'hint'
  author.textContent = by
  const remove = document.createElement('button')
  remove.type = 'button'
  remove.className = 'quiet'
  remove.textContent = 'Remove'
  remove.setAttribute('aria-label', `Remove ${text}`)
  remove.addEventListener('click', () => connection.request('remove', { id }).catch(tell))
  row.append(label, author, remove)
  list.append(row)
  return row
}

function find (id) {
  return [...list.children].find((row) => row.dataset.id === id) ?? null
}

function tell (err) {
  shown.textContent = err.message ?? String(err)
}
