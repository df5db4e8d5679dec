import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { get } from 'node:http'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as successor from '@prometheus-io/client'
import * as promClient from 'prom-client'
import t from 'tap'
import { cleanEnv } from '../../../scripts/bootstrap.js'
import { prometheusTools } from '../../../scripts/servers/binaries.js'
import { spawnGuarded } from '../../../scripts/servers/guarded.js'
import { runCluster } from '../../../scripts/site/run-site.js'
import { freePort, sharedRedis, temporaryFolder, uniqueName, waitFor, type Scope } from '../../../test/helpers/index.ts'
import type { ClusterData, MetricsRegistry } from '../src/index.ts'
import { ask as askApp, build } from './build.ts'
import { parsePrometheus } from './prometheus-parser.ts'

// A Prometheus of Debian scrapes PM2's workers through their shared port, with the defaults of both. PROMETHEUS_ROUNDS: more than one for a long run.

const ROUNDS = Number(process.env.PROMETHEUS_ROUNDS ?? 1)
const tools = prometheusTools(() => {})
const slow = { timeoutMs: 90_000, everyMs: 100 }
const KEEP_MS = 3000

t.setTimeout(180_000 + ROUNDS * 60_000)

/** Four workers, on a port that they share. */
async function startWorkers (t: Scope, dir: string) {
  const env: NodeJS.ProcessEnv = { ...cleanEnv(), PORT: String(await freePort()), SITE: uniqueName(), REDIS_URL: sharedRedis(), MOST_RESTARTS: '10000', OPTIONS: JSON.stringify({ ttlMs: 1500, keepMs: KEEP_MS }) }
  const running = await runCluster({ env, log: join(dir, 'log'), home: join(dir, 'pm2'), instances: 4, ecosystem: fileURLToPath(new URL('fixtures/pm2.config.cjs', import.meta.url)), app: 'metrics' })
  t.teardown(() => running.stop())
  const ask = async (path: string): Promise<{ status: number, text: string }> => {
    // A connection each, because PM2 hands out connections, not requests; to a worker that was just killed perhaps.
    const [response] = await once(get(running.address + path, { agent: false, signal: AbortSignal.timeout(5000) }), 'response')
    return { status: response.statusCode, text: (await response.setEncoding('utf8').toArray()).join('') }
  }
  const instances = async () => (JSON.parse((await ask('/api/1/metrics')).text) as { data: ClusterData }).data.servers.flatMap((server) => server.instances)
  const are = (count: number) => waitFor(async () => {
    const all = await instances()
    return all.length === count && all
  }, { what: `${count} workers`, ...slow })
  return { ...running, ask, are }
}

async function startPrometheus (t: Scope, dir: string, target: string) {
  const address = `127.0.0.1:${await freePort()}`
  // JSON is YAML.
  writeFileSync(join(dir, 'prometheus.yml'), JSON.stringify({
    global: { scrape_interval: '2s', scrape_timeout: '2s' },
    scrape_configs: [{ job_name: 'shop', honor_labels: true, static_configs: [{ targets: [target.replace('http://', '')] }] }]
  }))
  const server = await spawnGuarded(tools!.prometheus, [`--config.file=${join(dir, 'prometheus.yml')}`, `--storage.tsdb.path=${join(dir, 'data')}`, `--web.listen-address=${address}`, '--log.level=error'], { log: join(dir, 'prometheus.log') })
  t.teardown(() => server.stop())
  return async (query: string, time?: number): Promise<Array<{ metric: Record<string, string>, value: [number, string], values: Array<[number, string]> }>> => {
    const response = await fetch(`http://${address}/api/v1/query?${new URLSearchParams({ query, ...(time === undefined ? {} : { time: String(time) }) })}`).catch(() => null)
    if (response === null || !response.ok) return []
    return ((await response.json()) as { data: { result: [] } }).data.result
  }
}

