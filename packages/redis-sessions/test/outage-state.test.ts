import * as fc from 'fast-check'
import t from 'tap'
import { newId, refOf, tagOf, type SessionRef } from '../src/stores/ids.ts'
import { Outage, type Work } from '../src/stores/outage.ts'

// What policy memory decides in an outage, without stores and clocks.

const TAG = tagOf('u')
const refs = (count: number, tag = TAG) => Array.from({ length: count }, () => refOf(newId(tag))!)
const [a, b, c] = refs(3) as [SessionRef, SessionRef, SessionRef]
const [other] = refs(1, tagOf('v')) as [SessionRef]

/** An outage in which the process has these sessions. */
function outageWith (here: SessionRef[], refusesMs = 0): { outage: Outage, here: Set<SessionRef>, next: () => Work } {
  const set = new Set(here)
  const outage = new Outage((ref) => set.has(ref), refusesMs)
  outage.begin()
  return { outage, here: set, next: () => outage.next(() => [...set]) }
}

t.test('which store answers', async (t) => {
  const cases: Array<[what: string, act: (outage: Outage) => void, isHere: boolean, listsFrom: string]> = [
    ['Redis is away', () => {}, true, 'memory'],
    ['the replay is under way', (outage) => outage.replay(), false, 'both'],
    ['the session ended here', (outage) => { outage.endLater(a); outage.replay() }, true, 'both'],
    ['the group ended here', (outage) => { outage.endAllLater({ tag: TAG, at: 0 }); outage.replay() }, true, 'memory'],
    ['another session ended here', (outage) => { outage.endLater(b); outage.replay() }, false, 'both'],
    ['the logout is told', (outage) => { outage.endLater(a); outage.replay(); outage.toldEnd(a) }, false, 'both'],
    ['the replay is interrupted', (outage) => { outage.replay(); outage.interrupt() }, true, 'memory'],
    ['Redis was told everything', (outage) => { outage.endLater(a); outage.replay(); outage.finish() }, false, 'redis']
  ]
  for (const [what, act, isHere, listsFrom] of cases) {
    const { outage } = outageWith([])
    act(outage)
    t.equal(outage.isHere(a), isHere, what)
    t.equal(outage.listsFrom(TAG), listsFrom, what)
  }
  const { outage } = outageWith([a])
  outage.replay()
  t.equal(outage.isHere(a), true, 'not moved yet')
  t.equal(new Outage(() => true).isHere(a), false, 'no outage')
})

t.test('logouts are told first, then logout-alls, then the sessions, a hundred at once', async (t) => {
  const many = refs(150)
  const { outage, here, next } = outageWith(many)
  outage.endLater(a)
  outage.endAllLater({ tag: TAG, at: 0 })
  outage.replay()
  t.same(outage.untold, { logouts: 1, logoutAlls: 1 })
  t.same(next(), { kind: 'logouts', refs: [a] })
  outage.toldEnd(a)
  const work = next()
  t.same(work, { kind: 'logout-alls', lates: [{ tag: TAG, at: 0 }] })
  if (work.kind === 'logout-alls') outage.toldEndAll(work.lates[0]!, 7)
  t.same(next(), { kind: 'moves', refs: many.slice(0, 100) })
  outage.endLater(b)
  t.same(next(), { kind: 'logouts', refs: [b] }, 'between the slices too')
  outage.toldEnd(b)
  t.same(next(), { kind: 'moves', refs: many.slice(100) })
  t.same(next(), { kind: 'moves', refs: many.slice(0, 100) }, 'what is still here goes once more')
  outage.interrupt()
  t.same(next(), { kind: 'moves', refs: many.slice(0, 100) }, 'from the start')
  here.clear()
  outage.interrupt()
  t.same(next(), { kind: 'done' })
  t.ok(outage.followsLogout(b))
  t.notOk(outage.followsLogout(other))
})

