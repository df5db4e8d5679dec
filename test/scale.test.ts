import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { ASSUMPTIONS } from '../benchmarks/plan/assumptions.js'
import { siteOf } from '../benchmarks/plan/model.js'
import { fill, growth, MARKS, siteText, USERS } from '../benchmarks/plan/page.js'

const root = fileURLToPath(new URL('..', import.meta.url))
const page = readFileSync(`${root}docs/scale.md`, 'utf8')
const measured = JSON.parse(readFileSync(`${root}benchmarks/plan/figures.json`, 'utf8'))
const SIZES = [1, 1000, ...USERS, 10_000_000, 100_000_000]

const of = (figures: object) => ({ command: 'npm run bench -- plan --short', date: '2026-11-30', machine: '2 cores, Node 20.20.2, Redis 7.0.15', figures })
const times = { p50: 1, p99: 2, samples: 100 }
const cost = { commands: 100, kib: 10, core: 0.01 }
const row = (topology: string, members: number) => ({
  topology,
  members,
  idle: cost,
  loaded: { ...cost, core: 0.02, kib: 20 },
  broadcast: times,
  throughput: { messages: 1000, deliveries: 4000 },
  write: times,
  ...topology === 'single' && { floor: times },
  aggregate: times,
  ...topology === 'single' && {
    deploy: { seconds: 3, commandsEach: 400, kibEach: 9, cpuMsEach: 10 },
    presence: { users: 1000, joinMs: 20, listMs: 10, online: times, idle: cost },
    loss: { lost: 1, seenMs: 5000, usersGoneMs: 5100, cpuMs: 20, seconds: 5, longestPingMs: 20, pingP99Ms: 5, writeP99Ms: 30 }
  }
})
/** Of how many there are measurements: more than a site of 10,000 users has. */
const MEASURED = { sessions: 1_000_000, sockets: 90_000, requests: 5000, members: 400, messages: 10, 'presence entry': 100_000, 'health report': 100_000, 'health history point': 100_000, 'cached value': 100_000, 'history message': 100_000 }
const KINDS = ['presence entry', 'health report', 'health history point', 'cached value', 'history message'] as const
/** As the bench would have measured them, of so many. */
const measuredUpTo = (counts: Partial<typeof MEASURED> = {}, upTo = { ...MEASURED, ...counts }) => ({
  latency: of({ workers: 4, mongo: 'a database', rows: { 'session read': times, aggregation: times }, request: { perSecond: upTo.requests, workerUs: 150, redisUs: 20, redisBytes: 500 } }),
  memory: of({
    planned: { 'health report': 500, 'history message': null },
    aggregates: { 1000: 250 },
    rows: KINDS.map((kind) => ({ kind, count: upTo[kind], redis: 500, process: kind.startsWith('health') ? null : 100, alone: null }))
  }),
  members: of({ rows: [row('single', Math.ceil(upTo.members / 4)), row('single', upTo.members), row('cluster', 64)], failed: ['400 members, cluster: Error: it was too slow'], load: { readsEach: 1, messages: upTo.messages, writes: 1 }, users: 1000, leaseMs: 5000 }),
  carry: of({
    sessions: { count: upTo.sessions, madePerSecond: 8000, redisMib: 1250, bytesEach: 1311, keys: 3_000_000, readP50: 0.1, readP99: 1, countMs: 2000 },
    sockets: { wanted: 100_000, count: upTo.sockets, workers: 8, openedPerSecond: 3000, bytesEach: 5000, redisBytesEach: 0, idleUsEachPerSecond: 1, deliveryUs: 5, toAllMs: 400 }
  }),
  people: of({ count: upTo.sockets, workers: 8, room: 20, openedPerSecond: 2000, openUs: 500, openRedisUs: 50, bytesEach: 8000, redisBytesEach: 300, idleUsEachPerSecond: 1, messagesPerSecond: upTo.messages, messageRedisUs: 100, messageRedisBytes: 2000, deliveryUs: 50 })
})
const figures = measuredUpTo()
const partOf = (text: string, name: string) => new RegExp(`<!-- plan:${name} -->\\n([^]*?)<!-- /plan:${name} -->`).exec(text)?.[1] ?? ''

t.test('every figure of the page is as it was measured, and says when and by which command', async (t) => {
  t.equal(fill(page, measured), page)
  for (const text of [page, fill(page, figures)]) {
    for (const name of MARKS) {
      const part = partOf(text, name)
      t.match(part, /^`npm run bench -- plan( --short)?`, \d{4}-\d\d-\d\d, \d+ cores, Node [^\n]+:\n/, name)
      t.match(part, /^\| .+ \|$/m, name)
      t.notMatch(part, /NaN|undefined|null|Infinity/, name)
    }
  }
  t.match(partOf(fill(page, figures), 'bounds'), /Not measured to the end: 400 members, cluster: Error: it was too slow\./)
})

