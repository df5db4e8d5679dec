import t from 'tap'
import { addSparse, bucketOf, BUCKETS, emptyHistogram, percentiles, toSparse } from '../src/formats/histogram.ts'
import { Minutes } from '../src/requests/minutes.ts'
import { formatUptime } from '../src/process/facts.ts'
import { resolveOptions } from '../src/options.ts'
import { redact } from '../src/failures/redact.ts'
import { reduce } from '../src/formats/reduce.ts'
import { Series } from '../src/requests/series.ts'
import { parsePrometheus } from './prometheus-parser.ts'

/** The same numbers at each run. */
function random (seed: number): () => number {
  let state = seed
  return () => (state = (state * 1103515245 + 12345) % 2147483648) / 2147483648
}

const exact = (sorted: number[], share: number) => sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)]!

t.test('merged percentiles are within 5% of the pooled samples, however skewed the load', async (t) => {
  const next = random(7)
  // Four instances: a fast busy one, a slow idle one, one with a long tail, one with two humps.
  const shapes: Array<[count: number, draw: () => number]> = [
    [50_000, () => 0.2 + next()],
    [500, () => 400 + 2000 * next()],
    [5000, () => 3 * (1 - next()) ** -1.2],
    [8000, () => next() < 0.5 ? 5 + next() : 90 + 10 * next()]
  ]
  const merged = emptyHistogram()
  const pooled: number[] = []
  const averaged: number[] = []
  for (const [count, draw] of shapes) {
    const own = emptyHistogram()
    for (let i = 0; i < count; i++) {
      const ms = draw()
      own[bucketOf(ms)]!++
      pooled.push(ms)
    }
    averaged.push(percentiles(own).p99 / shapes.length)
    addSparse(merged, toSparse(own))
  }
  pooled.sort((a, b) => a - b)
  const found = percentiles(merged)
  for (const [name, share] of [['p50', 0.5], ['p95', 0.95], ['p99', 0.99]] as const) {
    const wanted = exact(pooled, share)
    t.ok(Math.abs(found[name] - wanted) / wanted <= 0.05, `${name}: ${found[name]} for ${wanted}`)
  }
  const average = averaged.reduce((a, b) => a + b)
  const wanted = exact(pooled, 0.99)
  t.ok(Math.abs(average - wanted) / wanted > 0.5, `averaging would say ${average} for ${wanted}`)
})

t.test('every latency has a bucket, and every percentile a number', async (t) => {
  for (const ms of [-1, 0, NaN, 0.001, 0.01, 1e9, Infinity]) t.ok(bucketOf(ms) >= 0 && bucketOf(ms) < BUCKETS, `${ms}`)
  t.same(percentiles(emptyHistogram()), { p50: 0, p95: 0, p99: 0 })
  const one = emptyHistogram()
  addSparse(one, `5 2 999999999 9 ${BUCKETS} 9 6`)
  addSparse(one, '')
  t.equal(one.reduce((a, b) => a + b), 2, 'buckets that nobody can have written are left out')
})

t.test('minutes are whole counts that may be written twice, and what Redis missed is written later', async (t) => {
  const series = new Series('GET', '/a:b', 200)
  const minutes = new Minutes()
  const minute = 60_000_000
  series.add(1)
  minutes.collect([series], minute + 5)
  series.add(1)
  minutes.collect([series], minute + 59_999)
  minutes.collect([series], minute + 59_999)
  const first = minutes.unsaved()
  t.same(first, [[minute, new Map([['/a:b:200', 2]])]])
  series.add(1)
  minutes.collect([series], minute + 60_000)
  minutes.saved(first)
  t.same(minutes.unsaved(), [[minute + 60_000, new Map([['/a:b:200', 1]])]])
  series.add(1)
  minutes.collect([series], minute + 60_001)
  minutes.saved([[minute + 60_000, new Map([['/a:b:200', 1]])]])
  t.equal(minutes.unsaved().length, 1, 'what was counted while it was written is still to be written')
  t.equal(minutes.last(2, minute + 60_002).length, 2)
  minutes.collect([series], minute + 61 * 60_000)
  t.equal(minutes.last(60, minute + 61 * 60_000).length, 0, 'an hour is kept')
})

