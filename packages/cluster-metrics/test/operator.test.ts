import { mkdirSync, writeFileSync } from 'node:fs'
import { get } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { dirname, join } from 'node:path'
import { Counter, Gauge, Histogram, Registry, Summary } from 'prom-client'
import t from 'tap'
import { connect as connectRedis, sharedRedis, temporaryFolder, uniqueName, waitFor } from '../../../test/helpers/index.ts'
import { machine } from '../src/process/container.ts'
import { decodePoint, encodePoint } from '../src/formats/index.ts'
import { DAY_STEP_MS, dayPoint, mergeDay, mergeHistory, readDayPoint } from '../src/picture/index.ts'
import { Stalls } from '../src/process/runtime.ts'
import { versionOf } from '../src/process/version.ts'
import { redact, redactJson } from '../src/failures/redact.ts'
import type { ErrorEntry, HistoryPoint } from '../src/index.ts'
import { ask, build, data } from './build.ts'
import { HARMLESS, SECRETS } from './fixtures/secrets.ts'
import { parsePrometheus } from './prometheus-parser.ts'

// What whoever runs the application relies on: each test was once a wrong number, a lost process or a leaked secret.

t.setTimeout(240_000)
const link = () => ({ url: sharedRedis(), siteId: uniqueName(), env: 'test' })
const settled = { timeoutMs: 60_000 }
const scrape = async (app: Parameters<typeof ask>[0], url = '/metrics') => parsePrometheus((await ask(app, url)).body)
type Scraped = Awaited<ReturnType<typeof scrape>>
const value = (text: Scraped, name: string, labels: Record<string, string> = {}, series = name) => text.get(name)?.lines
  .find((line) => line.name === series && Object.entries(labels).every(([label, wanted]) => line.labels[label] === wanted))?.value

t.test('gauges may be async: they are awaited, and neither a throw, a rejection nor a hang hurts anybody', async (t) => {
  const { app, lines } = await build(t, { link: link(), options: { checkTimeoutMs: 100 } })
  const { clusterMetrics } = app
  clusterMetrics.gauge('later', async () => 7)
  clusterMetrics.gauge('rejects', async () => { throw new Error('password=hunter2 for the gauge') })
  clusterMetrics.gauge('throws', () => { throw new Error('no') })
  clusterMetrics.gauge('hangs', () => new Promise(() => {}))
  const text = await scrape(app)
  t.equal(value(text, 'later'), 7, 'at the first scrape')
  t.equal((await data(app)).statistics.gauges.later, 7)
  for (const name of ['rejects', 'throws', 'hangs']) t.notOk(text.has(name), name)
  await waitFor(async () => (value(await scrape(app), 'cluster_metrics_errors_total', { what: 'gauge' }) ?? 0) >= 3, settled)
  t.notOk(lines.some((line) => line.includes('hunter2')))
  await waitFor(async () => value(await scrape(app, '/metrics?scope=cluster'), 'later') === 7, settled)
})

t.test('what hangs is counted, told once and soon not shown any more; it is asked again, and is back when it answers', async (t) => {
  let hangs = false
  let calls = 0
  const answer = async <T>(value: T): Promise<T> => hangs ? new Promise(() => { calls++ }) : value
  const registry = new Registry()
  registry.registerMetric(new Gauge({ name: 'pool', help: 'Pool', registers: [], async collect () { this.set(await answer(3)) } }))
  const { app, lines } = await build(t, { options: { registry, checkTimeoutMs: 20, reportIntervalMs: 100, ttlMs: 400 } })
  app.clusterMetrics.gauge('queue', () => answer(7))
  app.clusterMetrics.provider('mailer', () => answer({ sent: 2 }), { reduce: { sent: 'sum' } })
  const seen = async () => {
    const text = await scrape(app)
    return { queue: value(text, 'queue'), pool: value(text, 'pool'), sent: (await data(app)).statistics.components.mailer?.sent }
  }
  const all = { queue: 7, pool: 3, sent: 2 }
  const becomes = (wanted: object) => waitFor(async () => JSON.stringify(await seen()) === JSON.stringify(wanted), { what: JSON.stringify(wanted), ...settled })
  await becomes(all)
  hangs = true
  await becomes({})
  const text = await scrape(app)
  for (const what of ['gauge', 'component', 'registry']) {
    t.ok(value(text, 'cluster_metrics_errors_total', { what })! >= 1, what)
    t.equal(lines.filter((line) => line.includes(`"a ${what} could not be read"`)).length, 1, `${what} is told once`)
  }
  t.match(lines.find((line) => line.includes('"registry":"pool"')), /no answer within 20 ms/)
  const before = calls
  await waitFor(() => calls >= before + 3, { what: 'each to be asked again', ...settled })
  hangs = false
  await becomes(all)
})

t.test('a check that hangs is down, and probes do not pile its calls up', async (t) => {
  const { app } = await build(t, { options: { registry: false, checkTimeoutMs: 5, reportIntervalMs: 600_000 } })
  const open: Array<() => void> = []
  app.clusterMetrics.check('disk', () => new Promise<void>((resolve) => { open.push(resolve) }))
  const probe = async () => (await ask(app, '/health')).json().checks.disk.status
  for (let i = 0; i < 12; i++) t.equal(await probe(), 'down')
  t.equal(open.length, 5)
  open[0]!()
  await probe()
  t.equal(open.length, 6, 'one that has answered makes room')
  for (const answer of open) answer()
  await waitFor(async () => {
    const asked = probe()
    await waitFor(() => open.length > 0 || undefined)
    for (const answer of open) answer()
    return await asked === 'up'
  }, { what: 'it to be up again', ...settled })
})

t.test('a check of which five calls never end is up again with its dependency, and stays up', async (t) => {
  const { app } = await build(t, { options: { registry: false, checkTimeoutMs: 20, reportIntervalMs: 100 } })
  let calls = 0
  app.clusterMetrics.check('disk', () => ++calls <= 5 ? new Promise(() => {}) : true)
  const probe = async () => (await ask(app, '/health')).json().checks.disk.status
  await waitFor(async () => await probe() === 'up', { what: 'it to be up again', ...settled })
  for (let i = 0; i < 6; i++) t.equal(await probe(), 'up')
})

