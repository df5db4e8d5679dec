import assert from 'node:assert/strict'
import fc from 'fast-check'
import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import t from 'tap'
import { sharedRedis, uniqueName, waitFor } from '../../../test/helpers/index.ts'
import { inTurns, readEnded, readError, readReport, readTotals, withEnded, withoutEnded, TotalsSum, type Ended, type Family, type Gauges, type Report, type Totals } from '../src/formats/index.ts'
import { BoundedRegistry } from '../src/application/index.ts'
import { growing, registryGauges } from '../src/prometheus/application.ts'
import { bucketsInUse } from '../src/prometheus/buckets.ts'
import { build, data } from './build.ts'
import { parsePrometheus } from './prometheus-parser.ts'

interface Stats {
  path: string
  users: number
  connections: number
  messages: number
  rooms: number
  drops: { oversize: number, rateLimit: number, invalid: number, slow: number }
  lastActivity: number | null
}

const DROPS = { oversize: 1, rateLimit: 2, invalid: 3, slow: 4 }
const statsOf = (path: string, connections: number): Stats => ({ path, users: connections, connections, messages: 2 * connections, rooms: 0, drops: DROPS, lastActivity: connections === 0 ? null : connections })

/** Namespaces as ws-namespaces tells of them, the later the busier; their paths begin alike. */
function namespaces (count: number, pathLength: number): Record<string, Stats> {
  return Object.fromEntries(Array.from({ length: count }, (_, index) => {
    const number = String(index).padStart(5, '0')
    return [`rooms/${number}`, statsOf(`${'/ws/rooms/'.padEnd(Math.max(10, pathLength - 5), '%E6')}${number}`, index)] as const
  }))
}

const around = (limit: number) => fc.oneof(fc.integer({ min: 0, max: 3 }), fc.integer({ min: limit - 2, max: limit + 2 }), fc.integer({ min: limit + 3, max: 5 * limit }))
const sumTo = (count: number) => (count * count - count) / 2

t.test('what an instance reports can be read, at and over every bound', async (t) => {
  let local: Record<string, Stats> = {}
  const lengths = [999, 1000, 1001, 1002, 3000]
  const templates = lengths.flatMap((length) => ['a', 'b'].map((last) => `/${'x'.repeat(length - 2)}${last}`))
  const { app, parts } = await build(t, {
    plugins: (app) => { app.decorate('wsNamespaces', { local: () => local } as never) },
    routes: (app) => {
      for (const template of templates) app.get(template, async () => 'ok')
      app.get('/odd\nroute"', async () => 'ok')
      app.get(`/fails${'y'.repeat(2000)}`, async () => { throw Object.assign(new Error('z'.repeat(5000)), { code: 'c'.repeat(5000) }) })
    }
  })
  const { clusterMetrics } = app
  for (const template of templates) await app.inject(template)
  await app.inject('/odd%0Aroute%22')
  await app.inject(`/fails${'y'.repeat(2000)}`)
  const odd = [NaN, -Infinity, undefined, null, 'x'.repeat(20_000), { deep: [[{}]] }, [1, 'a'], new Date(NaN), () => 1, 10n]
  for (let i = 0; i < 250; i++) clusterMetrics.gauge(`${'g'.repeat(60)}${i}`, () => odd[i % odd.length], { reduce: i % 2 === 0 ? 'concat' : 'sum' })
  for (let i = 0; i < 250; i++) clusterMetrics.increment(`${'c'.repeat(60)}${i}`, Number.MAX_SAFE_INTEGER)
  for (let i = 0; i < 47; i++) clusterMetrics.provider(`${'p'.repeat(60)}${i}`, () => ({ [`key\n${i}`]: odd[i % 9], text: 'x'.repeat(16_000), ['k'.repeat(200)]: 1 }), { reduce: { text: 'concat' } })
  await parts.reporter.now()
  const { local: own, errors } = parts

  fc.assert(fc.property(around(1000), around(1000), (count, pathLength) => {
    local = namespaces(count, pathLength)
    const report = own.report()
    assert.deepEqual(readReport(JSON.stringify(report)), JSON.parse(JSON.stringify(report)))
    const { localConnections, localMessages, namespaces: listed } = report.instance.websockets
    assert.deepEqual([localConnections, localMessages], [sumTo(count), 2 * sumTo(count)], 'totals over all')
    assert.equal(listed.length, Math.min(count, 1000))
    assert.ok(listed.every(({ connections }) => connections >= count - 1000), 'the busiest are listed')
    assert.equal(new Set(listed.map(({ path }) => path)).size, listed.length, 'and stay apart')
  }), { numRuns: 30, examples: [[1001, 10], [1, 1001], [1000, 1000]] })

  const totals = own.totals()
  t.strictSame(readTotals(JSON.stringify(totals)), JSON.parse(JSON.stringify(totals)))
  t.equal(totals.series.filter(([, route]) => route.startsWith('/xx')).length, templates.length, 'long templates stay apart')
  t.equal(Object.keys(own.report().routes).filter((name) => name.startsWith('GET /xx')).length, templates.length)
  const [error] = errors.recent()
  t.strictSame(readError(JSON.stringify(error)), error)
})

