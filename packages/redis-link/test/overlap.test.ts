import t from 'tap'
import { Overlap } from '../src/connection/overlap.ts'

/** What passes of the same message, which is heard by the first (1) and by the second (2) in this order; B and T are `both` and `turn`. */
function passes (order: string, message = 'x'): number {
  let passed = 0
  const overlap = new Overlap(() => { passed++ })
  const heard = { kind: 'subscribe' as const, name: 'c', channel: 'c', message: Buffer.from(message) }
  for (const step of order) {
    if (step === '1') overlap.first(heard)
    else if (step === '2') overlap.second(heard)
    else if (step === 'B') overlap.both()
    else overlap.turn()
  }
  return passed
}

t.test('what both hear passes once, what one of them hears passes, and of equal ones none is lost', async (t) => {
  for (const [order, least, most] of [
    ['1BT', 1, 1], ['12BT', 1, 1], ['21BT', 1, 1], ['B12T', 1, 1], ['B21T', 1, 1], ['B1T2', 1, 1], ['B2T', 1, 1], ['B2T1', 1, 1], ['BT2', 1, 1],
    // The first of two before the second connection had subscribed, and a third after the turn.
    ['1B12T2', 3, 3], ['1B1T22', 3, 3], ['11B1T22', 4, 4],
    // Two that both heard, in every order, and one more.
    ['12B12T2', 3, 3], ['1B212T2', 3, 4], ['1B122T2', 3, 4], ['B1122T2', 3, 3], ['B1212T2', 3, 3], ['B11T222', 3, 3]
  ] as const) {
    const passed = passes(order)
    t.ok(passed >= least && passed <= most, `${order}: ${passed}, of ${least} to ${most}`)
  }
})