t.test('a logout that comes again while it is told is told again', async (t) => {
  const { outage, next } = outageWith([])
  const late = { tag: TAG, at: 1 }
  outage.endLater(a)
  outage.endLater({ ...a })
  outage.toldEnd(a)
  t.equal(next().kind, 'logouts')
  outage.finish()
  outage.endAllLater(late)
  outage.endAllLater({ ...late, at: 2 })
  outage.toldEndAll(late, 7)
  t.same(next(), { kind: 'logout-alls', lates: [{ tag: TAG, at: 2 }] })
})

t.test('the end of a session that was sent is told once more, of one that was not sent only once', async (t) => {
  const { outage } = outageWith([a, b, c, other])
  for (const ref of [a, b, other]) outage.send(ref, 0)
  outage.end(a)
  outage.end(c)
  t.same([a, b, c].map((ref) => outage.isEnded(ref)), [true, false, false])
  outage.endAll(TAG, b)
  t.same([a, b, c, other].map((ref) => outage.isEnded(ref)), [true, false, false, false])
  outage.endAll(TAG)
  t.same([a, b, c, other].map((ref) => outage.isEnded(ref)), [true, true, false, false])
})

t.test('how a session is moved again', async (t) => {
  const cases: Array<[what: string, refusesMs: number, act: (outage: Outage) => void, after: number, creates: boolean]> = [
    ['for the first time', 0, () => {}, 0, true],
    ['its answer was lost', 0, (outage) => { outage.send(a, 0) }, 1, false],
    ['its answer was lost, and Redis refuses what ended', 1000, (outage) => { outage.send(a, 0) }, 499, true],
    ['its answer was lost long ago', 1000, (outage) => { outage.send(a, 0) }, 500, false],
    ['its answers were lost, at first long ago', 1000, (outage) => { outage.send(a, 0); outage.send(a, 400) }, 500, false],
    ['it arrived', 1000, (outage) => { outage.send(a, 0); outage.arrived(a) }, 1, false],
    ['in the next outage', 0, (outage) => { outage.send(a, 0); outage.arrived(a); outage.finish() }, 1, true],
    ['in the next attempt', 0, (outage) => { outage.send(a, 0); outage.interrupt() }, 1, false]
  ]
  for (const [what, refusesMs, act, after, creates] of cases) {
    const { outage } = outageWith([a], refusesMs)
    act(outage)
    t.equal(outage.send(a, after).creates, creates, what)
  }
})

t.test('a session that Redis refuses ended, but for one that a logout-all spared meanwhile', async (t) => {
  const cases: Array<[what: string, before: (outage: Outage) => void, meanwhile: (outage: Outage) => void, ended: boolean]> = [
    ['nothing happened', () => {}, () => {}, true],
    ['a logout-all spares it', () => {}, (outage) => outage.endAll(TAG, a), false],
    ['a logout-all spares another', () => {}, (outage) => outage.endAll(TAG, b), true],
    ['a logout-all spared it', () => {}, (outage) => { outage.endAll(TAG, a); outage.endedAll(TAG, 7, a); outage.stopAsking(a) }, false],
    ['that was before', (outage) => { outage.endAll(TAG, a); outage.endedAll(TAG, 7, a); outage.stopAsking(a) }, () => {}, true],
    ['one of two was before', (outage) => { outage.endAll(TAG, a); outage.endAll(TAG, a); outage.endedAll(TAG, 7, a); outage.stopAsking(a) }, () => {}, false],
    ['an older one is answered', (outage) => { outage.endedAll(TAG, 7, a) }, (outage) => outage.endedAll(TAG, 6, a), true],
    ['a logout-all that spares it failed', () => {}, (outage) => { outage.endAll(TAG, a); outage.stopAsking(a) }, true],
    ['a late logout-all spares it', () => {}, (outage) => outage.endAllLater({ tag: TAG, at: 0, except: a }), false],
    ['a late logout-all spares another', () => {}, (outage) => outage.endAllLater({ tag: TAG, at: 0, except: b }), true],
    ['a late logout-all spared it', () => {}, (outage) => outage.toldEndAll({ tag: TAG, at: 0, except: a }, 7), false]
  ]
  for (const [what, before, meanwhile, ended] of cases) {
    const { outage } = outageWith([a, b])
    before(outage)
    const move = outage.send(a, 0)
    meanwhile(outage)
    t.equal(outage.isRefused(a, move), ended, what)
    if (!ended) t.equal(outage.send(a, 1).creates, true, `${what}: it is made`)
  }
  const { outage } = outageWith([a], 1000)
  outage.send(a, 0)
  outage.arrived(a)
  const move = outage.send(a, 1)
  outage.endAll(TAG, a)
  t.equal(outage.isRefused(a, move), true, 'it was there, so it was logged out elsewhere')
})