t.test('whatever the application counts and says, its report can be read, and what is none is refused or left out, and said', async (t) => {
  const registry = new Registry()
  const { app, parts: { local, reporter }, lines } = await build(t, { options: { registry } })
  const { clusterMetrics } = app
  const argument = { code: 'FST_ERR_CLUSTER_METRICS_INVALID_ARGUMENT', statusCode: 400 }
  for (const by of ['2', [2], true, null, 2n, Object(2), Infinity, 1e17]) t.throws(() => clusterMetrics.increment('orders', by as never), { ...argument, message: /^by must be a number from 0 to 9007199254740991/ })
  for (const value of ['2', [2], true, null, 2n, Infinity]) t.throws(() => clusterMetrics.observe('seconds', value as never), argument)
  for (const value of [{}, [], () => 1, Symbol('x'), 2n]) t.throws(() => clusterMetrics.increment('orders', 1, { kind: value as never }), { ...argument, message: /^The label kind must be / })
  clusterMetrics.increment('orders', 2)
  clusterMetrics.increment('orders', 1, { kind: undefined, paid: null } as never)
  for (let i = 0; i < 3; i++) clusterMetrics.observe('huge', Number.MAX_VALUE)
  const huge = new Counter({ name: 'registry_huge_total', help: 'x', registers: [registry] })
  huge.inc(Number.MAX_VALUE)
  const wrong = { text: '15 MB', digits: '15', list: [1], object: { a: 1 }, yes: true, date: new Date(0) }
  for (const [name, value] of Object.entries(wrong)) clusterMetrics.gauge(name, () => value)
  clusterMetrics.gauge('none', () => null)
  clusterMetrics.gauge('texts', () => 'x', { reduce: 'concat' })
  clusterMetrics.provider('mail', () => ({ sent: '5', host: 'mx' }), { reduce: { sent: 'sum', host: 'first' } })
  clusterMetrics.provider('well', () => ({ sent: 5, oldest: null, host: 'mx' }), { reduce: { sent: 'sum', oldest: 'max', host: 'first' } })
  new Histogram({ name: 'twice', help: 'x', buckets: [1, 1, 5], registers: [registry] }).observe(0.5)
  new Histogram({ name: 'astray', help: 'x', buckets: [5, 1], registers: [registry] }).observe(3)
  new Histogram({ name: 'fine', help: 'x', buckets: [-1, 1], registers: [registry] }).observe(-3)
  new Gauge({ name: 'endless', help: 'x', registers: [registry] }).set(Infinity)
  await reporter.now()
  huge.reset()
  huge.inc(Number.MAX_VALUE)
  await reporter.now()
  t.not(readReport(JSON.stringify(local.report())), null)
  const totals = readTotals(JSON.stringify(local.totals()))
  t.not(totals, null)
  // Two such instances have ended.
  const ended = readEnded(withEnded(readEnded(null)!, [['a', totals], ['b', totals]], new Set()))
  t.equal(ended?.totals.families?.find(({ name }) => name === 'registry_huge_total')?.samples[0]?.[1][0], Number.MAX_VALUE)
  const { statistics } = await clusterMetrics.aggregate()
  t.same([statistics.counters.orders, statistics.gauges, statistics.components], [3, { texts: ['x'] }, { mail: { instances: 1, sent: 0, host: 'mx' }, well: { instances: 1, sent: 5, oldest: null, host: 'mx' } }])
  for (const scope of ['instance', 'cluster'] as const) {
    const text = parsePrometheus(await clusterMetrics.prometheus(scope))
    t.same(text.get('orders_total')?.lines.map(({ labels, value }) => [labels, value]), [[{}, 3]], 'a label without a value is none')
    t.same([...Object.keys(wrong), 'twice', 'astray', 'fine'].filter((name) => text.has(name)), ['fine'])
  }
  t.same(parsePrometheus(await clusterMetrics.prometheus('cluster')).get('cluster_metrics_left_out')?.lines.find(({ labels }) => labels.reason === 'value')?.value, 1)
  for (const fault of ['"gauge":"digits"', 'a gauge with reduce sum gives a number, not a string', '"component":"mail"', 'the field sent of a component with reduce sum gives a number, not a string', '"registry":"twice"']) t.ok(lines.some((line) => line.includes(fault)), fault)
})

