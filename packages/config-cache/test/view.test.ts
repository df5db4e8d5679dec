import fc from 'fast-check'
import t from 'tap'
import { MessageOrder, type Renewal } from '../src/coherence/message-order.ts'
import { blockText, clearText, parseMessage, parseOps, releaseText, type Message } from '../src/coherence/messages.ts'
import { View, type Block, type Load } from '../src/coherence/view.ts'
import { withDrift } from '../src/time.ts'

// The state machine of a member without a clock or a socket: tables for its rules, and a model of two members, a writer and
// Redis in which messages are lost, late and doubled in every order that fast-check thinks of.

const block = (opId: string, ...tags: string[]): Block => ({ opId, writer: 'w', tags })
const message = (seq: number, text: string, nonce = 'n'): Message => parseMessage(Buffer.from(`${nonce} ${seq} ${text}`))!
const renewal = (given: Partial<Renewal> = {}): Renewal => ({ nonce: 'n', seq: 0, isOpen: true, space: 's', isCounted: true, blocks: [], ...given })

function make (blocks: Block[] = []) {
  let time = 0
  const kept = new Map<string, number>()
  const view = new View({ drop: (tag) => kept.delete(tag), clear: () => kept.clear() }, () => time)
  const order = new MessageOrder(view)
  order.resync(renewal({ blocks: blocks.map((one) => ({ ...one, beat: '0' })) }))
  view.grant(100)
  kept.set('a', 1)
  return { kept, view, order, pass: (ms: number) => { time += ms } }
}

t.test('messages: what is read, what is of a newer release, what has no place in the order', async (t) => {
  const rows: Array<[text: string, kind: string | undefined]> = [
    [`n 1 ${blockText(block('o', 'a'))}`, 'block'],
    [`n 1 ${releaseText('o')}`, 'release'],
    [`n 1 ${clearText('s')}`, 'clear'],
    ['n 1 ["B","o","w",["a"],"more"]', 'block'],
    ['n 1 ["X","s"]', 'unknown'],
    ['n 1 ["B","o","w"]', 'unknown'],
    ['n 1 ["B","o","w",[7]]', 'unknown'],
    ['n 1 ["C"]', 'unknown'],
    ['n 1 {"kind":"B"}', 'unknown'],
    ['n 1 no JSON', 'unknown'],
    ['n one ["C","s"]', undefined],
    ['', undefined]
  ]
  for (const [text, kind] of rows) t.equal(parseMessage(Buffer.from(text))?.kind, kind, text)
  t.strictSame(parseOps(['o', '3 ["w",["a"]]', 'p', '1 {"newer":true}', 'q', '']),
    { blocks: [{ opId: 'o', beat: '3', writer: 'w', tags: ['a'] }], unknown: [{ opId: 'p', beat: '1 {"newer":true}' }, { opId: 'q', beat: '' }] })
})

t.test('what a message does', async (t) => {
  const rows: Array<[what: string, given: Message, heard: string, leased: boolean, kept: boolean, space: string]> = [
    ['the next block drops its tag', message(1, blockText(block('o', 'a'))), 'applied', true, false, 's'],
    ['the next block of another tag drops nothing', message(1, blockText(block('o', 'b'))), 'applied', true, true, 's'],
    ['a clear empties and names another space', message(1, clearText('new')), 'applied', true, false, 'new'],
    ['what was heard before changes nothing', message(0, blockText(block('o', 'a'))), 'known', true, true, 's'],
    ['a gap ends the lease', message(2, blockText(block('o', 'b'))), 'missed', false, true, 's'],
    ['a kind of a newer release is no clear, and as good as lost', message(1, '["X","new"]'), 'missed', false, true, 's'],
    ['another epoch is asked for', message(1, blockText(block('o', 'b')), 'm'), 'missed', true, true, 's']
  ]
  for (const [what, given, heard, leased, kept, space] of rows) {
    const one = make()
    t.strictSame([one.order.hear(given), one.view.isLeased, one.kept.has('a'), one.order.space], [heard, leased, kept, space], what)
  }
})

t.test('a block of this process alone outlives what Redis tells, and its end voids the loads that began under it', async (t) => {
  const { order, view, kept } = make()
  view.blockHere(block('here', 'a'))
  t.notOk(kept.has('a'))
  order.resync(renewal({ seq: 5, blocks: [{ ...block('o', 'b'), beat: '0' }] }))
  view.grant(200)
  t.strictSame([view.isBlocked(['a']), view.isBlocked(['b'])], [true, true])
  const under = view.begin()
  view.release('here')
  t.notOk(view.isBlocked(['a']))
  t.notOk(view.isClean(under, ['a']))
  const after = view.begin()
  t.ok(view.isClean(after, ['a']))
  order.resync(renewal({ seq: 6 }))
  t.notOk(view.isBlocked(['a']), 'and it is over')
})