t.test('a registry whose metrics throw, hang, or are meant for OpenMetrics breaks no scrape', async (t) => {
  const registry = new Registry()
  registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE as never)
  registry.setDefaultLabels({ app: 'shop' })
  const registers = [registry]
  new Counter({ name: 'sales_total', help: 'Sales', labelNames: ['kind'], registers, enableExemplars: true }).inc({ labels: { kind: 'a' }, value: 2, exemplarLabels: { trace: 't1' } as object })
  new Counter({ name: 'process_cpu_seconds_total', help: 'As prom-client collects it by default', registers }).inc(1)
  const times = new Histogram({ name: 'job_seconds', help: 'Jobs', buckets: [1, 2], labelNames: ['job'], registers })
  for (const seconds of [0.5, 1.5, 9]) times.observe({ job: 'x' }, seconds)
  new Summary({ name: 'size_bytes', help: 'Sizes', percentiles: [0.5], registers }).observe(3)
  registry.registerMetric(new Gauge({ name: 'broken', help: 'Throws', registers: [], collect () { throw new Error('token=abc123 broke it') } }))
  registry.registerMetric(new Gauge({ name: 'hanging', help: 'Hangs', registers: [], collect: () => new Promise<void>(() => {}) }))
  new Gauge({ name: 'odd', help: 'Not a number', registers }).set(NaN)
  const { app, lines } = await build(t, { link: link(), options: { registry, checkTimeoutMs: 100 } })
  const text = await scrape(app)
  t.equal(value(text, 'sales_total', { kind: 'a', app: 'shop' }), 2)
  t.equal(value(text, 'size_bytes', { quantile: '0.5' }), 3)
  t.same(['1', '2', '+Inf'].map((le) => value(text, 'job_seconds', { le, job: 'x' }, 'job_seconds_bucket')), [1, 2, 3])
  t.equal(value(text, 'job_seconds', {}, 'job_seconds_sum'), 11)
  for (const name of ['broken', 'hanging']) t.notOk(text.has(name), name)
  t.ok(value(text, 'cluster_metrics_errors_total', { what: 'registry' })! >= 2)
  t.equal(value(text, 'cluster_metrics_left_out', { reason: 'name' }), 1, 'ours is shown')
  t.notOk(lines.some((line) => line.includes('abc123')))

  registry.registerMetric(new Counter({ name: 'visits', help: 'No suffix', registers: [] }))
  const { body, headers } = await ask(app, '/metrics', { headers: { who: 'admin', accept: 'application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5' } })
  t.match(headers['content-type'], /^application\/openmetrics-text; version=1\.0\.0/)
  t.match(body, /\n# TYPE sales counter\nsales_total\{kind="a",app="shop"\} 2 # \{trace="t1"\} 2 \d/)
  t.match(body, /\n# TYPE visits counter\nvisits_total\{app="shop"\} 0\n/)
  t.ok(body.endsWith('\n# EOF\n'))
  await waitFor(async () => value(await scrape(app, '/metrics?scope=cluster'), 'job_seconds', { le: '2' }, 'job_seconds_bucket') === 2, settled)
})

t.test('the registries of all instances are one: counters and histograms summed for good, gauges by their rule, bounded', async (t) => {
  const shared = link()
  const start = async (pmId: string, buckets: number[]) => {
    const registry = new Registry()
    const registers = [registry]
    const counter = new Counter({ name: 'jobs_total', help: 'Jobs', labelNames: ['kind'], registers })
    const histogram = new Histogram({ name: 'job_seconds', help: 'Jobs', buckets, registers })
    const gauges = Object.fromEntries((['sum', 'first', 'min', 'max', 'average', 'omit'] as const).map((aggregator) => [aggregator, new Gauge({ name: `pool_${aggregator}`, help: 'Pool', aggregator, labelNames: ['db'], registers })]))
    const own = new Gauge({ name: 'own', help: 'Each', registers })
    const last = new Gauge({ name: 'newest', help: 'Newest', registers })
    const many = new Counter({ name: 'many_total', help: 'Too many', labelNames: ['id'], registers })
    const { app, parts, lines } = await build(t, { link: shared, pmId, options: { registry, reportIntervalMs: 600_000, maxSeries: 60, gaugeRules: { own: 'instance', newest: 'last' } } })
    return { app, parts, lines, counter, histogram, gauges, own, last, many }
  }
  const one = await start('0', [1, 2, 5])
  const two = await start('1', [1, 5])
  for (const [{ counter, histogram, gauges, own, last }, amount] of [[one, 1], [two, 3]] as const) {
    counter.inc({ kind: 'a' }, amount)
    for (const seconds of [0.5, 1.5, 9]) histogram.observe(seconds)
    for (const gauge of Object.values(gauges)) gauge.set({ db: 'main' }, amount)
    own.set(amount)
    last.set(amount)
  }
  for (let i = 0; i < 100; i++) two.many.inc({ id: `id${i}` })
  for (const { parts } of [one, two, one, two]) await parts.reporter.now()
  const text = await scrape(one.app, '/metrics?scope=cluster')
  t.equal(value(text, 'jobs_total', { kind: 'a' }), 4)
  t.same(text.get('job_seconds')?.lines.filter(({ name }) => name.endsWith('_bucket')).map(({ labels, value }) => [labels.le, value]), [['1', 2], ['5', 4], ['+Inf', 6]], 'by the bounds that both have')
  t.match(text.get('job_seconds')?.help, /^Jobs \(without the buckets 2, /, 'and says which are missing')
  t.equal(value(text, 'cluster_metrics_left_out', { reason: 'buckets' }), 1)
  const pool = (rule: string) => value(text, `pool_${rule}`, { db: 'main' })
  t.same([pool('sum'), pool('min'), pool('max'), pool('average'), pool('omit')], [4, 1, 3, 2, undefined])
  t.equal(value(text, 'own', { instance: 'web1:1' }), 3)
  t.ok([1, 3].includes(value(text, 'newest')!))
  t.ok(value(text, 'cluster_metrics_left_out', { reason: 'bound' })! > 40, 'what is cut is said')
  t.ok(two.lines.some((line) => /many_total \(\d+\).*raise maxSeries/.test(line)), 'by name')
  await two.app.close()
  const after = await scrape(one.app, '/metrics?scope=cluster')
  t.equal(value(after, 'jobs_total', { kind: 'a' }), 4, 'what it counted stays')
  t.equal(value(after, 'pool_sum', { db: 'main' }), 1, 'what it had does not')
  t.same(after.get('job_seconds')?.lines.filter(({ name }) => name.endsWith('_bucket')).map(({ labels, value }) => [labels.le, value]), [['1', 2], ['2', 3], ['5', 4], ['+Inf', 6]], 'the bucket that only one had is back')
})

t.test('whoever is asked answers alike, nothing is lost of two that bear one id, and no label takes the place of the target’s', async (t) => {
  const shared = link()
  const start = async (amount: number) => {
    const registry = new Registry()
    registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE as never)
    const registers = [registry]
    new Gauge({ name: 'own', help: 'Each', labelNames: ['instance', 'boot'], registers }).set({ instance: 'db1', boot: 'b' }, amount)
    new Counter({ name: 'calls_total', help: 'Calls', labelNames: ['job'], registers, enableExemplars: true }).inc({ labels: { job: 'nightly' }, value: amount, exemplarLabels: { trace: 't1' } as object })
    const { app, parts } = await build(t, { link: shared, options: { registry, reportIntervalMs: 600_000, gaugeRules: { own: 'instance' } } })
    app.clusterMetrics.gauge('leader', () => amount, { reduce: 'first' })
    app.clusterMetrics.increment('orders', amount, { instance: 'web9', exported_instance: 'x' })
    return { app, parts }
  }
  const both = [await start(1), await start(2)]
  for (const { parts } of [...both, ...both]) await parts.reporter.now()
  for (const { app } of both) {
    const text = await scrape(app, '/metrics?scope=cluster')
    t.same(text.get('own')?.lines.map(({ labels: { boot, ...labels }, value }) => [boot?.length, labels, value]).sort((a, b) => Number(a[2]) - Number(b[2])),
      [1, 2].map((amount) => [12, { exported_instance: 'db1', exported_boot: 'b', instance: 'web1:0' }, amount]))
    t.same(text.get('orders_total')?.lines.map(({ labels, value }) => [labels, value]), [[{ exported_instance: 'x', exported_exported_instance: 'web9' }, 3]])
    const { body } = await ask(app, '/metrics?scope=cluster', { headers: { who: 'admin', accept: 'application/openmetrics-text;version=1.0.0' } })
    t.match(body, /\ncalls_total\{exported_job="nightly"\} 3 # \{trace="t1"\}/)
    t.equal(value(await scrape(app), 'orders_total', { instance: 'web9' }), app === both[0]!.app ? 1 : 2, 'where Prometheus renames them itself, they are as they are')
    t.same([value(text, 'leader'), (await data(app)).statistics.gauges.leader], [1, 1], 'of the oldest')
  }
  await both[1]!.app.close()
  t.equal((await data(both[0]!.app)).statistics.counters.orders, 3, 'what it counted stays, with labels too')
})

t.test('own metrics have labels and buckets, and two names that Prometheus would see as one are an error', async (t) => {
  const shared = link()
  const { app, lines } = await build(t, { link: shared, options: { attributeNames: 'opentelemetry', registry: false }, routes: (scope) => { scope.get('/a', async () => 'a') } })
  const { clusterMetrics } = app
  await app.inject('/a')
  clusterMetrics.increment('orders', 2)
  clusterMetrics.increment('orders', 3, { kind: 'book', paid: true })
  clusterMetrics.histogram('basket', { buckets: [10, 100], help: 'Baskets' })
  for (const price of [5, 50, 500]) clusterMetrics.observe('basket', price, { shop: 1 })
  clusterMetrics.observe('wait', 0.02)
  for (let i = 0; i < 1500; i++) clusterMetrics.increment('flood', 1, { id: i })
  for (const url of ['/metrics', '/metrics?scope=cluster']) {
    const text = await waitFor(async () => {
      const text = await scrape(app, url)
      return text.has('flood_total') && text
    }, settled)
    t.same(text.get('orders_total')?.lines.map(({ labels, value }) => [labels, value]), [[{}, 2], [{ kind: 'book', paid: 'true' }, 3]])
    t.same(['10', '100', '+Inf'].map((le) => value(text, 'basket', { le, shop: '1' }, 'basket_bucket')), [1, 2, 3])
    t.equal(value(text, 'wait', { le: '0.025' }, 'wait_bucket'), 1)
    t.equal(value(text, 'flood_total', { id: '__other__' }), 500)
    t.equal(value(text, 'http_server_request_duration_seconds', { http_request_method: 'GET', http_route: '/a', http_response_status_code: '200' }, 'http_server_request_duration_seconds_count'), 1)
  }
  const taken = { code: 'FST_ERR_CLUSTER_METRICS_DUPLICATE' }
  t.throws(() => clusterMetrics.increment('orders_total'), taken)
  t.throws(() => clusterMetrics.gauge('orders_total', () => 1), taken)
  t.throws(() => clusterMetrics.gauge('basket_sum', () => 1), taken)
  t.throws(() => clusterMetrics.gauge('process_uptime_seconds', () => 1), taken)
  t.throws(() => clusterMetrics.increment('process_cpu_seconds'), taken)
  t.throws(() => clusterMetrics.observe('orders', 1), taken)
  t.throws(() => clusterMetrics.histogram('bad', { buckets: [2, 1] }), { code: 'FST_ERR_CLUSTER_METRICS_INVALID_ARGUMENT' })
  t.equal((await data(app)).statistics.counters.orders, 5, 'with labels and without')
  t.equal(lines.filter((line) => line.includes('"metric":"flood_total"')).length, 1, 'what is counted as another one is told once')
})

t.test('what is refused leaves no trace, and says what it wants', async (t) => {
  const { app: { clusterMetrics } } = await build(t, { options: { registry: false } })
  const argument = { code: 'FST_ERR_CLUSTER_METRICS_INVALID_ARGUMENT', statusCode: 400 }
  const name = { code: 'FST_ERR_CLUSTER_METRICS_INVALID_NAME', statusCode: 400 }
  for (const refused of [() => clusterMetrics.increment('x', -1), () => clusterMetrics.increment('x', NaN), () => clusterMetrics.observe('x', NaN), () => clusterMetrics.gauge('x', 5 as never), () => clusterMetrics.increment('x', 1, new Map() as never)]) t.throws(refused, argument)
  t.throws(() => clusterMetrics.increment('x', 1, { 'a-b': 1 }), name)
  t.throws(() => clusterMetrics.observe('x', 1, { le: 1 }), name)
  clusterMetrics.gauge('x', () => 1)
  const asked: Array<() => Promise<unknown>> = [
    () => clusterMetrics.history(0), () => clusterMetrics.history(1441), () => clusterMetrics.history(1.5), () => clusterMetrics.requests(61), () => clusterMetrics.requests(NaN),
    () => clusterMetrics.recentErrors('5' as never), () => clusterMetrics.recentErrors(101), () => clusterMetrics.prometheus('all' as never), () => clusterMetrics.prometheus('cluster', 'json' as never)
  ]
  for (const ask of asked) await t.rejects(ask() as Promise<never>, argument, String(ask))
  for (const add of ['on', 'once', 'addListener', 'prependListener'] as const) t.throws(() => clusterMetrics[add]('gone' as 'up', () => {}), { ...argument, message: 'The event must be one of down, degraded, up' })
  t.same(clusterMetrics.eventNames(), ['newListener'])
  clusterMetrics.once('up', () => {})
  const ending = new AbortController()
  const waiting = once(clusterMetrics, 'down', { signal: ending.signal })
  ending.abort()
  await t.rejects(waiting, { name: 'AbortError' }, 'events.once listens to errors too')
})

t.test('an error is counted once, whose write was done and not answered', async (t) => {
  const { app, parts } = await build(t, { link: link(), options: { reportIntervalMs: 600_000 }, routes: (scope) => { scope.get('/bad', async () => { throw new Error('no') }) } })
  await waitFor(() => app.redisLink.isUp, settled)
  await parts.reporter.now()
  const { runAll } = app.redisLink
  app.redisLink.runAll = async (commands) => {
    await runAll.call(app.redisLink, commands)
    throw new Error('the answer was lost')
  }
  await app.inject('/bad')
  await parts.reporter.now()
  const errors = async () => (await data<{ errors: ErrorEntry[] }>(app, '/api/1/metrics/errors/recent')).errors
  t.match(await errors(), [{ count: 1 }])
  app.redisLink.runAll = runAll
  await app.inject('/bad')
  await parts.reporter.now()
  t.same((await errors()).map(({ count }) => count), [1, 1])
})

t.test('a realistic secret is gone from any text, and what is none stays', async (t) => {
  for (const [text, ...secrets] of SECRETS) for (const secret of secrets) t.notOk(redact(text!, {}).includes(secret!), `${text} => ${redact(text!, {})}`)
  for (const text of HARMLESS) t.equal(redact(text, {}), text)
  t.same(redactJson({ host: 'db1', dbPassword: 'x', list: ['token=abc', 5], deep: { url: 'https://a:b@c/' } }), { host: 'db1', dbPassword: '[redacted]', list: ['token=[redacted]', 5], deep: { url: 'https://[redacted]@c/' } })
  const begun = performance.now()
  for (const hostile of ['a='.repeat(5000), '://'.repeat(5000), 'x'.repeat(20_000), '-----BEGIN PRIVATE KEY-----'.repeat(500), '"'.repeat(9000), '%3D'.repeat(5000), '\\"a\\":'.repeat(3000)]) redact(hostile, {})
  t.ok(performance.now() - begun < 5000, 'no text takes for ever')
})

t.test('60 planted secrets are in no answer, key, log line or page', async (t) => {
  const shared = link()
  const registry = new Registry()
  registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE as never)
  const counter = new Counter({ name: 'calls_total', help: 'Calls', labelNames: ['url'], registers: [registry], enableExemplars: true })
  const { app, lines, parts } = await build(t, {
    link: shared,
    // The application's own log of requests holds their addresses.
    server: { disableRequestLogging: true },
    options: { errorStacks: true, registry, reportIntervalMs: 600_000, webhook: { url: `http://127.0.0.1:9/${SECRETS[1]![1]}`, secret: SECRETS[20]![1]!.padEnd(16, 'x'), attempts: 1 } },
    routes: (scope) => {
      scope.setErrorHandler(async (_error, _request, reply) => reply.code(500).send('failed'))
      SECRETS.forEach(([text], index) => scope.get(`/leak${index}`, { logLevel: 'silent' }, async () => { throw Object.assign(new Error(text), index % 2 === 0 ? {} : { code: text }) }))
    }
  })
  const client = connectRedis(t, Number(new URL(sharedRedis()).port))
  SECRETS.forEach(([text], index) => {
    app.clusterMetrics.gauge(`gauge${index}`, () => text, { reduce: 'first' })
    app.clusterMetrics.increment('called', 1, { url: text! })
    counter.inc({ labels: { url: text! }, exemplarLabels: { note: text! } as object })
  })
  app.clusterMetrics.provider('texts', () => ({ all: SECRETS.map(([text]) => text) }), { reduce: { all: 'concat' } })
  SECRETS.slice(0, 20).forEach(([text], index) => { app.clusterMetrics.check(`check${index}`, async () => { throw new Error(text) }) })
  app.clusterMetrics.gauge('throwing', () => { throw new Error(SECRETS[1]![0]) })
  for (const [index, [text]] of SECRETS.entries()) {
    await app.inject(`/leak${index}?q=${encodeURIComponent(text)}`)
    await app.inject(`/${encodeURIComponent(text)}`)
  }
  for (let i = 0; i < 2; i++) await parts.reporter.now()
  const { errors } = await data<{ errors: ErrorEntry[] }>(app, '/api/1/metrics/errors/recent?count=100')
  t.equal(errors.length, SECRETS.length, 'all were told')
  const bodies = await Promise.all(['/api/1/metrics', '/api/1/metrics/servers', '/metrics', '/metrics?scope=cluster', '/health', '/api/1/metrics/errors/recent?count=100', '/api/1/metrics/requests', '/api/1/metrics/history', '/admin/cluster'].map(async (url) => (await ask(app, url)).body))
  for (const url of ['/metrics', '/metrics?scope=cluster']) {
    const { body } = await ask(app, url, { headers: { who: 'admin', accept: 'application/openmetrics-text' } })
    t.match(body, / # \{note="/, 'with exemplars')
    bodies.push(body)
  }
  const keys = await client.keys(`${shared.siteId}:*`)
  const read: Record<string, (key: string) => Promise<unknown>> = { string: (key) => client.get(key), list: (key) => client.lrange(key, 0, -1), hash: (key) => client.hgetall(key), zset: (key) => client.zrange(key, '0', '-1'), stream: (key) => client.xrange(key, '-', '+') }
  const stored = await Promise.all(keys.map(async (key) => `${key} ${JSON.stringify(await read[await client.type(key)]!(key))}`))
  const all = [...bodies, ...lines, ...stored].join('\n')
  // What stands in the test's own routes and words as well would be found for that.
  for (const secret of SECRETS.flatMap(([, ...secrets]) => secrets)) t.equal(all.includes(secret) ? all.slice(Math.max(0, all.indexOf(secret) - 100), all.indexOf(secret) + 50) : '', '', secret)
})

t.test('event streams are counted and are no latencies, and an error counts by what was answered', async (t) => {
  const { app } = await build(t, {
    routes: (scope) => {
      scope.get('/events', (_request, reply) => {
        reply.hijack()
        reply.raw.writeHead(200, { 'Content-Type': 'text/event-stream' })
        reply.raw.write('data: 1\n\n')
      })
      scope.get('/health-of-mine', { config: { metrics: false } }, async () => 'ok')
      scope.get('/ignored', async () => 'ok')
      scope.register(async (inner) => {
        inner.setErrorHandler(async (error: Error & { status?: number }, _request, reply) => reply.code(error.status ?? 404).send('handled'))
        inner.get('/missing', async () => { throw new Error('not there') })
      })
      scope.get('/unprocessable', async () => { throw Object.assign(new Error('no'), { status: 422 }) })
      scope.get('/broken', async () => { throw new Error('broken') })
    },
    options: { ignoreRoutes: ['/ignored'] }
  })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const request = get({ port, host: '127.0.0.1', path: '/events', agent: false })
  const [response] = await once(request, 'response')
  await once(response, 'data')
  const begun = performance.now()
  await waitFor(() => performance.now() - begun > 300, settled)
  request.on('error', () => {})
  response.on('error', () => {})
  request.destroy()
  for (const url of ['/missing', '/unprocessable', '/broken', '/health-of-mine', '/ignored']) await app.inject(url)
  const text = await waitFor(async () => {
    const text = await scrape(app)
    return value(text, 'http_server_event_streams_total') === 1 && text
  }, settled)
  t.equal(value(text, 'http_server_request_duration_seconds', { route: '/events' }, 'http_server_request_duration_seconds_count'), 0)
  const { statistics } = await data(app)
  t.ok(statistics.latency.p99 < 250, String(statistics.latency.p99))
  t.same(statistics.routes.map(({ route }) => route).sort(), ['/broken', '/events', '/missing', '/unprocessable'])
  const { requests } = await data<{ requests: Array<{ route: string, status: number }> }>(app, '/api/1/metrics/requests')
  t.equal(requests.find(({ route }) => route === '/events')?.status, 200, 'who stops listening is no fault')
  t.equal(statistics.requests.errors, 1)
  const { errors } = await data<{ errors: ErrorEntry[] }>(app, '/api/1/metrics/errors/recent')
  t.same(errors.map(({ route, statusCode }) => [route, statusCode]), [['/broken', 500]], 'what was answered 404 and 422 is no server error')
})

t.test('a check that is down is one truth: in /health, the report, the document and Prometheus, per instance', async (t) => {
  const shared = link()
  const [one, two] = await Promise.all(['0', '1'].map(async (pmId) => (await build(t, { link: shared, pmId })).app))
  let good = true
  one!.clusterMetrics.check('disk', () => good, { critical: true })
  two!.clusterMetrics.check('disk', () => true, { critical: true })
  const both = (status: string) => waitFor(async () => {
    const seen = await data(two!)
    return seen.statistics.totalInstances === 2 && seen.status === status && seen.servers.flatMap(({ instances }) => instances).every(({ health }) => health?.checks.disk !== undefined) && seen
  }, { what: status, ...settled })
  await both('ok')
  good = false
  t.equal((await ask(one!, '/health')).statusCode, 503)
  t.equal((await data(one!)).status, 'degraded', 'the other one serves')
  const seen = await both('degraded')
  t.same(seen.servers.flatMap(({ instances }) => instances).map(({ instanceId, health }) => [instanceId, health?.status, health?.checks.disk?.status]).sort(), [['web1:0', 'error', 'down'], ['web1:1', 'ok', 'up']])
  const cluster = await scrape(two!, '/metrics?scope=cluster')
  t.equal(value(cluster, 'health_check_up', { instance: 'web1:0', check: 'disk', critical: 'true' }), 0)
  t.equal(value(cluster, 'health_check_up', { instance: 'web1:1', check: 'disk' }), 1)
  t.equal(value(cluster, 'health_ready', { instance: 'web1:0' }), 0)
  t.equal(value(await scrape(one!), 'health_check_up', { check: 'disk' }), 0)
  await two!.close()
  await waitFor(async () => (await data(one!)).status === 'error', { what: 'nobody to serve', ...settled })
  const lone = (await build(t, { options: { mongo: { client: { db: () => ({ command: async () => { throw new Error('away') } }) } }, mongoCritical: false } })).app
  t.match(await ask(lone, '/health'), { statusCode: 200, body: /"status":"degraded".*"mongodb":\{"status":"down"\}/ }, 'where all share one database')
})

t.test('what infrastructure calls is not limited, and not in the log of requests', async (t) => {
  const { app, lines } = await build(t, {
    link: link(),
    plugins: (app) => {
      // As @fastify/rate-limit does it with its option global.
      app.addHook('onRoute', (route) => {
        if ((route.config as { rateLimit?: unknown } | undefined)?.rateLimit === false) return
        route.preHandler = async (_request, reply) => { await reply.code(429).send('slow down') }
      })
    }
  })
  t.equal((await app.inject('/nowhere')).statusCode, 404)
  lines.length = 0
  for (const url of ['/health', '/health/live', '/health/redis', '/metrics', '/api/1/health']) t.equal((await ask(app, url)).statusCode, 200, url)
  t.same(lines.filter((line) => line.includes('incoming request')), [])
  t.same(app.clusterMetrics.local().statistics.routes.map(({ route }) => route), ['__unmatched__'])
})

t.test('a stall of the event loop is seen: its length, and the time that was lost', async (t) => {
  const { app } = await build(t)
  const before = value(await scrape(app), 'nodejs_eventloop_blocked_seconds_total')!
  const until = performance.now() + 700
  while (performance.now() < until);
  const text = await waitFor(async () => {
    const text = await scrape(app)
    return value(text, 'nodejs_eventloop_blocked_seconds_total')! - before >= 0.5 && text
  }, settled)
  t.ok(value(text, 'nodejs_eventloop_delay_max_seconds')! >= 0.5)
  const stalls = new Stalls()
  t.teardown(() => stalls.close())
  const now = performance.now()
  stalls.look(now + 5050)
  stalls.look(now + 5100)
  t.ok(stalls.blockedMs >= 4900 && stalls.blockedMs <= 5100)
  t.ok(stalls.maxOfMinute(now + 50_000) >= 4900, 'for a minute')
  t.equal(stalls.maxOfMinute(now + 70_000), 0)
})

t.test('a container has the limits of its control group, and the application the version of its package.json', async (t) => {
  const root = (files: Record<string, string>) => {
    const folder = temporaryFolder(t)
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, path)), { recursive: true })
      writeFileSync(join(folder, path), text)
    }
    return folder
  }
  const mib = 2 ** 20
  const host = machine(root({}))
  for (const [files, cpus, total, used] of [
    [{ 'sys/fs/cgroup/memory.max': `${512 * mib}\n`, 'sys/fs/cgroup/memory.current': `${100 * mib}`, 'sys/fs/cgroup/cpu.max': '50000 100000\n', 'proc/self/cgroup': '0::/\n' }, 0.5, 512, 100],
    [{ 'sys/fs/cgroup/system.slice/shop.service/memory.max': `${256 * mib}`, 'sys/fs/cgroup/system.slice/memory.max': 'max', 'sys/fs/cgroup/system.slice/shop.service/memory.current': `${56 * mib}`, 'proc/self/cgroup': '0::/system.slice/shop.service\n' }, host.cpus, 256, 56],
    [{ 'sys/fs/cgroup/memory/memory.limit_in_bytes': `${300 * mib}`, 'sys/fs/cgroup/memory/memory.usage_in_bytes': `${20 * mib}`, 'sys/fs/cgroup/cpu/cpu.cfs_quota_us': '25000', 'sys/fs/cgroup/cpu/cpu.cfs_period_us': '100000', 'proc/self/cgroup': '4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n' }, 0.25, 300, 20]
  ] as const) {
    const found = machine(root(files))
    t.equal(found.cpus, cpus)
    t.equal(found.totalMemory / mib, total)
    t.ok(found.freeMemory / mib <= total - used)
  }
  for (const files of [
    { 'sys/fs/cgroup/memory.max': `${64 * mib}`, 'sys/fs/cgroup/memory.current': `${60 * mib}`, 'sys/fs/cgroup/memory.stat': `anon 1\ninactive_file ${50 * mib}\n`, 'proc/self/cgroup': '0::/\n' },
    { 'sys/fs/cgroup/memory/memory.limit_in_bytes': `${64 * mib}`, 'sys/fs/cgroup/memory/memory.usage_in_bytes': `${60 * mib}`, 'sys/fs/cgroup/memory/memory.stat': `inactive_file 7\ntotal_inactive_file ${50 * mib}`, 'proc/self/cgroup': '4:memory:/\n' }
  ] as Array<Record<string, string>>) t.equal(machine(root(files)).freeMemory / mib, 54, 'copies of files are no use of memory')
  const unlimited = machine(root({ 'sys/fs/cgroup/memory.max': 'max\n', 'sys/fs/cgroup/cpu.max': 'max 100000', 'proc/self/cgroup': '0::/\n' }))
  t.same([unlimited.cpus, unlimited.totalMemory], [host.cpus, host.totalMemory])
  const app = root({ 'package.json': '{"version":"4.5.6"}', 'dist/package.json': '{"type":"module"}', 'dist/server.js': '' })
  t.equal(versionOf({}, join(app, 'dist/server.js')), '4.5.6')
  t.equal(versionOf({ pm_exec_path: join(app, 'dist/server.js') }), '4.5.6', 'under PM2, whose own script is started')
  t.equal(versionOf({ npm_package_version: '1.0.0' }, join(app, 'dist/server.js')), '4.5.6', 'not what npm said when PM2 was started')
  t.equal(versionOf({}, join(root({ 'package.json': '{"version":"7.8.9"}', 'node_modules/runner/package.json': '{"version":"1.0.0"}' }), 'node_modules/runner/cli.js')), '7.8.9', 'nor that of a runner')
  t.equal(versionOf({ npm_package_version: '1.0.0', pm_cwd: root({}) }, join(root({}), 'server.js')), '1.0.0')
})

