import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { Deadlines } from '../src/deadlines.ts'

class Fake {
  isSettled = false
  isLate = false
  readonly sentAt = performance.now()
  endedAt = 0

  end (): void {
    this.isSettled = true
    this.isLate = true
    this.endedAt = performance.now()
    this.onEnd()
  }

  onEnd = (): void => {}
  readonly ended = new Promise<void>((resolve) => { this.onEnd = resolve })
}

const deadlinesOf = (ms: number) => new Deadlines<Fake>(ms, (late) => late.end())

// As the socket of what is waited for would.
const kept = setInterval(() => {}, 60_000)
t.teardown(() => clearInterval(kept))

function hold (ms: number): void {
  for (const end = performance.now() + ms; performance.now() < end;);
}

t.test('what is not settled in its time is late, each in its own', async (t) => {
  const deadlines = deadlinesOf(50)
  const commands: Fake[] = []
  for (let n = 0; n < 5; n++) {
    const command = new Fake()
    deadlines.add(command)
    commands.push(command)
    await sleep(5)
  }
  commands[1]!.isSettled = true
  const late = commands.filter(({ isSettled }) => !isSettled)
  await Promise.all(late.map(({ ended }) => ended))
  for (const { sentAt, endedAt, isLate } of late) {
    t.equal(isLate, true)
    t.ok(endedAt - sentAt >= 49, 'not before')
  }
  t.equal(commands[1]!.isLate, false, 'what was answered is left alone')
})

t.test('while the process is busy nothing is taken for unanswered that lies unread', async (t) => {
  const deadlines = deadlinesOf(50)
  const [answered, silent] = [new Fake(), new Fake()]
  deadlines.add(answered)
  deadlines.add(silent)
  const after = new Fake()
  hold(200)
  // As a socket would be read: after the timers of this turn.
  setImmediate(() => { answered.isSettled = true })
  deadlines.add(after)
  await Promise.all([silent.ended, after.ended])
  t.equal(answered.isLate, false)
  t.ok(silent.endedAt - silent.sentAt >= 249, 'once more its time')
})

t.test('the time of a busy process is given once', async (t) => {
  const deadlines = deadlinesOf(30)
  const silent = new Fake()
  deadlines.add(silent)
  hold(100)
  await sleep(0)
  hold(100)
  await silent.ended
  t.equal(silent.isLate, true)
})

t.test('a later command does not wait for those before it that have more time', async (t) => {
  const deadlines = deadlinesOf(200)
  const extended = new Fake()
  deadlines.add(extended)
  await sleep(150)
  const later = new Fake()
  deadlines.add(later)
  hold(150)
  await Promise.all([extended.ended, later.ended])
  t.ok(later.endedAt - later.sentAt >= 199)
  t.ok(extended.endedAt - extended.sentAt >= 299)
})