t.test('a part that was not measured stays as it was; a page without its place is refused', async (t) => {
  const empty = MARKS.map((name) => `<!-- plan:${name} -->\nas it was\n<!-- /plan:${name} -->`).join('\n')
  t.equal(fill(empty, {}), empty)
  t.equal(fill(fill(empty, figures), figures), fill(empty, figures))
  t.throws(() => fill('', figures), { message: /plan:/ })
})

t.test('what is beyond a measurement, and what is made of it, is marked as extrapolated, and nothing else', async (t) => {
  const data = ['Redis: data', 'Redis: maxmemory', 'Redis: primaries']
  const work = ['Redis: work', 'Redis: network', 'Redis: primaries']
  const workers = ['workers', 'servers of 8 workers', 'memory of a worker for sockets', 'reconnectWindowMs at least', ...data, ...work]
  const assumed = { sessions: 1, online: 0.1, requests: 0.1, messages: 0.01, room: 20, sockets: 500, workers: 2, cached: 10_000, history: 100_000, points: 360 }
  // 10,000 users have 10,000 sessions, 1000 sockets, 100 requests and 10 messages a second, and 2 workers, to which each message goes.
  const cases: Array<[just: Partial<typeof MEASURED>, tooFew: Partial<typeof MEASURED>, marked: string[]]> = [
    [{ sessions: 10_000 }, { sessions: 9999 }, ['sessions', ...data]],
    [{ sockets: 1000 }, { sockets: 999 }, ['sockets at the busiest hour', ...workers]],
    [{ requests: 100 }, { requests: 99 }, ['requests a second', ...workers]],
    [{ members: 2 }, { members: 1 }, workers],
    [{ members: 2, messages: 10 }, { members: 2, messages: 9 }, work],
    [{ 'presence entry': 1000 }, { 'presence entry': 999 }, data],
    [{ 'health report': 2 }, { 'health report': 1 }, data],
    [{ 'health history point': 720 }, { 'health history point': 719 }, data],
    [{ 'cached value': 10_000 }, { 'cached value': 9999 }, data],
    [{ 'history message': 100_000 }, { 'history message': 99_999 }, data]
  ]
  for (const [just, tooFew, expected] of cases) {
    const marked = (counts: Partial<typeof MEASURED>) => siteOf(measuredUpTo(counts), 10_000, assumed).lines.filter(({ extrapolated }) => extrapolated).map(({ name }) => name)
    t.same(marked(just), [], `measured: ${JSON.stringify(just)}`)
    t.same(marked(tooFew).sort(), [...new Set(expected)].sort(), `measured: ${JSON.stringify(tooFew)}`)
  }
  for (const users of SIZES) {
    const site = siteOf(figures, users)
    t.equal(siteText(site).split('(extrapolated)').length - 1, site.lines.filter(({ extrapolated }) => extrapolated).length)
  }
})

t.test('what all members share is on one primary, and the others are counted without it', async (t) => {
  const assumed = { online: 0.1, requests: 0.000_001, cached: 1, history: 1, primary: 1000, sockets: 1_000_000 }
  const at = (messages: number, requests = assumed.requests) => {
    const { lines, redis, isTooMuch } = siteOf(figures, 10_000, { ...assumed, messages, requests })
    return [lines.find(({ name }) => name === 'Redis: primaries')!.value, redis.match(/Cluster of (\d+)/)?.[1] ?? '1', isTooMuch]
  }
  t.same(at(0.01), [1, '1', false])
  // Ten times the messages that are too much for one primary want no more primaries.
  t.same([at(100), at(1000)], [[3, '3', true], [3, '3', true]])
  // 100,000 requests a second at 20 µs are two cores: four primaries at half a core, and one for the messages.
  t.same(at(0.01, 100), [5, '5', false])
})

t.test('the history of an instance is counted, for as long as it is kept', async (t) => {
  const data = (points: number) => siteOf(figures, 10_000, { points }).lines.find(({ name }) => name === 'Redis: data')!.value
  t.equal(Math.round((data(1360) - data(360)) * 2 ** 20), 2 * 1000 * 500, 'two workers, a thousand points each of 500 bytes')
})