t.test('a worker in a crash loop is one instance, not one for each start', async (t) => {
  const shared = link()
  const { app: watcher } = await build(t, { link: shared, pmId: '1' })
  const client = connectRedis(t, Number(new URL(sharedRedis()).port))
  const key = (...parts: string[]) => [shared.siteId, 'test', 'health', ...parts].join(':')
  const report = await waitFor(async () => JSON.parse(await client.get(key('instance', watcher.appCluster.bootId)) ?? 'null'), settled)
  // Four starts, each 2 s after the last report of the one before, and the fifth is alive.
  const [seconds] = await client.time()
  for (let start = 0; start < 5; start++) {
    const bootId = `crash${start}`
    const silentMs = (4 - start) * 3000
    await client.set(key('instance', bootId), JSON.stringify({ ...report, bootId, instanceId: 'web1:0', uptimeMs: 1000, counters: { orders: 1 } }), 'PX', 60_000)
    await client.zadd(key('index'), Number(seconds) * 1000 - silentMs, bootId)
  }
  // Its like on another machine, and one whose process reported after another began: both are there.
  await client.set(key('instance', 'other'), JSON.stringify({ ...report, bootId: 'other', instanceId: 'web1:0', server: { ...report.server, serverName: 'another' } }), 'PX', 60_000)
  await client.zadd(key('index'), Number(seconds) * 1000, 'other')
  const { statistics, servers } = await data(watcher)
  t.same(servers.flatMap(({ instances }) => instances).map(({ bootId }) => bootId).filter((id) => id !== watcher.appCluster.bootId).sort(), ['crash4', 'other'])
  t.match(statistics, { totalInstances: 3, runningProcesses: 3, counters: { orders: 5 } })
  await client.zadd(key('index'), Number(seconds) * 1000 + 500, 'crash3')
  t.equal((await data(watcher)).statistics.totalInstances, 4, 'it reported after the younger one began: both are there')
})

