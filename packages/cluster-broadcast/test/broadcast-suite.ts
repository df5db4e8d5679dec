import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { temporaryFolder, uniqueName, waitFor, type Topology } from '../../../test/helpers/index.ts'
import type { AskResult, Gap, Member, OnceResult } from '../src/index.ts'
import { heard, instances, proxies, range, termsIn, type Instance, type Term } from './instances.ts'

type Four = [first: Instance, second: Instance, third: Instance, behindProxy: Instance]

const LEASE_MS = 5000

/**
 * What the package promises on every topology, with processes of their own. They are started once, because starting is
 * what costs most; the tests that end some of them come last.
 */
export async function broadcastSuite (t: Test, start: (t: Test) => Promise<Topology>): Promise<void> {
  const topology = await start(t)
  const siteId = uniqueName()
  const { nat, all: proxied } = await proxies(t, topology)
  const four = await instances(t, topology, 4, { siteId, proxied: { index: 3, nat }, options: { channels: { moves: { replay: false } } } }) as Four
  const [first, second, third, behind] = four
  const gaps = (one: Instance) => one.call<Gap[]>('events', 'gap')
  const leaves = (one: Instance) => one.call<Member[]>('events', 'leave')

  t.test('each message reaches every subscriber of four processes exactly once, in its publisher\'s order', async (t) => {
    for (const one of four) {
      await one.call('fail', 'n:*')
      await one.call('listen', 'all', ['n:count', 'n:*', 'n:count', '*'])
      await one.call('listen', 'others', ['n:count'], { omitSelf: true })
    }
    const delivered = await Promise.all(four.map((one) => one.call<string[]>('burst', 'n:count', 1, 500)))
    t.ok(delivered.flat().every((outcome) => outcome === 'cluster'))
    for (const listener of four) {
      for (const publisher of four) t.same(await heard(listener, 'all', publisher, 500), range(1, 500), 'overlapping patterns, beside handlers that fail')
      const others = await listener.call<Record<string, number[]>>('numbers', 'others')
      t.same(Object.keys(others).sort(), four.filter((one) => one !== listener).map(({ bootId }) => bootId).sort(), 'omitSelf')
      t.same(await gaps(listener), [])
    }
  })

  t.test('what is not logged is heard once, in order, from the moment that subscribe() resolves', async (t) => {
    for (const one of [first, second, third]) await one.call('listen', 'moves', ['moves:a', 'moves:*', '*'])
    await Promise.all(four.map((one) => one.call('burst', 'moves:a', 1, 300)))
    for (const listener of [first, second, third]) for (const publisher of four) t.same(await heard(listener, 'moves', publisher, 300), range(1, 300))
  })

  t.test('one subscriber cut off while 1000 numbered messages are published: it misses none, gets none twice, in order', async (t) => {
    await behind.call('listen', 'cut', ['cut:count'])
    const streamed = first.call('stream', 'cut:count', 1, 1000, 3)
    await heard(behind, 'cut', first, 50)
    for (const proxy of proxied) proxy.reset()
    await heard(behind, 'cut', first, 200)
    for (const proxy of proxied) proxy.cut()
    await sleep(500)
    for (const proxy of proxied) proxy.mend()
    await heard(behind, 'cut', first, 500)
    for (const proxy of proxied) proxy.mute('down')
    await streamed
    for (const proxy of proxied) proxy.mend()
    t.same(await heard(behind, 'cut', first, 1000), range(1, 1000))
    const published = await first.call<Array<{ delivered: string }>>('published')
    t.ok(published.every(({ delivered }) => delivered === 'cluster'), 'the others did not notice')
    t.same(await gaps(behind), [], 'no gap, because all was replayed')
  })

  t.test('the log trimmed past what a subscriber missed: one gap event, then every message again', async (t) => {
    await behind.call('listen', 'trim', ['trim:count'])
    await waitFor(async () => await behind.call('mode') === 'cluster')
    for (const proxy of proxied) proxy.cut()
    for (let from = 1; from <= 3000; from += 100) await first.call('burst', 'trim:count', from, from + 99)
    for (const proxy of proxied) proxy.mend()
    await waitFor(async () => await behind.call('mode') === 'cluster', { what: 'its return', timeoutMs: 20_000 })
    await first.call('burst', 'trim:count', 3001, 3010)
    const got = await heard(behind, 'trim', first, 1010)
    t.same(got, range(3011 - got.length, 3010), 'what the log still held, in order, and what came later')
    t.ok(got.length < 1500)
    t.same(await gaps(behind), [{ missed: 3010 - got.length }], 'one gap, which says how many')
    t.same(await gaps(second), [], 'nobody else had one')
  })

  t.test('Redis killed and restarted while 1000 numbered messages are published: none missing, none twice, in order', async (t) => {
    for (const one of four) await one.call('listen', 'kill', ['kill:count'])
    const before = await Promise.all(four.map(gaps))
    // Who was cut off above for longer than its lease has left then.
    const left = await leaves(first)
    await first.call('forget')
    const streamed = first.call('stream', 'kill:count', 1, 1000, 5)
    await heard(second, 'kill', first, 100)
    await topology.kill()
    await waitFor(async () => await first.call('mode') === 'local', { timeoutMs: 5000, what: 'mode local' })
    await topology.restart()
    const back = performance.now()
    await Promise.all(four.map((one) => waitFor(async () => await one.call('mode') === 'cluster', { timeoutMs: 20_000, what: 'mode cluster' })))
    t.comment(`mode cluster ${Math.round(performance.now() - back)} ms after Redis was back`)
    await streamed
    await first.call('burst', 'kill:count', 1001, 1100)
    const published = await first.call<Array<{ delivered: string, data: number }>>('published')
    const sure = [...published.filter(({ delivered }) => delivered === 'cluster').map(({ data }) => data).sort((a, b) => a - b), ...range(1001, 1100)]
    t.ok(sure.length < 1100, 'some were published during the outage, and say so')
    t.same(await heard(first, 'kill', first, 1100), range(1, 1100), 'the publisher itself got each once')
    for (const one of [second, third, behind]) {
      const got = await heard(one, 'kill', first, sure.length)
      t.same(got, [...new Set(got)].sort((a, b) => a - b), 'none twice, in order')
      t.same(sure.filter((number) => !got.includes(number)), [], 'none missing')
    }
    t.same(await Promise.all(four.map(gaps)), before, 'no gap, because all was replayed')
    t.same(await leaves(first), left, 'nobody left because Redis was away')
  })

  t.test('Redis lost its data: one gap each, nobody leaves, and all keep talking', async (t) => {
    for (const one of four) await one.call('listen', 'empty', ['empty:count'])
    const before = (await Promise.all(four.map(gaps))).map(({ length }) => length)
    const left = await Promise.all(four.map(leaves))
    await topology.kill()
    t.equal((await first.call<{ delivered: string }>('publish', 'empty:count', 0)).delivered, 'local')
    await topology.restart()
    for (const node of topology.nodes) await node.connect().flushall().catch(() => {})
    await waitFor(async () => {
      await first.call('publish', 'empty:count', 1)
      const lengths = (await Promise.all(four.map(gaps))).map(({ length }) => length)
      return lengths.every((length, index) => length > before[index]!)
    }, { timeoutMs: 30_000, everyMs: 200, what: 'a gap on each' })
    await Promise.all(four.map((one) => waitFor(async () => await one.call('mode') === 'cluster' && (await one.call<Member[]>('members')).length === 4, { timeoutMs: 20_000 })))
    for (const one of four) await one.call('listen', 'talk', ['talk:count'])
    await Promise.all(four.map((one) => one.call('burst', 'talk:count', 1, 50)))
    for (const listener of four) for (const publisher of four) t.same(await heard(listener, 'talk', publisher, 50), range(1, 50))
    await sleep(LEASE_MS / 2)
    t.same(await Promise.all(four.map(leaves)), left, 'nobody left')
    t.equal((await heard(first, 'empty', first, 1)).filter((data) => data === 0).length, 1, 'once on the publisher during the outage')
    t.same((await Promise.all(four.map(gaps))).map(({ length }) => length), before.map((length) => length + 1), 'one gap each')
  })

  t.test('once: 4 processes, 100 rounds, each ran exactly once', async (t) => {
    const ran = await Promise.all(four.map((one) => one.call<number>('rounds', 'round', 100, 60_000)))
    t.equal(ran.reduce((a, b) => a + b), 100, String(ran))
    t.same(await Promise.all(four.map((one) => one.call<number>('rounds', 'round', 100, 60_000))), [0, 0, 0, 0], 'not again within its time')
  })

  t.test('a member that joins during asks is neither lost nor counted twice; of two with one instanceId both answer', async (t) => {
    // The fifth process boots meanwhile, on the same cores.
    const patient = { timeoutMs: 30_000 }
    const asks = first.call<AskResult[]>('asks', 'q:join', 300, patient)
    const [twin] = await instances(t, topology, 1, { siteId, pmId: '1', expected: 5 }) as [Instance]
    const results = await asks
    t.ok(results.every(({ missing }) => missing.length === 0), 'nobody is asked before it can hear')
    t.ok(results.every(({ replies }) => new Set(replies.map(({ bootId }) => bootId)).size === replies.length), 'nobody twice')
    const { replies } = await first.call<AskResult>('ask', 'q:join', 0, patient)
    t.same(replies.map(({ bootId }) => bootId).sort(), [...four, twin].map(({ bootId }) => bootId).sort())
    t.same(replies.map(({ instanceId }) => instanceId).sort(), ['test:0', 'test:1', 'test:1', 'test:2', 'test:3'])
    t.same(await third.call('duplicates'), ['test:1'])
  })

  t.test('once: where the holder is killed, exactly one other runs it within its time', async (t) => {
    const [holder] = await instances(t, topology, 1, { siteId, pmId: 'holder', expected: 5 }) as [Instance]
    const runs = uniqueName()
    const ttlMs = 4000
    const pending = holder.call('once', 'killed', ttlMs, runs, 'hang').catch(() => null)
    await waitFor(async () => (await first.call<string[]>('runs', runs)).length === 1)
    const others = [first, second, third].map((one) => one.call<OnceResult<number>>('once', 'killed', ttlMs, runs))
    holder.kill('SIGKILL')
    const killed = performance.now()
    await pending
    const results = await Promise.all(others)
    const ms = performance.now() - killed
    t.equal(results.filter(({ ran }) => ran).length, 1)
    t.ok(ms < ttlMs + 2000, `after ${Math.round(ms)} ms`)
    t.equal((await first.call<string[]>('runs', runs)).length, 2, 'the killed one and its successor')
    t.equal((await first.call<string[]>('runs', `${runs}:over`)).length, 1)
    await waitFor(async () => (await first.call<Member[]>('events', 'leave')).some(({ bootId }) => bootId === holder.bootId), { timeoutMs: 2 * LEASE_MS })
  })

  // How terms are kept does not depend on the topology.
  if (topology.name === 'single') {
    t.test('leader: killed, then stopped and continued: no two lead at a time, and tokens grow', async (t) => {
      const file = join(temporaryFolder(t), 'terms')
      const [killed] = await instances(t, topology, 1, { siteId, pmId: 'leader', expected: 5 }) as [Instance]
      const term = async (number: number): Promise<Term> => {
        await waitFor(() => (termsIn(file)[number - 1]?.notes ?? 0) > 10, { what: `term ${number}`, timeoutMs: 20_000 })
        return termsIn(file)[number - 1]!
      }
      await killed.call('lead', 'jobs', { leaseMs: 1500 }, file)
      t.equal((await term(1)).holder, killed.bootId)
      for (const one of [first, second, third]) await one.call('lead', 'jobs', { leaseMs: 1500 }, file)
      killed.kill('SIGKILL')
      const stopped = await term(2)
      const holder = four.find(({ bootId }) => bootId === stopped.holder)!
      holder.kill('SIGSTOP')
      await term(3)
      holder.kill('SIGCONT')
      // It answers when it has had its turn.
      await holder.call('mode')
      await sleep(100)
      for (const one of [first, second, third]) await one.call('resign', 'jobs')
      const terms = termsIn(file)
      t.equal(new Set(terms.map(({ holder }) => holder)).size, 3)
      for (const [index, { token, from }] of terms.slice(1).entries()) {
        t.ok(token > terms[index]!.token, 'a greater token')
        t.ok(from > terms[index]!.to, `${from - terms[index]!.to} ms after the one before`)
      }
      await waitFor(async () => (await first.call<Member[]>('events', 'leave')).some(({ bootId }) => bootId === killed.bootId), { timeoutMs: 2 * LEASE_MS })
    })
  }

  t.test('ask: all members answer; a stopped one is missing after the time, a dead one as soon as it has left', async (t) => {
    await second.call('answer', 'q:a', { deep: [1] })
    await behind.call('answerError', 'q:a')
    const outcome = ({ instanceId, ...rest }: AskResult['replies'][number]) => [instanceId, 'error' in rest ? rest.error : rest.value]
    const all = await first.call<AskResult>('ask', 'q:a', 1, { timeoutMs: 10_000 })
    t.same(all.replies.map(outcome).sort(), [['test:0', undefined], ['test:1', { deep: [1] }], ['test:2', undefined], ['test:3', 'no answer']])
    t.same(all.missing, [])
    third.kill('SIGSTOP')
    const stopped = await first.call<AskResult & { ms: number }>('ask', 'q:a', 1, { timeoutMs: 1500 })
    t.same(stopped.missing, ['test:2'])
    t.equal(stopped.replies.length, 3)
    t.ok(stopped.ms >= 1490 && stopped.ms < 4000, `after ${stopped.ms} ms`)
    third.kill('SIGKILL')
    const dead = await first.call<AskResult & { ms: number }>('ask', 'q:a', 1, { timeoutMs: 60_000 })
    t.same(dead.missing, ['test:2'])
    t.ok(dead.ms < LEASE_MS + 5000, 'ended when the lease of the dead one ended')
  })

  t.test('members: who was killed is gone after its lease, who closes at once, and each leaves once', async (t) => {
    const begin = performance.now()
    const closeMs = await second.call<number>('close')
    t.ok(closeMs < 2000)
    await waitFor(async () => (await first.call<Member[]>('members')).length === 2)
    t.ok(performance.now() - begin < LEASE_MS - 1000, 'before any lease ended')
    // A heartbeat and more, in which a second event of one who left would come.
    await sleep(1500)
    for (const one of [first, behind]) {
      const left = (await one.call<Member[]>('events', 'leave')).map(({ bootId }) => bootId)
      t.equal(new Set(left).size, left.length, 'each once')
      t.same(left.slice(-2), [third.bootId, second.bootId])
    }
    for (const member of await first.call<Member[]>('members')) t.ok(member.lastSeenMs < LEASE_MS && member.pid > 0 && member.startedAt <= Date.now())
  })

  t.test('Redis frozen: mode local within 5 s, publishing goes on here, close() takes less than 2 s', async (t) => {
    await first.call('listen', 'frozen', ['frozen:a'])
    topology.freeze()
    const frozen = performance.now()
    await waitFor(async () => await first.call('mode') === 'local', { timeoutMs: 5000, what: 'mode local' })
    t.comment(`mode local after ${Math.round(performance.now() - frozen)} ms`)
    t.equal((await first.call<{ delivered: string }>('publish', 'frozen:a', 1)).delivered, 'local')
    t.same(await heard(first, 'frozen', first, 1), [1])
    t.ok(await behind.call<number>('close') < 2000)
    topology.thaw()
    await waitFor(async () => await first.call('mode') === 'cluster', { timeoutMs: 10_000, what: 'mode cluster' })
  })

  if (topology.name !== 'sentinel') return
  t.test('leader: Redis fails over: tokens grow, and somebody leads again', async (t) => {
    const file = join(temporaryFolder(t), 'terms')
    const [other] = await instances(t, topology, 1, { siteId, pmId: 'leader', expected: 2 }) as [Instance]
    for (const one of [first, other]) await one.call('lead', 'failover', { leaseMs: 1500 }, file)
    await waitFor(() => termsIn(file).length > 0)
    await topology.failover('')
    const notes = () => termsIn(file).reduce((sum, { notes }) => sum + notes, 0)
    const before = notes()
    await waitFor(() => notes() > before + 100, { what: 'somebody to lead after the failover', timeoutMs: 30_000 })
    for (const one of [first, other]) await one.call('resign', 'failover')
    const tokens = termsIn(file).map(({ token }) => token)
    t.same(tokens, tokens.toSorted((a, b) => a - b))
  })
}