t.test('an instance with more and longer namespaces than fit is seen by the others, and all its connections count', async (t) => {
  const link = { url: sharedRedis(), siteId: uniqueName(), env: 'test' }
  const local = namespaces(1003, 1001)
  const { app: other } = await build(t, { link, pmId: '0' })
  await build(t, { link, pmId: '1', options: { reportIntervalMs: 10_000 }, plugins: (app) => { app.decorate('wsNamespaces', { local: () => local } as never) } })
  const { statistics } = await waitFor(async () => {
    const seen = await data(other)
    return (seen.statistics.totalInstances === 2 || seen.statistics.skippedReports > 0) && seen
  }, { what: 'its report', timeoutMs: 60_000 })
  t.match(statistics, { totalInstances: 2, skippedReports: 0, totalWebSocketConnections: sumTo(1003), totalWebSocketMessages: 2 * sumTo(1003), totalWebSocketNamespaces: 1000 })
})

t.test('what a living instance counted is there also where its report has just expired, or cannot be read', async (t) => {
  const link = { url: sharedRedis(), siteId: uniqueName(), env: 'test' }
  const options = { reportIntervalMs: 60_000 }
  const { app: one, parts: { reporter, store } } = await build(t, { link, options, pmId: '0' })
  const { app: two, parts: { reporter: other } } = await build(t, { link, options, pmId: '1' })
  await waitFor(() => one.redisLink.isUp && two.redisLink.isUp, { what: 'Redis' })
  one.clusterMetrics.increment('orders', 5)
  one.clusterMetrics.increment('visits', 2, { page: 'home' })
  await reporter.now()
  await other.now()
  const seen = async () => {
    const { statistics: { counters, totalInstances, skippedReports } } = await data(two)
    return [counters.orders, counters.visits, totalInstances, skippedReports]
  }
  t.same(await seen(), [5, 2, 2, 0])
  const key = store.keys.instance(one.appCluster.bootId)
  const client = one.redisLink.client!
  await client.set(key, '{"startedAt":"of another release"}')
  t.same(await seen(), [5, 2, 1, 1])
  await client.del(key)
  t.same(await seen(), [5, 2, 1, 0])
})

t.test('the sum of those that ended is the sum of what they counted, in whatever order they are added and taken back', async () => {
  const totals = (seq: number, count: number, route: string): Totals => ({
    instanceId: 'web1:0', seq, counters: { orders: count, [route]: 1 }, process: { cpu: count }, series: [['GET', route, 200, count * 1.5, Array.from({ length: 15 }, (_, bucket) => bucket === count % 15 ? count : 0)]]
  })
  const instance = fc.record({ count: fc.integer({ min: 0, max: 1000 }), route: fc.constantFrom('/a', '/b', '/c') })
  fc.assert(fc.property(fc.array(instance, { minLength: 1, maxLength: 8 }), fc.array(fc.nat(7), { maxLength: 30 }), (instances, turns) => {
    let text: string | null = null
    const added = new Set<number>()
    for (const turn of turns) {
      const index = turn % instances.length
      const its = totals(index, instances[index]!.count, instances[index]!.route)
      const before: Ended = readEnded(text)!
      assert.equal(before.boots.get(`boot${index}`), added.has(index) ? index : undefined)
      text = added.has(index) ? withoutEnded(before, `boot${index}`, its) : withEnded(before, [[`boot${index}`, its]], new Set())
      assert.notEqual(readEnded(text)!.version, before.version)
      if (!added.delete(index)) added.add(index)
      const orders = [...added].reduce((sum, one) => sum + instances[one]!.count, 0)
      const after = readEnded(text)!
      assert.equal(after.totals.counters.orders ?? 0, orders)
      assert.equal(after.totals.process?.cpu ?? 0, orders)
      assert.equal(after.totals.series.reduce((sum, [, , , , buckets]) => sum + buckets.reduce((a, b) => a + b), 0), orders)
    }
  }))
})

