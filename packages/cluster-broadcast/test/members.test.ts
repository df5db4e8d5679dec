import t from 'tap'
import { Members, type MemberRecord } from '../src/membership/members.ts'

const record = (name: string): MemberRecord => ({ instanceId: `${name}:0`, serverId: name, bootId: name, pid: 1, startedAt: 1, leaseMs: 60_000 })
const listOf = (...names: string[]) => names.flatMap((name) => [name, JSON.stringify(record(name))])

/** A process that knows `z`, as of change 12. */
function known () {
  const told: string[] = []
  const members = new Members(record('own'), ({ bootId }) => told.push(`+${bootId}`), ({ bootId }) => told.push(`-${bootId}`))
  members.applyList('e.0', 12, listOf('own', 'z'), members.mv)
  return { members, told }
}

t.test('an answer that a leave overtook does not revive who left', async (t) => {
  const { members, told } = known()
  const asked = members.mv
  members.applyChange('e.0 13 - z')
  members.applyList('e.0', 12, listOf('own', 'z'), asked)
  t.same(told, ['+z', '-z'])
  members.applyList('e.0', 13, [], members.mv)
  members.applyChange(`e.0 14 + ${JSON.stringify(record('w'))}`)
  t.same(told, ['+z', '-z', '+w'])
})

t.test('an answer older than its question: Redis went back, and what follows counts from there', async (t) => {
  const { members, told } = known()
  members.applyChange(`e.0 13 + ${JSON.stringify(record('w'))}`)
  members.applyChange('e.0 14 - z')
  members.applyList('e.0', 12, listOf('own', 'z'), members.mv)
  t.same(told, ['+z', '+w', '-z', '+z'], 'w has the time of a lease to come back')
  members.applyChange('e.0 13 - z')
  members.applyChange(`e.0 14 + ${JSON.stringify(record('v'))}`)
  t.same(told.slice(4), ['-z', '+v'])
  t.same(members.list().map(({ bootId }) => bootId).toSorted(), ['own', 'v', 'w'])
})

t.test('an answer without members tells of changes that are waited for, and asked for where they do not come', async (t) => {
  const { members, told } = known()
  members.applyList('e.0', 14, [], members.mv)
  t.ok(members.isBehind)
  t.equal(members.version, 'e.0 12', 'what it asks with')
  t.same(told, ['+z'])
  t.equal(members.applyChange('e.0 13 - z'), false)
  members.applyChange(`e.0 14 + ${JSON.stringify(record('w'))}`)
  t.notOk(members.isBehind)
  members.applyList('e.0', 15, [], members.mv)
  members.applyList('e.0', 15, listOf('own'), members.mv)
  t.notOk(members.isBehind)
  t.same(told, ['+z', '-z', '+w', '-w'])
})

t.test('an announcement that overtook the one before it, or the answer before it, waits for that', async (t) => {
  const { members, told } = known()
  t.equal(members.applyChange(`e.0 14 + ${JSON.stringify(record('w'))}`), false)
  t.same(told, ['+z'])
  t.equal(members.applyChange('e.0 13 - z'), true)
  t.same(told.slice(1), ['-z', '+w'])
  t.equal(members.applyChange(`e.0 17 + ${JSON.stringify(record('v'))}`), false)
  t.ok(members.isBehind)
  members.applyList('e.0', 16, listOf('own', 'w', 'x'), members.mv)
  t.same(told.slice(3), ['+x', '+v'])
  t.notOk(members.isBehind)
  members.applyChange(`e.0 19 + ${JSON.stringify(record('y'))}`)
  members.applyList('f.0', 2, listOf('own'), members.mv)
  t.notOk(members.isBehind, 'those of another log are dropped')
})
