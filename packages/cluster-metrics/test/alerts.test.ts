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

/** Series with the label that Prometheus gives them. */
const of = (job: string, series: Record<string, string>): Record<string, string> =>
  Object.fromEntries(Object.entries(series).map(([one, values]) => [one.includes('{') ? one.replace('{', `{job="${job}",`) : `${one}{job="${job}"}`, values]))
const request = (labels: string, values: string) => ({ [`http_server_request_duration_seconds_count{${labels}}`]: values })
const buckets = (labels: string, fast: string, all: string) => ({
  [`http_server_request_duration_seconds_bucket{${labels},le="0.5"}`]: fast,
  [`http_server_request_duration_seconds_bucket{${labels},le="2.5"}`]: all,
  [`http_server_request_duration_seconds_bucket{${labels},le="+Inf"}`]: all
})
const served = {
  'up{instance="target"}': '1x400',
  http_server_errors_total: '0x400',
  nodejs_eventloop_delay_max_seconds: '0.02x400',
  nodejs_eventloop_blocked_seconds_total: '0+0.01x400',
  'cluster_metrics_errors_total{what="gauge"}': '0x400',
  ...request('route="/",status="200"', '0+150x400'),
  ...buckets('route="/"', '0+150x400', '0+150x400')
}
/** With `?scope=cluster`. */
const well = {
  ...served,
  cluster_instances: '4x400',
  cluster_instance_starts_total: '4x400',
  cluster_instances_lost_total: '0x400',
  'health_ready{instance="web1:0",boot="a"}': '1x400',
  'health_check_up{instance="web1:0",boot="a",check="instance"}': '1x400',
  'health_check_up{instance="web1:0",boot="a",check="disk"}': '1x400',
  'health_check_up{instance="web1:0",boot="a",check="redis"}': '1x400',
  'cluster_processes{state="errored"}': '0x400'
}
const [READY, INSTANCE, DISK, REDIS] = ['health_ready{instance="web1:0",boot="a"}', ...['instance', 'disk', 'redis'].map((check) => `health_check_up{instance="web1:0",boot="a",check="${check}"}`)] as [string, string, string, string]
/** Four pods, each a target of its own. */
const PODS = ['a', 'b', 'c', 'd']
const pods = Object.assign({}, ...PODS.map((pod) => Object.fromEntries([
  ...Object.entries(served).map(([one, values]) => [one.includes('{') ? one.replace(/instance="target",?/, '').replace('{', `{instance="${pod}",`) : `${one}{instance="${pod}"}`, values]),
  [`health_ready{instance="${pod}"}`, '1x400'],
  [`health_check_up{instance="${pod}",check="instance"}`, '1x400'],
  [`process_start_time_seconds{instance="${pod}"}`, '1000x400']
]))) as Record<string, string>