t.test('no bucket of a histogram falls, whichever releases change the bounds and whichever instances end, and those of the living come back', async () => {
  const BOUNDS = [[1, 2, 5], [1, 5], [2, 3], [], ...Array.from({ length: 9 }, (_, i) => [1, 5, 10 + i])]
  const turn = fc.record({ what: fc.constantFrom('start', 'observe', 'observe', 'end'), which: fc.nat(20), value: fc.integer({ min: 0, max: 12 }) })
  fc.assert(fc.property(fc.array(turn, { maxLength: 60 }), (turns) => {
    const living = new Map<string, Family & { bounds: number[] }>()
    const totalsOf = (families: Family[]): Totals => ({ instanceId: '', counters: {}, series: [], families })
    const highest = new Map<string, number>()
    let ended = readEnded(null)!
    let observed = 0
    for (const [index, { what, which, value }] of turns.entries()) {
      const bootId = [...living.keys()][which % Math.max(1, living.size)]
      if (what === 'start' || bootId === undefined) {
        const bounds = BOUNDS[which % BOUNDS.length]!
        living.set(`boot${index}`, { name: 'h', help: 'H', type: 'histogram', bounds, samples: [[{}, new Array<number>(bounds.length + 2).fill(0)]] })
      } else if (what === 'observe') {
        const { bounds, samples: [[, values]] } = living.get(bootId) as unknown as { bounds: number[], samples: [[object, number[]]] }
        const bucket = bounds.findIndex((bound) => value <= bound)
        values[bucket === -1 ? bounds.length + 1 : bucket + 1]!++
        observed++
      } else {
        ended = readEnded(withEnded(ended, [[bootId, totalsOf([living.get(bootId)!])]], new Set()))!
        living.delete(bootId)
      }
      const parts = [...living.values()].map((family) => totalsOf([family]))
      const totals = new TotalsSum([...parts, ended.totals]).read()
      const [shown, ...others] = growing(totals, bucketsInUse(totals.families!, parts))
      if (shown === undefined) continue
      assert.equal(others.length, 0)
      const common = [...living.values()].map(({ bounds }) => bounds).reduce<number[] | null>((all, bounds) => all?.filter((bound) => bounds.includes(bound)) ?? bounds, null)
      if (common !== null) assert.deepEqual(shown.bounds, common)
      let count = 0
      for (const [place, inBucket] of shown.samples[0]![1].slice(1).entries()) {
        const le = String(shown.bounds![place] ?? '+Inf')
        count += inBucket
        assert.ok(inBucket >= 0 && count >= (highest.get(le) ?? 0), `le=${le} fell from ${highest.get(le)} to ${count}`)
        highest.set(le, count)
      }
      assert.equal(count, observed)
    }
  }), { numRuns: 300 })
})

t.test('a sum that a newer release wrote is neither read nor replaced, and beyond the bound of routes the sum is kept', async (t) => {
  for (const text of ['', 'x', '1 {', '1 {"format":2,"boots":[],"totals":{}}', '{"format":1}', '1 {"format":1,"boots":{},"totals":{"instanceId":"","counters":{},"series":[]}}']) t.equal(readEnded(text), null, text)
  let ended = readEnded(null)!
  for (let i = 0; i < 12; i++) {
    const series = Array.from({ length: 1000 }, (_, route): Totals['series'][number] => ['GET', `/${i}/${route}`, 200, 1, [1, ...new Array<number>(14).fill(0)]])
    ended = readEnded(withEnded(ended, [[`boot${i}`, { instanceId: 'web1:0', counters: {}, series }]], new Set()))!
  }
  t.equal(ended.totals.series.length, 5001)
  t.equal(ended.folded, 1000, 'and it is counted, as the most of one instance')
  const other = (route: number): Totals['series'][number] => ['GET', `/x/${route}`, 200, 1, [1, ...new Array<number>(14).fill(0)]]
  t.equal(readEnded(withEnded(ended, ['a', 'b', 'c'].map((bootId) => [bootId, { instanceId: 'web1:0', counters: {}, series: Array.from({ length: 1500 }, (_, route) => other(route)) }]), new Set()))!.folded, 1500, 'the same routes of many are no more')
  const families = Array.from({ length: 5001 }, (_, id): Family['samples'][number] => [{ id: String(id) }, [1]])
  const folded = (samples: Family['samples'], before = readEnded(null)!) => readEnded(withEnded(before, [['one', { instanceId: '', counters: {}, series: [], families: [{ name: 'a_total', help: '', type: 'counter', samples }] }]], new Set()))!
  t.equal(folded([], folded(families)).folded, 1, 'of labels too, and once')
  t.equal(ended.totals.series.reduce((sum, [, , , , [first]]) => sum + first!, 0), 12_000)
  const many = readEnded(withEnded(ended, Array.from({ length: 3000 }, (_, i) => [`old${i}`, null]), new Set()))!
  const kept = readEnded(withEnded(many, [['one', null]], new Set(['old0'])))!
  t.ok(kept.boots.has('old0') && kept.boots.has('one') && !kept.boots.has('old1') && kept.boots.size < 1100, 'who is in the index is remembered')
})

