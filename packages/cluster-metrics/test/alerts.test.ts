import { execFile } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { prometheusTools } from '../../../scripts/servers/binaries.js'
import { temporaryFolder } from '../../../test/helpers/index.ts'
import { OWN } from '../src/formats/index.ts'

const RULES = fileURLToPath(new URL('../alerts/cluster.rules.yml', import.meta.url))
const rules = await readFile(RULES, 'utf8')
const readme = await readFile(new URL('../README.md', import.meta.url), 'utf8')
const grafana = JSON.parse(await readFile(new URL('../grafana/cluster.json', import.meta.url), 'utf8')) as { panels: Array<{ targets: Array<{ expr: string }> }>, annotations: { list: Array<{ expr: string }> } }
const ALERTS = [...rules.matchAll(/- alert: (\w+)\n/g)].map(([, name]) => name!)
const EXPRESSIONS = [...grafana.panels.flatMap(({ targets }) => targets), ...grafana.annotations.list].map(({ expr }) => expr)

const promtool = prometheusTools(() => {})?.promtool
const run = (...args: string[]) => promisify(execFile)(promtool!, args).then(({ stdout }) => stdout, (err: { stdout: string, stderr: string }) => { throw new Error(err.stdout + err.stderr) })

interface Incident {
  name: string
  /** Values every 15 s. */
  series: Record<string, string>
  at: string
  fires: string[]
}

const request = (labels: string, values: string) => ({ [`http_server_request_duration_seconds_count{${labels}}`]: values })
const buckets = (route: string, fast: string, all: string) => ({
  [`http_server_request_duration_seconds_bucket{route="${route}",le="0.5"}`]: fast,
  [`http_server_request_duration_seconds_bucket{route="${route}",le="2.5"}`]: all,
  [`http_server_request_duration_seconds_bucket{route="${route}",le="+Inf"}`]: all
})
const well = {
  cluster_instances: '4x400',
  cluster_instance_starts_total: '4x400',
  nodejs_eventloop_delay_max_seconds: '0.02x400',
  nodejs_eventloop_blocked_seconds_total: '0+0.01x400',
  'health_ready{instance="web1:0"}': '1x400',
  'health_check_up{instance="web1:0",check="disk"}': '1x400',
  'cluster_processes{state="errored"}': '0x400',
  'cluster_metrics_errors_total{what="gauge"}': '0x400',
  ...request('route="/",status="200"', '0+150x400'),
  ...buckets('/', '0+150x400', '0+150x400')
}

/** What each rule is for, and what must leave all of them silent. */
const INCIDENTS: Incident[] = [
  { name: 'all is well', series: well, at: '60m', fires: [] },
  {
    name: 'a deploy: four instances are replaced, one after the other, and drain',
    series: { ...well, cluster_instances: '4x100 5x4 3x4 4x300', cluster_instance_starts_total: '4x100 5+1x3 8x300', 'health_ready{instance="web1:0"}': '1x100 0x2 1x300', 'health_check_up{instance="web1:0",check="instance"}': '1x100 0x2 1x300' },
    at: '27m',
    fires: []
  },
  { name: 'nobody answers', series: { unrelated: '1x400' }, at: '10m', fires: ['ClusterGone'] },
  { name: 'half of the instances are gone', series: { ...well, cluster_instances: '4x200 2x200' }, at: '60m', fires: ['ClusterInstancesMissing'] },
  { name: 'a critical check is down', series: { ...well, 'health_ready{instance="web1:0"}': '1x100 0x300', 'health_check_up{instance="web1:0",check="disk"}': '1x100 0x300' }, at: '60m', fires: ['ClusterNotReady', 'ClusterCheckDown'] },
  { name: 'Redis is away: each instance knows itself only', series: { ...well, cluster_instances: '4x200 1x200', 'health_check_up{instance="web1:0",check="redis"}': '1x200 0x200' }, at: '60m', fires: ['ClusterCheckDown'] },
  { name: 'a worker starts every 15 seconds', series: { ...well, cluster_instance_starts_total: '4x100 5+1x300' }, at: '60m', fires: ['ClusterCrashLoop'] },
  { name: 'PM2 has given a worker up', series: { ...well, 'cluster_processes{state="errored"}': '0x100 1x300' }, at: '30m', fires: ['ClusterProcessErrored'] },
  { name: 'a burst of errors for five minutes', series: { ...well, ...request('route="/",status="500"', '0x100 0+15x20 300x280') }, at: '29m', fires: ['ClusterServerErrors'] },
  { name: 'a slow route', series: { ...well, ...request('route="/slow",status="200"', '0+15x400'), ...buckets('/slow', '0+10x400', '0+15x400') }, at: '60m', fires: ['ClusterSlowRoute'] },
  { name: 'the event loop stands still for five seconds', series: { ...well, nodejs_eventloop_delay_max_seconds: '0.02x100 5x4 0.02x300' }, at: '26m', fires: ['ClusterEventLoopStalled'] },
  { name: 'the event loop stands still for 300 ms, twice a second', series: { ...well, nodejs_eventloop_blocked_seconds_total: '0+9x400' }, at: '60m', fires: ['ClusterEventLoopBusy'] },
  { name: 'a gauge throws', series: { ...well, 'cluster_metrics_errors_total{what="gauge"}': '0+1x400' }, at: '60m', fires: ['ClusterMetricsFaulty'] }
]

