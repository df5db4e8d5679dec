import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { costs, siteOf } from '../benchmarks/plan/model.js'
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
  aggregate: times,
  ...topology === 'single' && {
    deploy: { seconds: 3, commandsEach: 400, kibEach: 9, cpuMsEach: 10 },
    presence: { users: 1000, joinMs: 20, listMs: 10, online: times, idle: cost },
    loss: { lost: 1, seenMs: 5000, usersGoneMs: 5100, cpuMs: 20, seconds: 5, longestPingMs: 20, pingP99Ms: 5, writeP99Ms: 30 }
  }
})
/** As the bench would have measured them. */
const figures = {
  latency: of({ workers: 4, mongo: 'a database', rows: { 'session read': times, aggregation: times }, request: { perSecond: 5000, workerUs: 150, redisUs: 20, redisBytes: 500 } }),
  memory: of({
    planned: { 'health report': 500, 'history message': null },
    aggregates: { 1000: 250 },
    rows: ['presence entry', 'health report', 'cached value', 'history message'].map((kind) => ({ kind, count: 100_000, redis: 500, process: kind === 'health report' ? null : 100, alone: null }))
  }),
  members: of({ rows: [row('single', 64), row('single', 400), row('cluster', 64)], failed: ['400 members, cluster: Error: it was too slow'], load: { readsEach: 1, messages: 10, writes: 1 }, users: 1000, leaseMs: 5000 }),
  carry: of({
    sessions: { count: 1_000_000, madePerSecond: 8000, redisMib: 1250, bytesEach: 1311, keys: 3_000_000, readP50: 0.1, readP99: 1, countMs: 2000 },
    sockets: { wanted: 100_000, count: 90_000, workers: 8, openedPerSecond: 3000, bytesEach: 5000, redisBytesEach: 0, idleUsEachPerSecond: 1, deliveryUs: 5, toAllMs: 400 }
  })
}
const partOf = (text: string, name: string) => new RegExp(`<!-- plan:${name} -->\\n([^]*?)<!-- /plan:${name} -->`).exec(text)?.[1] ?? ''

t.test('every figure of the page is as it was measured, and says when and by which command', async (t) => {
  t.equal(fill(page, measured), page)
  // A part that nobody has measured yet stands empty.
  for (const [text, parts] of [[page, MARKS.filter((name) => partOf(page, name) !== '')], [fill(page, figures), MARKS]] as const) {
    for (const name of parts) {
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

t.test('what is beyond a measurement is marked as extrapolated', async (t) => {
  const { session, socket, request, member } = costs(figures)
  for (const users of SIZES) {
    const site = siteOf(figures, users)
    const line = (name: string) => site.lines.find((one) => one.name === name)!
    for (const [name, upTo] of [['sessions', session.upTo], ['sockets at the busiest hour', socket.upTo], ['requests a second', request.upTo]] as const) {
      t.equal(line(name).extrapolated, line(name).value > upTo, `${name} of ${users}`)
    }
    const isBeyond = site.lines.some(({ extrapolated }) => extrapolated) || line('workers').value > member.upTo
    for (const { name, extrapolated } of site.lines.filter(({ name }) => name.startsWith('Redis') || name === 'workers')) t.equal(extrapolated, isBeyond, `${name} of ${users}`)
    const text = siteText(site)
    t.equal(text.split('(extrapolated)').length - 1, site.lines.filter(({ extrapolated }) => extrapolated).length)
  }
})

t.test('more users never need less, and each number is one', async (t) => {
  const sites = SIZES.map((users) => siteOf(figures, users))
  for (const [index, { lines, users }] of sites.entries()) {
    for (const [at, { name, value }] of lines.entries()) {
      t.ok(Number.isFinite(value) && value >= 0, `${name} of ${users}`)
      const before = sites[index - 1]?.lines[at]!.value ?? 0
      if (name !== 'memory of a worker for sockets') t.ok(value >= before, `${name} of ${users}`)
    }
    t.ok(lines.find(({ name }) => name === 'workers')!.value >= 2, 'one may die')
  }
  t.match(siteOf(figures, 100, { primary: 0.000001 }).redis, /Cluster of \d+ primaries/)
})

t.test('what grows with the square of the members is told', async (t) => {
  const cpu = (power: number) => growth({ rows: [64, 400].map((members) => ({ ...row('cluster', members), idle: { ...cost, core: members ** power } })) }).find(({ name }) => name === 'idle: CPU of Redis')!
  t.match([cpu(1), cpu(2), cpu(3)].map(({ exponent, isWithin }) => [Math.round(exponent), isWithin]), [[0, true], [1, true], [2, false]])
})

t.test('npm run capacity answers for a number of users, and says what it wants where that makes no sense', async (t) => {
  const capacity = (...args: string[]) => spawnSync(process.execPath, [`${root}benchmarks/plan/capacity.js`, ...args], { encoding: 'utf8', timeout: 30_000 })
  const isMeasured = ['latency', 'memory', 'members', 'carry'].every((part) => part in measured)
  const { status, stdout, stderr } = capacity('--users=100000', '--online=0.2')
  if (isMeasured) t.equal(stdout.trim(), siteText(siteOf(measured, 100_000, { online: 0.2 })))
  else t.match([status, stderr], [69, /npm run bench -- plan/])
  for (const args of [[], ['--users='], ['--users=0'], ['--users=many'], ['--users=1e999'], ['--users=10', '--sockets=-1'], ['--user=10'], ['10']]) {
    const answer = capacity(...args)
    t.match([answer.status, answer.stdout, answer.stderr], [64, '', /npm run capacity -- --users=N/], args.join(' '))
  }
})
