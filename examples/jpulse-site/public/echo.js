import { open } from './connect.js'

const answer = document.querySelector('[data-echo-answer]')
const connection = open('jpulse-ws-test')

document.querySelector('[data-echo]').addEventListener('click', async () => {
  const asked = performance.now()
  try {
    const { worker } = await connection.request('echo', { asked })
    answer.textContent = `Worker ${worker} answered in ${(performance.now() - asked).toFixed(1)} ms.`
  } catch (err) { answer.textContent = err.message }
})