t.test('every alert is for an incident, stands in the README, and asks for metrics that exist', async (t) => {
  t.strictSame([...new Set(INCIDENTS.flatMap(({ fires }) => fires))].sort(), ALERTS.toSorted(), 'each rule has an incident in which it fires')
  const known = new Set(Object.keys(OWN).flatMap((name) => [name, `${name}_bucket`, `${name}_count`]))
  const records = [...rules.matchAll(/- record: (\S+)\n/g)].map(([, name]) => name!)
  for (const expression of [...[...rules.matchAll(/expr: (.*)\n/g)].map(([, expr]) => expr!), ...EXPRESSIONS]) {
    for (const [name] of expression.matchAll(/\b(?:http_server|process|nodejs|cluster|health|websocket)_\w+|\b\w+:\w+:\w+/g)) t.ok(known.has(name) || records.includes(name), name)
  }
  const list = [...rules.matchAll(/- alert: (\w+)\n(?:(?!- alert)[^])*?severity: (\w+)(?:(?!- alert)[^])*?summary: (.*)\n/g)].map(([, name, severity, summary]) => `| \`${name}\` | ${severity} | ${summary} |\n`)
  t.ok(readme.includes(`| alert | severity | when |\n|---|---|---|\n${list.join('')}\n`), `the list of the README is that of the rules:\n${list.join('')}`)
})

t.test('in each incident those alerts fire that are for it, and no others', async (t) => {
  if (promtool === undefined) return t.pass('promtool is not at hand')
  const file = join(temporaryFolder(t), 'incidents.yml')
  const tests = INCIDENTS.map(({ name, series, at, fires }) => ({
    name,
    interval: '15s',
    input_series: Object.entries(series).map(([one, values]) => ({ series: one, values })),
    promql_expr_test: ALERTS.map((alert) => ({
      expr: `count(ALERTS{alertname="${alert}",alertstate="firing"})`, eval_time: at, exp_samples: fires.includes(alert) ? [{ labels: '{}', value: 1 }] : []
    }))
  }))
  // JSON is YAML.
  await writeFile(file, JSON.stringify({ rule_files: [RULES], evaluation_interval: '15s', tests }))
  t.match(await run('test', 'rules', file), /SUCCESS/)
  const config = join(temporaryFolder(t), 'prometheus.yml')
  await writeFile(config, /```yaml\n(.*?)```/s.exec(readme)![1]!.replace('node_modules/@jpulse/cluster-metrics/alerts/cluster.rules.yml', RULES))
  t.match(await run('check', 'config', config), /SUCCESS: 1 rule files found/, 'the configuration in the README')
  const queries = join(temporaryFolder(t), 'queries.yml')
  await writeFile(queries, JSON.stringify({ groups: [{ name: 'grafana', rules: EXPRESSIONS.map((expr, index) => ({ record: `query:${index}`, expr })) }] }))
  t.match(await run('check', 'rules', queries), /SUCCESS/, 'what Grafana asks is well-formed')
})
