import { EventEmitter } from 'node:events'
import { MessageChannel } from 'node:worker_threads'
import t from 'tap'
import { acceptOnly, callSafely, callWithin, deadline, emitSafely, isOneOfSeveral, jsonOf, LogThrottle, mayHaveSiblings, within } from '../src/index.ts'

const late = (): Error => new Error('late')
const never = new Promise<never>(() => {})

t.test('neither a throw nor a rejection of a callback reaches who calls it', async (t) => {
  const faults: unknown[] = []
  const onFault = (err: unknown): void => { faults.push((err as Error).message) }
  const got: unknown[] = []
  callSafely(onFault, (a: number, b: string) => { got.push(a, b) }, 1, 'b')
  callSafely(onFault, undefined)
  callSafely(onFault, () => { throw new Error('thrown') })
  callSafely(onFault, async () => { throw new Error('rejected') })
  callSafely(onFault, () => never)
  await new Promise(setImmediate)
  t.strictSame(got, [1, 'b'])
  t.strictSame(faults, ['thrown', 'rejected'])
})

t.test('an event that an emitter does not have is refused, however it is listened to', (t) => {
  const emitter = new EventEmitter<{ up: [], down: [] }>()
  acceptOnly<{ up: [], down: [] }>(emitter, { up: true, down: true }, (wanted) => new RangeError(wanted))
  for (const add of ['on', 'once', 'addListener', 'prependListener', 'prependOnceListener'] as const) t.throws(() => emitter[add]('upp' as 'up', () => {}), { name: 'RangeError', message: 'one of up, down' })
  t.throws(() => emitter.on('toString' as 'up', () => {}), { name: 'RangeError' })
  t.equal(emitter.listenerCount('upp' as 'up'), 0)
  for (const event of ['up', 'down', 'error', 'newListener', 'removeListener', Symbol('of a tool')]) emitter.on(event as 'up', () => {})
  t.end()
})

t.test('the fault of one listener keeps the event from no other', async (t) => {
  const emitter = new EventEmitter()
  const faults: unknown[] = []
  const got: unknown[] = []
  emitter.once('change', () => { throw new Error('first') })
  emitter.on('change', async () => { throw new Error('second') })
  emitter.on('change', () => never)
  emitter.on('change', function (this: unknown, value: unknown) { got.push(this === emitter, value) })
  const emit = (): boolean => emitSafely(emitter, (err) => { faults.push((err as Error).message) }, 'change', 5)
  t.equal(emit(), true)
  t.equal(emit(), true)
  await new Promise(setImmediate)
  t.strictSame(got, [true, 5, true, 5])
  t.strictSame(faults.sort(), ['first', 'second', 'second'], 'once means once')
  t.equal(emitSafely(emitter, () => {}, 'error', new Error('unheard')), false, 'an error that nobody hears is no exception')
})

t.test('a callback that is awaited is bounded, and its own fault is told', async (t) => {
  t.equal(await callWithin(1000, () => 5, late), 5)
  t.equal(await callWithin(1000, async () => 6, late), 6)
  await t.rejects(callWithin(1000, () => { throw new Error('thrown') }, late), { message: 'thrown' })
  await t.rejects(callWithin(1000, async () => { throw new Error('rejected') }, late), { message: 'rejected' })
  await t.rejects(callWithin(1, () => never, late), { message: 'late' })
})

t.test('what fails after its time ends no process', async (t) => {
  let fail!: (err: Error) => void
  await t.rejects(within(1, new Promise<void>((_resolve, reject) => { fail = reject }), late), { message: 'late' })
  fail(new Error('too late'))
  await new Promise(setImmediate)
})

t.test('whether a process has siblings, and whether it may have some', async (t) => {
  const rows: Array<[env: Record<string, string>, isOne: boolean, mayHave: boolean]> = [
    [{}, false, false],
    [{ NODE_APP_INSTANCE: '0', instances: '1' }, false, true],
    [{ NODE_APP_INSTANCE: '0' }, false, true],
    [{ NODE_APP_INSTANCE: '0', instances: '4' }, true, true],
    [{ NODE_APP_INSTANCE: '3' }, true, true]
  ]
  for (const [env, isOne, mayHave] of rows) t.strictSame([isOneOfSeveral(env), mayHaveSiblings(env)], [isOne, mayHave], JSON.stringify(env))
})

t.test('a process that stood still reads what came before it says that nothing came', async (t) => {
  const { port1, port2 } = new MessageChannel()
  t.teardown(() => port1.close())
  const answer = new Promise((resolve) => { port2.once('message', resolve) })
  const read = within(20, answer, late)
  port1.postMessage('in time')
  for (const end = performance.now() + 100; performance.now() < end;);
  t.equal(await read, 'in time')
  const over = new Promise<void>((resolve) => { deadline(20, resolve) })
  for (const end = performance.now() + 100; performance.now() < end;);
  await over
})

t.test('a time that is longer than that of a timer is long', async (t) => {
  const soon = new Promise((resolve) => { setTimeout(resolve, 20, 'soon') })
  t.equal(await within(365 * 86_400_000, soon, late), 'soon')
  t.equal(await within(Infinity, soon, late), 'soon')
})

t.test('each cause is logged once in its time, and the next line says how many were left out', async (t) => {
  const throttle = new LogThrottle()
  t.strictSame([throttle.pass('a'), throttle.pass('a'), throttle.pass('b'), throttle.pass('a')], [0, null, 0, null])
  for (let i = 0; i < 1000; i++) throttle.pass(`other ${i}`)
  t.equal(throttle.pass('a'), 0, 'forgotten: the causes are bounded')
  const quick = new LogThrottle(0)
  t.strictSame([quick.pass(), quick.pass()], [0, 0])
  const short = new LogThrottle(20)
  t.strictSame([short.pass(), short.pass(), short.pass()], [0, null, null])
  await new Promise((resolve) => setTimeout(resolve, 25))
  t.equal(short.pass(), 2)
})

t.test('what has no JSON form is refused with the reason', async (t) => {
  const refuse = (reason: string): Error => new TypeError(reason)
  t.equal(jsonOf({ a: [1, null] }, refuse), '{"a":[1,null]}')
  const cycle: Record<string, unknown> = {}
  cycle.own = cycle
  for (const [value, reason] of [[undefined, 'undefined has no JSON form'], [{ a: new Map() }, 'a Map has no JSON form'], [1n, /BigInt/], [cycle, /circular/]] as const) {
    t.throws(() => jsonOf(value, refuse), { name: 'TypeError', message: reason })
  }
  t.throws(() => jsonOf({ toJSON () { throw null } }, refuse), TypeError) // eslint-disable-line no-throw-literal
  t.equal(jsonOf(Buffer.from('a'), refuse), '{"type":"Buffer","data":[97]}')
  t.throws(() => jsonOf(Buffer.from('a'), refuse, true), TypeError)
})