t.test('a step of the history is shown when it is complete, and what was counted is where it was counted', async (t) => {
  const point = (requests: number) => ({ requests, errors: 0, active: 0, cpu: 0, rss: 100, delay: 0, sockets: 0, latency: '', version: '' })
  // Reports every 10.4 s, 104 requests each: ten per second, whatever the steps are.
  const paced = (offset: number) => Array.from({ length: 30 }, (_, index) => [1_000_000 + offset + index * 10_400, point(104)] as const)
  const instances = [paced(0), paced(3000)]
  const until = Math.min(...instances.map((points) => points.at(-1)![0]))
  const points = mergeHistory(instances, 10_000, until)
  t.ok(points.length > 20)
  t.ok(points.every(({ timestamp }) => Date.parse(timestamp) + 10_000 <= until), 'no step that is not complete')
  t.same([...new Set(points.slice(2, -2).map(({ requestsPerSecond }) => requestsPerSecond))], [20])
  t.same([...new Set(points.slice(2, -2).map(({ memory, instances: count }) => `${memory} ${count}`))], ['200 2'], 'nobody is missing from a step that lies between two reports')
  t.same(mergeHistory([[[1000, point(5)]]], 1000, 1500), [], 'not yet')
  const versioned = (version: string) => ({ ...point(1), version })
  const run = (version: string, ...times: number[]) => times.map((at) => [at, versioned(version)] as const)
  const deploys = mergeHistory([[...run('1.0', 1000, 2000), ...run('1.1 june', 3000, 4000, 6000)], [...run('1.0', 2000), ...run('1.1 june', 4000, 5000), ...run('1.0', 7000)]], 1000)
  t.same(deploys.map(({ deployed }) => deployed), [[], [], ['1.1 june'], [], [], [], ['1.0']], 'deploys, and the way back')
  t.same(decodePoint(`5000 ${encodePoint({ ...point(3), latency: '5 1', version: '1.0, "a"' })}`), [5000, { ...point(3), latency: '5 1', version: '1.0, "a"' }])
  t.same(decodePoint('5000 3,0,0,0,100,0,0,5 1'), [5000, { ...point(3), latency: '5 1' }], 'of the release before')
  const paused = mergeHistory([[[10_000, point(1)], [90_000, point(8)]]], 10_000)
  t.same(paused.map(({ requestsPerSecond }) => requestsPerSecond), [0.1, 0.8], 'nothing is made up for a pause')
})

