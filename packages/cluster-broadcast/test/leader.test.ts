import fc from 'fast-check'
import t from 'tap'
import { LuaRedis } from '../../../test/helpers/lua-redis.ts'
import { resign, stand } from '../src/leader/scripts.ts'

const LEASE_MS = 1000

/** A process as `Leader` is one: it leads from an answer until its lease is over, counted from before it asked, by its own clock. */
class Process {
  readonly name: string
  token = 0
  validUntil = -Infinity
  /** Asked, and the answer is still on its way. */
  pending: { sentAt: number, answer: [leads: number, token: number] } | null = null

  constructor (name: string) {
    this.name = name
  }

  leads (at: number): boolean {
    return at < this.validUntil
  }

  hear (at: number): void {
    if (this.pending === null) return
    const { sentAt, answer: [leads, token] } = this.pending
    this.pending = null
    if (leads === 0) this.validUntil = -Infinity
    else if (sentAt + LEASE_MS > at) {
      this.validUntil = sentAt + LEASE_MS
      this.token = token
    }
  }
}

/** Refuses who bears a smaller token than it has seen. */
class Resource {
  seen = 0
  /** Tokens by the time of their first accepted write. */
  readonly accepted: number[] = []

  write (token: number): boolean {
    if (token < this.seen) return false
    if (token > this.seen) this.accepted.push(token)
    this.seen = token
    return true
  }
}

type Act = 'ask' | 'hear' | 'lose' | 'write' | 'resign'
type Step =
  | { kind: 'pass', ms: number }
  | { kind: Act, who: number }
  | { kind: 'replicate' | 'failover' | 'forget' }
  | { kind: 'clock', ms: number }

const who = fc.nat(2)
const gentle: Array<fc.Arbitrary<Step>> = [
  fc.record({ kind: fc.constant('pass' as const), ms: fc.integer({ min: 1, max: 900 }) }),
  fc.record({ kind: fc.constantFrom('ask' as const, 'ask' as const, 'hear' as const, 'hear' as const, 'lose' as const, 'write' as const, 'resign' as const), who })
]
const rough: Array<fc.Arbitrary<Step>> = [
  ...gentle,
  fc.record({ kind: fc.constantFrom('replicate' as const, 'failover' as const, 'forget' as const) }),
  fc.record({ kind: fc.constant('clock' as const), ms: fc.integer({ min: 1, max: 5000 }) })
]

class Election {
  readonly redis = new LuaRedis()
  readonly processes = ['a', 'b', 'c'].map((name) => new Process(name))
  readonly resource = new Resource()
  /** Tokens in the order in which their terms were given. */
  readonly terms: Array<{ token: number, holder: string }> = []
  replica = this.redis.snapshot()
  /** On the monotonic clock that all processes share here; each reads its own. */
  now = 0
  both = 0

  step (step: Step): void {
    if (step.kind === 'pass') this.pass(step.ms)
    else if (step.kind === 'clock') this.redis.now += step.ms
    else if (step.kind === 'replicate') this.replica = this.redis.snapshot()
    else if ('who' in step) this.act(step.kind, this.processes[step.who]!)
    else {
      // It takes more than a microsecond.
      this.pass(1)
      this.redis.restore(step.kind === 'failover' ? this.replica : new Map())
    }
    if (this.processes.filter((one) => one.leads(this.now)).length > 1) this.both++
  }

  pass (ms: number): void {
    this.now += ms
    this.redis.now += ms
  }

  act (kind: Act, one: Process): void {
    if (kind === 'ask' && one.pending === null) {
      const [leads, token] = this.redis.run(stand, ['leader'], [one.name, LEASE_MS]) as [number, string, number]
      one.pending = { sentAt: this.now, answer: [leads, Number(token)] }
      if (leads === 1) this.term(Number(token), one.name)
    } else if (kind === 'hear') one.hear(this.now)
    else if (kind === 'lose') one.pending = null
    else if (kind === 'resign' && one.pending === null) {
      one.validUntil = -Infinity
      this.redis.run(resign, ['leader'], [one.name])
    // It may have stood still since it looked whether it leads: the resource has to tell.
    } else if (kind === 'write' && one.token > 0) this.resource.write(one.token)
  }

  term (token: number, holder: string): void {
    const last = this.terms.at(-1)
    if (last?.token === token && last.holder === holder) return
    if (this.terms.some((term) => term.token >= token)) throw new Error(`token ${token} of ${holder} after ${JSON.stringify(this.terms)}`)
    this.terms.push({ token, holder })
  }
}

function run (steps: Step[]): Election {
  const election = new Election()
  for (const step of steps) election.step(step)
  const { accepted } = election.resource
  // Nobody whose successor has written is ever accepted again.
  if (accepted.some((token, index) => index > 0 && token <= accepted[index - 1]!)) throw new Error(`accepted ${accepted}`)
  return election
}

t.test('without a fault of Redis no two ever lead at a time, whatever is late, lost or stands still', async (t) => {
  fc.assert(fc.property(fc.array(fc.oneof(...gentle), { minLength: 20, maxLength: 60 }), (steps) => run(steps).both === 0), { numRuns: 200 })
})

t.test('tokens grow with every term, and a resource that checks them refuses every old leader: failovers that lose terms, a Redis that lost all, clocks set forward', async (t) => {
  let both = 0
  // A term that its failover lost: chance alone may find none.
  const lost: Step[] = [{ kind: 'ask', who: 0 }, { kind: 'hear', who: 0 }, { kind: 'failover' }, { kind: 'ask', who: 1 }, { kind: 'hear', who: 1 }]
  fc.assert(fc.property(fc.array(fc.oneof(...rough), { minLength: 20, maxLength: 60 }), (steps) => { both += run(steps).both }), { numRuns: 200, examples: [[lost]] })
  t.ok(both > 0, `two led at a time in ${both} steps, which only the token tells apart`)
})

t.test('a clock of Redis that goes back keeps nobody from leading for longer than a lease', async (t) => {
  const election = new Election()
  election.act('ask', election.processes[0]!)
  election.redis.now -= 3_600_000
  election.act('ask', election.processes[1]!)
  election.processes[1]!.pending = null
  election.pass(LEASE_MS)
  election.act('ask', election.processes[1]!)
  t.equal(election.processes[1]!.pending!.answer[0], 1)
  t.ok(election.terms.length === 2 && election.terms[1]!.token > election.terms[0]!.token)
})