t.test('what a renewal says after a message of a newer release: everything is taken from Redis anew', async (t) => {
  const { order, view, kept } = make()
  order.hear(message(1, '["X"]'))
  t.equal(order.compare(renewal({ seq: 0 })), 'level', 'asked before the message')
  t.equal(order.judge(renewal({ seq: 0 })), 'again', 'and so worth nothing')
  const reply = renewal({ seq: 1, blocks: [{ ...block('x', 'a'), beat: '0' }] })
  t.equal(order.compare(reply), 'behind', 'no grace is given: it will not come again')
  order.resync(reply)
  t.equal(order.judge(reply), 'lease')
  t.ok(view.isBlocked(['a']) && kept.size === 0)
  t.equal(order.hear(message(2, releaseText('x'))), 'applied', 'and it goes on from there')
  t.notOk(view.isBlocked(['a']))
})

t.test('what a renewal says', async (t) => {
  const { order } = make()
  t.equal(order.compare(renewal()), 'level')
  t.equal(order.compare(renewal({ seq: 1 })), 'late')
  t.equal(order.compare(renewal({ nonce: 'm' })), 'behind')
  t.equal(order.judge(renewal({ isCounted: false })), 'again')
  t.equal(order.judge(renewal({ isOpen: false })), 'closed')
  t.equal(order.judge(renewal()), 'lease')
})

t.test('whether a load may be kept', async (t) => {
  const rows: Array<[what: string, meanwhile: (one: ReturnType<typeof make>) => void, clean: boolean, blocked?: Block]> = [
    ['nothing happened', () => {}, true],
    ['its tag was blocked', ({ view }) => view.block(block('o', 'a')), false],
    ['its tag was blocked and released', ({ view }) => { view.block(block('o', 'a')); view.release('o') }, false],
    ['its tag was blocked before and is released', ({ view }) => view.release('old'), false, block('old', 'a')],
    ['another tag was blocked', ({ view }) => view.block(block('o', 'b')), true],
    ['an unknown block was released', ({ view }) => view.release('o'), true],
    ['the lease lapsed', ({ pass }) => pass(100), false],
    ['the lease lapsed and was renewed', ({ pass, view }) => { pass(100); view.grant(300) }, false],
    ['the lease was renewed in time', ({ pass, view }) => { pass(99); view.grant(300) }, true],
    ['the connection broke and came back', ({ view }) => { view.endLease(); view.grant(300) }, false],
    ['something was missed', ({ view }) => view.reset([]), false]
  ]
  for (const [what, meanwhile, clean, blocked] of rows) {
    const one = make(blocked === undefined ? [] : [blocked])
    const load = one.view.begin()
    meanwhile(one)
    t.equal(one.view.isClean(load, ['a']), clean, what)
    one.view.end()
  }
})

const LEASE_MS = 100

/** A rule that is left out. */
interface Mutation {
  MyView?: typeof View
  /** What is made of a message before it is heard. */
  hearAs?: (given: Message) => Message
  /** Whether a renewal that shows a loss is taken for one that does not. */
  deaf?: boolean
}

/** A member, its messages under way, and its load. */
class Instance {
  readonly kept = new Map<string, number>()
  readonly view: View
  readonly order: MessageOrder
  inbox: Message[] = []
  asked: { reply: Renewal, sentAt: number } | null = null
  load: { load: Load, value: number } | null = null
  /** seq of the last renewal that Redis counted. */
  renewed = 0
  isMember = false

  constructor (world: World, { MyView = View }: Mutation) {
    this.view = new MyView({ drop: (tag) => this.kept.delete(tag), clear: () => this.kept.clear() }, () => world.time)
    this.order = new MessageOrder(this.view)
  }
}

interface Write { opId: string, seq: number, blockedAt: number, waitsFor: Set<Instance>, value: number }

/** One key, one Redis that stays up, one writer at a time. */
class World {
  time = 0
  seq = 0
  database = 0
  /** The newest write that has resolved, and the newest value that was read. */
  bound = 0
  readonly ops = new Map<string, Block>()
  readonly instances: Instance[]
  write: Write | null = null
  readonly #mutation: Mutation

  constructor (mutation: Mutation = {}) {
    this.#mutation = mutation
    this.instances = [new Instance(this, mutation), new Instance(this, mutation)]
  }

  publish (text: string): void {
    this.seq++
    for (const one of this.instances) one.inbox.push(message(this.seq, text))
  }

  acknowledge (one: Instance, opId: string): void {
    if (this.write?.opId === opId) this.write.waitsFor.delete(one)
  }

