import fc from 'fast-check'
import t from 'tap'
import { Follower } from '../src/log/follower.ts'
import { HighWaterMark, isBefore, isSameRoot, type LogFormat, type LogFrame, type Place } from '../src/log/format.ts'
import { bytesLine, countLines, joinLines, readLine, splitLines } from '../src/log/lines.ts'
import { Outbox, type Batch } from '../src/log/outbox.ts'
import { Pace, type Most } from '../src/log/pace.ts'
import type { Reading } from '../src/log/reading.ts'
import { GivenUp, Seen } from '../src/log/seen.ts'
import { frameFormat, writeLine, type Frame, type WireMessage } from '../src/messages/frame.ts'

/** A frame of the model: its messages are their publisher and number. */
interface ModelFrame extends LogFrame {
  readonly topic: string
  readonly counter: number
}

const modelFormat: LogFormat<ModelFrame, string> = {
  separator: '.',
  unlogged: '',
  newEpoch: () => 'unused.0',
  read: () => null,
  readHead: () => null,
  counterOf: ({ counter }, index) => counter + index,
  messageOf: ({ publisher, counter, topic }, index) => `${topic} ${publisher} ${counter + index}`,
  write: () => ''
}

/** Redis as a log sees it: what it holds, and what it tells those who know a place further on. */
class ModelLog {
  root = 0
  turns = 0
  seq = 0
  base = 0
  entries: Array<{ seq: number, frame: ModelFrame }> = []
  failing = 0
  error = new Error('no answer')
  readonly reads: Array<{ after: number, most: Most, failed: boolean }> = []

  get epoch (): string {
    return `r${this.root}.${this.turns}`
  }

  /** A log that ends before a place of the same root went back. */
  open (known: Place): void {
    if (!isSameRoot(known.epoch, this.epoch)) return
    if (!isBefore(this.epoch, known.epoch) && (known.epoch !== this.epoch || this.seq >= known.seq)) return
    this.turns = Math.max(this.turns, Number(known.epoch.split('.')[1])) + 1
    this.base = this.seq
  }

  append (known: Place, publisher: string, counter: number, count: number, topic: string): ModelFrame {
    this.open(known)
    const first = this.seq + 1
    this.seq += count
    const frame = { epoch: this.epoch, first, last: this.seq, count, publisher, bytes: 100 * count, topic, counter }
    this.entries.push({ seq: this.seq, frame })
    return frame
  }

  /** A failover to a server that lacks the last entries, and all turns since then. */
  goBack (lost: number): void {
    for (let n = 0; n < lost; n++) {
      const gone = this.entries.pop()
      if (gone === undefined) return
      this.turns = Number(gone.frame.epoch.split('.')[1])
      this.seq = gone.frame.first - 1
    }
  }

  beginAnew (): void {
    this.root++
    Object.assign(this, { turns: 0, seq: 0, base: 0, entries: [] })
  }

  read (known: Place, after: number, most: Most): Reading<ModelFrame> {
    const failed = this.failing > 0
    this.reads.push({ after, most, failed })
    if (failed) {
      this.failing--
      throw this.error
    }
    this.open(known)
    let bytes = most.bytes
    const entries: Array<{ seq: number, frame: ModelFrame, at: number }> = []
    for (const { seq, frame } of this.entries) {
      if (seq <= after) continue
      bytes -= frame?.bytes ?? 0
      if (entries.length === most.frames || (bytes < 0 && entries.length > 0)) break
      entries.push({ seq, frame, at: 0 })
    }
    const head = this.entries.find(({ seq }) => seq === after)?.frame ?? null
    return { epoch: this.epoch, seq: this.seq, base: this.base, now: 0, head, entries }
  }
}

/** One process that follows the model's log. */
class ModelProcess {
  readonly got: string[] = []
  readonly gaps: Array<number | null> = []
  readonly marks: Place[] = []
  readonly highWater = new HighWaterMark()
  readonly follower: Follower<ModelFrame, string>
  isConnected = true
  throws = 0
  faults = 0