t.test('more users never need less, and each number is one', async (t) => {
  const sites = SIZES.map((users) => siteOf(figures, users))
  for (const [index, { lines, users }] of sites.entries()) {
    for (const [at, { name, value }] of lines.entries()) {
      t.ok(Number.isFinite(value) && value >= 0, `${name} of ${users}`)
      const before = sites[index - 1]?.lines[at]!.value ?? 0
      if (!/^(memory of a worker|reconnectWindowMs)/.test(name)) t.ok(value >= before, `${name} of ${users}`)
    }
    t.ok(lines.find(({ name }) => name === 'workers')!.value >= 2, 'one may die')
  }
  t.match(siteOf(figures, 100, { primary: 0.000001 }).redis, /Cluster of [\d,]+ primaries/)
})

const lineOf = (name: string, users: number, given = {}, of: Parameters<typeof siteOf>[0] = figures) => siteOf(of, users, given).lines.find((line) => line.name === name)!

t.test('what few members cost is taken from the numbers that were measured, not from the largest alone', async (t) => {
  const idle = (members: number, core: number) => ({ ...row('single', members), idle: { ...cost, core }, loaded: { ...cost, core, kib: 20 } })
  const rows = { ...figures, members: of({ ...figures.members.figures, rows: [idle(4, 0.008), idle(16, 0.02), idle(400, 0.2)] }) }
  const core = (workers: number) => Number(lineOf('Redis: work', 100, { workers, requests: 0, messages: 0 }, rows).value.toPrecision(4))
  t.same([2, 4, 10, 16, 208, 400, 800].map(core), [0.004, 0.008, 0.014, 0.02, 0.11, 0.2, 0.4])
  // The page's own table beside its model: so many members, and nothing else, cost what they did.
  for (const { members, topology, idle } of measured.members.figures.rows) {
    if (topology === 'single') t.ok(Math.abs(lineOf('Redis: work', 1, { workers: members, requests: 0, messages: 0 }, measured).value / idle.core - 1) < 0.01, `${members} members`)
  }
})

t.test('a Cluster is not promised for what one server costs', async (t) => {
  const dear = { ...figures, members: of({ ...figures.members.figures, rows: [row('single', 400), { ...row('cluster', 400), idle: { ...cost, core: 0.05 }, loaded: { ...cost, core: 0.06 } }] }) }
  const work = (primary: number) => lineOf('Redis: work', 10_000, { primary, workers: 400, messages: 0, requests: 0 }, dear)
  t.same([work(8).value, work(0.001).value], [0.01, 0.05])
  t.same([lineOf('Redis: work', 10, { primary: 0.001 }, dear).extrapolated, lineOf('Redis: work', 10, {}, dear).extrapolated], [true, false], 'requests were measured on one server')
})

t.test('a site without sockets or messages, with work of its own, or with a number of workers, is one too', async (t) => {
  const without = siteOf(figures, 10_000, { online: 1, tabs: 0 })
  t.same(without.lines.filter(({ name }) => /socket/.test(name)).map(({ value }) => value), [0, 0])
  t.equal(lineOf('Redis: network', 10_000, { tabs: 0 }).value, lineOf('Redis: network', 10_000, { messages: 0 }).value, 'nobody hears a message')
  t.equal(lineOf('sockets at the busiest hour', 10_000, { tabs: 2 }).value, 2000)
  // 1000 requests a second of 10 ms are 10 cores, at half a core 20 workers, beside what the plugins take.
  const { value, why } = lineOf('workers', 10_000, { online: 1, handler: 10 })
  t.match([value, why], [21, /^0\.5 of a core each: \d+% for requests$/])
  t.same([lineOf('workers', 10_000, { workers: 30 }).value, lineOf('workers', 10_000, { workers: 30 }).why], [30, 'as many as you said'])
  t.equal(lineOf('workers', 100, { room: 1e9, messages: 1 }).value, lineOf('workers', 100, { room: 10, messages: 1 }).value, 'a room has no more sockets than there are')
})

t.test('the sockets of a lost server come back no faster than the others, and Redis, can take them beside their work', async (t) => {
  const windowOf = (users: number, given: object) => lineOf('reconnectWindowMs at least', users, { online: 1, requests: 0, messages: 0, ...given }).value
  t.equal(windowOf(1000, {}), 2000, 'the default is enough')
  // 10,000 on two workers: 5000 openings of 500 µs are 2.5 s of the other's core, of which idle sockets take a little.
  const idle = windowOf(10_000, {})
  t.ok(idle > 2500 && idle < 2700, `${idle} ms`)
  // With 0.4 cores of work they have 0.6 of it.
  const busy = windowOf(10_000, { requests: 0.01, handler: 4 })
  t.ok(busy > 2500 / 0.6 && busy < 2700 / 0.57, `${busy} ms`)
  // 800,000 on 80 workers, eight of them on each of eleven servers: 80,000 openings of 50 µs are 4 s of Redis.
  const many = windowOf(800_000, {})
  t.ok(many > 4000 && many < 8000, `${many} ms`)
})