t.test('a label without a value, as the release before wrote it, is the same series as none', async (t) => {
  const totals = (labels: Record<string, string>): Totals => ({ instanceId: 'web1:0', counters: {}, series: [], families: [{ name: 'jobs_total', help: '', type: 'counter', samples: [[labels, [1]]] }] })
  const before = readEnded(`1 ${JSON.stringify({ format: 1, boots: [['old', 1]], totals: totals({ kind: '', queue: 'a' }) })}`)!
  const ended = readEnded(withEnded(before, [['new', totals({ queue: 'a' })]], new Set(['old', 'new'])))!
  t.same(ended.totals.families?.[0]?.samples, [[{ queue: 'a' }, [2]]])
  t.same(readEnded(withoutEnded(ended, 'old', totals({ queue: 'a', kind: '' })))!.totals.families?.[0]?.samples, [[{ queue: 'a' }, [1]]], 'and is taken back from it')
  for (const rule of ['sum', 'instance'] as const) {
    const report = (bootId: string, labels: Record<string, string>) => ({ instanceId: 'web1:0', bootId, labelled: [{ name: 'depth', help: '', rule, samples: [[labels, 2]] }] }) as unknown as Report
    const [family] = registryGauges([report('old', { kind: '', instance: '' }), report('new', {})])
    t.same(family?.samples, rule === 'sum' ? [['', {}, 4]] : ['old', 'new'].map((boot) => ['', { instance: 'web1:0', boot }, 2]))
  }
})

t.test('of a registry with more metrics than readers take as many are told, and the sum of those that ended stays readable', async (t) => {
  const grows = (prefix: string, count: number): Family[] => Array.from({ length: count }, (_, i) => ({ name: `${prefix}${i}_total`, help: '', type: 'counter', samples: [[{}, [1]]] }))
  const gauges = Array.from({ length: 6000 }, (_, i): Gauges => ({ name: `gauge${i}`, help: '', rule: 'sum', samples: [[{}, 1]] }))
  const totalsOf = (families: Family[]): Totals => ({ instanceId: 'web1:0', counters: {}, series: [], families })
  for (const maxSeries of [2000, 50_000]) {
    const { families, labelled, cut } = new BoundedRegistry(maxSeries).take({ grows: grows('a', 6000), gauges, unknown: new Set(), exemplars: new Map() })
    t.ok(readTotals(JSON.stringify(totalsOf(families))), `${maxSeries}`)
    t.ok(labelled.length <= 5000)
    t.equal(families.length + labelled.length + cut.size, 12_000, 'what is cut is said')
  }
  let ended = readEnded(null)!
  for (const prefix of ['a', 'b', 'c']) ended = readEnded(withEnded(ended, [[prefix, totalsOf(grows(prefix, 2000))]], new Set()))!
  t.equal(ended?.totals.families?.length, 5000)
})

t.test('reading what hundreds of instances say lets others run', async (t) => {
  let turns = 0
  const read: number[] = []
  const reading = inTurns(Array.from({ length: 40 }, (_, i) => i), (item, index) => {
    t.equal(item, index)
    read.push(item)
    const since = performance.now()
    while (performance.now() - since < 1);
  })
  const other = (): void => {
    turns++
    if (read.length < 40) setImmediate(other)
  }
  other()
  await reading
  t.equal(read.length, 40)
  t.ok(turns >= 2, `${turns} turns of others`)
})
