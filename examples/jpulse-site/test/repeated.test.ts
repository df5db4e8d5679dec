import t from 'tap'
import { waitFor } from '../../../test/helpers/index.ts'
import { Repeated } from '../src/live/repeated.ts'

// What it waits with keeps no process alive.
const alive = setInterval(() => {}, 60_000)
t.teardown(() => clearInterval(alive))

t.test('who wakes while it fails waits with the others for one try after the other, and the failure is told once', async (t) => {
  let [runs, under, most, works] = [0, 0, 0, false]
  const told: unknown[] = []
  const one = new Repeated(async () => {
    runs++
    most = Math.max(most, ++under)
    await new Promise(setImmediate)
    under--
    if (!works) throw new Error(`run ${runs}`)
  }, (err) => told.push(err))
  t.teardown(() => one.close())
  const woken = Array.from({ length: 50 }, () => one.wake())
  await waitFor(() => runs === 2, { what: 'a second try', timeoutMs: 30_000 })
  woken.push(...Array.from({ length: 50 }, () => one.wake()))
  works = true
  await Promise.all(woken)
  t.same([runs, most], [3, 1])
  t.match(told, [new Error('run 1')])
  await one.wake()
  t.equal(runs, 4)
})

t.test('who wakes while it runs has it done once more, and nobody is forgotten between two runs', async (t) => {
  let runs = 0
  const one = new Repeated(async () => { runs++ }, () => {})
  const first = one.wake()
  one.wake()
  await first
  t.equal(runs, 2)
  for (let round = 0; round < 100; round++) {
    const before = runs
    const woken = one.wake()
    for (let n = 0; n < round % 7; n++) await null
    const last = one.wake()
    await Promise.all([woken, last])
    t.ok(runs > before)
  }
})

t.test('who wakes while it waits has it tried at once', async (t) => {
  let runs = 0
  const one = new Repeated(async () => {
    runs++
    throw new Error('away')
  }, () => {})
  t.teardown(() => one.close())
  // Waiting each time would take more than a minute.
  for (let n = 1; n <= 12; n++) {
    one.wake()
    await waitFor(() => runs >= n, { what: `try ${n}`, timeoutMs: 10_000 })
  }
})

t.test('once it is closed nothing is tried again, and who waits goes on', async (t) => {
  let runs = 0
  const one = new Repeated(async () => {
    runs++
    throw new Error('away')
  }, () => {})
  const woken = one.wake()
  await waitFor(() => runs === 1)
  one.close()
  await woken
  await one.wake()
  t.equal(runs, 1)
})