/** Visitors who come one after the other, and how many were answered. */
function visitors (ask: (path: string) => Promise<{ status: number }>, count: number) {
  const seen = { answered: 0, failed: 0 }
  const gone = new AbortController()
  const visit = async () => {
    while (!gone.signal.aborted) {
      const { status } = await ask('/item/1').catch(() => ({ status: 0 }))
      if (status === 200) seen.answered++
      else seen.failed++
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
  const all = Promise.all(Array.from({ length: count }, visit))
  return { seen, leave: async () => { gone.abort(); await all } }
}

t.test('a real Prometheus sees what was sent, and no counter that falls, through kills, a reload, scaling, and keepMs', async (t) => {
  if (tools === undefined) return t.pass('there is no Prometheus here')
  const dir = join(temporaryFolder(t), 'run')
  mkdirSync(dir)
  const { ask, are, address, pm2 } = await startWorkers(t, dir)
  await are(4)
  const query = await startPrometheus(t, dir, address)
  // What is counted is what has a first sample.
  const WARM = 20
  for (let i = 0; i < WARM; i++) await ask('/item/1')
  const seen = (name: string) => query(name).then(([one]) => Number(one?.value[1]))
  await waitFor(async () => (await Promise.all(['orders_total', 'shop_sales_total', 'shop_visits_total'].map(seen))).every((count) => count === WARM), { what: 'the first scrapes', ...slow })

  const { seen: sent, leave } = visitors(ask, 4)
  const kill = async () => {
    const victim = (await are(4))[0]!
    process.kill(victim.pid, 'SIGKILL')
    await waitFor(async () => (await are(4)).every(({ bootId }) => bootId !== victim.bootId), { what: 'another one in its place', ...slow })
  }
  for (let round = 0; round < ROUNDS; round++) {
    await kill()
    await pm2('reload', 'metrics')
    await kill()
    await pm2('scale', 'metrics', '6')
    await are(6)
    await pm2('scale', 'metrics', '4')
    await are(4)
  }
  // A killed worker takes along what it had not reported, a count that does not grow with what is sent: of few requests it is over 2%.
  await waitFor(() => sent.answered >= 1500, { what: 'enough requests', ...slow })
  await leave()
  const last = performance.now()
  await waitFor(() => performance.now() - last > 2 * KEEP_MS, { what: 'the last of those that ended to be forgotten', ...slow })

  for (const name of ['orders_total', 'wait_count', 'shop_sales_total', 'shop_visits_total', 'shop_job_seconds_count', 'shop_job_seconds_bucket{le="1.0"}', 'http_server_request_duration_seconds_count{route="/item/:id",status="200"}']) {
    const [series, ...others] = await query(`${name}${name.includes('{') ? '' : '{}'}[1d]`)
    t.same(others, [], `${name} is one series`)
    const samples = series!.values
    // From its first sample to its last one: beyond them Prometheus guesses.
    const range = Math.round((samples.at(-1)![0] - samples[0]![0]) * 1000)
    const increase = Number((await query(`increase(${name}[${range}ms])`, samples.at(-1)![0]))[0]!.value[1])
    t.comment(`${name}: ${increase} of ${sent.answered} in ${Math.round(range / 1000)} s, ${sent.failed} requests failed`)
    t.ok(Math.abs(increase - sent.answered) / sent.answered < 0.02, `${name}: ${increase} of ${sent.answered}`)
  }
  t.same(await query('resets({__name__=~".+_(total|count|sum|bucket)",__name__!~"scrape.*"}[1d]) > 0'), [], 'nothing that only grows has fallen')
  t.equal((await query('min_over_time(up[1d])'))[0]?.value[1], '1', 'every scrape was answered')
  t.ok(Number((await query('cluster_instance_starts_total'))[0]?.value[1]) >= 4 + ROUNDS * 8)
  t.notMatch(readFileSync(join(dir, 'log'), 'utf8'), /one instanceId/, 'a process that is replaced has no twin')
})

/** Gives a text to a program; what it says where it does not like it. */
function judge (command: string, args: string[], text: string, env: NodeJS.ProcessEnv = process.env): Promise<string> {
  return new Promise((resolve) => {
    const child = execFile(command, args, { env }, (err, stdout, stderr) => { resolve(err === null && stderr === '' ? '' : `${err?.code} ${stdout}${stderr}`) })
    child.stdin!.end(text)
  })
}

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'

/** An application's own metrics, of every type. */
function everyType ({ Registry, Counter, Gauge, Histogram, Summary }: typeof promClient, prefix: string): MetricsRegistry {
  const registry = new Registry()
  registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE as never)
  const registers = [registry as never]
  registry.setDefaultLabels({ app: 'shop "one"\n' })
  const exemplarLabels = { trace_id: TRACE }
  new Counter({ name: `${prefix}_sales_total`, help: 'Sales \\ of\n"today"', labelNames: ['kind'], registers, enableExemplars: true }).inc({ labels: { kind: 'a"b\\c\nd' }, value: 2, exemplarLabels: exemplarLabels as object })
  new Counter({ name: `${prefix}_visits_total`, help: 'Visits', registers }).inc(0.5)
  const never = new Counter({ name: `${prefix}_never_total`, help: 'Never', labelNames: ['kind'], registers })
  never.reset()
  const gauge = new Gauge({ name: `${prefix}_pool_size`, help: 'Pool', labelNames: ['db'], registers })
  for (const [db, value] of [['main', -1.5], ['odd', NaN], ['endless', Infinity], ['tiny', 1e-9]] as const) gauge.set({ db }, value)
  const histogram = new Histogram({ name: `${prefix}_job_seconds`, help: 'Jobs', buckets: [0.5, 1, 10], labelNames: ['job'], registers, enableExemplars: true })
  for (const value of [0.2, 0.7, 99]) histogram.observe({ labels: { job: 'x' }, value, exemplarLabels: exemplarLabels as object })
  new Histogram({ name: `${prefix}_plain_seconds`, help: 'Without labels', buckets: [1], registers }).observe(0.5)
  new Summary({ name: `${prefix}_size_bytes`, help: 'Sizes', percentiles: [0.5, 1], labelNames: ['of'], registers }).observe({ of: 'page' }, 3)
  return registry
}

t.test('promtool and the parser of OpenMetrics accept both scopes, with metrics of every type, of prom-client and of its successor', async (t) => {
  const registry = [everyType(promClient, 'first'), everyType(successor as never, 'second')]
  const link = { url: sharedRedis(), siteId: uniqueName(), env: 'test' }
  const { app, parts } = await build(t, { link, options: { registry, gaugeRules: { first_pool_size: 'instance' } }, routes: (scope) => { scope.get('/a"b\\c', async () => 'x') } })
  app.clusterMetrics.increment('orders', 2, { kind: 'book' })
  app.clusterMetrics.observe('wait', 0.02)
  app.clusterMetrics.gauge('queue', () => 3)
  app.clusterMetrics.check('disk', () => true)
  await app.inject('/a%22b%5Cc')
  for (let i = 0; i < 2; i++) await parts.reporter.now()
  const text = async (url: string, accept: string) => (await askApp(app, url, { headers: { who: 'admin', accept } })).body
  for (const url of ['/metrics', '/metrics?scope=cluster']) {
    const [plain, open] = await Promise.all([text(url, 'text/plain'), text(url, 'application/openmetrics-text;version=1.0.0')])
    const families = parsePrometheus(plain)
    for (const prefix of ['first', 'second']) {
      for (const name of ['sales_total', 'visits_total', 'pool_size', 'job_seconds', 'plain_seconds', 'size_bytes']) t.ok([...families.keys()].includes(`${prefix}_${name}`), `${prefix}_${name} ${url}`)
      t.match(open, new RegExp(`\n${prefix}_job_seconds_bucket\\{(?:exported_)?job="x",app="[^\n]*",le="1\\.0"\\} 2 # \\{trace_id="${TRACE}"\\} 0\\.7 \\d`), url)
    }
    if (tools === undefined) continue
    t.equal(await judge(tools.promtool, ['check', 'metrics'], plain), '', `promtool, ${url}`)
    const parser = 'import sys\nfrom prometheus_client.openmetrics.parser import text_string_to_metric_families as parse\nprint(len(list(parse(sys.stdin.read()))))'
    t.equal(await judge(tools.python, ['-c', parser], open, { ...process.env, PYTHONPATH: tools.pythonPath }), '', `OpenMetrics, ${url}`)
  }
})