  constructor (log: ModelLog, hearsAll: boolean, skipsOwn = hearsAll) {
    this.follower = new Follower({ publisher: 'me', hearsAll, knowsBase: !hearsAll, skipsOwn }, modelFormat, {
      read: async (after, most) => {
        const reading = log.read(this.highWater.place, after, most)
        this.highWater.said(reading.epoch, reading.seq)
        return reading
      },
      turn: async (epoch, base) => {
        if (epoch !== log.epoch) return
        log.turns++
        log.base = base
      },
      hears: () => this.isConnected,
      pause: async () => {}
    }, {
      deliver: (message) => {
        this.got.push(message)
        if (this.throws > 0 && this.throws-- > 0) throw new Error('sink')
      },
      mark: (place) => { this.marks.push(place) },
      gap: (missed) => { this.gaps.push(missed) },
      malformed: () => {},
      fault: () => { this.faults++ }
    })
  }

  hear (frame: ModelFrame): void {
    this.highWater.heard(frame.epoch, frame.last)
    this.follower.hear(frame)
  }

  connect (): void {
    this.isConnected = true
    this.follower.sync()
  }
}

const settled = async (): Promise<void> => { for (let turn = 0; turn < 200; turn++) await Promise.resolve() }

type Step =
  | { readonly op: 'publish', readonly by: string, readonly count: number, readonly topic: string, readonly isLost: boolean }
  | { readonly op: 'goBack', readonly lost: number }
  | { readonly op: 'trim', readonly count: number }
  | { readonly op: 'fail', readonly count: number }
  | { readonly op: 'cut' | 'connect' | 'anew' | 'throw' | 'wait' | 'beat' }

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ op: fc.constant('publish' as const), by: fc.constantFrom('me', 'a', 'b'), count: fc.integer({ min: 1, max: 3 }), topic: fc.constantFrom('room', 'other'), isLost: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('goBack' as const), lost: fc.integer({ min: 1, max: 3 }) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('trim' as const), count: fc.integer({ min: 1, max: 3 }) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('fail' as const), count: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 6, arbitrary: fc.record({ op: fc.constantFrom('cut' as const, 'connect' as const, 'throw' as const, 'wait' as const, 'wait' as const, 'beat' as const) }) },
  { weight: 1, arbitrary: fc.constant({ op: 'anew' as const }) }
)

/** Runs the steps against the model and checks what is promised. */
async function run (steps: readonly Step[], hearsAll: boolean): Promise<void> {
  const log = new ModelLog()
  const known: Record<string, HighWaterMark> = { me: new HighWaterMark(), a: new HighWaterMark(), b: new HighWaterMark() }
  const counters: Record<string, number> = { me: 0, a: 0, b: 0 }
  log.append(known.a!.place, 'a', ++counters.a!, 1, 'room')
  const process = new ModelProcess(log, hearsAll)
  process.follower.begin({ epoch: log.epoch, seq: log.seq })
  for (const one of [process.highWater, known.a!, known.b!]) one.said(log.epoch, log.seq)
  const published: string[] = []
  const joinedAt = log.seq
  let [mayLose, isTrimmed, losses, lowest] = [false, false, 0, log.seq]
  function publish (by: string, count: number, topic: string, isLost: boolean): void {
    const frame = log.append(by === 'me' ? process.highWater.place : known[by]!.place, by, counters[by]! + 1, count, topic)
    for (let n = 0; n < count; n++) published.push(`${topic} ${by} ${++counters[by]!}`)
    known[by]!.said(frame.epoch, frame.last)
    if (by === 'me') {
      process.highWater.said(frame.epoch, frame.last)
      process.follower.committed({ epoch: frame.epoch, seq: frame.last })
    }
    if (process.isConnected && (hearsAll ? !isLost : topic === 'room')) process.hear(frame)
  }
  for (const one of steps) {
    if (one.op === 'publish') publish(one.by, one.count, one.topic, one.isLost)
    else if (one.op === 'goBack') {
      log.goBack(one.lost)
      mayLose = true
      losses++
      lowest = Math.min(lowest, log.seq)
      // A failover ends the connections.
      process.isConnected = false
    } else if (one.op === 'anew') {
      log.beginAnew()
      mayLose = true
      process.isConnected = false
    } else if (one.op === 'trim') {
      log.entries.splice(0, one.count)
      isTrimmed = true
    } else if (one.op === 'fail') log.failing += one.count
    else if (one.op === 'throw') process.throws++
    else if (one.op === 'cut') process.isConnected = false
    else if (one.op === 'connect') process.connect()
    else if (one.op === 'beat' && hearsAll && process.isConnected) process.follower.note({ epoch: log.epoch, seq: log.seq }, process.follower.place!.seq)
    else await settled()
  }
  process.connect()
  await settled()
  // Whoever saw what the log lost says so when he publishes again.
  for (const by of ['a', 'b']) publish(by, 1, 'room', false)
  await settled()
  const { got, gaps } = process
  const concerns = (message: string): boolean => hearsAll ? !/ me /.test(message) : message.startsWith('room')
  const delivered = got.filter(concerns)
  const missing = published.filter((message) => concerns(message) && !delivered.includes(message))
  const held = log.entries.flatMap(({ frame }) => Array.from({ length: frame.count }, (_, index) => modelFormat.messageOf(frame, index)!))
  if (new Set(got).size !== got.length) throw new Error(`twice: ${got}`)
  for (const by of ['me', 'a', 'b']) {
    const numbers = got.filter((message) => message.split(' ')[1] === by).map((message) => Number(message.split(' ')[2]))
    if (numbers.some((number, index) => index > 0 && number < numbers[index - 1]!)) throw new Error(`out of order: ${got}`)
  }
  const reachable = missing.filter((message) => held.includes(message))
  // What a second loss hides, and what has numbers from before the join, may be lost; not without a word.
  const isSimple = lowest >= joinedAt || (!hearsAll && losses < 2)
  if (isSimple && reachable.length > 0) throw new Error(`in the log and not delivered: ${reachable}; got ${got}`)
  const isNoticed = !mayLose || log.turns > 0 || log.root > 0
  if (isNoticed && missing.length > 0 && gaps.length === 0) throw new Error(`lost without a word: ${missing}; got ${got}`)
  if (!mayLose && !isTrimmed && gaps.length > 0) throw new Error(`a gap where nothing was lost: ${gaps}`)
  if (!mayLose && hearsAll && gaps.length > 0 && missing.length === 0 && counters.me === 0) throw new Error('a gap where nothing was lost')
  const counted = gaps.reduce<number>((sum, missed) => sum + (missed ?? 0), 0)
  if (!mayLose && hearsAll && counters.me === 0 && counted !== missing.length) throw new Error(`${missing.length} lost, ${gaps} told`)
}