t.test('values of the instances become one', async (t) => {
  t.equal(reduce('sum', [1, null, 2, undefined, 'x']), 3)
  t.equal(reduce('avg', [1, 3]), 2)
  t.equal(reduce('max', [1, 3]), 3)
  t.equal(reduce('min', [1, 3]), 1)
  t.equal(reduce('first', [null, 'a', 'b']), 'a')
  t.equal(reduce('count', ['a', null, 'b']), 2)
  t.same(reduce('concat', [['a'], 'b', ['c', 'd']]), ['a', 'b', 'c', 'd'])
  for (const how of ['max', 'min', 'first'] as const) t.equal(reduce(how, []), null, how)
})

t.test('secrets are gone from texts', async (t) => {
  const env = { SESSION_SECRET: 'a secret, of several words!', MONGODB_URI: 'mongodb://ann:p%40ss99@db1/shop', HOME: '/home/ann', PORT: '8080' }
  for (const [text, secret] of [
    ['cannot decrypt with a secret, of several words! today', 'a secret, of several words!'],
    ['connect mongodb://ann:p%40ss99@db1/shop failed', 'p%40ss99'],
    ['auth of ann with p@ss99 failed', 'p@ss99'],
    ['redis://:other-password@cache:6379 refused', 'other-password'],
    ['password=hunter22 is wrong', 'hunter22'],
    ['Authorization: Bearer abc.def.ghi', 'abc.def.ghi'],
    ['token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.sig-1', 'eyJzdWIiOiIxIn0'],
    ['sent to ann@example.com', 'ann@example.com'],
    ['key AKIAIOSFODNN7EXAMPLEAKIAIOSFODNN7EXAMPLE', 'AKIAIOSFODNN7EXAMPLE']
  ] as const) {
    t.notMatch(redact(text, env), secret, text)
    t.match(redact(text, env), '[redacted]')
  }
  t.equal(redact('ENOENT: no such file /srv/app/a.txt on port 8080', env), 'ENOENT: no such file /srv/app/a.txt on port 8080')
})

t.test('options', async (t) => {
  const code = 'FST_ERR_CLUSTER_METRICS_INVALID_OPTION'
  for (const [options, name] of [
    [{ nonsense: 1 }, 'nonsense'], [{ reportIntervalMs: 0 }, 'reportIntervalMs'], [{ reportIntervalMs: NaN }, 'reportIntervalMs'],
    [{ reportIntervalMs: 20_000, ttlMs: 30_000 }, 'ttlMs'], [{ ttlMs: 5000, reportIntervalMs: 1000, keepMs: 4000 }, 'keepMs'],
    [{ authorize: true }, 'authorize'], [{ isDraining: 1 }, 'isDraining'], [{ mongo: {} }, 'mongo'], [{ registry: {} }, 'registry'],
    [{ routePrefix: 'api' }, 'routePrefix'], [{ dashboardPath: '/a?b' }, 'dashboardPath'], [{ dashboardPath: true }, 'dashboardPath']
  ] as const) {
    t.throws(() => resolveOptions(options as object), { code, message: new RegExp(`option ${name} `) }, JSON.stringify(options))
  }
  const resolved = resolveOptions({ reportIntervalMs: 20_000, version: undefined })
  t.match(resolved, { ttlMs: 60_000, keepMs: 3_600_000, routePrefix: '/api/1', dashboardPath: '/admin/cluster', prometheusPath: '/metrics' })
  t.ok(Object.isFrozen(resolved))
})

t.test('uptime as people say it', async (t) => {
  t.equal(formatUptime(12345), '3h 25m 45s')
  t.equal(formatUptime(0), '0s')
  t.equal(formatUptime(90_000), '1d 1h 0m 0s')
})

t.test('the parser of the tests refuses what a scraper refuses', async (t) => {
  const head = '# HELP a_total x\n# TYPE a_total counter\n'
  t.equal(parsePrometheus(`${head}a_total{b="c\\"\\n"} 1\n`).get('a_total')?.lines[0]?.labels.b, 'c"\n')
  for (const text of [
    'a_total 1\n', `${head}a_total 1`, `${head}a_total 1\na_total 1\n`, `${head}a_total x\n`, `${head}b_total 1\n`, `${head}a_total{b="c"d="e} 1\n`,
    `${head}a_total{b="c\\x"} 1\n`, `${head}${head}`, '# TYPE a gauge\na 1\n', '# HELP a x\n# TYPE a counter\na 1\n',
    '# HELP h x\n# TYPE h histogram\nh_bucket{le="1"} 2\nh_bucket{le="+Inf"} 1\nh_sum 1\nh_count 1\n'
  ]) t.throws(() => parsePrometheus(text), text)
})