t.test('a session that a logout-all spares waits for the watermark, and goes above it', async (t) => {
  const { outage, here, next } = outageWith([a, b])
  outage.replay()
  outage.endAll(TAG, a)
  t.same(next(), { kind: 'moves', refs: [b] })
  here.delete(b)
  t.same(next(), { kind: 'wait' })
  outage.endedAll(TAG, 7, a)
  outage.stopAsking(a)
  t.same(next(), { kind: 'moves', refs: [a] })
  t.equal(outage.send(a, 0).mark, 7)
  t.ok(outage.followsLogout(a))
  outage.finish()
  t.equal(outage.send(a, 0).mark, 0)
  outage.endedAll(TAG, 8, a)
  t.notOk(outage.followsLogout(a), 'no outage')
})

// The machine against a model of the other side: a Redis that is a set of hashes, carries out each command or not, and answers or not.
t.test('whatever arrives or is lost: what ended is out, and what is alive is in, or was doubtful', async () => {
  const act = fc.oneof(
    fc.nat(5).map((index) => ['end', index] as const),
    fc.nat(5).map((index) => ['endAll', index] as const),
    fc.nat(5).map((index) => ['elsewhere', index] as const),
    fc.constantFrom('carried out', 'answer lost', 'lost').map((fate) => ['work', fate] as const)
  )
  fc.assert(fc.property(fc.array(act, { maxLength: 40 }), (acts) => {
    const all = refs(6)
    const { outage, here, next } = outageWith(all)
    const there = new Set<SessionRef>()
    const alive = new Set(all)
    const doubtful = new Set<SessionRef>()
    const tell = (fate: string): boolean => {
      const work = next()
      if (work.kind === 'done' || work.kind === 'wait') return false
      if (fate === 'lost' && work.kind === 'moves') for (const ref of work.refs) if (outage.send(ref, 0).creates) doubtful.add(ref)
      if (fate !== 'lost') {
        if (work.kind === 'logouts') for (const ref of work.refs) { there.delete(ref); if (fate === 'carried out') outage.toldEnd(ref) }
        if (work.kind === 'logout-alls') {
          for (const late of work.lates) {
            for (const ref of there) if (ref !== late.except) there.delete(ref)
            if (fate === 'carried out') outage.toldEndAll(late, 7)
          }
        }
        if (work.kind === 'moves') {
          for (const ref of work.refs.filter((ref) => here.has(ref))) {
            if (outage.send(ref, 0).creates) there.add(ref)
            if (fate === 'carried out') { outage.arrived(ref); here.delete(ref) }
          }
        }
      }
      if (fate !== 'carried out') { outage.interrupt(); outage.replay() }
      return true
    }
    outage.replay()
    for (const [what, which] of acts) {
      const ref = all[which as number]!
      if (what === 'work') tell(which as string)
      else if (what === 'end') { here.delete(ref); alive.delete(ref); outage.endLater(ref) } else if (what === 'elsewhere') {
        if (there.delete(ref)) { alive.delete(ref) }
      } else if (alive.has(ref)) {
        for (const one of all) if (one !== ref) { here.delete(one); alive.delete(one) }
        outage.endAllLater({ tag: TAG, at: 0, except: ref })
      }
    }
    for (let left = 100; tell('carried out'); left--) if (left === 0) throw new Error('it does not end')
    for (const ref of all) {
      if (there.has(ref) && !alive.has(ref)) throw new Error('a session that ended is back')
      if (!there.has(ref) && alive.has(ref) && !doubtful.has(ref)) throw new Error('a session was not moved')
    }
  }), { numRuns: 300 })
})