t.test('a day of history outlives the points of the instances, and those that ended', async (t) => {
  const shared = link()
  const options = { reportIntervalMs: 200, keepMs: 60_000, ttlMs: 1000 }
  const { app, parts: { store } } = await build(t, { link: shared, options })
  const now = store.now()
  const begin = now - now % DAY_STEP_MS
  const step = (back: number, requestsPerSecond: number) => ({ ...dayPoint([[[begin - back * DAY_STEP_MS + 1, { requests: 0, errors: 0, active: 0, cpu: 1, rss: 2, delay: 3, sockets: 4, latency: '', version: '' }]]], begin - back * DAY_STEP_MS)!, requestsPerSecond })
  for (const back of [359, 100, 5]) await store.addDay(begin - back * DAY_STEP_MS, JSON.stringify(step(back, back)))
  await store.addDay(begin - 4 * DAY_STEP_MS, 'no point')
  await waitFor(async () => (await app.clusterMetrics.history(1)).points.length > 2, settled)
  const day = await app.clusterMetrics.history(1440)
  t.equal(day.stepMs, DAY_STEP_MS)
  t.same(day.points.slice(0, 3).map(({ requestsPerSecond }) => requestsPerSecond), [359, 100, 5])
  t.same((await app.clusterMetrics.history(60)).points.slice(0, 1).map(({ requestsPerSecond }) => requestsPerSecond), [5])
  const point = step(5, 5)
  t.same(readDayPoint(JSON.stringify(point)), point)
  for (const text of ['', '{}', JSON.stringify({ ...point, p99: 'x' }), JSON.stringify({ ...point, timestamp: 'then' })]) t.equal(readDayPoint(text), null, text)
  const recent = [[begin - DAY_STEP_MS, { requests: 240, errors: 0, active: 0, cpu: 0, rss: 0, delay: 0, sockets: 0, latency: '', version: '' }], [begin - 1, { requests: 240, errors: 0, active: 0, cpu: 0, rss: 0, delay: 0, sockets: 0, latency: '', version: '' }]] as const
  t.same(mergeDay([step(5, 5), step(1, 7)], [recent], { since: begin - 6 * DAY_STEP_MS, until: begin }).map(({ requestsPerSecond }) => requestsPerSecond), [5, 7], 'what was kept counts')
})