t.test('who is left where a server is lost carries the work of all', async (t) => {
  for (const handler of [0, 1, 5, 20, 100]) {
    const of = (name: string) => lineOf(name, 10_000, { online: 1, handler }).value
    const [workers, servers] = [of('workers'), of('servers of 8 workers')]
    t.ok(1000 * handler / 1000 <= 0.75 * (workers - Math.ceil(workers / servers)), `${handler} ms: ${workers} workers on ${servers} servers`)
  }
})

t.test('one server may go, however many there are', async (t) => {
  t.same([2, 8, 9, 16, 17, 400].map((workers) => lineOf('servers of 8 workers', 100, { workers }).value), [2, 2, 3, 3, 4, 51])
})

t.test('the cost for each member is judged by n log n, and so, beside it, is that of all together', async (t) => {
  const cpu = (of: (members: number) => number) => growth({ rows: [64, 400].map((members) => ({ ...row('cluster', members), idle: { ...cost, core: of(members) } })) }).find(({ name }) => name === 'idle: CPU of Redis')!
  const judged = [(n: number) => n, (n: number) => n ** 1.1, (n: number) => n ** 2, (n: number) => n ** 2.1, (n: number) => n ** 2.5].map((of) => {
    const { exponent, isWithin, isTotalWithin } = cpu(of)
    return [Math.round(exponent * 10) / 10, isWithin, isTotalWithin]
  })
  t.same(judged, [[0, true, true], [0.1, true, true], [1, true, false], [1.1, true, false], [1.5, false, false]])
  t.match(partOf(fill(page, figures), 'members-growth'), /\| cost \| members \| for each member: exponent \| at most n log n \| for all: exponent \| at most n log n \|/)
})

t.test('npm run capacity answers for a number of users, and says what it wants where that makes no sense', async (t) => {
  const capacity = (...args: string[]) => spawnSync(process.execPath, [`${root}benchmarks/plan/capacity.js`, ...args], { encoding: 'utf8', timeout: 30_000 })
  t.equal(capacity('--users=100000', '--online=0.2').stdout.trim(), siteText(siteOf(measured, 100_000, { online: 0.2 })))
  const bad: Array<[args: string[], says: RegExp]> = [
    [[], /--users is missing/],
    [['--users'], /--users/],
    ...['', '0', '-5', '1.5', '1,000,000', '1_000_000', '100k', '1M', '0x10', ' 5', '1e999', '1e30', 'Infinity', 'NaN', 'many'].map((text): [string[], RegExp] => [[`--users=${text}`], /--users must be a whole number of 1 or more, up to 10,000,000,000/]),
    [['--users=1', '--users=2'], /--users is given more than once/],
    ...['2', '0', '-0.1', '50%'].map((text): [string[], RegExp] => [['--users=10', `--online=${text}`], /--online must be a number above 0, up to 1, and is/]),
    [['--users=10', '--busy=2'], /--busy must be a number above 0, up to 1/],
    [['--users=10', '--headroom=0.5'], /--headroom must be a number of 1 or more/],
    [['--users=10', '--workers=1'], /--workers must be a whole number of 2 or more/],
    [['--users=10', '--sockets=0.5'], /--sockets must be a whole number of 1 or more/],
    [['--users=10', '--primary=8GB'], /--primary must be a number above 0, and is "8GB"/],
    [['--user=10'], /--user/],
    [['10'], /10/]
  ]
  for (const [args, says] of bad) {
    const answer = capacity(...args)
    t.match([answer.status, answer.stdout, answer.stderr], [64, '', says], args.join(' '))
    t.match(answer.stderr, /npm run capacity -- --users=N/)
  }
  t.equal(capacity('--users=1e6', '--messages=0', '--history=0', '--cached=0', '--points=0', '--requests=0').status, 0)
  for (const help of ['--help', '-h']) {
    const { status, stdout, stderr } = capacity(help)
    t.match([status, stderr], [0, ''])
    for (const [name, { what }] of Object.entries(ASSUMPTIONS)) t.ok(stdout.includes(`--${name}=`) && stdout.includes(what), name)
  }
})