for (const hearsAll of [true, false]) {
  t.test(`a follower that hears ${hearsAll ? 'all' : 'some'}: each message once, in order, and a gap where one was lost`, async () => {
    await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 40 }), (steps) => run(steps, hearsAll)), { numRuns: Number(process.env.LOG_RUNS ?? 300) })
  })
}

t.test('a read that takes too long is tried again, smaller, and no read is smaller for an outage; one that succeeds doubles the next', async (t) => {
  const log = new ModelLog()
  const process = new ModelProcess(log, true)
  process.follower.begin({ epoch: log.epoch, seq: 0 })
  for (let counter = 1; counter <= 2000; counter++) log.append({ epoch: log.epoch, seq: log.seq }, 'a', counter, 1, 'room')
  log.failing = 20
  log.error = Object.assign(new Error('too late'), { code: 'FST_ERR_REDIS_LINK_TIMEOUT' })
  process.connect()
  await waitForReads(log, 21 + 200)
  const sizes = log.reads.slice(0, 21).map(({ most }) => most.bytes / 1024)
  t.same(sizes, [128, 64, 32, 16, 8, ...sizes.slice(5).map(() => 4)])
  t.same(log.reads[20]!.most, { frames: 10, bytes: 4096 })
  t.equal(process.got.length, 2000)
  t.same(process.gaps, [])
  log.reads.length = 0
  log.failing = 100
  log.error = Object.assign(new Error('away'), { code: 'FST_ERR_REDIS_LINK_UNAVAILABLE' })
  process.connect()
  await waitForReads(log, 101)
  t.same(log.reads[100]!.most, { frames: 100, bytes: 128 * 1024 }, 'an outage says nothing of how much can be read')
  log.reads.length = 0
  for (let counter = 2001; counter <= 4000; counter++) log.append({ epoch: log.epoch, seq: log.seq }, 'a', counter, 1, 'room')
  process.connect()
  await settled()
  t.same(log.reads.map(({ most }) => most.frames), [100, 200, 400, 800, 1000])
  t.equal(process.got.length, 4000)
})

async function waitForReads (log: ModelLog, reads: number): Promise<void> {
  for (let turn = 0; turn < 100_000 && log.reads.length < reads; turn++) await Promise.resolve()
  await settled()
}