t.test('an instance by itself: what it says, its routes, its history, its part of the picture', async (t) => {
  const shared = link()
  const [one, two] = await Promise.all(['0', '1'].map((pmId) => build(t, { link: shared, pmId, routes: (scope) => { scope.get(`/only${pmId}`, async () => 'x') } })))
  for (const { app } of [one!, two!]) for (let i = 0; i < 3; i++) await app.inject(`/only${app.appCluster.instanceId.at(-1)}`)
  const bootId = two!.app.appCluster.bootId
  for (const { app } of [one!, two!]) {
    const found = await waitFor(async () => {
      const { statusCode, json } = await ask(app, `/api/1/metrics/instances/${bootId}`)
      return statusCode === 200 && json().data.routes.length === 1 && json().data
    }, settled)
    t.match(found, { instance: { instanceId: 'web1:1', bootId, health: { status: 'ok' } }, server: { serverId: 'web1' }, routes: [{ method: 'GET', route: '/only1', requests: 3 }] })
    await waitFor(async () => (await data<{ points: HistoryPoint[] }>(app, `/api/1/metrics/history?minutes=1&instance=${bootId}`)).points.some(({ instances, requestsPerSecond }) => instances === 1 && requestsPerSecond > 0), settled)
  }
  t.match((await ask(one!.app, '/api/1/metrics/instances/nobody')), { statusCode: 404, body: /FST_ERR_CLUSTER_METRICS_UNKNOWN_INSTANCE/ })
  t.equal((await ask(one!.app, `/api/1/metrics/instances/${bootId}`, { headers: {} })).statusCode, 401)
  t.same((await data<{ points: HistoryPoint[] }>(one!.app, '/api/1/metrics/history?instance=nobody')).points, [])
})