/** What each rule is for, and what must leave all of them silent. */
const INCIDENTS: Incident[] = [
  { name: 'all is well', series: of('shop', well), at: '36m', fires: [] },
  {
    name: 'a deploy: four instances are replaced, one after the other, and drain for five minutes',
    series: of('shop', { ...well, cluster_instances: '4x100 5x4 3x4 4x300', cluster_instance_starts_total: '4x100 5+1x3 8x300', [READY]: '1x100 0x20 1x300', [INSTANCE]: '1x100 0x20 1x300' }),
    at: '29m',
    fires: []
  },
  { name: 'half of the instances are taken away, and leave', series: of('shop', { ...well, cluster_instances: '8x100 4x300' }), at: '36m', fires: [] },
  { name: 'nobody answers', series: { unrelated: '1x400' }, at: '10m', fires: ['ClusterGone'] },
  { name: 'nobody of one application answers', series: { ...of('shop', { [READY]: '1x100 _x300', 'up{instance="target"}': '1x100 0x300' }), ...of('blog', well) }, at: '36m', fires: ['ClusterGone'] },
  { name: 'half of the instances are gone', series: of('shop', { ...well, cluster_instances: '4x100 2x300', cluster_instances_lost_total: '0x104 2x296' }), at: '33m', fires: ['ClusterInstancesMissing', 'ClusterInstanceLost'] },
  { name: 'the event loop of one instance stands still for good', series: of('shop', { ...well, cluster_instances: '4x100 3x300', cluster_instances_lost_total: '0x104 1x296' }), at: '33m', fires: ['ClusterInstanceLost'] },
  { name: 'a critical check is down', series: of('shop', { ...well, [READY]: '1x100 0x300', [DISK]: '1x100 0x300' }), at: '36m', fires: ['ClusterNotReady', 'ClusterCheckDown'] },
  { name: 'Redis is away: each instance knows itself only', series: of('shop', { ...well, cluster_instances: '4x100 1x300', [REDIS]: '1x100 0x300' }), at: '36m', fires: ['ClusterCheckDown'] },
  { name: 'a worker starts every 15 seconds', series: of('shop', { ...well, cluster_instance_starts_total: '4x100 5+1x300' }), at: '36m', fires: ['ClusterCrashLoop'] },
  { name: 'PM2 has given a worker up', series: of('shop', { ...well, 'cluster_processes{state="errored"}': '0x100 1x300' }), at: '30m', fires: ['ClusterProcessErrored'] },
  { name: 'a burst of errors for five minutes', series: of('shop', { ...well, http_server_errors_total: '0x100 0+15x20 300x280' }), at: '29m', fires: ['ClusterServerErrors'] },
  { name: 'the first errors ever, all between two scrapes', series: of('shop', { ...well, http_server_errors_total: '0x100 300x300', ...request('route="/",status="500"', '_x100 300x300') }), at: '27m', fires: ['ClusterServerErrors'] },
  { name: 'a small application fails beside a busy one', series: { ...of('shop', well), ...of('blog', { ...well, http_server_errors_total: '0x100 0+1x300', ...request('route="/",status="200"', '0+1x400') }) }, at: '36m', fires: ['ClusterServerErrors'] },
  { name: 'a slow route', series: of('shop', { ...well, ...request('route="/slow",status="200"', '0+15x400'), ...buckets('route="/slow"', '0+10x400', '0+15x400') }), at: '36m', fires: ['ClusterSlowRoute'] },
  { name: 'a slow route by the names of OpenTelemetry', series: of('shop', { ...well, ...request('http_route="/slow",http_response_status_code="200"', '0+15x400'), ...buckets('http_route="/slow"', '0+10x400', '0+15x400') }), at: '36m', fires: ['ClusterSlowRoute'] },
  { name: 'the event loop stands still for five seconds', series: of('shop', { ...well, nodejs_eventloop_delay_max_seconds: '0.02x100 5x4 0.02x300' }), at: '26m', fires: ['ClusterEventLoopStalled'] },
  { name: 'the event loop stands still for 300 ms, twice a second', series: of('shop', { ...well, nodejs_eventloop_blocked_seconds_total: '0+9x400' }), at: '36m', fires: ['ClusterEventLoopBusy'] },
  { name: 'a gauge throws', series: of('shop', { ...well, 'cluster_metrics_errors_total{what="gauge"}': '0+1x400' }), at: '36m', fires: ['ClusterMetricsFaulty'] },
  { name: 'pods: all is well', series: of('shop', pods), at: '36m', fires: [] },
  {
    name: 'pods: one is replaced, and drains for five minutes',
    series: of('shop', { ...pods, 'up{instance="a"}': '1x100 _x300', 'health_ready{instance="a"}': '1x80 0x20 _x300', 'health_check_up{instance="a",check="instance"}': '1x80 0x20 _x300', 'up{instance="e"}': '_x78 1x322', 'health_ready{instance="e"}': '_x78 1x322', 'process_start_time_seconds{instance="e"}': '_x78 2000x322' }),
    at: '25m',
    fires: []
  },
  { name: 'pods: nobody answers', series: of('shop', Object.fromEntries(Object.entries(pods).map(([one, values]) => [one, one.startsWith('up{') ? '1x100 0x300' : values.replace(/x400$/, 'x100 _x300')]))), at: '36m', fires: ['ClusterGone'] },
  { name: 'pods: two of four do not answer', series: of('shop', { ...pods, ...Object.fromEntries(['a', 'b'].flatMap((pod) => [[`up{instance="${pod}"}`, '1x100 0x300'], [`health_ready{instance="${pod}"}`, '1x100 _x300']])) }), at: '36m', fires: ['ClusterInstancesMissing'] },
  { name: 'pods: one is not ready', series: of('shop', { ...pods, 'health_ready{instance="a"}': '1x100 0x300', 'health_check_up{instance="a",check="disk"}': '1x100 0x300' }), at: '36m', fires: ['ClusterNotReady', 'ClusterCheckDown'] },
  { name: 'pods: one starts again every minute', series: of('shop', { ...pods, 'process_start_time_seconds{instance="a"}': '1000x100 1060x4 1120x4 1180x4 1240x4 1300x4 1360x280' }), at: '32m', fires: ['ClusterCrashLoop'] }
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
    promql_expr_test: [{ expr: 'count by (alertname) (ALERTS{alertstate="firing"})', eval_time: at, exp_samples: fires.map((alert) => ({ labels: `{alertname="${alert}"}`, value: 1 })) }]
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