for (const hearsAll of [true, false]) {
  t.test(`a follower that hears ${hearsAll ? 'all' : 'some'} and had more to hold than it may before it had a place follows from the one it gets`, async (t) => {
    const log = new ModelLog()
    const process = new ModelProcess(log, hearsAll)
    process.isConnected = false
    const append = (counter: number): ModelFrame => log.append({ epoch: log.epoch, seq: log.seq }, 'a', counter, 1, 'room')
    for (let counter = 1; counter <= 5001; counter++) process.hear(append(counter))
    process.connect()
    process.follower.begin({ epoch: log.epoch, seq: log.seq })
    await settled()
    process.hear(append(5002))
    await settled()
    t.equal(process.got.at(-1), 'room a 5002')
    t.same(process.follower.place, { epoch: log.epoch, seq: 5002 })
  })
}

t.test('frames that nobody can read are passed by and told of; a mark moves the place on', async (t) => {
  const log = new ModelLog()
  const process = new ModelProcess(log, false)
  const place = { epoch: log.epoch, seq: 0 }
  process.follower.begin(place)
  const frame = log.append(place, 'a', 1, 2, 'room')
  process.hear({ ...frame, counter: NaN })
  t.same(process.follower.place, { epoch: 'r0.0', seq: 2 })
  process.hear({ ...frame, first: 8, last: 7, count: 0 })
  log.entries.push({ seq: 8, frame: null as never }, { seq: 9, frame: null as never })
  log.seq = 9
  t.same([process.follower.place, process.marks.at(-1)], [{ epoch: 'r0.0', seq: 7 }, { epoch: 'r0.0', seq: 7 }])
  process.connect()
  await settled()
  t.same([process.follower.place, process.gaps], [{ epoch: 'r0.0', seq: 9 }, [2]], 'what it said is lost')
})

t.test('what is remembered of publishers: the one that was silent for longest is forgotten first', async (t) => {
  const seen = new Seen(2)
  for (const publisher of ['first', 'second']) seen.of(publisher).highest = 5
  seen.of('first').highest = 6
  seen.of('third').highest = 1
  t.same(['first', 'third', 'second'].map((publisher) => seen.of(publisher).highest), [6, 1, 0])
})

t.test('given up: stretches of numbers, asked for in their order', async (t) => {
  const givenUp = new GivenUp()
  for (const counter of [3, 4]) givenUp.add(counter)
  givenUp.cut()
  givenUp.add(9)
  t.same([1, 2, 3, 4, 5, 8, 9, 10].filter((counter) => givenUp.has(counter)), [3, 4, 9])
})

/** What becomes of one try: carried out or not, and whether the answer arrives. */
const outcome = fc.constantFrom('done', 'lost before', 'lost after')

t.test('an outbox: what is acknowledged is there once and in order, whatever is lost; what is not is given up, the oldest first', async () => {
  await fc.assert(fc.asyncProperty(fc.array(outcome, { maxLength: 30 }), fc.array(fc.tuple(fc.constantFrom('x', 'y'), fc.boolean()), { maxLength: 40 }), fc.integer({ min: 0, max: 3 }), async (outcomes, messages, tries) => {
    const taken: number[] = []
    const givenUp: number[] = []
    let done = 0
    let left = tries
    const outbox = new Outbox<null, 'sent' | 'given up'>({
      commit: async ({ runs, number }: Batch) => {
        const what = outcomes.shift() ?? 'done'
        if (what !== 'lost before' && number > done) {
          done = number
          for (const { counter, lines } of runs) lines.forEach((line, index) => { taken.push(Number(line) === counter + index ? counter + index : NaN) })
        }
        if (what !== 'done') throw new Error(what)
        left = tries
        return 'sent'
      },
      again: async () => left-- > 0,
      onGiveUp: (counter) => {
        givenUp.push(counter)
        throw new Error('as asked')
      },
      onFault: () => {},
      givenUp: 'given up'
    }, { isConsecutive: true })
    const acks: Array<Promise<'sent' | 'given up'>> = []
    let counter = 0
    for (const [destination, waits] of messages) {
      counter++
      acks.push(outbox.send(destination, counter, String(counter), null, false))
      if (waits) await Promise.resolve().then(() => {})
    }
    const results = await Promise.all(acks)
    await outbox.idle()
    if (new Set(taken).size !== taken.length || taken.includes(NaN)) throw new Error(`taken ${taken}`)
    if (taken.some((number, index) => index > 0 && number < taken[index - 1]!)) throw new Error(`out of order: ${taken}`)
    for (const [index, result] of results.entries()) {
      if (result === 'sent' ? !taken.includes(index + 1) : !givenUp.includes(index + 1)) throw new Error(`${index + 1} is ${result}`)
    }
    if (!outbox.isIdle) throw new Error('not idle')
  }), { numRuns: 300 })
})