t.test('counters of the cluster never fall, whatever the application resets, removes, registers anew, or has too many of', async (t) => {
  const registry = new Registry()
  const registers = [registry]
  const { app, parts: { reporter } } = await build(t, { link: link(), options: { registry, reportIntervalMs: 600_000, maxSeries: 40 } })
  const make = () => ({
    jobs: new Counter({ name: 'jobs_total', help: 'Jobs', labelNames: ['kind'], registers }),
    seconds: new Histogram({ name: 'job_seconds', help: 'Jobs', buckets: [1, 2], registers }),
    size: new Summary({ name: 'size_bytes', help: 'Sizes', percentiles: [0.5], registers }),
    many: new Counter({ name: 'many_total', help: 'Many', labelNames: ['id'], registers })
  })
  let { jobs, seconds, size, many } = make()
  const count = () => {
    jobs.inc({ kind: 'a' }, 10)
    jobs.inc({ kind: 'b' }, 5)
    for (const value of [0.5, 1.5, 9]) seconds.observe(value)
    size.observe(7)
  }
  const seen = async () => {
    for (let i = 0; i < 2; i++) await reporter.now()
    const text = await scrape(app, '/metrics?scope=cluster')
    return [value(text, 'jobs_total', { kind: 'a' }), value(text, 'jobs_total', { kind: 'b' }), value(text, 'job_seconds', {}, 'job_seconds_count'), value(text, 'job_seconds', {}, 'job_seconds_sum'), value(text, 'size_bytes', {}, 'size_bytes_count')]
  }
  count()
  t.same(await seen(), [10, 5, 3, 11, 1])
  registry.resetMetrics()
  t.same(await seen(), [10, 5, 3, 11, 1], 'reset')
  count()
  t.same(await seen(), [20, 10, 6, 22, 2], 'and counted again')
  jobs.remove({ kind: 'b' })
  t.same(await seen(), [20, 10, 6, 22, 2], 'removed')
  registry.clear()
  t.same(await seen(), [20, 10, 6, 22, 2], 'cleared')
  ;({ jobs, seconds, size, many } = make())
  count()
  t.same(await seen(), [30, 15, 9, 33, 3], 'registered anew')
  for (let i = 0; i < 100; i++) many.inc({ id: `id${i}` })
  const ofMany = async () => {
    t.same((await seen()).slice(0, 2), [30, 15])
    return (await scrape(app, '/metrics?scope=cluster')).get('many_total')!.lines.map(({ labels }) => labels.id)
  }
  const before = await ofMany()
  t.ok(before.length > 0 && before.length <= 20, 'one metric has at most half of the bound')
  new Counter({ name: 'later_total', help: 'Later', registers }).inc(4)
  t.same(await ofMany(), before, 'what was told of stays')
  t.equal(value(await scrape(app, '/metrics?scope=cluster'), 'later_total'), 4, 'and a small one that comes later has its place')
  registry.clear()
  new Histogram({ name: 'job_seconds', help: 'Other buckets', buckets: [2, 5], registers }).observe(9)
  await seen()
  t.same((await scrape(app, '/metrics?scope=cluster')).get('job_seconds')?.lines.map(({ labels, value }) => [labels.le, value]).slice(0, 3), [['2', 6], ['5', 6], ['+Inf', 10]], 'with other buckets')
})