  readonly steps: Record<string, (one: Instance) => void> = {
    deliver: (one) => {
      const { hearAs = (given) => given } = this.#mutation
      const next = one.inbox.length === 0 ? undefined : hearAs(one.inbox.shift()!)
      if (next !== undefined && one.order.hear(next) === 'applied' && next.kind === 'block') this.acknowledge(one, next.block.opId)
    },
    lose: (one) => { one.inbox.shift() },
    double: (one) => { if (one.inbox[0] !== undefined) one.inbox.unshift(one.inbox[0]) },
    ask: (one) => {
      one.renewed = this.seq
      one.isMember = true
      one.asked = { sentAt: this.time, reply: renewal({ seq: this.seq, blocks: [...this.ops.values()].map((op) => ({ ...op, beat: '0' })) }) }
    },
    answer: (one) => {
      if (one.asked === null) return
      const { reply, sentAt } = one.asked
      one.asked = null
      if (one.order.compare(reply) !== 'level' && !(this.#mutation.deaf === true && one.order.nonce !== null)) {
        one.order.resync(reply)
        for (const { opId } of reply.blocks) this.acknowledge(one, opId)
      }
      if (one.order.judge(reply) === 'lease') one.view.grant(sentAt + LEASE_MS)
    },
    begin: (one) => { one.load ??= { load: one.view.begin(), value: this.database } },
    end: (one) => {
      if (one.load === null) return
      if (one.view.isClean(one.load.load, ['a'])) one.kept.set('a', one.load.value)
      one.view.end()
      one.load = null
    },
    read: (one) => {
      const value = one.view.isLeased ? one.kept.get('a') : undefined
      if (value === undefined) return
      if (value < this.bound) throw new Error(`read ${value} after ${this.bound}`)
      this.bound = value
    },
    pass: () => { this.time += LEASE_MS / 3 },
    write: () => this.#write()
  }

  /** One step of the write that is under way. */
  #write (): void {
    const { write } = this
    if (write === null) {
      const opId = `o${this.seq}`
      this.ops.set(opId, block(opId, 'a'))
      // Half of the writers are of a newer release, whose block looks otherwise to those who hear it.
      this.publish(this.database % 2 === 1 ? blockText(block(opId, 'a')) : JSON.stringify(['X', opId]))
      this.write = { opId, seq: this.seq, blockedAt: this.time, waitsFor: new Set(this.instances.filter((one) => one.isMember)), value: 0 }
    } else if (write.value === 0) {
      const isOver = this.time >= write.blockedAt + withDrift(LEASE_MS)
      if (write.waitsFor.size > 0 && !isOver) return
      for (const one of write.waitsFor) if (one.renewed < write.seq) one.isMember = false
      write.value = ++this.database
    } else {
      this.ops.delete(write.opId)
      this.publish(releaseText(write.opId))
      // The writer is on the first instance, which hears of its release from Redis' answer, before the message and out of its order.
      this.instances[0]!.view.release(write.opId)
      this.bound = Math.max(this.bound, write.value)
      this.write = null
    }
  }
}

const NAMES = Object.keys(new World().steps)
// Messages arrive more often than they are lost, and reads are what is judged.
const step = fc.tuple(fc.constantFrom(...NAMES, 'deliver', 'deliver', 'deliver', 'begin', 'end', 'read', 'read', 'write', 'write', 'ask', 'answer'), fc.nat(1))

const coherent = (mutation?: Mutation) => fc.property(fc.array(step, { maxLength: 150, size: 'max' }), (steps) => {
  const world = new World(mutation)
  for (const one of world.instances) for (const name of ['ask', 'answer', 'begin', 'end', 'read']) world.steps[name]!(one)
  for (const [name, who] of steps) world.steps[name]!(world.instances[who]!)
})

t.test('two members never read what was before a write that resolved, whatever is lost, late, doubled or of a newer release', async () => {
  fc.assert(coherent(), { numRuns: 2000 })
})

const MUTATIONS: Record<string, Mutation> = {
  'a block that drops nothing': { MyView: class extends View { override block () {} } },
  'a release that voids no load': {
    MyView: class extends View {
      override isClean (load: Load, tags: readonly string[]) { return this.isLeased && load.term === this.term && !this.isBlocked(tags) }
    }
  },
  'a lease that runs on': { MyView: class extends View { override get isLeased () { return this.leaseUntil > 0 } } },
  'a loss that a renewal does not make up for': { deaf: true },
  'a kind of a newer release that is passed over': { hearAs: (given) => given.kind === 'unknown' ? { ...given, kind: 'release', opId: '' } : given }
}

for (const [name, mutation] of Object.entries(MUTATIONS)) {
  t.test(`the model finds ${name}`, async (t) => {
    t.ok(fc.check(coherent(mutation), { numRuns: 20_000, endOnFailure: true }).failed)
  })
}