t.test('an outbox whose messages may wait no longer gives up the oldest, and after close() everything', async (t) => {
  const givenUp: number[] = []
  let go: (() => void) | undefined
  const outbox = new Outbox<null, string>({
    commit: () => new Promise((resolve) => { go = () => resolve('sent') }),
    again: async () => false,
    onGiveUp: (counter) => { givenUp.push(counter) },
    onFault: () => {},
    givenUp: 'given up'
  }, { isConsecutive: true, mostCharacters: 100_000 })
  const send = (counter: number): Promise<string> => outbox.send('', counter, 'x'.repeat(60_000), null, false)
  const acks = [send(1)]
  await settled()
  acks.push(send(2), send(3))
  t.same(givenUp, [1, 2])
  go!()
  await settled()
  go!()
  t.same(await Promise.all(acks), ['given up', 'given up', 'sent'])
  outbox.close()
  t.equal(await send(4), 'given up')
  t.same(givenUp, [1, 2, 4])
})

t.test('the pace of reads', async (t) => {
  const pace = new Pace()
  for (let read = 0; read < 3; read++) pace.succeeded()
  pace.failed(Object.assign(new Error('too late'), { code: 'FST_ERR_REDIS_LINK_TIMEOUT' }))
  t.same(pace.most, { frames: 400, bytes: 512 * 1024 })
  pace.succeeded()
  t.same(pace.most, { frames: 400, bytes: 512 * 1024 }, 'no more than what came through')
  for (let read = 0; read < 30; read++) pace.failed(new Error('away'))
  t.same(pace.most, { frames: 100, bytes: 128 * 1024 }, 'what was cut off may have been too much; an outage is no reason for less')
})

t.test('bytes in lines: whatever they are, lines stay lines, and who reads the frame as text finds the text in its place', async (t) => {
  const text = fc.string({ unit: 'grapheme' }).filter((one) => !one.includes('\n'))
  const bytes = fc.oneof(fc.uint8Array({ maxLength: 300 }), fc.array(fc.constantFrom(0x0a, 0xfe, 0xff, 0x00, 0x01)).map((some) => Uint8Array.from(some)))
  fc.assert(fc.property(fc.array(fc.tuple(text, fc.option(bytes)), { minLength: 1 }), (all) => {
    const frame = joinLines('head\n', all.map(([text, bytes]) => bytes === null ? text : bytesLine(text, bytes)))
    const [head, ...lines] = splitLines(Buffer.from(frame as string))
    const asText = Buffer.from(frame as string).toString().split('\n').slice(1)
    return head === 'head' && lines.length === all.length && countLines(Buffer.from(frame as string)) === 1 + all.length && asText.length === all.length && lines.every((line, index) => {
      const read = readLine(line)
      const [text, bytes] = all[index]!
      return read.text === text && asText[index]!.startsWith(text) && (bytes === null ? read.bytes === null : Buffer.compare(read.bytes!, bytes) === 0)
    })
  }), { numRuns: 2000 })
  const [publisher, reader] = ['abcdefghijkl', 'mnopqrstuvwx'].map((bootId) => frameFormat({ bootId, instanceId: 'a:0' })) as [LogFormat<Frame, WireMessage>, LogFormat<Frame, WireMessage>]
  const message = { id: 'abcdefghijkl-e1', bootId: 'abcdefghijkl', instanceId: 'a:0', timestamp: 1, channel: 'x', json: '{"a":"ü"}' }
  const sent = [{ ...message, kind: 'tell' as const }, { ...message, id: 'abcdefghijkl-e2', kind: 'ask' as const, bytes: Uint8Array.of(10, 255, 254, 0) }]
  const read = (format: LogFormat<Frame, WireMessage>, numbers: string) => format.read(Buffer.concat([Buffer.from(numbers), publisher.write('abcdefghijkl', 1, sent.map(writeLine)) as Buffer]), '')
  const frame = read(reader, '- 0 0')!
  t.strictSame([0, 1].map((index) => reader.messageOf(frame, index)), sent)
  t.same(['- 0 0', 'e.0 7 8', 'e.0 7 9', 'e.0 7 7'].map((numbers) => read(publisher, numbers)?.count), [2, 2, undefined, undefined], 'who published it counts what it does not take apart')
  t.equal(publisher.messageOf(read(publisher, 'e.0 7 8')!, 0), null)
})