t.test('names that would be one to a scraper, and exemplars that it would refuse, break no scrape', async (t) => {
  const registry = new Registry()
  registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE as never)
  const registers = [registry]
  new Counter({ name: 'visits', help: 'One', registers }).inc(1)
  new Counter({ name: 'visits_total', help: 'Two', registers }).inc(2)
  new Gauge({ name: 'load', help: 'Gauge', registers }).set(3)
  new Counter({ name: 'load_total', help: 'Counter', registers }).inc(4)
  new Gauge({ name: 'job_count', help: 'A name of the histogram', registers }).set(5)
  const jobs = new Histogram({ name: 'job', help: 'Jobs', buckets: [1, 2, 3], registers, enableExemplars: true })
  jobs.observe({ value: 0.5, exemplarLabels: {} as object })
  jobs.observe({ value: 1.5 })
  jobs.observe({ value: 2.5, exemplarLabels: { trace: 'abc' } as object })
  const exemplar = { labelSet: { trace: 'x'.repeat(200) }, value: 1, timestamp: 1 }
  registry.registerMetric({ name: 'foreign_total', get: () => ({ name: 'foreign_total', help: '', type: 'counter', values: [{ labels: {}, value: 1, exemplar }] }) } as never)
  registry.registerMetric({ name: 'bad name', get: () => ({ name: 'bad name', help: '', type: 'gauge', values: [] }) } as never)
  const pods = new Gauge({ name: 'pods', help: 'Pods', labelNames: ['instance'], registers })
  pods.set({ instance: 'x' }, 1)
  pods.set({ instance: 'y' }, 2)
  const { app, parts: { reporter } } = await build(t, { link: link(), options: { registry, gaugeRules: { pods: 'instance' } } })
  for (let i = 0; i < 2; i++) await reporter.now()
  for (const url of ['/metrics', '/metrics?scope=cluster']) {
    const bodies = await Promise.all(['text/plain', 'application/openmetrics-text'].map(async (accept) => (await ask(app, url, { headers: { who: 'admin', accept } })).body))
    for (const body of bodies) {
      const families = [...body.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name!)
      t.same(families, [...new Set(families)], 'no family twice')
      const series = body.split('\n').filter((line) => line !== '' && !line.startsWith('#')).map((line) => line.replace(/ [^{ ]+(?: # .*)?$/, ''))
      t.same(series, [...new Set(series)], 'no series twice')
    }
    for (const line of ['visits 1', 'visits_total 2', 'load 3', 'load_total 4']) t.match(bodies[0], new RegExp(`^${line}$`, 'm'), url)
    t.same(bodies[1]!.match(/ # .*/g)?.map((exemplar) => exemplar.split(' ').slice(0, 4).join(' ')), [' # {trace="abc"} 2.5'], 'the exemplar that is none is left out')
  }
  const { body } = await ask(app, '/metrics?scope=cluster')
  for (const [pod, count] of [['x', 1], ['y', 2]]) t.ok(body.includes(`\npods{exported_instance="${pod}",instance="web1:0",boot="${app.appCluster.bootId}"} ${count}\n`), 'a label of that name stays, as Prometheus calls it')
  t.match(body, /^cluster_metrics_left_out\{reason="name"\} 1$/m, 'what has no name is said')
})

t.test('a name of which another release makes something else is what the living make of it, and counts that move to prom-client are one series', async (t) => {
  const shared = link()
  const start = async (pmId: string, registry: Registry) => build(t, { link: shared, pmId, options: { registry, ttlMs: 1000 } })
  const [before, after] = [new Registry(), new Registry()]
  new Summary({ name: 'wait_seconds', help: 'Waits', registers: [before] }).observe(2)
  new Counter({ name: 'queue_total', help: 'Jobs', registers: [before] }).inc(7)
  new Histogram({ name: 'wait_seconds', help: 'Waits', buckets: [1, 5], registers: [after] }).observe(3)
  new Gauge({ name: 'queue_total', help: 'Jobs', registers: [after] }).set(4)
  new Counter({ name: 'orders_total', help: 'Orders', registers: [after] }).inc(3)
  const former = await start('0', before)
  former.app.clusterMetrics.increment('orders', 5)
  const { app } = await start('1', after)
  const orders = async () => (await scrape(app, '/metrics?scope=cluster')).get('orders_total')?.lines.map((line) => line.value)
  await waitFor(async () => (await orders())?.join() === '8', { what: 'one series of both', everyMs: 100, ...settled })
  await former.app.close()
  const text = await waitFor(async () => {
    const seen = await scrape(app, '/metrics?scope=cluster')
    return seen.get('wait_seconds')?.type === 'histogram' && seen.get('queue_total')?.type === 'gauge' && seen
  }, { what: 'the kinds of the living', everyMs: 100, ...settled })
  t.equal(value(text, 'wait_seconds', { le: '5' }, 'wait_seconds_bucket'), 1)
  t.equal(value(text, 'queue_total'), 4)
  t.same(await orders(), [8], 'what was counted before stays')
})

t.test('who ends without a word, and is not replaced, is counted as lost; a server error has its counter from the start', async (t) => {
  const shared = link()
  const start = async (pmId: string) => build(t, { link: shared, pmId, options: { ttlMs: 1000 }, routes: (scope) => { scope.get('/fails', async () => { throw new Error('fails') }) } })
  const { app } = await start('0')
  const [silent, replaced, leaves] = [await start('1'), await start('2'), await start('3')]
  await start('2')
  const seen = async () => {
    const text = await scrape(app, '/metrics?scope=cluster')
    return ['cluster_instances', 'cluster_instances_lost_total', 'http_server_errors_total'].map((name) => value(text, name)).join()
  }
  await waitFor(async () => await seen() === '5,0,0', { what: 'all of them', everyMs: 100, ...settled })
  await leaves.app.close()
  for (const { app: { redisLink } } of [silent, replaced]) redisLink.runAll = async () => { throw new Error('cut off') }
  await app.inject('/fails')
  await waitFor(async () => (await seen()).startsWith('2,1'), { what: 'two to be gone, and one to be missed', everyMs: 100, ...settled })
  await waitFor(async () => await seen() === '2,1,1', { what: 'the error', everyMs: 100, ...settled })
  const text = await scrape(app, '/metrics?scope=cluster')
  t.same(['cluster_instance_requests_total', 'cluster_instance_server_errors_total'].map((name) => value(text, name, { instance: 'web1:0' })), [1, 1], 'whose it was')
  t.notOk((await scrape(app)).has('cluster_instances_lost_total'), 'of the cluster only')
})
